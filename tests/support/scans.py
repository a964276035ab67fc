"""PDF files whose pages are pictures of text, as a scanner makes them, and a program that pretends to read them."""

import zlib
from pathlib import Path

import pypdfium2

from support.pdf_files import CATALOG, FONT, page, pages, pdf, plain_pdf, show, stream

DOTS_PER_INCH = 150


def picture(text: str) -> tuple[int, int, bytes]:
    """Width, height and grey dots of a page with this text."""
    document = pypdfium2.PdfDocument(plain_pdf(text))
    bitmap = document[0].render(scale=DOTS_PER_INCH / 72, grayscale=True)
    dots = bytes(memoryview(bitmap.buffer).cast("B"))
    rows = (dots[row : row + bitmap.width] for row in range(0, len(dots), bitmap.stride))
    return bitmap.width, bitmap.height, b"".join(rows)


def scanned_pdf(*texts: str) -> bytes:
    """A page for each text. One that begins with `*` is a page of real text, and an empty one has nothing on it."""
    objects = {1: CATALOG, 3: FONT}
    kids: list[int] = []
    for number, text in enumerate(texts):
        at = 4 + 3 * number
        kids.append(at)
        objects[at] = page(at + 1, entries=b"/XObject << /I %d 0 R >>" % (at + 2))
        if not text or text.startswith("*"):
            objects[at + 1] = stream(show(text[1:]) if text else b"")
            objects[at + 2] = b"null"
            continue
        width, height, dots = picture(text)
        entries = (
            b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8 "
            b"/Filter /FlateDecode" % (width, height)
        )
        objects[at + 1] = stream(b"612 0 0 792 0 0 cm /I Do")
        objects[at + 2] = stream(zlib.compress(dots), entries)
    objects[2] = pages(kids, len(kids))
    return pdf(objects)


def pretended_tesseract(directory: Path, reading: str) -> str:
    """Make a program that says what Tesseract says about itself, and reads a picture as a shell script does."""
    program = directory / "tesseract"
    program.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        "--version) echo 'tesseract 9.9.9';;\n"
        "--list-langs) printf 'List of available languages (2):\\neng\\nosd\\n';;\n"
        f"*) {reading};;\n"
        "esac\n"
    )
    program.chmod(0o755)
    return str(program)
