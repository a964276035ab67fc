"""Pages of a PDF as pictures, for those without text.

Only a worker process imports this module.
"""

import contextlib

import pypdfium2
from pypdfium2 import raw

from research_shared.formats._format import DAMAGED, Refused

DOTS_PER_INCH = 300
"""What recognition of text works best with. `Picture` promises it."""
_POINTS_PER_INCH = 72
_MAX_PIXELS = 40_000_000
"""A page of A2. Larger ones are drawn smaller."""
_MANY_LINES = 20


def is_drawn(page: pypdfium2.PdfPage) -> bool:
    """Return whether a page without text has something to see: a picture, a shading, or many lines."""
    total = raw.FPDFPage_CountObjects(page)
    if total >= _MANY_LINES:
        return True
    kinds = {raw.FPDFPageObj_GetType(raw.FPDFPage_GetObject(page, number)) for number in range(total)}
    return bool(kinds & {raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_FORM, raw.FPDF_PAGEOBJ_SHADING})


def draw_page(document: pypdfium2.PdfDocument, index: int) -> bytes | None:
    """Return a page (`index` from 0) as a grey image in PGM, or None when it is of one colour.

    Raises:
        Refused: pdfium cannot load or draw it.
    """
    try:
        return _drawn(document, index)
    except (pypdfium2.PdfiumError, ValueError) as error:
        raise Refused(DAMAGED) from error


def _drawn(document: pypdfium2.PdfDocument, index: int) -> bytes | None:
    with contextlib.closing(document[index]) as page:
        width, height = page.get_size()
        scale = DOTS_PER_INCH / _POINTS_PER_INCH
        if (pixels := width * height * scale * scale) > _MAX_PIXELS:
            scale *= (_MAX_PIXELS / pixels) ** 0.5
        bitmap = page.render(scale=scale, grayscale=True)
        with contextlib.closing(bitmap):
            dots = memoryview(bitmap.buffer).cast("B")
            rows = [
                bytes(dots[start : start + bitmap.width])
                for start in range(0, bitmap.stride * bitmap.height, bitmap.stride)
            ]
            size = b"P5 %d %d 255\n" % (bitmap.width, bitmap.height)
    blank = rows[0][:1] * len(rows[0])
    return None if all(row == blank for row in rows) else size + b"".join(rows)
