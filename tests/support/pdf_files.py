"""PDF files made from nothing: plain ones, and ones that are made to hurt whoever reads them."""

import zlib
from collections.abc import Callable, Iterable, Mapping

FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
TEXT = "The quick brown fox"


def stream(data: bytes, entries: bytes = b"") -> bytes:
    """A stream object."""
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), entries, data)


def pdf(objects: Mapping[int, bytes], *, trailer: bytes = b"", root: int = 1) -> bytes:
    """A file with these objects, a cross-reference table and a trailer."""
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets: dict[int, int] = {}
    for number, body in sorted(objects.items()):
        offsets[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 1\n0000000000 65535 f \n"
    for number, offset in offsets.items():
        out += b"%d 1\n%010d 00000 n \n" % (number, offset)
    out += b"trailer\n<< /Size %d /Root %d 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        max(objects) + 1,
        root,
        trailer,
        start,
    )
    return bytes(out)


def show(text: str, top: int = 700) -> bytes:
    """The operators that show lines of text."""
    lines = b" ".join(
        b"(%s) Tj 0 -14 Td" % line.encode("latin-1").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        for line in text.split("\n")
    )  # fmt: skip
    return b"BT /F1 12 Tf 72 %d Td %s ET" % (top, lines)


def page(contents: int, parent: int = 2, entries: bytes = b"") -> bytes:
    """A page object; the font is object 3."""
    return (
        b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
        b"/Resources << /Font << /F1 3 0 R >> %s >> >>" % (parent, contents, entries)
    )


def pages(kids: Iterable[int], count: int) -> bytes:
    """A page tree node."""
    return b"<< /Type /Pages /Count %d /Kids [%s] >>" % (count, b" ".join(b"%d 0 R" % kid for kid in kids))


CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"


def plain_pdf(*texts: str) -> bytes:
    """A well-made document with one page for each text."""
    numbers = range(10, 10 + 2 * len(texts), 2)
    objects = {1: CATALOG, 2: pages(numbers, len(texts)), 3: FONT}
    for number, text in zip(numbers, texts, strict=True):
        objects[number] = page(number + 1)
        objects[number + 1] = stream(show(text))
    return pdf(objects)


def one_page(contents: bytes, extra: Mapping[int, bytes] | None = None, entries: bytes = b"") -> bytes:
    """A document of one page with this content stream object."""
    return pdf(
        {1: CATALOG, 2: pages([10], 1), 3: FONT, 10: page(11, entries=entries), 11: contents, **(extra or {})}
    )


def zip_of(megabytes: int) -> bytes:
    """A zlib stream of so many MiB of spaces, made of one block that is repeated."""
    compressor = zlib.compressobj(9, wbits=-15)
    block = compressor.compress(b" " * 2**20) + compressor.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\x9c" + block * megabytes + zlib.compressobj(wbits=-15).flush() + b"\0\0\0\0"


def flate_bomb() -> bytes:
    return one_page(stream(zip_of(2048), b"/Filter /FlateDecode"))


def nested_flate_bomb() -> bytes:
    inner = zlib.compress(zip_of(4096))
    return one_page(stream(zlib.compress(inner), b"/Filter [/FlateDecode /FlateDecode /FlateDecode]"))


def ascii85_bomb() -> bytes:
    return one_page(stream(zlib.compress(b"z" * 2**26 + b"~>"), b"/Filter [/FlateDecode /ASCII85Decode]"))


def run_length_bomb() -> bytes:
    return one_page(
        stream(zlib.compress(b"\x81 " * 2**23 + b"\x80"), b"/Filter [/FlateDecode /RunLengthDecode]")
    )


def nested_arrays() -> bytes:
    return pdf(
        {1: b"<< /Type /Catalog /Pages 2 0 R /X " + b"[" * 200_000 + b"]" * 200_000 + b" >>", 2: pages([], 0)}
    )


def nested_dictionaries() -> bytes:
    deep = b"<< /A " * 100_000 + b"1" + b" >>" * 100_000
    return pdf({1: CATALOG, 2: b"<< /Type /Pages /Count 1 /Kids [3 0 R] /X %s >>" % deep, 3: deep})


def unclosed_nesting() -> bytes:
    return b"%PDF-1.4\n1 0 obj\n" + b"[<</A" * 300_000


def page_tree_that_holds_itself() -> bytes:
    return pdf({1: CATALOG, 2: pages([2, 2], 2)})


def page_tree_that_goes_in_circles() -> bytes:
    return pdf({1: CATALOG, 2: pages([4, 5], 1000), 4: pages([5, 2], 500), 5: pages([4, 2], 500)})


def page_tree_of_many_levels() -> bytes:
    levels = 20_000
    objects = {1: CATALOG, 2: pages([100], 1), 3: FONT}
    for number in range(100, 100 + levels):
        objects[number] = pages([number + 1], 1)
    objects[100 + levels] = page(4)
    return pdf({**objects, 4: stream(show(TEXT))})


def page_tree_that_doubles() -> bytes:
    """Thirty levels, each with the next one twice: a billion pages."""
    objects = {1: CATALOG, 2: pages([100, 100], 2**30), 3: FONT, 4: stream(show(TEXT))}
    for level in range(30):
        objects[100 + level] = pages([101 + level, 101 + level], 2 ** (29 - level))
    return pdf({**objects, 130: page(4)})


def count_that_lies() -> bytes:
    return pdf({1: CATALOG, 2: pages([10], 2_147_483_647), 3: FONT, 10: page(11), 11: stream(show(TEXT))})


def count_below_zero() -> bytes:
    return pdf({1: CATALOG, 2: pages([10], -5), 3: FONT, 10: page(11), 11: stream(show(TEXT))})


def many_pages_that_share_a_stream() -> bytes:
    numbers = range(100, 6_100)
    heavy = zlib.compress(b"\n".join(show("lorem ipsum dolor sit amet " * 4, 700) for _ in range(2_000)))
    objects = {
        1: CATALOG,
        2: pages(numbers, len(numbers)),
        3: FONT,
        4: stream(heavy, b"/Filter /FlateDecode"),
    }
    return pdf({**objects, **{number: page(4) for number in numbers}})


def giant_cross_reference() -> bytes:
    return (
        plain_pdf(TEXT).partition(b"xref\n")[0]
        + b"xref\n0 2147483647\n"
        + b"0000000000 65535 f \n" * 100_000
        + b"trailer\n<< /Size 2147483647 /Root 1 0 R >>\nstartxref\n9\n%%EOF\n"
    )


def giant_cross_reference_stream() -> bytes:
    body = stream(
        zip_of(512),
        b"/Type /XRef /Size 2147483647 /W [1 4 2] /Root 1 0 R /Index [0 2147483647] /Filter /FlateDecode",
    )
    return (
        b"%PDF-1.7\n1 0 obj\n" + CATALOG + b"\nendobj\n2 0 obj\n" + body + b"\nendobj\nstartxref\n51\n%%EOF\n"
    )


def cross_reference_that_comes_before_itself() -> bytes:
    whole = plain_pdf(TEXT)
    return plain_pdf(TEXT).replace(b"/Root", b"/Prev %d /Root" % whole.rfind(b"xref\n0 1"))


def cross_references_far_outside() -> bytes:
    return plain_pdf(TEXT).replace(b"startxref\n", b"startxref\n9999999999999999999")


def object_stream_within_itself() -> bytes:
    body = stream(b"2 0 4 10 << /Type /ObjStm >>", b"/Type /ObjStm /N 2 /First 8 /Extends 4 0 R")
    return pdf({1: CATALOG, 2: pages([10], 1), 3: FONT, 4: body, 10: page(4)})


def length_that_refers_to_itself() -> bytes:
    return one_page(b"<< /Length 11 0 R >>\nstream\n" + show(TEXT) + b"\nendstream")


def length_that_is_huge() -> bytes:
    return one_page(b"<< /Length 9223372036854775807 >>\nstream\n" + show(TEXT) + b"\nendstream")


def form_that_draws_itself() -> bytes:
    form = stream(
        b"/X Do " + show(TEXT),
        b"/Type /XObject /Subtype /Form /BBox [0 0 612 792] /Resources << /XObject << /X 12 0 R >> /Font << /F1 3 0 R >> >>",
    )
    return one_page(stream(b"/X Do"), {12: form}, b"/XObject << /X 12 0 R >>")


def forms_that_multiply() -> bytes:
    """Twelve levels, each drawing the next ten times: a million million texts."""
    levels = 12
    forms = {}
    for level in range(levels):
        resources = b"/Resources << /XObject << /X %d 0 R >> /Font << /F1 3 0 R >> >>" % (21 + level)
        draws = b"/X Do " * 10 if level < levels - 1 else show(TEXT)
        forms[20 + level] = stream(draws, b"/Type /XObject /Subtype /Form /BBox [0 0 612 792] " + resources)
    return one_page(stream(b"/X Do"), forms, b"/XObject << /X 20 0 R >>")


def states_saved_without_end() -> bytes:
    return one_page(stream(zlib.compress(b"q " * 5_000_000 + show(TEXT)), b"/Filter /FlateDecode"))


def operands_without_end() -> bytes:
    return one_page(stream(zlib.compress(b"[" * 3_000_000), b"/Filter /FlateDecode"))


def a_page_of_a_million_texts() -> bytes:
    return one_page(
        stream(
            zlib.compress(b"BT /F1 1 Tf " + b"1 0 Td (abcdefghij) Tj " * 400_000 + b"ET"),
            b"/Filter /FlateDecode",
        )
    )


def a_line_of_millions_of_characters() -> bytes:
    return one_page(
        stream(zlib.compress(b"BT /F1 1 Tf (" + b"A" * 3_000_000 + b") Tj ET"), b"/Filter /FlateDecode")
    )


def unicode_map_without_end() -> bytes:
    cmap = (
        b"/CIDInit /ProcSet findresource begin 1 begincodespacerange <00000000> <FFFFFFFF> endcodespacerange "
        b"100 beginbfrange " + b"<00000000> <FFFFFFFF> <0041> " * 1000 + b"endbfrange endcmap"
    )
    font = FONT[:-2] + b"/ToUnicode 12 0 R >>"
    return pdf(
        {1: CATALOG, 2: pages([10], 1), 3: font, 10: page(11), 11: stream(show(TEXT)), 12: stream(cmap)}
    )


def glyphs_that_draw_themselves() -> bytes:
    font = (
        b"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 9 9] /FontMatrix [1 0 0 1 0 0] /FirstChar 65 /LastChar 65 "
        b"/Widths [9] /Encoding << /Differences [65 /A] >> /CharProcs << /A 12 0 R >> "
        b"/Resources << /Font << /F1 3 0 R >> >> >>"
    )
    glyph = stream(b"9 0 d0 BT /F1 9 Tf (A) Tj ET")
    return pdf({1: CATALOG, 2: pages([10], 1), 3: font, 10: page(11), 11: stream(show("A")), 12: glyph})


def image_without_end() -> bytes:
    return one_page(stream(show(TEXT) + b" BI /W 99999 /H 99999 /BPC 8 /CS /RGB ID " + b"\0" * 10_000))


def box_beyond_measure() -> bytes:
    return plain_pdf(TEXT).replace(b"[0 0 612 792]", b"[-1e38 -1e38 1e38 1e38]")


def font_size_beyond_measure() -> bytes:
    return plain_pdf(TEXT).replace(b"/F1 12 Tf", b"/F1 1e30 Tf")


def name_of_a_megabyte() -> bytes:
    return one_page(stream(b"/" + b"N" * 2**20 + b" gs " + show(TEXT)))


def encryption_nobody_knows() -> bytes:
    return pdf(
        {
            1: CATALOG,
            2: pages([10], 1),
            3: FONT,
            10: page(11),
            11: stream(show(TEXT)),
            12: b"<< /Filter /Nobody /V 99 >>",
        },
        trailer=b"/Encrypt 12 0 R /ID [<00> <00>]",
    )


def actions_on_opening() -> bytes:
    return plain_pdf(TEXT).replace(
        b"/Catalog",
        b"/Catalog /OpenAction << /S /JavaScript /JS (while(true){}) /Next << /S /Launch /F (/bin/sh) >> >>",
    )


def truncated() -> bytes:
    whole = plain_pdf(*[TEXT] * 20)
    return whole[: len(whole) // 2]


def noise() -> bytes:
    return b"%PDF-1.7\n" + bytes((n * n * 7919 >> 3) & 0xFF for n in range(200_000))


def header_alone() -> bytes:
    return b"%PDF-1.7\n"


def nothing() -> bytes:
    return b""


def another_format() -> bytes:
    return b"PK\x03\x04" + b"\0" * 1000


HOSTILE: dict[str, Callable[[], bytes]] = {
    function.__name__: function
    for function in (
        flate_bomb, nested_flate_bomb, ascii85_bomb, run_length_bomb, nested_arrays, nested_dictionaries,
        unclosed_nesting, page_tree_that_holds_itself, page_tree_that_goes_in_circles, page_tree_of_many_levels,
        page_tree_that_doubles, count_that_lies, count_below_zero, many_pages_that_share_a_stream,
        giant_cross_reference, giant_cross_reference_stream, cross_reference_that_comes_before_itself,
        cross_references_far_outside, object_stream_within_itself, length_that_refers_to_itself,
        length_that_is_huge, form_that_draws_itself, forms_that_multiply, states_saved_without_end,
        operands_without_end, a_page_of_a_million_texts, a_line_of_millions_of_characters,
        unicode_map_without_end, glyphs_that_draw_themselves, image_without_end, box_beyond_measure,
        font_size_beyond_measure, name_of_a_megabyte, encryption_nobody_knows, actions_on_opening, truncated,
        noise, header_alone, nothing, another_format,
    )
}  # fmt: skip
"""Files that no reader should be handed unprotected, by name."""
