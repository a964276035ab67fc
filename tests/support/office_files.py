"""Office files that are out to hurt their reader, or to be read wrongly: made from small parts."""

import io
import struct
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


_SECTOR = 512
_FREE, _END, _FAT, _NONE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF
_ENTRY = struct.Struct("<64sHBBIII16sIQQIQ")
Storage = Mapping[str, "bytes | Storage"]


def compound_file(root: Storage) -> bytes:
    """A compound file (version 3). Streams are filled up with zeros to 4096 bytes, so that none is a small one."""
    sectors = bytearray()
    table: list[int] = []
    entries: list[bytes] = []

    def store(data: bytes) -> int:
        first = len(table)
        count = -(-len(data) // _SECTOR)
        table.extend(range(first + 1, first + count))
        table.append(_END)
        sectors.extend(data.ljust(count * _SECTOR, b"\0"))
        return first

    def entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
        raw = name.encode("utf-16-le") + b"\0\0"
        return _ENTRY.pack(raw, len(raw), kind, 1, _NONE, right, child, bytes(16), 0, 0, 0, start, size)

    def add(name: str, content: bytes | Storage, kind: int, *, last: bool) -> None:
        at = len(entries)
        entries.append(b"")
        if isinstance(content, bytes):
            data = content.ljust(4096, b"\0")
            start, size, child = store(data), len(data), _NONE
        else:
            start, size, child = (_END if kind == 5 else 0), 0, at + 1 if content else _NONE
            for number, (inner, held) in enumerate(content.items(), start=1):
                add(inner, held, 2 if isinstance(held, bytes) else 1, last=number == len(content))
        entries[at] = entry(name, kind, _NONE if last else len(entries), child, start, size)

    add("Root Entry", root, 5, last=True)
    directory = store(b"".join(entries).ljust(-(-len(entries) // 4) * _SECTOR, b"\0"))
    fat_sectors = -(-(len(table) + 2) // 127)
    fat_at = len(table)
    table += [_FAT] * fat_sectors
    table += [_FREE] * (fat_sectors * 128 - len(table))
    header = struct.pack(
        "<8s16sHHHHH6xIIIIIIIII", COMPOUND_FILE, bytes(16), 0x3E, 3, 0xFFFE, 9, 6, 0, fat_sectors, directory, 0, 4096,
        _END, 0, _END, 0,
    )  # fmt: skip
    places = [*range(fat_at, fat_at + fat_sectors)]
    header += struct.pack("<109I", *places, *[_FREE] * (109 - fat_sectors))
    return header + bytes(sectors) + struct.pack(f"<{len(table)}I", *table)


def properties_of_message(start: int, **numbers: int) -> bytes:
    """The properties of fixed size, by their tag and type as `T0039_40`, behind `start` bytes of a header."""
    parts = (key[1:].split("_") for key in numbers)
    tags = [(int(kind, 16), int(tag, 16)) for tag, kind in parts]
    return bytes(start) + b"".join(
        struct.pack("<HHIQ", kind, tag, 6, value)
        for (kind, tag), value in zip(tags, numbers.values(), strict=True)
    )


def outlook_message(**more: "bytes | Storage") -> bytes:
    """A message of Outlook with a recipient, two attachments and an attached message; `more` are streams by tag and type."""
    text = {f"__substg1.0_{name}": value for name, value in more.items()}
    return compound_file(
        {
            "__properties_version1.0": properties_of_message(32, T0039_40=134170920000000000, T3FFD_3=1251),
            "__substg1.0_0037001F": "subjectmark".encode("utf-16-le"),
            "__substg1.0_0C1A001F": "Ann Sender".encode("utf-16-le"),
            "__substg1.0_5D01001F": "ann@mail.example".encode("utf-16-le"),
            **text,
            "__recip_version1.0_#00000000": {
                "__properties_version1.0": properties_of_message(8, T0C15_3=2),
                "__substg1.0_3001001F": "Bob".encode("utf-16-le"),
                "__substg1.0_39FE001F": "bob@mail.example".encode("utf-16-le"),
            },
            "__attach_version1.0_#00000000": {
                "__substg1.0_3707001F": "figures.csv".encode("utf-16-le"),
                "__substg1.0_37010102": b"csvmark;2\n" * 500,
            },
            "__attach_version1.0_#00000001": {
                "__substg1.0_3701000D": {
                    "__properties_version1.0": properties_of_message(24),
                    "__substg1.0_0037001F": "innermark".encode("utf-16-le"),
                    "__substg1.0_1000001F": "inner body".encode("utf-16-le"),
                }
            },
            "__attach_version1.0_#00000002": {
                "__substg1.0_3707001F": "film.mp4".encode("utf-16-le"),
                "__substg1.0_37010102": b"x",
            },
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
