"""What a reader of PDFs makes of layers, of comments, and of letters beside the paper."""

import zlib
from collections.abc import Mapping

import pytest

from research_shared.formats import Picture
from research_shared.formats.pdf import open_with_pypdfium2
from support.pdf_files import FONT, one_page, page, pages, pdf, show, stream

SHOWN = b"BT /F1 12 Tf 72 650 Td (Current text) Tj ET"
LAYERED = b"/OC /a BDC BT /F1 12 Tf 72 700 Td (Superseded) Tj ET EMC " + SHOWN
RESOURCES = b"/Properties << /a 6 0 R >>"


def read(content: bytes) -> tuple[list[object], list[str]]:
    """The pages of a document, and the notes on it."""
    opened = open_with_pypdfium2(content, 1, 99)
    return list(opened.texts), opened.notes


def layered(
    layers: bytes, *, other: bytes = b"other", extra: Mapping[int, bytes] | None = None, entries: bytes = b""
) -> bytes:
    """A page with text on a layer named "old", of a document with these layers."""
    return pdf(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R %s >>" % layers,
            2: pages([10], 1),
            3: FONT,
            6: b"<< /Type /OCG /Name (old) >>",
            7: b"<< /Type /OCG /Name (%s) >>" % other,
            10: page(11, entries=RESOURCES + entries),
            11: stream(LAYERED),
            **(extra or {}),
        }
    )


ALL = b"/OCGs [6 0 R 7 0 R]"


@pytest.mark.parametrize(
    ("default", "text"),
    [
        (b"/OFF [6 0 R]", "Current text"),
        (b"/OFF [7 0 R]", "Superseded\nCurrent text"),
        (b"/BaseState /OFF /ON [7 0 R]", "Current text"),
        (b"/BaseState /OFF /ON [6 0 R]", "Superseded\nCurrent text"),
        (b"", "Superseded\nCurrent text"),
    ],
)
def test_text_on_a_layer_that_is_off_is_left_out(default: bytes, text: str) -> None:
    found, notes = read(layered(b"/OCProperties << %s /D << %s >> >>" % (ALL, default)))
    assert [str(each).replace("\r", "") for each in found] == [text]
    left_out = ["text on layers that are switched off is left out: old"]
    assert notes == (left_out if text == "Current text" else [])


def test_layers_that_cannot_be_told_apart_are_named() -> None:
    same = layered(b"/OCProperties << %s /D << /OFF [6 0 R] >> >>" % ALL, other=b"old")
    found, notes = read(same)
    assert "Superseded" in str(found)
    assert notes == [
        "text on layers that are switched off may be in the text: other layers have the same names"
    ]
    found, notes = read(layered(b"/OCProperties 5"))
    assert "Superseded" in str(found)
    assert notes == ["it has layers; text on those that are switched off may be in the text"]


def test_layers_are_seen_in_a_compressed_catalog() -> None:
    catalog = b"<< /Type /Catalog /Pages 2 0 R /OCProperties << %s /D << /OFF [6 0 R] >> >> >>" % ALL
    head = b"1 0 "
    packed = zlib.compress(head + catalog)
    body = b"%PDF-1.7\n"
    objects = {
        2: pages([10], 1), 3: FONT, 6: b"<< /Type /OCG /Name (old) >>", 7: b"<< /Type /OCG /Name (other) >>",
        10: page(11, entries=RESOURCES), 11: stream(LAYERED),
        20: stream(packed, b"/Type /ObjStm /N 1 /First %d /Filter /FlateDecode" % len(head)),
    }  # fmt: skip
    offsets = {}
    for number, each in objects.items():
        offsets[number] = len(body)
        body += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    start = len(body)
    entries = b"\x00\x00\x00\x00\x00"
    for number in range(1, 22):
        if number == 1:
            entries += b"\x02" + (20).to_bytes(3) + b"\x00"
        elif number in offsets or number == 21:
            entries += b"\x01" + offsets.get(number, start).to_bytes(3) + b"\x00"
        else:
            entries += b"\x00\x00\x00\x00\x00"
    body += b"21 0 obj\n%s\nendobj\n" % stream(entries, b"/Type /XRef /Size 22 /W [1 3 1] /Root 1 0 R")
    found, notes = read(body + b"startxref\n%d\n%%%%EOF\n" % start)
    assert found == ["Current text"]
    assert notes == ["text on layers that are switched off is left out: old"]


def test_letters_beside_the_paper_are_left_out() -> None:
    slug = b"BT /F1 12 Tf 72 900 Td (Printer's slug line) Tj ET "
    assert read(one_page(stream(slug + SHOWN)))[0] == ["Current text"]
    assert "slug" in str(read(one_page(stream(slug)))[0])


UNMAPPED = b"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 9 9] /FontMatrix [.1 0 0 .1 0 0] /CharProcs << /g 8 0 R >> /FirstChar 1 /LastChar 9 /Widths [9 9 9 9 9 9 9 9 9] /Encoding << /Differences [1 /g /g /g /g /g /g /g /g /g] >> >>"


@pytest.mark.parametrize("comment", [False, True])
def test_a_page_in_an_unknown_font_is_undecodable_and_its_comments_are_read(*, comment: bool) -> None:
    annotation = b"<< /Type /Annot /Subtype /Text /Rect [9 9 20 20] /Contents (Please check) >>"
    content = pdf(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: pages([10], 1), 3: UNMAPPED, 8: stream(b"9 0 0 0 9 9 d1"),
            10: page(11).replace(b"/Contents", b"/Annots [12 0 R] /Contents" if comment else b"/Contents"),
            11: stream(b"BT /F1 12 Tf 72 700 Td <0102030405060708> Tj 0 -20 Td <0807060504030201> Tj ET"), 12: annotation,
        }
    )  # fmt: skip
    found, notes = read(content)
    if comment:
        assert found == ["[comment] Please check"]
    else:
        (picture,) = found
        assert isinstance(picture, Picture)
        assert picture.undecodable
    assert notes == (["page 1 is undecodable but for its fields and comments"] if comment else [])


def test_hidden_annotations_are_not_read() -> None:
    hidden = b"/Annots [12 0 R] /Contents"
    content = one_page(
        stream(SHOWN), {12: b"<< /Type /Annot /Subtype /Text /F 2 /Rect [9 9 20 20] /Contents (secret) >>"}
    )
    assert read(content.replace(b"/Contents 11", hidden + b" 11"))[0] == ["Current text"]


def test_files_attached_to_a_page_are_counted() -> None:
    attached = (
        b"<< /Type /Annot /Subtype /FileAttachment /Rect [9 9 20 20] /FS << /Type /Filespec /F (a.txt) >> >>"
    )
    content = pdf(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: pages([10], 1), 3: FONT, 12: attached,
            10: page(11).replace(b"/Contents", b"/Annots [12 0 R] /Contents"), 11: stream(SHOWN),
        }
    )  # fmt: skip
    assert read(content) == (["Current text"], ["1 file is attached to its pages not read"])


def test_lines_that_end_in_a_hyphen_keep_it_where_order_matters() -> None:
    slug = b"BT /F1 12 Tf 72 900 Td (slug) Tj ET "
    found, _ = read(one_page(stream(slug + show("univer-\nsally known"))))
    assert found == ["univer-\nsally known"]


def test_layers_are_left_out_of_drawings_within_the_page() -> None:
    drawing = stream(
        LAYERED,
        b"/Type /XObject /Subtype /Form /BBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> %s >>"
        % RESOURCES,
    )
    content = layered(
        b"/OCProperties << %s /D << /OFF [6 0 R] >> >>" % ALL,
        extra={11: stream(b"/X Do"), 12: drawing},
        entries=b"/XObject << /X 12 0 R >>",
    )
    assert read(content) == (["Current text"], ["text on layers that are switched off is left out: old"])


@pytest.mark.parametrize("count", [3, 501])
def test_each_filled_field_is_text_however_many_there_are(count: int) -> None:
    fields = {
        20
        + number: b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (f%d) /V (value%d) /Rect [%d %d %d %d] /F 4 /DA (/F1 5 Tf 0 g) >>"
        % (
            number,
            number,
            9 + 50 * (number % 11),
            9 + 15 * (number // 11),
            50 + 50 * (number % 11),
            20 + 15 * (number // 11),
        )
        for number in range(count)
    }
    numbers = b" ".join(b"%d 0 R" % number for number in fields)
    form = b"/AcroForm << /Fields [%s] /DR << /Font << /F1 3 0 R >> >> /DA (/F1 5 Tf 0 g) >>" % numbers
    content = pdf(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R %s >>" % form, 2: pages([10], 1), 3: FONT, 11: stream(b""),
            10: page(11).replace(b"/Contents", b"/Annots [%s] /Contents" % numbers), **fields,
        }
    )  # fmt: skip
    (text,), _ = read(content)
    assert set(str(text).split()) == {f"value{number}" for number in range(count)}


def test_attachments_that_are_listed_and_not_there_are_counted() -> None:
    content = one_page(stream(SHOWN)).replace(
        b"/Pages 2 0 R", b"/Pages 2 0 R /Names << /EmbeddedFiles << /Names [(a) 99 0 R] >> >>"
    )
    found, notes = read(content)
    assert found == ["Current text"]
    assert [note.split(":")[0] for note in notes] == ["1 attachment is not read"]
