"""Office files through the gateway: every fact of a file is found, where it is, and can be read there."""

import base64
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from mcp_types import TextContent

from research_gateway.app import build_gateway
from research_shared.access.roots import Root
from research_shared.formats import docx, format_of, media_type_of, odf, xlsx
from research_shared.settings import Settings
from support.office_files import HOSTILE, REASONS, WORD, links, package, paragraph, word, workbook
from support.results import answer_of, error_of

CASES = Path(__file__).parents[1] / "data" / "office"
MADE: dict[str, Callable[[], bytes]] = {
    "cut.docx": lambda: word(paragraph("kept before the damage") + "<w:p><w:r><w:t>cut short</w:broken>"),
    "hash.docx": lambda: word(paragraph("# no heading here")),
    "rows.xlsx": lambda: workbook(
        '<row><c><v>7</v></c><c t="b"><v>1</v></c></row>'
        '<row r="9" hidden="1"><c r="C9" t="inlineStr"><is><t>unseenmark</t></is></c></row>'
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("research")
    for file in CASES.iterdir():
        shutil.copy(file, folder)
    for name, make in {**HOSTILE, **MADE}.items():
        (folder / name).write_bytes(make())
    return folder


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for a module, so that its server can be shared by its tests."""
    return "asyncio"


@pytest.fixture(scope="module")
async def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client[Any]]:
    settings = Settings(
        roots=(Root("research", folder),),
        audit_log=tmp_path_factory.mktemp("audit") / "audit.jsonl",
        watch=False,
        extract_workers=1,
        search_deadline_s=60,
    )
    async with Client(build_gateway(settings)) as connected:
        yield connected


async def ask(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    return answer_of(await client.call_tool(tool, arguments, raise_on_error=False))


def text_of(result: Any) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


FACTS: dict[str, list[tuple[str, int | None, str]]] = {
    "doc.docx": [
        ("titlemeta report", None, "[title] titlemeta report"),
        ("authormeta", None, "[author] authormeta"),
        ("headermark", None, "[header] headermark running"),
        ("footermark", None, "[footer] footermark running"),
        ("Headingonemark", None, "# Headingonemark"),
        ("Headingtwomark", None, "## Headingtwomark"),
        (
            "Bodymark text with a footnote and an endnote",
            None,
            "Bodymark text with a footnote and an endnote.",
        ),
        ("footnotemark", None, "[footnote] footnotemark text"),
        ("endnotemark", None, "[endnote] endnotemark text"),
        ("commentmark", None, "[comment by reviewermark] commentmark text"),
        ("reviewermark", None, "[comment by reviewermark] commentmark text"),
        ("insertedmark then kept", None, "Commented words. insertedmark then kept.  linkmark"),
        ("deletedmark", None, "[deleted] deletedmark"),
        ("hiddentextmark", None, "[hidden] hiddentextmark"),
        ("linkmark", None, "Commented words. insertedmark then kept.  linkmark"),
        ("urlmark", None, "[link] http://link.example/urlmark"),
        ("bulletmark", None, "- bulletmark"),
        ("nestedbulletmark", None, "  - nestedbulletmark"),
        ("colamark", None, "colamark | colbmark | colcmark"),
        ("colcmark", None, "colamark | colbmark | colcmark"),
        ("mergedmark", None, "mergedmark | cellmark"),
        ("textboxmark", None, "[text box] textboxmark inside"),
        ("After the box", None, "After the box."),
        ("Secondpagemark", None, "Secondpagemark starts here."),
        ("東京", None, "Über façade 東京 emojimark 😀"),
        ("emojimark", None, "Über façade 東京 emojimark 😀"),
    ],
    "deck.pptx": [
        ("slidetitlemark", 1, "# slidetitlemark"),
        ("slidebodymark", 1, "slidebodymark"),
        ("speakernotemark", 1, "[notes] speakernotemark"),
        ("tabheadmark", 2, "tabheadmark | tabhead2"),
        ("tabcellmark", 2, "tabcellmark | x"),
        ("groupedmark", 2, "groupedmark"),
        ("chartcatmark", 2, "[chart] chartseriesmark: chartcatmark 7.25 | b 3"),
        ("chartseriesmark", 2, "[chart] chartseriesmark: chartcatmark 7.25 | b 3"),
        ("alttextmark", 2, "[image] alttextmark"),
        ("pictureholder", 2, "pictureholder"),
        ("hiddenslidemark", 3, "hiddenslidemark"),
    ],
    "sheet.xlsx": [
        ("Firstsheetmark", 1, "# Firstsheetmark"),
        ("namemark", 1, "A1: namemark | B1: valuemark | C1: datemark | D1: sharemark"),
        ("sharemark", 1, "A1: namemark | B1: valuemark | C1: datemark | D1: sharemark"),
        ("alphamark", 1, "A2: alphamark | B2: 41.5 | C2: 2026-03-04 | D2: 12.5%"),
        ("41.5", 1, "A2: alphamark | B2: 41.5 | C2: 2026-03-04 | D2: 12.5%"),
        ("2026-03-04", 1, "A2: alphamark | B2: 41.5 | C2: 2026-03-04 | D2: 12.5%"),
        ("12.5%", 1, "A2: alphamark | B2: 41.5 | C2: 2026-03-04 | D2: 12.5%"),
        ("betamark", 1, "A3: betamark | B3: 84 (=B2*2+1)"),
        ("84", 1, "A3: betamark | B3: 84 (=B2*2+1)"),
        ("cellcommentmark", 1, "[comment] B1: cellcommentmark"),
        ("Hiddensheetmark", 2, "# Hiddensheetmark [hidden sheet]"),
        ("hiddencellmark", 2, "A1: hiddencellmark"),
        ("Third", 3, "# Third"),
        ("farcellmark", 3, "AD500: farcellmark"),
    ],
    "page.html": [
        ("htmltitlemark", None, "[title] htmltitlemark"),
        ("navmark", None, "navmark"),
        ("htmlheadmark", None, "# htmlheadmark"),
        ("htmlbodymark & entity émark", None, "htmlbodymark & entity émark"),
        ("thmark", None, "thmark"),
        ("tdmark", None, "tdmark"),
        ("imgaltmark", None, "[image] imgaltmark"),
        ("displaynonemark", None, "[hidden] displaynonemark"),
        ("premark", None, "  premark"),
        ("anchormark", None, "anchormark"),
        ("hrefmark", None, "[link] http://link.example/hrefmark"),
    ],
    "book.epub": [
        ("epubtitlemark", 1, "[title] epubtitlemark"),
        ("authormark", 1, "[author] authormark"),
        ("chapteronemark", 2, "# chapteronemark"),
        ("epubbodymark with a note", 2, "epubbodymark with a note 1."),
        ("epubnotemark", 2, "- epubnotemark ↩︎"),
        ("chaptertwomark", 3, "# chaptertwomark"),
        ("epubcellmark", 3, "epubcellmark | 2"),
    ],
    "data.csv": [
        ("csvname", None, "A1: csvname | B1: csvvalue"),
        ('quotedmark; with "quotes"', None, 'A2: quotedmark; with "quotes" | B2: 1'),
        ("müllermark", None, "A3: müllermark | B3: 2"),
    ],
    "latin.csv": [
        ("müllermark", None, "A2: müllermark | B2: 3,5"),
        ("3,5", None, "A2: müllermark | B2: 3,5"),
    ],
    "mail.eml": [
        ("subjectmark ünï", None, "# subjectmark ünï"),
        ("ann@mail.example", None, "From: Ann <ann@mail.example>"),
        ("bob@mail.example", None, "To: bob@mail.example"),
        ("04 Mar 2026", None, "Date: Wed, 04 Mar 2026 10:00:00 +0000 (2026-03-04)"),
        ("plainbodymark", None, "plainbodymark"),
        ("quotedreplymark", None, "> quotedreplymark"),
        ("htmlaltmark", None, "htmlaltmark"),
        ("attachnamemark", None, "[attachment] attachnamemark.txt"),
        ("attachtextmark", None, "attachtextmark"),
    ],
}
FACTS["doc.fodt"] = FACTS["doc.docx"]
FACTS["doc.rtf"] = [
    (wanted, None, line.replace("kept.  link", "kept. link")) for wanted, _, line in FACTS["doc.docx"]
]
CASES_OF_FACTS = [(name, *fact) for name, facts in FACTS.items() for fact in facts]


@pytest.mark.parametrize("mode", ["keyword", "regex"])
async def test_each_fact_of_an_office_file_is_found_and_read_where_it_is(
    client: Client[Any], mode: str
) -> None:
    texts = {name: await ask(client, "read_document", document_path=name) for name in FACTS}
    for name, wanted, part, line in CASES_OF_FACTS:
        query = f'"{wanted.replace(chr(34), "")}"' if mode == "keyword" else wanted.replace(".", r"\.")
        found = await ask(client, "search_documents", query=query, mode=mode, file_pattern=name)
        hits = {(match.get("page"), match["matched_text"].strip()): match for match in found["matches"]}
        assert (part, line.strip()) in hits, (name, wanted, list(hits))
        number = hits[part, line.strip()]["line_number"]
        assert texts[name]["lines"][number - 1]["text"] == line, (name, wanted)


async def test_a_slide_and_a_sheet_are_read_by_their_number(client: Client[Any]) -> None:
    result = await client.call_tool("read_document", {"document_path": "deck.pptx", "page": 3})
    assert [line["text"] for line in answer_of(result)["lines"]] == ["# [hidden slide]", "hiddenslidemark"]
    assert "slide 3 of 3" in text_of(result)
    far = await ask(client, "read_document", document_path="sheet.xlsx", page=3)
    assert [line["text"] for line in far["lines"]] == ["# Third", "AD500: farcellmark"]


async def test_the_text_of_a_file_says_what_is_hidden(client: Client[Any]) -> None:
    deck = await ask(client, "read_document", document_path="deck.pptx")
    assert "slide 3 is hidden" in deck["notes"]
    book = await ask(client, "read_document", document_path="sheet.xlsx")
    assert "sheet 2 (Hiddensheetmark) is hidden" in book["notes"]
    rows = await ask(client, "read_document", document_path="rows.xlsx")
    assert [line["text"] for line in rows["lines"]] == [
        "# Data",
        "A1: 7 | B1: TRUE",
        "[hidden row] C9: unseenmark",
    ]


async def test_a_damaged_part_keeps_what_stands_before_the_damage(client: Client[Any]) -> None:
    read = await ask(client, "read_document", document_path="cut.docx")
    assert [line["text"] for line in read["lines"]] == ["kept before the damage", "cut short"]
    assert read["notes"] == ["the file is damaged; text is missing from word/document.xml"]


def test_a_sheet_with_too_many_cells_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "MAX_CELLS", 5)
    pages = xlsx.open_xlsx(workbook("<row><c><v>1</v></c><c><v>2</v></c></row>" * 9), 1, 1)
    assert list(pages.texts) == ["# Data\nA1: 1 | B1: 2\nA2: 1 | B2: 2\nA3: 1 | B3: 2"]
    assert pages.notes == ["only the first 3 rows of sheet Data were read"]


NUMBERED = f"""<w:numbering xmlns:w="{WORD}">
<w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:pStyle w:val="H"/>
<w:lvlText w:val="%1."/></w:lvl><w:lvl w:ilvl="1"><w:start w:val="3"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1.%2)"/></w:lvl>
<w:lvl w:ilvl="2"><w:numFmt w:val="bullet"/><w:lvlText w:val="o"/></w:lvl></w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>
<w:num w:numId="2"><w:abstractNumId w:val="0"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride></w:num>
</w:numbering>"""
NUMBERED_STYLES = f"""<w:styles xmlns:w="{WORD}"><w:style w:styleId="H"><w:name w:val="heading 1"/><w:pPr><w:numPr>
<w:numId w:val="1"/></w:numPr></w:pPr></w:style></w:styles>"""


def numbered(text: str, level: int, number: int = 1) -> str:
    """A paragraph of a list."""
    properties = f'<w:pPr><w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr></w:pPr>'
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"


def test_paragraphs_of_lists_have_the_numbers_that_word_computes() -> None:
    heading = '<w:p><w:pPr><w:pStyle w:val="H"/></w:pPr><w:r><w:t>Scope</w:t></w:r></w:p>'
    body = [
        heading, numbered("one", 1), numbered("two", 1), numbered("dot", 2), heading, numbered("again", 1),
        numbered("anew", 0, 2), numbered("on", 0, 2), numbered("plain", 0, 0), "<w:tbl><w:tr><w:tc>",
        numbered("in a cell", 0), "</w:tc></w:tr></w:tbl>",
    ]  # fmt: skip
    parts = {
        "word/_rels/document.xml.rels": links(numbering="numbering.xml", styles="styles.xml"),
        "word/numbering.xml": NUMBERED,
        "word/styles.xml": NUMBERED_STYLES,
    }
    (text,) = docx.open_docx(word("".join(body), **parts), 1, 1).texts
    assert str(text).split("\n") == [
        "# 1. Scope", "  1.c) one", "  1.d) two", "    - dot", "# 2. Scope", "  2.c) again", "7. anew", "8. on", "plain",
        "9. in a cell",
    ]  # fmt: skip


FORMULA = (
    '<m:oMath xmlns:m="m"><m:r><m:t>speed</m:t></m:r><m:f><m:num><m:r><m:t>way</m:t></m:r></m:num>'
    "<m:den><m:r><m:t>time</m:t></m:r></m:den></m:f></m:oMath>"
)


def test_a_web_page_that_word_shows_as_a_part_is_read() -> None:
    body = paragraph("before") + "".join(f'<w:altChunk r:id="rId{number}"/>' for number in range(1, 5))
    parts: dict[str, Any] = {
        "word/_rels/document.xml.rels": links(
            aFChunk="chunk.htm", b="chunk.txt", c="chunk.docx", d="gone.htm"
        ),
        "word/chunk.htm": "<h2>Shown</h2><p>included words",
        "word/chunk.txt": "# plain",
        "word/chunk.docx": word(paragraph("nested")),
    }
    pages = docx.open_docx(word(body, **parts), 1, 1)
    assert list(pages.texts) == ["before\n## Shown\nincluded words\n\\# plain"]
    assert pages.notes == ["2 embedded files are not read"]


CHOICE = (
    '<w:r><w:fldChar><w:ffData><w:ddList><w:result w:val="1"/><w:listEntry w:val="no"/><w:listEntry w:val="yes"/>'
    "</w:ddList></w:ffData></w:fldChar></w:r>"
)


@pytest.mark.parametrize(
    ("inside", "lines"),
    [
        (FORMULA, ["speed way/time"]),
        ('<w:r><w:sym w:font="Symbol" w:char="F061"/><w:sym w:font="?" w:char="xx"/></w:r>', ["\N{GREEK SMALL LETTER ALPHA}"]),
        ("<w:ruby><w:rt><w:r><w:t>toukyou</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>東京</w:t></w:r></w:rubyBase></w:ruby>",
         ["東京", "[reading] toukyou"]),
        (CHOICE, ["yes"]),
    ],
)  # fmt: skip
def test_formulas_symbols_readings_and_choices_are_text(inside: str, lines: list[str]) -> None:
    (text,) = docx.open_docx(word(f"<w:p>{inside}</w:p>"), 1, 1).texts
    assert str(text).split("\n") == lines


async def test_a_paragraph_that_begins_with_a_number_sign_is_no_heading(client: Client[Any]) -> None:
    read = await ask(client, "read_document", document_path="hash.docx")
    assert [line["text"] for line in read["lines"]] == [r"\# no heading here"]


async def test_what_a_web_page_does_not_show_to_people_is_no_text_of_it(client: Client[Any]) -> None:
    for word_of_code in ("stylemark", "scriptmark"):
        found = await ask(client, "search_documents", query=word_of_code, file_pattern="page.html")
        assert found["matches"] == []


LAYOUT = (
    "<table><tr><td><p>left one<p>left two</td><td><table><tr><td>in<td>side</table></td></tr></table>after"
)
ATTACHED = (
    b"Subject: outer\nContent-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: message/rfc822\n\n"
    b"Subject: inner\n\ninner body\n--B\nContent-Type: application/octet-stream; name=note.docx\n"
    b"Content-Transfer-Encoding: base64\n\n%s\n--B\nContent-Type: application/octet-stream; name=film.mp4\n\nx\n--B--\n"
)
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Model\n", "Of the market"]},
        {
            "cell_type": "code",
            "source": "# comment\nprint(1)",
            "outputs": [{"output_type": "stream", "text": ["one\n"]}, {"data": {"text/plain": "two"}}],
        },
    ]
}
LETTERS = (
    rb"{\rtf1\ansi\ansicpg1251{\fonttbl{\f1\fcharset128 MS;}}\'cf\'f0{\f1\'8e\'73} \u8364?5\par "
    rb"{\pict ffd8}{\*\unknown lost}\trowd\intbl a\par b\cell c\cell\row\bin3 }}}# no heading}"
)
SMALL: list[tuple[str, bytes, list[str], list[str]]] = [
    ("layout.html", LAYOUT.encode(), ["left one left two | in | side", "after"], []),
    ("open.html", b"<table><tr><td>never closed", ["never closed"], []),
    ("cp1252.html", "<p>caf\xe9".encode("cp1252"), ["café"], ["decoded from Windows-1252"]),
    ("declared.html", '<meta charset="shift_jis"><p>市場'.encode("shift_jis"), ["市場"], ["decoded from shift_jis"]),
    ("tabs.tsv", b"a\tb, c\nd\t\n", ["A1: a | B1: b, c", "A2: d"], []),
    (
        "separator.csv",
        "id,text,n\n1,one\u2028two,7\n2,b,8\n".encode(),
        ["A1: id | B1: text | C1: n", "A2: 1 | B2: one two | C2: 7", "A3: 2 | B3: b | C3: 8"],
        [],
    ),
    (
        "field.fodt",
        (b"<office:document xmlns:office='o' xmlns:text='t'><office:body><office:text><text:p>one <text:meta>two</text:meta>"
        b" three by <text:creator>Jane Doe</text:creator> in <text:title>Plan</text:title></text:p><text:p>last</text:p>"
        b"</office:text></office:body></office:document>"),
        ["one two three by Jane Doe in Plan", "last"],
        [],
    ),
    ("mac.rtf", rb"{\rtf1\ansi\ansicpg10000 caf\'8e\par}", ["café"], []),
    ("unknown.rtf", rb"{\rtf1\ansi\ansicpg99999 caf\'e9\par}", ["café"], []),
    (
        "repeated.eml",
        (b"Subject: s\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=X\n\n--X\n"
        b"Content-Type: text/plain\n\nOpen?\nYes\nOn?\nYes\n--X\nContent-Type: text/html\n\n"
        b"<p>Open?</p><p>Yes</p><p>On?</p><p>Yes</p>\n--X--\n"),
        ["# s", "Open?", "Yes", "On?", "Yes"],
        [],
    ),
    (
        "bounce.eml",
        (b"Subject: failed\nMIME-Version: 1.0\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\n"
        b"Final-Recipient: rfc822; ann@example.org\nDiagnostic-Code: smtp; 550 mailbox full\n"),
        [
            "# failed",
            "[attachment] message/delivery-status",
            "Reporting-MTA: dns; mx",
            "Final-Recipient: rfc822; ann@example.org",
            "Diagnostic-Code: smtp; 550 mailbox full",
        ],
        [],
    ),
    (
        "broken-attachment.eml",
        (b"Subject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=X\n\n--X\n\nbody\n--X\n"
        b"Content-Type: application/pdf\nContent-Disposition: attachment; filename=a.pdf\n\n%PDF-1.4 cut\n--X--\n"),
        ["# s", "body", "[attachment] a.pdf"],
        ["the attachment a.pdf is not read"],
    ),
    ("break.csv", b'x,y\n"two\nlines",2\n', ["A1: x | B1: y", "A2: two lines | B2: 2"], []),
    (
        "attached.eml",
        ATTACHED % base64.b64encode(word(paragraph("attached words"))),
        [
            "# outer",
            "[attachment] message",
            "## inner",
            "inner body",
            "[attachment] note.docx",
            "attached words",
            "[attachment] film.mp4",
        ],
        ["the attachment film.mp4 is not read"],
    ),
    ("caf.json", b'{"name": "caf\\u00e9"}', ["{", ' "name": "café"', "}"], []),
    ("bad.json", b'{"name": ', ['{"name": '], ["it is no valid JSON, and shown as it is"]),
    (
        "letters.rtf",
        LETTERS,
        ["Пр市 €5", "a b | c", r"\# no heading"],
        [],
    ),
    ("open.rtf", rb"{\rtf1 never {\b closed", ["never closed"], []),
    (
        "model.ipynb",
        json.dumps(NOTEBOOK).encode(),
        [
            "# Model", "Of the market", "", "```", "# comment", "print(1)", "```",
            "[output]", "```", "one", "```", "[output]", "```", "two", "```",
        ],
        [],
    ),
]  # fmt: skip


OFFICE = " ".join(
    f'xmlns:{prefix}="{prefix}"'
    for prefix in ("office", "text", "table", "draw", "style", "presentation", "svg", "xlink", "dc")
)
SHEETS = f"""<office:document {OFFICE}><office:automatic-styles><style:style style:name="h">
<style:table-properties table:display="false"/></style:style></office:automatic-styles><office:body><office:spreadsheet>
<table:table table:name="Costs"><table:table-row><table:table-cell><text:p>name</text:p></table:table-cell>
<table:table-cell table:number-columns-repeated="2"/><table:table-cell office:date-value="2026-03-04T00:00:00">
<text:p>04.03.26</text:p></table:table-cell></table:table-row><table:table-row table:number-rows-repeated="400"/>
<table:table-row><table:table-cell table:formula="of:=[.B2]*2" office:value="84.25"><text:p>84</text:p><office:annotation>
<dc:creator>Ann</dc:creator><text:p>check this</text:p></office:annotation></table:table-cell></table:table-row><table:table-row><table:table-cell/><table:table-cell>
<office:annotation><text:p>beside no words</text:p></office:annotation></table:table-cell></table:table-row></table:table>
<table:table table:name="Secret" table:style-name="h"><table:table-row table:visibility="collapse"><table:table-cell
table:number-columns-repeated="3"><text:p>x</text:p></table:table-cell></table:table-row></table:table>
</office:spreadsheet></office:body></office:document>"""
SLIDES = f"""<office:document-content {OFFICE}><office:automatic-styles><style:style style:name="dp">
<style:drawing-page-properties presentation:visibility="hidden"/></style:style></office:automatic-styles>
<office:body><office:presentation><draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>Growth</text:p>
</draw:text-box></draw:frame><draw:frame><draw:text-box><text:list><text:list-item><text:p>first point</text:p>
</text:list-item></text:list></draw:text-box></draw:frame><draw:frame><draw:object xlink:href="./Object 1"/><svg:desc>a bar
chart</svg:desc></draw:frame><presentation:notes><draw:frame><draw:text-box><text:p>say it slowly</text:p></draw:text-box>
</draw:frame></presentation:notes></draw:page><draw:page draw:style-name="dp"><draw:custom-shape><text:p>in a shape</text:p>
</draw:custom-shape></draw:page></office:presentation></office:body></office:document-content>"""
CHART = (
    f"<office:document-content {OFFICE}><text:p>North</text:p><text:p>7.25</text:p></office:document-content>"
)


def test_an_opendocument_spreadsheet_names_its_cells() -> None:
    pages = odf.open_odf(SHEETS.encode(), 1, 9)
    assert "\n\n".join(map(str, pages.texts)) == (
        "# Costs\nA1: name | D1: 04.03.26 [2026-03-04]\nA402: 84 [84.25] (=[.B2]*2)\n[comment by Ann] A402: check this"
        "\n[comment] B403: beside no words"
        "\n\n# Secret [hidden sheet]\n[hidden row] A1:C1: x"
    )
    assert pages.notes == ["sheet 2 is hidden"]


def test_an_opendocument_presentation_keeps_titles_notes_and_charts() -> None:
    data = package({"content.xml": SLIDES, "Object 1/content.xml": CHART})
    pages = odf.open_odf(data, 1, 9)
    assert list(pages.texts) == [
        "# Growth\nfirst point\n[chart] North | 7.25\n[image] a bar chart\n[notes] say it slowly",
        "# [hidden slide]\nin a shape",
    ]
    assert pages.notes == ["slide 2 is hidden"]


@pytest.mark.parametrize(("name", "data", "lines", "notes"), SMALL, ids=[each[0] for each in SMALL])
def test_small_files_become_these_lines(name: str, data: bytes, lines: list[str], notes: list[str]) -> None:
    media_type = media_type_of(name)
    assert media_type is not None
    (reader,) = format_of(media_type).readers
    pages = reader.open(data, 1, 1)
    texts = [text if isinstance(text, str) else "" for text in pages.texts]
    assert "\n".join(texts).rstrip("\n").split("\n") == lines
    assert pages.notes == notes


async def test_hostile_and_empty_files_answer_with_the_reason(client: Client[Any]) -> None:
    assert set(HOSTILE) == set(REASONS)
    for name, reason in REASONS.items():
        result = await client.call_tool("read_document", {"document_path": name}, raise_on_error=False)
        error = error_of(result)
        assert (error["code"], error["reason"]) == ("document_unreadable", reason), name
        assert "root:" not in text_of(result)
    found = await ask(client, "search_documents", query="wordthatisnowhere")
    assert {entry["path"]: entry["reason"] for entry in found["unreadable"]} == REASONS
