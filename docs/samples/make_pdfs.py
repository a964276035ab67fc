"""Write the sample PDFs from the text files beside this script: `python docs/samples/make_pdfs.py [DIRECTORY]`.

A text file is a list of paragraphs; `# ` and `## ` open headings, `---` begins a new page. The PDFs are plain
(one standard font, no compression), so the same text always gives the same bytes.
"""

import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).parent
SAMPLES = HERE.parent.parent / "gateway" / "research_gateway" / "samples"
WIDTH, HEIGHT, MARGIN = 595, 842, 72
STYLES = {"# ": ("F2", 17, 46), "## ": ("F2", 13, 62), "": ("F1", 11, 84)}
"""Prefix of a paragraph → font, size in points, characters in a line."""


def page_stream(paragraphs: list[str]) -> bytes:
    """The drawing operators of one page."""
    out = ["BT", f"{MARGIN} {HEIGHT - MARGIN} Td"]
    for paragraph in paragraphs:
        prefix = next(mark for mark in STYLES if paragraph.startswith(mark))
        font, size, columns = STYLES[prefix]
        out.append(f"/{font} {size} Tf {size + 4} TL")
        for line in textwrap.wrap(paragraph.removeprefix(prefix), columns):
            escaped = line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
            out.append(f"({escaped}) Tj T*")
        out.append("T*")
    return "\n".join([*out, "ET"]).encode("cp1252")


def pdf(text: str) -> bytes:
    """A PDF of the text."""
    pages = [[p for p in page.strip().split("\n") if p] for page in text.split("\n---\n")]
    kids = " ".join(f"{5 + 2 * index} 0 R" for index in range(len(pages)))
    font = "<< /Type /Font /Subtype /Type1 /Encoding /WinAnsiEncoding /BaseFont /{} >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        font.format("Helvetica").encode(),
        font.format("Helvetica-Bold").encode(),
    ]
    for index, paragraphs in enumerate(pages):
        stream = page_stream(paragraphs)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Contents {6 + 2 * index} 0 R "
            "/Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    body, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    trailer = (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    )
    return bytes(body) + trailer % (size, table, size, len(body))


def main() -> None:
    """Write one PDF for each text file."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    for source in sorted(HERE.glob("*.txt")):
        (target / f"{source.stem}.pdf").write_bytes(pdf(source.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
