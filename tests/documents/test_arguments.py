"""The documents tools with the arguments that language models send."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_documents.server import build_documents_server
from research_gateway.app import build_gateway
from research_shared.access.roots import Root
from research_shared.settings import Settings
from support.backends import IN_EACH_PLACE
from support.results import error_of

SAMPLES = Path(__file__).parents[2] / "gateway" / "research_gateway" / "samples"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Twelve PDFs (one in upper case), ten of them in papers/, and some notes."""
    root = tmp_path / "library"
    for folder in ("papers", "notes/2026", "drafts"):
        (root / folder).mkdir(parents=True)
    for number in range(9):
        shutil.copy(SAMPLES / "cost-analysis.pdf", root / "papers" / f"cost-{number}.pdf")
    shutil.copy(SAMPLES / "results-report.pdf", root / "papers" / "results-report.pdf")
    shutil.copy(SAMPLES / "cost-analysis.pdf", root / "drafts" / "cost.pdf")
    shutil.copy(SAMPLES / "results-report.pdf", root / "drafts" / "OLD.PDF")
    (root / "notes" / "onion.md").write_text(
        "# Soup\n\nFirst\nAn onion is cut.\nIt is fried.\nIt is served.\n", encoding="utf-8"
    )
    (root / "notes" / "2026" / "plans \u00e9t\u00e9.md").write_text("Plant an onion.\n", encoding="utf-8")
    (root / "papers" / "onions.md").write_text("The onion paper.\n", encoding="utf-8")
    return root


@pytest.fixture
async def gateway(library: Path, tmp_path: Path) -> AsyncIterator[Client[Any]]:
    settings = Settings(
        roots=(Root("library", library),),
        audit_log=tmp_path / "audit.jsonl",
        watch=False,
        extract_workers=1,
        index_wait_s=600,
        search_deadline_s=60,
    )
    async with Client(build_gateway(settings)) as client:
        yield client


async def call(client: Client[Any], tool: str, **arguments: Any) -> tuple[dict[str, Any], str]:
    """The structured result, and the text."""
    result = await client.call_tool(tool, arguments)
    (content,) = result.content
    assert result.structured_content is not None
    return result.structured_content, getattr(content, "text", "")


async def not_found(client: Client[Any], path: str) -> str:
    """What is said about a path that means no document, or several."""
    result = await client.call_tool("read_document", {"document_path": path}, raise_on_error=False)
    error = error_of(result)
    assert error["code"] == "document_not_found"
    return f"{error['message']}\n{error['hint']}"


# The rows of the list of arguments that clients were seen to send, in its order.


@IN_EACH_PLACE
async def test_the_line_before_the_beginning_that_a_hit_near_it_leads_to_is_the_first_line(
    gateway: Client[Any],
) -> None:
    found, _ = await call(gateway, "search_documents", query="onion cut", file_pattern="notes")
    hit = found["matches"][0]
    assert hit["line_number"] == 4
    read, text = await call(
        gateway, "read_document", document_path=hit["document"], start_line=hit["line_number"] - 10
    )
    assert [line["number"] for line in read["lines"]] == [1, 2, 3, 4, 5, 6]
    assert read["notes"] == ["start_line is at least 1: 1 is used instead of -6"]
    assert "Note: start_line is at least 1" in text


@IN_EACH_PLACE
async def test_null_and_empty_text_mean_the_default(gateway: Client[Any]) -> None:
    plain = await call(gateway, "search_documents", query="onion")
    assert len(plain[0]["matches"]) == 3
    for argument in (
        {"cursor": ""},
        {"cursor": None},
        {"limit": None},
        {"limit": ""},
        {"limit": "10"},
        {"limit": 10.0},
        {"mode": None},
        {"mode": ""},
        {"mode": "Keyword"},
        {"file_pattern": None},
        {"file_pattern": ""},
        {"context_lines": None},
        {"context_lines": "0"},
        {"snippet": None},
        {"snippet": ""},
    ):
        assert await call(gateway, "search_documents", query="onion", **argument) == plain, argument


@IN_EACH_PLACE
async def test_a_pattern_that_names_a_folder_means_everything_in_it(gateway: Client[Any]) -> None:
    for pattern in ("papers", "papers/", "/papers/", "./papers", "PAPERS", "papers/**"):
        found, text = await call(gateway, "search_documents", query="onion", file_pattern=pattern)
        assert [match["document"] for match in found["matches"]] == ["papers/onions.md"]
        assert found["total_documents"] == 11
        notes = found.get("warnings", [])
        assert len(notes) == (0 if "*" in pattern else 1)
        for note in notes:
            assert "read as" in note
            assert f"Note: {note}" in text


async def test_the_case_of_a_pattern_does_not_matter(gateway: Client[Any]) -> None:
    await call(
        gateway, "search_documents", query="onion"
    )  # everything is read: a listing waits for 2 s at most
    for pattern in ("*.PDF", "*.pdf", "*.Pdf"):
        listing, _ = await call(gateway, "list_research_documents", file_pattern=pattern)
        assert listing["total"] == 12
        assert "warnings" not in listing


async def test_a_slash_before_a_pattern_does_not_matter(gateway: Client[Any]) -> None:
    listing, _ = await call(gateway, "list_research_documents", file_pattern="/papers/*")
    assert listing["total"] == 11
    listing, _ = await call(gateway, "list_research_documents", file_pattern="research://documents/papers/*")
    assert listing["total"] == 11


async def test_a_path_may_be_written_in_other_ways(gateway: Client[Any]) -> None:
    report, plans = "papers/results-report.pdf", "notes/2026/plans \u00e9t\u00e9.md"
    spellings: list[tuple[Any, str]] = [
        ("results-report.pdf", report),
        (f"./{report}", report),
        (f"/{report}", report),
        (f"research://documents/{report}", report),
        ("research://documents/notes/2026/plans%20%C3%A9t%C3%A9.md", plans),
        ("notes/2026/plans e\u0301te\u0301.md", plans),
        ("Papers/Results-Report.PDF", report),
        (f"`{report}`", report),
        ([report], report),
    ]
    for given, path in spellings:
        read, text = await call(gateway, "read_document", document_path=given)
        assert read["document_path"] == path
        assert text.startswith(f"{path}: lines 1-")


async def test_a_start_line_on_the_page_is_where_the_page_is_read_from(gateway: Client[Any]) -> None:
    path = "papers/results-report.pdf"
    page, _ = await call(gateway, "read_document", document_path=path, page=2)
    numbers = [line["number"] for line in page["lines"]]
    part, text = await call(gateway, "read_document", document_path=path, page=2, start_line=numbers[3])
    assert [line["number"] for line in part["lines"]] == numbers[3:]
    assert f"page 2 is read from line {numbers[3]} on; it begins at line {numbers[0]}" in text


async def test_a_start_line_that_is_not_on_the_page_is_said_to_be_left_out(gateway: Client[Any]) -> None:
    path = "papers/results-report.pdf"
    page, _ = await call(gateway, "read_document", document_path=path, page=2)
    part, text = await call(gateway, "read_document", document_path=path, page="2", start_line=1_000)
    assert part["lines"] == page["lines"]
    first, last = page["lines"][0]["number"], page["lines"][-1]["number"]
    assert f"Note: line 1000 is not on page 2 (lines {first}-{last}): the page is shown" in text


async def test_no_page_means_by_line(gateway: Client[Any]) -> None:
    by_line = await call(gateway, "read_document", document_path="notes/onion.md")
    for page in (None, "", 0, "0"):
        assert await call(gateway, "read_document", document_path="notes/onion.md", page=page) == by_line


# What still misses


async def test_a_name_that_several_documents_have_is_answered_with_their_paths(
    gateway: Client[Any], library: Path
) -> None:
    (library / "drafts" / "onion.md").write_text("Another onion.\n", encoding="utf-8")
    error = await not_found(gateway, "onion.md")
    assert "2 documents have this name" in error
    assert "drafts/onion.md, notes/onion.md" in error


async def test_a_path_that_is_nearly_right_is_answered_with_the_nearest(gateway: Client[Any]) -> None:
    error = await not_found(gateway, "papers/result-report.pdf")
    assert "papers/results-report.pdf" in error
    error = await not_found(gateway, "papers/*.pdf")
    assert "takes no pattern" in error


@IN_EACH_PLACE
async def test_a_pattern_that_matches_nothing_is_answered_with_what_there_is(gateway: Client[Any]) -> None:
    expected = (
        "no document matches '*.docx'; 15 documents are there, in papers/ (11), drafts/ (2), notes/ (2)"
    )
    listing, text = await call(gateway, "list_research_documents", file_pattern="*.docx")
    assert (listing["documents"], listing["warnings"]) == ([], [expected])
    assert f"Note: {expected}" in text
    for mode in ("keyword", "regex"):
        found, text = await call(gateway, "search_documents", query="onion", mode=mode, file_pattern="*.docx")
        assert (found["matches"], found["warnings"]) == ([], [expected])
        assert f"Note: {expected}" in text


@IN_EACH_PLACE
async def test_numbers_beyond_their_bounds_are_brought_within_them_and_said(gateway: Client[Any]) -> None:
    found, _ = await call(gateway, "search_documents", query="onion", limit=5_000, context_lines=-1)
    assert found["warnings"] == [
        "limit is from 1 to 1000: 1000 is used instead of 5000",
        "context_lines is from 0 to 20: 0 is used instead of -1",
    ]
    listing, _ = await call(gateway, "list_research_documents", limit=0)
    assert (listing["count"], listing["warnings"]) == (
        1,
        ["limit is from 1 to 1000: 1 is used instead of 0"],
    )
    read, _ = await call(gateway, "read_document", document_path="notes/onion.md", max_lines=10**9, page=-1)
    assert read["notes"] == [
        "max_lines is from 1 to 2000: 2000 is used instead of 1000000000",
        "page is at least 0: 0 is used instead of -1",
    ]


async def test_the_schemas_keep_the_plain_type_of_every_argument(gateway: Client[Any]) -> None:
    tools = {tool.name: tool.input_schema["properties"] for tool in await gateway.list_tools()}
    for name in ("list_research_documents", "search_documents", "read_document"):
        for argument, schema in tools[name].items():
            assert schema["type"] in {"string", "integer"}, f"{name}.{argument}"
            assert "anyOf" not in schema
            assert schema.get("default", "") is not None
            assert schema["description"]
    assert tools["search_documents"]["cursor"]["default"] == ""
    assert tools["read_document"]["page"]["type"] == "integer"
    assert tools["search_documents"]["mode"]["enum"] == ["keyword", "regex", "hybrid"]


async def test_a_scope_is_not_widened_by_generous_reading(library: Path) -> None:
    """What lies outside the scope is neither found by another spelling nor named as the nearest."""
    settings = Settings(roots=(Root("library", library / "papers"),), watch=False, extract_workers=1)
    async with Client(build_documents_server(settings)) as client:
        for given in ("onion.md", "notes/onion.md", "../notes/onion.md", str(library / "notes" / "onion.md")):
            error = await not_found(client, given)
            assert error == await not_found(client, given.replace("onion", "onien"))
            assert "notes" not in error
        listing, text = await call(client, "list_research_documents", file_pattern="notes/**")
        assert listing["total"] == 0
        assert "notes/ (" not in text


async def test_a_call_with_arguments_of_every_kind_of_mistake_is_answered_without_internal_error(
    gateway: Client[Any],
) -> None:
    for value in (None, "", " ", "-1", -1, 0, 10**30, 1.5, True, [], ["a"], [1, 2], {"a": 1}, "\0", "\ud7ff"):
        for tool, name, rest in (
            ("list_research_documents", "file_pattern", {}),
            ("list_research_documents", "limit", {}),
            ("list_research_documents", "cursor", {}),
            ("search_documents", "query", {}),
            ("search_documents", "snippet", {"query": "onion"}),
            ("search_documents", "context_lines", {"query": "onion"}),
            ("read_document", "document_path", {}),
            ("read_document", "start_line", {"document_path": "notes/onion.md"}),
            ("read_document", "page", {"document_path": "papers/cost-1.pdf"}),
        ):
            result = await gateway.call_tool(tool, {**rest, name: value}, raise_on_error=False)
            shown = json.dumps([getattr(part, "text", "") for part in result.content])
            assert "internal_error" not in shown
            assert "unexpected" not in shown
