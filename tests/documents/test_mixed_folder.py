"""A folder with files of all formats is indexed with progress, and what a hit names can be read there."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastmcp import Client

from research_documents.server import build_documents_server
from research_shared.access.roots import Root
from research_shared.documents import DocumentText
from research_shared.formats import formats
from research_shared.reading.library import Library
from research_shared.settings import Settings
from support.office_files import outlook_message, package, paragraph, word, workbook
from support.pdf_files import plain_pdf
from support.results import answer_of
from support.serving import until
from support.sizes import FULL

CASES = Path(__file__).parents[1] / "data" / "office"
FILES = 1_000 if FULL else 38


def with_part(name: str, number: int) -> bytes:
    """A case with one more part, so that no two files are the same."""
    target = io.BytesIO((CASES / name).read_bytes())
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("number.txt", str(number))
    return target.getvalue()


def open_document(kind: str, content: str) -> bytes:
    spaces = " ".join(f'xmlns:{prefix}="{prefix}"' for prefix in ("office", "text", "table", "draw"))
    return package(
        {
            "content.xml": f"<office:document-content {spaces}><office:body><office:{kind}>{content}"
            f"</office:{kind}></office:body></office:document-content>"
        }
    )


MAKE: dict[str, tuple[Callable[[int], bytes], str, int | None]] = {
    ".docx": (lambda number: word(paragraph(f"docxmark {number}")), "docxmark", None),
    ".pptx": (lambda number: with_part("deck.pptx", number), "hiddenslidemark", 3),
    ".xlsx": (
        lambda number: workbook(f'<row><c t="inlineStr"><is><t>xlsxmark {number}</t></is></c></row>'), "xlsxmark", 1,
    ),
    ".odt": (lambda number: open_document("text", f"<text:p>odtmark {number}</text:p>"), "odtmark", None),
    ".ods": (
        lambda number: open_document(
            "spreadsheet",
            f'<table:table table:name="{number}"/><table:table table:name="Costs"><table:table-row>'
            "<table:table-cell><text:p>odsmark</text:p></table:table-cell></table:table-row></table:table>",
        ), "odsmark", 2,
    ),
    ".odp": (
        lambda number: open_document(
            "presentation",
            f"<draw:page><text:p>{number}</text:p></draw:page><draw:page><text:p>odpmark</text:p></draw:page>",
        ), "odpmark", 2,
    ),
    ".html": (lambda number: f"<h1>{number}</h1><p>htmlmark".encode(), "htmlmark", None),
    ".epub": (lambda number: with_part("book.epub", number), "epubcellmark", 3),
    ".csv": (lambda number: f"name,value\ncsvmark,{number}\n".encode(), "csvmark", None),
    ".tsv": (lambda number: f"name\tvalue\ntsvmark\t{number}\n".encode(), "tsvmark", None),
    ".eml": (lambda number: f"Subject: {number}\n\nemlmark".encode(), "emlmark", None),
    ".msg": (lambda number: outlook_message(**{"1000001E": b"msgmark %d" % number}), "msgmark", None),
    ".rtf": (lambda number: rb"{\rtf1 rtfmark %d}" % number, "rtfmark", None),
    ".ipynb": (
        lambda number: json.dumps({"cells": [{"cell_type": "markdown", "source": f"ipynbmark {number}"}]}).encode(),
        "ipynbmark", None,
    ),
    ".json": (lambda number: json.dumps({"jsonmark": number}).encode(), "jsonmark", None),
    ".jsonl": (lambda number: b'{"jsonlmark": %d}' % number, "jsonlmark", None),
    ".pdf": (lambda number: plain_pdf(f"first page {number}", "pdfmark"), "pdfmark", 2),
    ".md": (lambda number: f"# {number}\n\nmdmark\n".encode(), "mdmark", None),
    ".txt": (lambda number: f"txtmark {number}\n".encode(), "txtmark", None),
    ".dwg": (lambda number: b"%d" % number, "", None),
}  # fmt: skip
"""For each type: what makes a file of it, a word in it, and the page, slide, sheet or chapter of that."""


def test_each_kind_of_document_is_in_the_folder() -> None:
    made = {each.title for each in formats() if set(each.media_types) & MAKE.keys()}
    assert made == {each.title for each in formats()}


class Held(Library):
    """Reads its first document after a report of progress and its tenth one after another: on no machine before."""

    reported: list[float]
    read_so_far = 0

    async def read(self, path: str) -> DocumentText:
        self.read_so_far += 1
        if (reports := {1: 1, 10: 2}.get(self.read_so_far)) is not None:
            await until(lambda: len(self.reported) >= reports, within_s=300)
        return await super().read(path)


async def test_a_mixed_folder_is_indexed_with_progress_and_each_format_is_found_and_read(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "research"
    folder.mkdir()
    kinds = list(MAKE.items())
    for number in range(FILES):
        suffix, (make, *_) = kinds[number % len(kinds)]
        (folder / f"{number:04}{suffix}").write_bytes(make(number))
    reported: list[float] = []

    async def hear(progress: float, _total: float | None, _message: str | None) -> None:
        reported.append(progress)

    settings = Settings(
        roots=(Root("research", folder),), watch=False, index_wait_s=600, search_deadline_s=60
    )
    library = Held.from_settings(settings)
    library.reported = reported
    async with Client[Any](build_documents_server(settings, library=library)) as client:
        everything = answer_of(
            await client.call_tool("search_documents", {"query": "nowhereatall"}, progress_handler=hear)
        )
        for suffix, (_, mark, page) in kinds[:-1]:
            arguments = {"query": mark, "file_pattern": f"*{suffix}"}
            found = answer_of(await client.call_tool("search_documents", arguments))
            assert found["unreadable"] == []
            hit = found["matches"][0]
            assert (Path(hit["document"]).suffix, hit.get("page")) == (suffix, page), suffix
            place = {"document_path": hit["document"], "start_line": hit["line_number"], "max_lines": 1}
            (line,) = answer_of(await client.call_tool("read_document", place | {"page": page or 0}))["lines"]
            assert (line["text"], mark in line["text"]) == (hit["matched_text"], True)
    readable = sum(number % len(kinds) < len(kinds) - 1 for number in range(FILES))
    assert (everything["total_documents"], "indexing" in everything) == (readable, False)
    assert everything["warnings"] == [f"not read: {FILES - readable} .dwg"]
    assert reported == sorted(reported)
    assert len(reported) > 1
