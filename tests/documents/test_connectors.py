"""`search` and `fetch` as ChatGPT and other connectors call them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.client.client import CallToolResult
from mcp_types import TextContent

from research_documents.connectors import DocumentId, add_connector_tools
from research_documents.search import SearchEngine, SearchOutcome
from research_documents.server import READ_ONLY, build_documents_server
from research_gateway.app import build_gateway
from research_shared.document_urls import LinkTemplate, document_uri
from research_shared.errors import ConfigurationError
from research_shared.reading.library import Library
from research_shared.settings import Settings
from research_shared.text.tokens import ceiling_tokens
from support.backends import IN_EACH_PLACE
from support.results import error_of
from support.serving import serving

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
WAYS = pytest.mark.parametrize("way", ["alone", "mounted", "remote"])
LIMIT = 25_000
"""Tokens that no default answer reaches."""


@pytest.fixture
def offered(settings: Settings) -> Settings:
    return settings.model_copy(update={"connector_tools": True})


@asynccontextmanager
async def served(way: str, settings: Settings, **gateway: Any) -> AsyncIterator[FastMCP[Any]]:
    """The documents server by itself, in the gateway's process, and behind the gateway over HTTP."""
    if way == "alone":
        yield build_documents_server(settings)
    elif way == "mounted":
        yield build_gateway(settings)
    else:
        async with serving(build_documents_server(settings)) as documents:
            yield build_gateway(settings.model_copy(update={"documents_url": documents.url, **gateway}))


def payload(result: CallToolResult) -> dict[str, Any]:
    """The one answer: a single text item of JSON, and the same as structured content."""
    (item,) = result.content
    assert isinstance(item, TextContent)
    assert result.structured_content is not None
    assert json.loads(item.text) == result.structured_content
    return result.structured_content


async def search(client: Client[Any], query: str) -> list[dict[str, str]]:
    found = payload(await client.call_tool("search", {"query": query}))
    for result in found["results"]:
        assert set(result) == {"id", "title", "url"}
        assert all(isinstance(value, str) for value in result.values())
        assert all(result.values())
    results: list[dict[str, str]] = found["results"]
    return results


async def fetch(client: Client[Any], named: str) -> dict[str, Any]:
    fetched = payload(await client.call_tool("fetch", {"id": named}))
    assert set(fetched) == {"id", "title", "text", "url", "metadata"}
    return fetched


async def refused(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    result: CallToolResult = await client.call_tool(tool, arguments, raise_on_error=False)
    error = error_of(result)
    assert error["hint"]
    return error


async def test_the_tools_are_there_only_when_they_are_asked_for(client: Client[Any]) -> None:
    assert {"search", "fetch"}.isdisjoint({tool.name for tool in await client.list_tools()})


@ERAS
@WAYS
async def test_what_search_finds_fetch_gives(offered: Settings, way: str, mode: Any) -> None:
    async with served(way, offered) as server, Client(server, mode=mode) as client:
        tools = {tool.name: tool for tool in await client.list_tools()}
        for name, argument in (("search", "query"), ("fetch", "id")):
            annotations = tools[name].annotations
            assert annotations is not None
            assert (annotations.read_only_hint, annotations.idempotent_hint) == (True, True)
            assert tools[name].input_schema["required"] == [argument]
            assert tools[name].input_schema["properties"][argument]["type"] == "string"
            assert tools[name].output_schema
        page, impact = (
            await search(client, "mean burnout score Aberdeen"),
            await search(client, "named Friday contact"),
        )
        burnout = await fetch(client, page[0]["id"])
        whole = await fetch(client, impact[0]["id"])
    assert page[0]["id"] == "reports/results-report.pdf#page=2"
    assert page[0]["title"] == burnout["title"] == "results-report.pdf, page 2"
    assert page[0]["url"] == burnout["url"] == "research://documents/reports/results-report.pdf#page=2"
    assert "Resignations" in burnout["text"]
    assert (burnout["metadata"]["page"], burnout["metadata"]["pages"]) == (2, 3)
    assert impact[0]["id"] == whole["id"] == whole["metadata"]["path"] == "client-impact.md"
    assert impact[0]["title"] == whole["title"] != "client-impact.md"
    assert whole["text"].startswith(f"# {whole['title']}\n")
    assert whole["url"] == "research://documents/client-impact.md"


async def test_metadata_says_what_the_text_is_a_part_of(offered: Settings, folder: Path) -> None:
    async with Client(build_documents_server(offered)) as client:
        whole = await fetch(client, "numbers.txt")
        part = await fetch(client, "numbers.txt#lines=11-12")
        (folder / "empty.txt").write_text("", encoding="utf-8")
        empty = await fetch(client, "empty.txt")
    modified = whole["metadata"].pop("modified")
    assert modified.endswith("Z")
    assert whole["metadata"] == {
        "path": "numbers.txt",
        "media_type": "text/plain",
        "pages": None,
        "page": None,
        "total_lines": 500,
        "lines": "1-500",
        "truncated": False,
        "next_id": None,
        "notes": [],
    }
    assert whole["text"] + "\n" == (folder / "numbers.txt").read_text(encoding="utf-8")
    assert part["text"] == "line 11 of many\nline 12 of many"
    assert (part["id"], part["title"]) == ("numbers.txt#lines=11-12", "numbers.txt, from line 11")
    assert (empty["text"], empty["metadata"]["total_lines"], empty["metadata"]["lines"]) == ("", 0, None)


async def fetch_all(client: Client[Any], named: str) -> tuple[str, int]:
    """The text of a document put together from what each fetch gives, and how many it took."""
    text, count, next_id = "", 0, named
    while True:
        fetched = await fetch(client, next_id)
        count += 1
        assert ceiling_tokens(json.dumps(fetched, ensure_ascii=False)) < LIMIT
        metadata = fetched["metadata"]
        if not metadata["truncated"]:
            assert metadata["next_id"] is None
            return text + fetched["text"], count
        body, _, note = fetched["text"].rpartition("\n")
        next_id = metadata["next_id"]
        assert note.startswith("[cut ")
        assert f'fetch the rest with id "{next_id}"]' in note
        assert f"of {metadata['total_lines']};" in note
        text += body + ("" if "&from=" in next_id else "\n")


@WAYS
async def test_a_long_document_comes_in_parts_that_join_to_the_whole(
    offered: Settings, folder: Path, way: str
) -> None:
    line = "In the year {} the committee found 12.5 % of the résumés \u2013 „unreadable“.\n"
    (folder / "long.txt").write_text("".join(line.format(n) for n in range(3_000)), encoding="utf-8")
    async with served(way, offered) as server, Client(server) as client:
        text, count = await fetch_all(client, "long.txt")
    assert text + "\n" == (folder / "long.txt").read_text(encoding="utf-8")
    assert count > 2


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("x" * 120_000, 6),
        ("short\n" + "word " * 40_000 + "\nend", 5),
        ("長" * 60_000, 5),
        ("\n" * 50_000, 6),
        ("!?" * 30_000, 5),
        (" " * 300_000 + "end", 5),
        ("\n".join(["QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5eg"] * 900), 5),
    ],
    ids=[
        "one long line",
        "a long line between short ones",
        "no spaces",
        "empty lines",
        "marks",
        "blanks",
        "encoded data",
    ],
)
async def test_every_character_of_a_text_is_reached(
    offered: Settings, folder: Path, text: str, most: int
) -> None:
    (folder / "odd.txt").write_text(text, encoding="utf-8")
    async with Client(build_documents_server(offered)) as client:
        joined, count = await fetch_all(client, "odd.txt")
    assert joined == text.removesuffix("\n")
    assert count <= most


async def test_the_rest_of_a_page_ends_with_the_page(offered: Settings) -> None:
    async with Client(build_documents_server(offered)) as client:
        page = await fetch(client, "reports/results-report.pdf#page=2")
    library = Library.from_settings(offered)
    server: FastMCP[Any] = FastMCP("in small parts")
    engine = SearchEngine.from_settings(library, offered)
    add_connector_tools(server, library=library, engine=engine, annotations=READ_ONLY, max_tokens=60)
    async with library, Client(server) as client:
        joined, count = await fetch_all(client, "reports/results-report.pdf#page=2")
        second = await fetch(client, "reports/results-report.pdf#page=2")
        rest = await fetch(client, second["metadata"]["next_id"])
    assert joined == page["text"]
    assert count > 1
    assert rest["url"] == "research://documents/reports/results-report.pdf#page=2"


@IN_EACH_PLACE
async def test_a_hit_deep_in_a_long_text_leads_to_its_lines(offered: Settings, folder: Path) -> None:
    filler = "nothing of interest is said in this line of the log\n"
    lines = [filler] * 6_000
    lines[4_321] = "the heron stood at the weir\n"
    lines[4_330] = "the heron left the weir\n"
    (folder / "log.txt").write_text("".join(lines), encoding="utf-8")
    async with Client(build_documents_server(offered)) as client:
        results = await search(client, "heron weir")
        fetched = await fetch(client, results[0]["id"])
    assert [result["id"] for result in results] == ["log.txt#lines=4201-"]
    assert results[0]["title"] == "log.txt, from line 4201"
    assert "the heron stood at the weir" in fetched["text"]
    assert "the heron left the weir" in fetched["text"]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# The *weir*  #\ntext", "The *weir*"),
        ("---\nauthor: x\ntitle: 'Night work'\n---\n# Other", "Night work"),
        ("```\n# not this\n```\n\n## But this", "But this"),
        ("no heading", "note.md"),
        ("# " + "x" * 300, "x" * 199 + "…"),
        ("#hashtag\n", "note.md"),
        ("", "note.md"),
    ],
)
async def test_a_markdown_document_is_titled_as_it_titles_itself(
    offered: Settings, folder: Path, text: str, title: str
) -> None:
    (folder / "note.md").write_text(text, encoding="utf-8")
    async with Client(build_documents_server(offered)) as client:
        assert (await fetch(client, "note.md"))["title"] == title


@pytest.mark.parametrize(
    "named",
    [
        "reports/results-report.pdf",
        "research://documents/reports/results-report.pdf",
        "./reports/results-report.pdf",
        "results-report.pdf",
        " Reports/Results-Report.PDF ",
    ],
)
async def test_a_document_is_fetched_by_any_spelling_of_its_path(offered: Settings, named: str) -> None:
    async with Client(build_documents_server(offered)) as client:
        whole, page = await fetch(client, named), await fetch(client, f"{named.strip()}#page=1")
    assert whole["id"] == "reports/results-report.pdf"
    assert page["id"] == "reports/results-report.pdf#page=1"
    assert whole["text"].startswith(page["text"].rstrip())


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("fetch", {"id": "missing.md"}, "document_not_found"),
    ("fetch", {"id": "missing.md#page=2"}, "document_not_found"),
    ("fetch", {"id": "numbers.txt#chapter=2"}, "document_not_found"),
    ("fetch", {"id": "../numbers.txt"}, "document_not_found"),
    ("fetch", {"id": "research://documents/..%2Foutside.md"}, "document_not_found"),
    ("fetch", {"id": "broken.pdf"}, "document_unreadable"),
    ("fetch", {"id": "reports/results-report.pdf#page=4"}, "invalid_arguments"),
    ("fetch", {"id": "numbers.txt#page=1"}, "invalid_arguments"),
    ("fetch", {"id": "numbers.txt#lines=501-"}, "invalid_arguments"),
    ("fetch", {"id": "numbers.txt#lines=9-8"}, "invalid_arguments"),
    ("fetch", {"id": ""}, "invalid_arguments"),
    ("fetch", {}, "invalid_arguments"),
    ("search", {"query": ""}, "invalid_arguments"),
    ("search", {"query": "pilot", "limit": 3}, "invalid_arguments"),
]


@pytest.mark.parametrize("way", ["alone", "mounted"])
async def test_what_cannot_be_done_is_refused_as_everywhere(offered: Settings, way: str) -> None:
    async with served(way, offered) as server, Client(server) as client:
        codes = [(await refused(client, tool, **arguments))["code"] for tool, arguments, _ in REFUSED]
    assert codes == [code for *_, code in REFUSED]


@IN_EACH_PLACE
async def test_a_search_without_a_hit_has_no_results_and_no_warning_but_for_what_cannot_be_read(
    offered: Settings, folder: Path
) -> None:
    async with Client(build_documents_server(offered)) as client:
        found = payload(await client.call_tool("search", {"query": "zyzzyva"}))
        assert found == {
            "results": [],
            "warnings": [
                "not read: 1 .pdf (not a PDF), 1 .png",
                "1 document gives no text and was not searched",
            ],
        }
        (folder / "broken.pdf").unlink()
        assert payload(await client.call_tool("search", {"query": "zyzzyva"})) == {
            "results": [],
            "warnings": ["not read: 1 .png"],
        }


INCOMPLETE = "INCOMPLETE: 12 of 70 documents are indexed yet; repeat in a few seconds"


class Indexing(SearchEngine):
    """An engine whose index is not complete."""

    async def search(self, query: str, **more: Any) -> SearchOutcome:
        return SearchOutcome(
            hits=(), total_documents=12, truncated=True, indexing=(12, 70), warnings=(INCOMPLETE, "another")
        )


async def test_an_incomplete_search_says_so_first(offered: Settings) -> None:
    library = Library.from_settings(offered)
    engine = Indexing.from_settings(library, offered)
    async with Client(build_documents_server(offered, library=library, engine=engine)) as client:
        found = payload(await client.call_tool("search", {"query": "pilot"}))
    assert found["warnings"] == [INCOMPLETE, "another"]


@IN_EACH_PLACE
async def test_documents_are_linked_as_the_operator_says(offered: Settings) -> None:
    linked = offered.model_copy(update={"document_url": "https://dms.example/{path}#page={page}"})
    async with Client(build_gateway(linked)) as client:
        page, whole = (
            await search(client, "mean burnout score Aberdeen"),
            await search(client, "named Friday contact"),
        )
        fetched = await fetch(client, whole[0]["id"])
    assert page[0]["url"] == "https://dms.example/reports/results-report.pdf#page=2"
    assert whole[0]["url"] == fetched["url"] == "https://dms.example/client-impact.md"


async def test_behind_the_gateway_the_documents_server_decides(offered: Settings) -> None:
    far = offered.model_copy(update={"document_url": "https://far.example/{path}"})
    near = {"document_url": "https://near.example/{path}", "connector_tools": False}
    async with served("remote", far, **near) as server, Client(server) as client:
        await client.call_tool("list_research_documents")
        assert (await fetch(client, "numbers.txt"))["url"] == "https://far.example/numbers.txt"


@IN_EACH_PLACE
@ERAS
async def test_the_scope_holds_for_both_tools_and_the_audit_tells_what_it_denied(
    offered: Settings, folder: Path, mode: Any
) -> None:
    narrow = offered.model_copy(update={"client_roots": "narrow"})
    roots = [(folder / "reports").as_uri()]
    async with Client(build_gateway(narrow), mode=mode, roots=roots) as client:
        results = await search(client, "pilot")
        assert results
        assert all(result["id"].startswith("reports/") for result in results)
        await fetch(client, results[0]["id"])
        hidden = await refused(client, "fetch", id="client-impact.md")
        missing = await refused(client, "fetch", id="missing.md")
        assert {**hidden, "hint": ""} == {**missing, "hint": ""}
        await refused(client, "fetch", id="../../etc/passwd.md")
    assert offered.audit_log is not None
    records = [json.loads(line) for line in offered.audit_log.read_text(encoding="utf-8").splitlines()]
    ends = [r for r in records if r["event"] == "end" and r["outcome"] != "input_required"]
    searched = next(r for r in ends if r.get("tool") == "search")
    assert {d["path"] for d in searched["documents"]} == {"reports/results-report.pdf"}
    fetched = [r for r in ends if r.get("tool") == "fetch"]
    assert fetched[0]["documents"] == [{"root": "research", "path": "reports/results-report.pdf"}]
    assert [(r["outcome"], r["reason"]) for r in fetched] == [
        ("ok", None),
        ("denied", "outside_scope"),
        ("denied", "outside_scope"),
        ("denied", "outside_roots"),
    ]


async def test_a_document_that_goes_while_it_is_searched_for_is_no_result(
    offered: Settings, folder: Path
) -> None:
    library = Library.from_settings(offered)

    class Slow(SearchEngine):
        async def search(self, query: str, **more: Any) -> SearchOutcome:
            outcome = await super().search(query, **more)
            (folder / "client-impact.md").unlink()
            return outcome

    engine = Slow.from_settings(library, offered)
    async with Client(build_documents_server(offered, library=library, engine=engine)) as client:
        assert await search(client, "+named +Friday +contact") == []


@pytest.mark.parametrize(
    "named",
    [
        DocumentId(path="a b/ö#1.pdf"),
        DocumentId(path="a.pdf", page=3),
        DocumentId(path="a.txt", first=2),
        DocumentId(path="a.txt", first=1, last=2),
        DocumentId(path="a.txt", first=1, character=2),
        DocumentId(path="a.txt", first=5, last=9, character=100),
        DocumentId(path="x#page=3.md", page=4),
    ],
)
def test_an_id_is_read_as_it_was_written(named: DocumentId) -> None:
    assert DocumentId.parse(str(named)) == named


@pytest.mark.parametrize(
    ("template", "paged", "unpaged"),
    [
        ("https://d.example/{path}#page={page}", "a%20b/c%23%3F.pdf#page=3", "a%20b/c%23%3F.pdf"),
        ("https://d.example/{path}?p={page}&v=1", "a%20b/c%23%3F.pdf?p=3&v=1", "a%20b/c%23%3F.pdf?v=1"),
        ("https://d.example/{path}?v=1&p={page}#x", "a%20b/c%23%3F.pdf?v=1&p=3#x", "a%20b/c%23%3F.pdf?v=1#x"),
        ("https://d.example/{path}/{page}/view", "a%20b/c%23%3F.pdf/3/view", "a%20b/c%23%3F.pdf/view"),
        (
            "https://d.example/#/open/{path}?page={page}&z=2",
            "#/open/a%20b/c%23%3F.pdf?page=3&z=2",
            "#/open/a%20b/c%23%3F.pdf?z=2",
        ),
        ("https://d.example/open?file={path}", "open?file=a%20b/c%23%3F.pdf", "open?file=a%20b/c%23%3F.pdf"),
    ],
)
def test_a_link_is_encoded_and_left_without_what_names_the_page(
    template: str, paged: str, unpaged: str
) -> None:
    links = LinkTemplate.parse(template)
    assert links.link("a b/c#?.pdf", 3) == "https://d.example/" + paged
    assert links.link("a b/c#?.pdf") == "https://d.example/" + unpaged


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("https://d.example/", "{path} is missing"),
        ("https://d.example/{page}", "{path} is missing"),
        ("https://d.example/{path}?n={name}", "{name} is unknown"),
        ("https://d.example/{path}/{}", "{} is unknown"),
        ("https://d.example/{path", "a brace is not closed"),
        ("https://d.example/{path}}", "a brace is not closed"),
        ("https://d.example/{path}:{page}", "{path} and {page} are in the same part"),
        ("https://d.example/{path} x", "it has a space or a control character"),
        ("ftp://d.example/{path}", "the scheme is another one"),
        ("d.example/{path}", "the scheme is another one"),
        ("https:///{path}", "the host or the port is malformed"),
        ("https://d.example:99999/{path}", "the host or the port is malformed"),
        ("https://[d.example/{path}", "the host or the port is malformed"),
        ("https://{path}.example/", "the host or the port is malformed"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_at_the_start_in_one_line(
    folder: Path, template: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError) as failure:
        Settings.load({"RESEARCH_ROOTS": str(folder), "RESEARCH_DOCUMENT_URL": template})
    address, has_query, _query = template.partition("?")
    shown = address + "?***" if has_query else template  # there may be a key in it
    assert failure.value.message == (
        f"RESEARCH_DOCUMENT_URL={shown!r}: allowed: an http or https address with {{path}} in it, and {{page}} in a "
        f"part of its own if at all; {problem}"
    )


def test_the_settings_are_read_from_the_environment(folder: Path) -> None:
    template = "https://dms.example/{path}#page={page}"
    environment = {"RESEARCH_CONNECTOR_TOOLS": "true", "RESEARCH_DOCUMENT_URL": template}
    settings = Settings.load({"RESEARCH_ROOTS": str(folder), **environment})
    assert (settings.connector_tools, settings.document_url) == (True, template)
    assert Settings.load({"RESEARCH_ROOTS": str(folder)}).connector_tools is False


def test_a_uri_holds_a_path_percent_encoded() -> None:
    assert document_uri("a b/C# 100%.md") == "research://documents/a%20b/C%23%20100%25.md"
