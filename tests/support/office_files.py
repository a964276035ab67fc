"""Office files that are out to hurt their reader, or to be read wrongly: made from small parts."""

import io
import zipfile
from collections.abc import Mapping

TYPES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
COMPOUND_FILE = bytes.fromhex("d0cf11e0a1b11ae1")


def links(**targets: str) -> str:
    """Relationships: kind=target, with the identifiers rId1, rId2 and so on."""
    each = "".join(
        f'<Relationship Id="rId{number}" Type="{TYPES}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets.items(), start=1)
    )
    namespace = "http://schemas.openxmlformats.org/package/2006/relationships"
    return f'<Relationships xmlns="{namespace}">{each}</Relationships>'


def package(parts: Mapping[str, str | bytes]) -> bytes:
    """A zip file of these parts."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return target.getvalue()


def word(body: str, *, prolog: str = "", **parts: str | bytes) -> bytes:
    """A Word document with this content of its body."""
    document = f'{prolog}<w:document xmlns:w="{WORD}" xmlns:r="{TYPES}"><w:body>{body}</w:body></w:document>'
    return package(
        {
            "_rels/.rels": links(officeDocument="word/document.xml"),
            "word/document.xml": document,
            **parts,
        }
    )


def paragraph(text: str) -> str:
    """A paragraph of a Word document."""
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def workbook(rows: str) -> bytes:
    """A workbook with one sheet, `Data`."""
    return package(
        {
            "_rels/.rels": links(officeDocument="xl/workbook.xml"),
            "xl/workbook.xml": f'<workbook xmlns="{SHEET}" xmlns:r="{TYPES}"><sheets>'
            '<sheet name="Data" r:id="rId1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": links(worksheet="worksheets/sheet1.xml"),
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{SHEET}"><sheetData>{rows}</sheetData></worksheet>',
        }
    )


def billion_laughs() -> bytes:
    """A document whose entities would multiply."""
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    return word(paragraph("&a9;"), prolog=f'<!DOCTYPE w [<!ENTITY a0 "ha">{entities}]>')


def external_entity() -> bytes:
    """A document that asks for a file of the machine."""
    return word(paragraph("&secret;"), prolog='<!DOCTYPE w [<!ENTITY secret SYSTEM "file:///etc/passwd">]>')


def zip_bomb() -> bytes:
    """A document of 64 KB that inflates to 64 MiB."""
    return word(paragraph(" " * (64 * 1024 * 1024)))


HOSTILE = {
    "laughs.docx": billion_laughs,
    "secret.docx": external_entity,
    "bomb.docx": zip_bomb,
    "nested.docx": lambda: word("<w:tbl><w:tr><w:tc>" * 100_000 + paragraph("deep")),
    "truncated.docx": lambda: word(paragraph("cut off"))[:200],
    "empty.xlsx": lambda: b"",
    "wordless.docx": lambda: word(""),
    "password.pptx": lambda: COMPOUND_FILE + bytes(512) + "EncryptedPackage".encode("utf-16-le"),
    "old.xlsx": lambda: COMPOUND_FILE + bytes(512) + "Workbook".encode("utf-16-le"),
    "picture.pptx": lambda: b"\x89PNG\r\n",
    "links-to-itself.docx": lambda: package({"_rels/.rels": links(officeDocument="_rels/.rels")}),
    "outside.docx": lambda: package({"_rels/.rels": links(officeDocument="../../../etc/passwd")}),
    "empty.csv": lambda: b" \n",
    "nothing.html": lambda: b"<script>let it = be</script>",
    "noise.eml": lambda: b"\x00\xff\x00\n\n",
    "half.ipynb": lambda: b'{"cells": [{',
    "list.ipynb": lambda: b"[]",
    "deep.rtf": lambda: b"{\\rtf1" + b"{" * 20_000,
    "blank.rtf": lambda: b"{\\rtf1\\ansi}",
    "word.rtf": lambda: b"PK",
    "cut.fodt": lambda: b"<office:document xmlns:office='o'><office:body>",
    "password.odt": lambda: package(
        {"META-INF/manifest.xml": "<manifest><encryption-data/></manifest>", "content.xml": b"\x01"}
    ),
    "locked.epub": lambda: package(
        {
            "META-INF/container.xml": '<container><rootfile full-path="book.opf"/></container>',
            "book.opf": '<package><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></package>',
            "META-INF/encryption.xml": '<encryption><CipherReference URI="a.xhtml"/></encryption>',
            "a.xhtml": b"\x01\x02",
        }
    ),
}
"""The names of files and what makes them."""

REASONS = {
    "laughs.docx": "damaged",
    "secret.docx": "damaged",
    "bomb.docx": "too large",
    "nested.docx": "damaged",
    "truncated.docx": "damaged",
    "empty.xlsx": "empty",
    "wordless.docx": "empty",
    "password.pptx": "encrypted",
    "old.xlsx": "not an Excel workbook",
    "picture.pptx": "not a PowerPoint presentation",
    "links-to-itself.docx": "empty",
    "outside.docx": "damaged",
    "empty.csv": "empty",
    "nothing.html": "empty",
    "noise.eml": "not a mail message",
    "half.ipynb": "damaged",
    "list.ipynb": "not a Jupyter notebook",
    "deep.rtf": "damaged",
    "blank.rtf": "empty",
    "word.rtf": "not an RTF document",
    "cut.fodt": "damaged",
    "password.odt": "encrypted",
    "locked.epub": "encrypted",
}
