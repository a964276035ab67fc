import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.client.client import CallToolResult
from fastmcp.exceptions import McpError
from mcp_types import ResourceTemplateReference

from research_documents.server import build_documents_server, create_server
from research_shared.documents import DocumentInfo, Identity
from research_shared.settings import Settings
from support.backends import IN_EACH_PLACE
from support.results import answer_of, error_of


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for a module, so that its server can be shared by its tests."""
    return "asyncio"


async def call(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert result.structured_content is not None
    return result.structured_content


async def refused(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    result: CallToolResult = await client.call_tool(tool, arguments, raise_on_error=False)
    error = error_of(result)
    assert error["message"]
    assert error["hint"]
    return error


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


async def test_listing_shows_documents_only_sorted_by_path(client: Client[Any], folder: Path) -> None:
    listing = await call(client, "list_research_documents")
    assert [d["path"] for d in listing["documents"]] == [
        "broken.pdf",
        "client-impact.md",
        "numbers.txt",
        "reports/results-report.pdf",
    ]
    assert (listing["count"], listing["total"], listing["next_cursor"]) == (4, 4, None)
    report = listing["documents"][-1]
    assert report["filename"] == "results-report.pdf"
    assert report["size_bytes"] == (folder / "reports" / "results-report.pdf").stat().st_size
    assert report["media_type"] == "application/pdf"
    assert report["modified"].endswith("Z")


async def test_a_bare_pattern_matches_at_any_depth_and_a_path_pattern_only_there(client: Client[Any]) -> None:
    anywhere = await call(client, "list_research_documents", file_pattern="results*")
    assert [d["path"] for d in anywhere["documents"]] == ["reports/results-report.pdf"]
    anchored = await call(client, "list_research_documents", file_pattern="other/*.pdf")
    assert anchored["documents"] == []


async def test_the_listing_of_an_empty_folder_is_an_empty_list(client: Client[Any], folder: Path) -> None:
    empty(folder)
    listing = await call(client, "list_research_documents")
    assert (listing["documents"], listing["count"], listing["total"]) == ([], 0, 0)


async def test_pages_of_the_listing_join_to_the_whole_even_when_a_file_goes_in_between(
    client: Client[Any], folder: Path
) -> None:
    first = await call(client, "list_research_documents", limit=2)
    assert (first["count"], first["total"]) == (2, 4)
    (folder / "broken.pdf").unlink()
    second = await call(client, "list_research_documents", limit=2, cursor=first["next_cursor"])
    assert [d["path"] for d in second["documents"]] == ["numbers.txt", "reports/results-report.pdf"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"cursor": "nonsense"}, "invalid_cursor"),
        ({"cursor": "x" * 10_000}, "invalid_cursor"),
        ({"limit": "all"}, "invalid_arguments"),
        ({"file_pattern": "a" * 2_000}, "invalid_pattern"),
        ({"files": "*"}, "invalid_arguments"),
    ],
)
async def test_bad_listing_arguments_are_named(
    shared_client: Client[Any], arguments: dict[str, Any], code: str
) -> None:
    assert (await refused(shared_client, "list_research_documents", **arguments))["code"] == code


async def test_a_cursor_does_not_fit_another_question(client: Client[Any]) -> None:
    first = await call(client, "list_research_documents", limit=1)
    error = await refused(client, "list_research_documents", file_pattern="*.md", cursor=first["next_cursor"])
    assert error["code"] == "invalid_cursor"


@IN_EACH_PLACE
async def test_keyword_search_finds_the_line_in_markdown_and_the_page_in_a_pdf(client: Client[Any]) -> None:
    found = await call(client, "search_documents", query="resignations pilot")
    match = next(m for m in found["matches"] if m["document"] == "reports/results-report.pdf")
    text = await call(
        client, "read_document", document_path=match["document"], start_line=match["line_number"]
    )
    assert text["lines"][0]["text"] == match["matched_text"]
    assert text["lines"][0]["page"] == match["page"]
    found = await call(client, "search_documents", query="named Friday contact")
    assert found["matches"][0]["document"] == "client-impact.md"
    assert "page" not in found["matches"][0]


@IN_EACH_PLACE
async def test_regex_search_gives_every_line_in_order_with_context(client: Client[Any]) -> None:
    found = await call(
        client,
        "search_documents",
        query=r"line 4\d\b",
        mode="regex",
        limit=100,
        context_lines=1,
        file_pattern="*.txt",
    )
    assert [m["line_number"] for m in found["matches"]] == [*range(40, 50)]
    assert found["matches"][0]["before"] == ["line 39 of many"]
    assert found["matches"][0]["after"] == ["line 41 of many"]
    assert found["truncated"] is False


@IN_EACH_PLACE
async def test_a_search_reports_the_files_that_it_could_not_read(client: Client[Any]) -> None:
    found = await call(client, "search_documents", query="friday")
    assert [u["path"] for u in found["unreadable"]] == ["broken.pdf"]
    assert found["unreadable"][0]["reason"]


@IN_EACH_PLACE
async def test_a_search_without_a_hit_is_an_empty_list(client: Client[Any]) -> None:
    for mode in ("keyword", "regex"):
        found = await call(client, "search_documents", query="zyzzyva", mode=mode)
        assert (found["matches"], found["truncated"]) == ([], False)


@IN_EACH_PLACE
async def test_an_invalid_regex_is_a_warning_to_the_client_and_no_error(settings: Settings) -> None:
    logged: list[tuple[str, Any]] = []

    async def on_log(message: Any) -> None:
        logged.append((message.level, message.data))

    async with Client(build_documents_server(settings), log_handler=on_log) as client:
        found = await call(client, "search_documents", query="(unclosed", mode="regex")
    assert found["matches"] == []
    assert found["warnings"]
    assert any(level == "warning" and found["warnings"][0] in data for level, data in logged)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"query": ""}, "invalid_arguments"),
        ({}, "invalid_arguments"),
        ({"query": "x", "mode": "fuzzy"}, "invalid_arguments"),
        ({"query": "x", "cursor": "nonsense"}, "invalid_cursor"),
        ({"query": "x" * 20_000}, "invalid_arguments"),
    ],
)
async def test_bad_search_arguments_are_named(
    shared_client: Client[Any], arguments: dict[str, Any], code: str
) -> None:
    assert (await refused(shared_client, "search_documents", **arguments))["code"] == code


async def test_stretches_of_a_document_join_to_the_whole(client: Client[Any]) -> None:
    numbers: list[int] = []
    start: int | None = 1
    while start is not None:
        part = await call(
            client, "read_document", document_path="numbers.txt", start_line=start, max_lines=180
        )
        numbers += [line["number"] for line in part["lines"]]
        start = part["next_start_line"]
    assert numbers == [*range(1, 501)]
    assert (part["total_lines"], part["pages"]) == (500, None)


async def test_a_page_of_a_pdf_is_read_by_its_number(client: Client[Any]) -> None:
    page = await call(client, "read_document", document_path="reports/results-report.pdf", page=2)
    assert page["pages"] == 3
    assert {line["page"] for line in page["lines"]} == {2}
    assert page["lines"][0]["text"].startswith("Burnout")
    assert page["next_start_line"] == page["lines"][-1]["number"] + 1


async def test_an_empty_document_has_no_lines(client: Client[Any], folder: Path) -> None:
    (folder / "empty.md").write_text("", encoding="utf-8")
    part = await call(client, "read_document", document_path="empty.md")
    assert (part["lines"], part["total_lines"], part["next_start_line"]) == ([], 0, None)


async def test_a_very_long_line_is_continued_under_the_next_numbers(
    client: Client[Any], folder: Path
) -> None:
    (folder / "long.md").write_text("x" * 5_000_000 + "\nend\n", encoding="utf-8")
    part = await call(client, "read_document", document_path="long.md")
    assert len(json.dumps(part)) < 300_000
    assert {line["text"] for line in part["lines"]} == {"x" * 2_000}
    assert part["total_lines"] == 2_501
    assert part["notes"] == ["lines of more than 4,000 bytes are continued under the next numbers"]
    part = await call(client, "read_document", document_path="long.md", start_line=2_500)
    assert [line["text"] for line in part["lines"]] == ["x" * 2_000, "end"]


async def test_a_reply_is_bounded_in_bytes_and_goes_on_where_it_stopped(
    client: Client[Any], folder: Path
) -> None:
    (folder / "wide.md").write_text(("y" * 3_000 + "\n") * 500, encoding="utf-8")
    part = await call(client, "read_document", document_path="wide.md", max_lines=500)
    assert len(json.dumps(part)) < 300_000
    assert part["next_start_line"] == part["lines"][-1]["number"] + 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"document_path": "missing.md"}, "document_not_found"),
        ({"document_path": "../outside.md"}, "document_not_found"),
        ({"document_path": "photo.png"}, "unsupported_type"),
        ({"document_path": "broken.pdf"}, "document_unreadable"),
        ({"document_path": "numbers.txt", "start_line": 501}, "invalid_arguments"),
        ({"document_path": "numbers.txt", "start_line": "top"}, "invalid_arguments"),
        ({"document_path": "numbers.txt", "page": 1}, "invalid_arguments"),
        ({"document_path": "reports/results-report.pdf", "page": 4}, "invalid_arguments"),
        ({}, "invalid_arguments"),
    ],
)
async def test_bad_reads_are_named(shared_client: Client[Any], arguments: dict[str, Any], code: str) -> None:
    error = await refused(shared_client, "read_document", **arguments)
    assert error["code"] == code
    assert "/" not in error["message"].replace(arguments.get("document_path", "") or "-", "")


async def test_an_unknown_tool_is_an_error_with_a_hint(client: Client[Any]) -> None:
    assert (await refused(client, "delete_everything"))["code"] == "unknown_tool"


async def test_documents_are_resources_too(client: Client[Any], folder: Path) -> None:
    templates = await client.list_resource_templates()
    assert "research://documents/{path*}" in [t.uri_template for t in templates]
    (content,) = await client.read_resource("research://documents/client-impact.md")
    assert content.mime_type == "text/markdown"
    assert getattr(content, "text", None) == (folder / "client-impact.md").read_text(encoding="utf-8")
    (content,) = await client.read_resource("research://documents/reports/results-report.pdf")
    assert "Burnout" in getattr(content, "text", "")


async def test_a_long_resource_is_cut_at_a_line_and_says_where_to_go_on(
    client: Client[Any], folder: Path
) -> None:
    (folder / "book.txt").write_text("all work and no play\n" * 50_000, encoding="utf-8")
    (content,) = await client.read_resource("research://documents/book.txt")
    text = getattr(content, "text", "")
    assert len(text) < 600_000
    last = text.splitlines()[-1]
    assert "of 50000" in last
    assert f"cut after line {len(text.splitlines()) - 1} " in last


@pytest.mark.parametrize("uri", ["research://documents/missing.md", "research://documents/..%2Foutside.md"])
async def test_a_missing_resource_is_a_protocol_error(client: Client[Any], uri: str) -> None:
    with pytest.raises(McpError) as failure:
        await client.read_resource(uri)
    assert failure.value.error.code == -32602


async def test_paths_complete_from_their_beginning_then_from_within(client: Client[Any]) -> None:
    template = ResourceTemplateReference(type="ref/resource", uri="research://documents/{path*}")
    found = await client.complete(template, {"name": "path", "value": "RE"})
    assert found.values == ["reports/results-report.pdf"]
    found = await client.complete(template, {"name": "path", "value": "results"})
    assert found.values == ["reports/results-report.pdf"]
    found = await client.complete(template, {"name": "other", "value": ""})
    assert found.values == []


@IN_EACH_PLACE
async def test_a_foreign_host_serves_the_same_schemas_and_results(settings: Settings) -> None:
    host: FastMCP[Any] = FastMCP("somebody else's host")

    @host.tool
    def hello() -> str:
        return "hello"

    host.mount(build_documents_server(settings))
    queries: list[tuple[str, dict[str, Any]]] = [
        ("list_research_documents", {}),
        ("search_documents", {"query": "friday"}),
        ("search_documents", {"query": "line 4.", "mode": "regex"}),
        ("read_document", {"document_path": "numbers.txt"}),
        ("read_document", {"document_path": "missing.md"}),
        ("read_document", {}),
    ]
    async with Client(host) as mounted, Client(build_documents_server(settings)) as alone:
        theirs = {t.name: t.model_dump() for t in await mounted.list_tools() if t.name != "hello"}
        ours = {t.name: t.model_dump() for t in await alone.list_tools()}
        assert theirs == ours
        for each in (mounted, alone):
            # Everything is read: a listing waits for two seconds at most.
            await each.call_tool("search_documents", {"query": "friday"})
        for tool, arguments in queries:
            there = await mounted.call_tool(tool, arguments, raise_on_error=False)
            here = await alone.call_tool(tool, arguments, raise_on_error=False)
            assert (there.is_error, answer_of(there)) == (here.is_error, answer_of(here))


async def test_every_tool_has_a_title_annotations_and_schemas(client: Client[Any]) -> None:
    for tool in await client.list_tools():
        assert tool.title
        assert tool.description
        assert tool.output_schema
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is True
        for name, schema in tool.input_schema["properties"].items():
            assert schema.get("description"), f"{tool.name}.{name}"


@IN_EACH_PLACE
async def test_the_same_question_gives_byte_identical_answers(client: Client[Any]) -> None:
    # A listing tells titles and pages as soon as they are known. A search waits until all are.
    await call(client, "search_documents", query="pilot friday")
    for tool, arguments in (
        ("list_research_documents", {}),
        ("search_documents", {"query": "pilot friday", "limit": 50}),
        ("search_documents", {"query": "line", "mode": "regex"}),
    ):
        first = await client.call_tool(tool, arguments)
        second = await client.call_tool(tool, arguments)
        assert json.dumps(first.structured_content) == json.dumps(second.structured_content)


async def test_the_factory_reads_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEARCH_ROOTS", str(folder))
    async with Client(create_server()) as client:
        assert (await call(client, "list_research_documents"))["total"] == 4


async def test_a_time_beyond_the_calendar_does_not_break_the_listing() -> None:
    for year, second in ((9999, 2**45), (1, -(2**45))):
        info = DocumentInfo(
            path="a.md",
            root="r",
            media_type="text/markdown",
            identity=Identity(1, 1, 1, second * 1_000_000_000, 0),
        )
        assert info.modified.year == year


async def test_a_document_whose_name_looks_absolute_is_a_resource_too(
    client: Client[Any], folder: Path
) -> None:
    (folder / "C:plan.md").write_text("a plan\n", encoding="utf-8")
    (content,) = await client.read_resource("research://documents/C:plan.md")
    assert getattr(content, "text", None) == "a plan\n"
