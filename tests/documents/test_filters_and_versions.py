"""Metadata, filters, copies and versions, as the tools of the documents server show them."""

import asyncio
import io
import json
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pypdf
import pytest
from fastmcp import Client
from fastmcp.client.client import CallToolResult
from mcp_types import TextContent

from research_documents.search import SearchEngine
from research_documents.server import build_documents_server
from research_shared.access.roots import RootsPolicy
from research_shared.documents import DocumentText
from research_shared.middleware.scope_meta import SCOPE_META_KEY
from research_shared.reading.library import Library
from research_shared.root import Root
from research_shared.settings import Settings
from research_shared.text.tokens import ceiling_tokens
from support.backends import IN_EACH_PLACE
from support.pdf_files import plain_pdf
from support.results import error_of

pytestmark = IN_EACH_PLACE

OFFICE = Path(__file__).parents[1] / "data" / "office"
NOTE = """---
title: The Harbour Plan
authors: [Jürgen Müller, Ann Lee]
date: 2023-05
lang: en
tags: [harbour, costs]
---
# Another heading
The crane is rusty.
"""
NOTEBOOK = """{"metadata": {"authors": [{"name": "Ann Lee"}]}, "nbformat": 4, "nbformat_minor": 5, "cells": [
{"cell_type": "markdown", "metadata": {}, "source": ["# Crane study"]}]}"""
DAY = 86_400
CLIENT_LIMIT = 25_000
"""Tokens of a reply that clients let through."""


def pdf_with_properties() -> bytes:
    """A page of text, with an information dictionary."""
    writer = pypdf.PdfWriter(io.BytesIO(plain_pdf("A crane")))
    writer.add_metadata(
        {
            "/Title": "Cranes",
            "/Author": "Ann Lee and Bo Ek",
            "/CreationDate": "D:20230501093000Z",
            "/Keywords": "rust; port",
        }
    )
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "research"
    place.mkdir()
    (place / "harbour.md").write_text(NOTE, encoding="utf-8")
    (place / "harbour (1).md").write_text(NOTE, encoding="utf-8")
    (place / "report v1.md").write_text("# Report\nThe crane costs 4.\n", encoding="utf-8")
    (place / "report v2.md").write_text("# Report\nThe crane costs 5.\n", encoding="utf-8")
    (place / "late.text").write_text("---\nauthor: Bo Ek\n---\nDate: 4 March 2026\n", encoding="utf-8")
    (place / "plain.txt").write_text("A crane.\n", encoding="utf-8")
    for at, path in enumerate(sorted(place.iterdir())):
        os.utime(path, (1_700_000_000 + at * DAY, 1_700_000_000 + at * DAY))
    return place


@asynccontextmanager
async def connected_to(folder: Path) -> AsyncIterator[Client[Any]]:
    settings = Settings(roots=(Root("research", folder),), watch=False)
    async with Client(build_documents_server(settings)) as connected:
        await connected.call_tool("search_documents", {"query": "crane"})  # everything is read
        yield connected


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[Client[Any]]:
    async with connected_to(folder) as connected:
        yield connected


def text_of(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def paths(client: Client[Any], **arguments: Any) -> list[str]:
    result = await client.call_tool("list_research_documents", arguments)
    assert result.structured_content is not None
    return [document["path"] for document in result.structured_content["documents"]]


async def listed(client: Client[Any], path: str) -> dict[str, Any]:
    result = await client.call_tool("list_research_documents", {"file_pattern": path})
    assert result.structured_content is not None
    (document,) = result.structured_content["documents"]
    return {
        name: value
        for name, value in document.items()
        if name not in {"path", "filename", "size_bytes", "media_type", "modified"}
    }


async def test_the_listing_shows_what_documents_say_about_themselves(client: Client[Any]) -> None:
    assert await listed(client, "harbour.md") == {
        "title": "The Harbour Plan",
        "authors": ["Jürgen Müller", "Ann Lee"],
        "date": "2023-05",
        "language": "en",
        "tags": ["harbour", "costs"],
    }
    assert await listed(client, "late.text") == {"authors": ["Bo Ek"], "date": "2026-03-04"}
    assert await listed(client, "plain.txt") == {}


SAID_BY_OFFICE_FILES = {
    "book.epub": {"title": "epubtitlemark", "authors": ["authormark"], "date": "2026-11-26"},
    "deck.pptx": {"title": "slidetitlemark", "date": "2013-01-27"},
    "doc.docx": {"title": "titlemeta report", "authors": ["authormeta"], "language": "en-US"},
    "doc.fodt": {"title": "titlemeta report", "authors": ["authormeta"]},
    "doc.rtf": {"title": "titlemeta report", "authors": ["authormeta"]},
    "mail.eml": {"title": "subjectmark ünï", "authors": ["Ann"], "date": "2026-03-04"},
    "page.html": {"title": "htmltitlemark"},
    "sheet.xlsx": {"language": "en-US"},
    "study.ipynb": {"title": "Crane study", "authors": ["Ann Lee"]},
    "paper.pdf": {"title": "Cranes", "authors": ["Ann Lee", "Bo Ek"], "date": "2023-05-01", "tags": ["rust", "port"]},
}  # fmt: skip


async def test_each_format_gives_its_metadata_and_is_a_type(folder: Path) -> None:
    for path in (*folder.iterdir(), *OFFICE.glob("[bdmps]*.[!c]*")):
        path.unlink() if path.parent == folder else shutil.copy(path, folder)
    (folder / "study.ipynb").write_text(NOTEBOOK, encoding="utf-8")
    (folder / "paper.pdf").write_bytes(pdf_with_properties())
    async with connected_to(folder) as client:
        result = await client.call_tool("list_research_documents", {})
        assert result.structured_content is not None
        said = {
            document["path"]: {
                name: document[name]
                for name in ("title", "authors", "date", "language", "tags")
                if name in document
            }
            for document in result.structured_content["documents"]
        }
        assert said == SAID_BY_OFFICE_FILES
        assert await paths(client, type="slides, mail") == ["deck.pptx", "mail.eml"]
        assert await paths(client, type=["docx", "application/pdf"]) == ["doc.docx", "paper.pdf"]
        assert await paths(client, type="book", author="authormark") == ["book.epub"]


async def test_the_text_of_a_listing_has_title_authors_and_date_and_marks_copies_and_versions(
    client: Client[Any],
) -> None:
    result = await client.call_tool("list_research_documents", {})
    lines = [line.partition(" B ")[2] for line in text_of(result).splitlines() if " B " in line]
    assert '2023-11-15 "The Harbour Plan", Jürgen Müller, Ann Lee, 2023-05, tags: harbour, costs' in lines
    assert any(line.endswith("costs [same content as harbour.md]") for line in lines)
    assert '2023-11-18 "Report" [older version of report v2.md]' in lines
    assert '2023-11-19 "Report"' in lines


async def test_a_search_shows_what_is_known_of_the_documents_of_its_hits(client: Client[Any]) -> None:
    result = await client.call_tool("search_documents", {"query": "rusty"})
    assert result.structured_content is not None
    assert [match["document"] for match in result.structured_content["matches"]] == [
        "harbour.md",
        "harbour (1).md",
    ]
    first, second = result.structured_content["documents"]
    assert "same_content_as" not in first
    assert second["same_content_as"] == "harbour.md"
    assert first["title"] == "The Harbour Plan"
    text = text_of(result)
    assert 'harbour.md "The Harbour Plan", Jürgen Müller, Ann Lee, 2023-05' in text
    older = await client.call_tool("search_documents", {"query": "+costs report", "mode": "keyword"})
    assert 'report v1.md "Report" [older version of report v2.md]' in text_of(older)


CHOSEN: list[tuple[dict[str, Any], list[str]]] = [
    ({"type": "txt"}, ["late.text", "plain.txt"]),
    ({"author": "muller"}, ["harbour (1).md", "harbour.md"]),
    ({"author": ["Quine", "Ek, B."]}, ["late.text"]),
    ({"tags": ["#Harbour", "costs"]}, ["harbour (1).md", "harbour.md"]),
    ({"dated_after": "2026"}, ["late.text"]),
    ({"dated_after": 2023, "dated_before": "2023-05-10"}, ["harbour (1).md", "harbour.md"]),
    ({"modified_before": "2023-11-15"}, ["harbour (1).md", "harbour.md"]),
    ({"type": "md", "modified_after": "2023-11-19"}, ["report v2.md"]),
    ({"type": "md", "author": "Ann", "tags": "costs", "dated_before": "2024"}, ["harbour (1).md", "harbour.md"]),
]  # fmt: skip


async def test_filters_choose_documents_in_the_listing_and_in_searches(client: Client[Any]) -> None:
    for arguments, expected in CHOSEN:
        assert await paths(client, **arguments) == expected
        result = await client.call_tool(
            "search_documents", {"query": ".", "mode": "regex", "limit": 500, **arguments}
        )
        assert result.structured_content is not None
        found = [match["document"] for match in result.structured_content["matches"]]
        assert list(dict.fromkeys(found)) == expected
        assert result.structured_content["total_documents"] == len(expected)


async def test_filters_that_are_null_or_empty_are_none(client: Client[Any]) -> None:
    nothing = {
        name: None if at % 2 else ""
        for at, name in enumerate(
            ("type", "modified_after", "modified_before", "dated_after", "dated_before", "author", "tags")
        )
    }
    assert await paths(client, **nothing) == await paths(client)
    assert await paths(client, tags=[]) == await paths(client)


FITTING_NOTHING = [
    ({"type": "xls"}, "no document is of the type 'xls'; there are 4 .md, 1 .text, 1 .txt"),
    ({"author": "Muler"}, "no document has the author 'Muler'; nearest: Jürgen Müller"),
    ({"tags": "harbor"}, "no document has the tags 'harbor'; nearest: harbour"),
    ({"dated_before": "1999"}, "no document is dated to 1999-12-31; their dates are from 2023-05 to 2026-03-04"),
]  # fmt: skip


async def test_a_filter_that_fits_nothing_says_so_first_and_names_the_nearest(client: Client[Any]) -> None:
    for arguments, said in FITTING_NOTHING:
        for tool, more in (("list_research_documents", {}), ("search_documents", {"query": "crane"})):
            result = await client.call_tool(tool, {**more, **arguments})
            assert result.structured_content is not None
            assert result.structured_content["warnings"][0] == said
            assert f"Note: {said}" in text_of(result)


async def test_documents_that_do_not_say_what_a_filter_asks_for_are_counted(client: Client[Any]) -> None:
    for tool, more in (("list_research_documents", {}), ("search_documents", {"query": "crane"})):
        result = await client.call_tool(tool, {**more, "author": "Ann", "type": "md"})
        assert result.structured_content is not None
        assert result.structured_content["warnings"] == ["left out because they do not say: 2 name no author"]


async def test_a_cursor_belongs_to_its_filter(client: Client[Any]) -> None:
    first = await client.call_tool("list_research_documents", {"type": "md", "limit": 2})
    assert first.structured_content is not None
    cursor = first.structured_content["next_cursor"]
    assert await paths(client, type="md", limit=2, cursor=cursor) == ["report v1.md", "report v2.md"]
    for other in ({}, {"type": "txt"}):
        refused = await client.call_tool(
            "list_research_documents", {**other, "cursor": cursor}, raise_on_error=False
        )
        assert error_of(refused)["code"] == "invalid_cursor"


async def test_a_date_that_is_none_is_refused(client: Client[Any]) -> None:
    refused = await client.call_tool(
        "search_documents", {"query": "crane", "modified_after": "recently"}, raise_on_error=False
    )
    error = error_of(refused)
    assert (error["code"], "2024-05" in error["hint"]) == ("invalid_arguments", True)


async def test_a_large_page_shows_only_which_documents_are_copies_unless_a_filter_chose_them(
    folder: Path, client: Client[Any]
) -> None:
    for number in range(60):
        (folder / f"note {number:02}.md").write_text(f"# Note number {number}\ncrane\n", encoding="utf-8")
    await client.call_tool("search_documents", {"query": "number"})
    large = await client.call_tool("list_research_documents", {})
    assert large.structured_content is not None
    assert not any("title" in document for document in large.structured_content["documents"])
    assert "[same content as harbour.md]" in text_of(large)
    assert "Note number" not in text_of(large)
    chosen = await client.call_tool("list_research_documents", {"type": "md"})
    assert "Note number" in text_of(chosen)


async def test_a_filter_on_what_documents_say_answers_incomplete_before_they_are_read(folder: Path) -> None:
    let_go = asyncio.Event()

    class Held(Library):
        async def read_plain(self, paths: Sequence[str]) -> dict[str, DocumentText]:
            await let_go.wait()
            return await super().read_plain(paths)

    library = Held(RootsPolicy((Root("research", folder),)))
    settings = Settings(roots=(Root("research", folder),), watch=False)
    engine = SearchEngine(library, watch=False, index_wait_s=0.0, deadline_s=0.0)
    async with Client(build_documents_server(settings, library=library, engine=engine)) as client:
        waiting = await client.call_tool("list_research_documents", {"author": "muller"})
        assert waiting.structured_content is not None
        assert waiting.structured_content["documents"] == []
        assert waiting.structured_content["warnings"][0].startswith("INCOMPLETE: ")
        assert text_of(waiting).startswith("INCOMPLETE: ")
        assert await paths(client, type="md", modified_after="2023-11-19") == ["report v2.md"]
        let_go.set()
        async with asyncio.timeout(30):
            while await paths(client, author="muller") != ["harbour (1).md", "harbour.md"]:  # noqa: ASYNC110  (the engine has no event for it)
                await asyncio.sleep(0.02)


async def test_a_copy_outside_of_the_scope_is_not_told(folder: Path) -> None:
    (folder / "own").mkdir()
    (folder / "own" / "plan.md").write_text(NOTE, encoding="utf-8")
    async with connected_to(folder) as client:
        assert (await listed(client, "own/plan.md"))["same_content_as"] == "harbour.md"
        scope = {SCOPE_META_KEY: ["own"]}
        result = await client.call_tool("list_research_documents", {}, meta=scope)
        assert result.structured_content is not None
        (only,) = result.structured_content["documents"]
        assert only["path"] == "own/plan.md"
        assert "same_content_as" not in only
        refused = await client.call_tool("list_research_documents", {"author": "Ek"}, meta=scope)
        assert "Bo Ek" not in text_of(refused)


async def test_a_page_of_long_titles_and_many_names_stays_below_what_clients_let_through(
    tmp_path: Path,
) -> None:
    for number in range(50):
        people = ", ".join(f"Author {letter} of paper {number} {'name ' * 15}" for letter in "ABCDEFGHIJKLMN")
        words = ", ".join(f"keyword {at} of the paper" for at in range(30))
        (tmp_path / f"{number}.md").write_text(
            f"---\ntitle: On {number} {'long words ' * 40}\nauthors: [{people}]\ntags: [{words}]\n---\nA crane.\n",
            encoding="utf-8",
        )
    async with connected_to(tmp_path) as client:
        for tool, arguments in (("list_research_documents", {}), ("search_documents", {"query": "crane"})):
            result = await client.call_tool(tool, arguments)
            assert "On 0 long words" in text_of(result)
            assert ceiling_tokens(text_of(result)) < CLIENT_LIMIT
            assert ceiling_tokens(json.dumps(result.structured_content)) < CLIENT_LIMIT


async def test_of_hits_that_say_the_same_those_of_older_versions_come_last(tmp_path: Path) -> None:
    for number, name in enumerate(("plan draft", "plan v1", "plan v2", "zebra plan")):
        text = f"# Plan\n\nThe ferry leaves at noon.\n\n# Costs\n\n{number} crowns.\n"
        (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
    async with connected_to(tmp_path) as client:
        pages = []
        cursor = ""
        for _ in range(2):
            result = await client.call_tool(
                "search_documents", {"query": "ferry noon", "limit": 2, "cursor": cursor}
            )
            found = result.structured_content or {}
            pages.append([match["document"] for match in found["matches"]])
            cursor = found.get("next_cursor", "")
    assert pages == [["plan v2.md", "zebra plan.md"], ["plan draft.md", "plan v1.md"]]
