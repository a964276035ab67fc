"""`resources/list`: the documents, in pages, within the scope, wherever the server runs."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from fastmcp import Client, FastMCP
from fastmcp.apps import UI_EXTENSION_ID, UI_MIME_TYPE
from fastmcp.exceptions import McpError
from mcp.client import advertise
from mcp.shared.exceptions import MCPError
from mcp_types import PaginatedRequestParams, ResourceTemplateReference

from research_documents.resources import DEFAULT_PAGE_SIZE, PageSize
from research_documents.server import build_documents_server
from research_gateway.app import build_gateway
from research_shared.access.roots import Root
from research_shared.document_urls import DOCUMENT_URI
from research_shared.settings import Settings
from support.serving import serving
from support.upstreams import PATIENT

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
WAYS = pytest.mark.parametrize("way", ["alone", "mounted", "remote"])
TEMPLATE = ResourceTemplateReference(type="ref/resource", uri="research://documents/{path*}")


@asynccontextmanager
async def served(
    way: str, settings: Settings, page_size: PageSize = DEFAULT_PAGE_SIZE
) -> AsyncIterator[FastMCP[Any]]:
    """The documents server by itself, in the gateway's process, and behind the gateway over HTTP."""
    if way == "alone":
        yield build_documents_server(settings, resource_page_size=page_size)
    elif way == "mounted":
        yield build_gateway(settings, resource_page_size=page_size)
    else:
        async with serving(build_documents_server(settings, resource_page_size=page_size)) as documents:
            remote = settings.model_copy(update={"documents_url": documents.url})
            yield build_gateway(remote, resource_page_size=page_size)


async def pages_of(client: Client[Any]) -> list[list[mcp_types.Resource]]:
    """All pages, each asked for with the cursor of the one before."""
    pages: list[list[mcp_types.Resource]] = []
    cursor: str | None = None
    while True:
        params = PaginatedRequestParams(cursor=cursor)
        result = await client.session.list_resources(params=params)
        pages.append(list(result.resources))
        cursor = result.next_cursor
        if cursor is None:
            return pages


def paths_in(page: list[mcp_types.Resource]) -> list[str]:
    return [resource.name for resource in page if resource.uri.startswith(DOCUMENT_URI)]


@ERAS
@WAYS
async def test_each_document_is_listed_with_what_a_client_shows_of_it(
    settings: Settings, folder: Path, way: str, mode: Any
) -> None:
    async with served(way, settings) as server, Client(server, mode=mode) as client:
        listed = await client.list_resources()
        documents = {r.name: r for r in listed if r.uri.startswith(DOCUMENT_URI)}
        others = [r.uri for r in listed if not r.uri.startswith(DOCUMENT_URI)]
        (content,) = await client.read_resource(documents["client-impact.md"].uri)
    assert list(documents) == ["broken.pdf", "client-impact.md", "numbers.txt", "reports/results-report.pdf"]
    assert others == ([] if way == "alone" else ["research://scope"])
    report = documents["reports/results-report.pdf"]
    status = (folder / "reports" / "results-report.pdf").stat()
    assert report.uri == "research://documents/reports/results-report.pdf"
    assert (report.title, report.mime_type, report.size) == (
        "results-report.pdf",
        "application/pdf",
        status.st_size,
    )
    assert report.annotations is not None
    assert report.annotations.last_modified is not None
    assert report.annotations.last_modified.endswith("Z")
    assert getattr(content, "text", None) == (folder / "client-impact.md").read_text(encoding="utf-8")


@WAYS
async def test_pages_join_to_the_whole_even_when_a_file_goes_in_between(
    settings: Settings, folder: Path, way: str
) -> None:
    size = PageSize(entries=2)
    async with served(way, settings, size) as server, Client(server) as client:
        pages = await pages_of(client)
        assert [paths_in(page) for page in pages] == [
            ["broken.pdf", "client-impact.md"],
            ["numbers.txt", "reports/results-report.pdf"],
        ]
        assert [len(page) for page in pages] == ([2, 2] if way == "alone" else [3, 2])
        first = await client.session.list_resources()
        (folder / "client-impact.md").unlink()
        params = PaginatedRequestParams(cursor=first.next_cursor)
        second = await client.session.list_resources(params=params)
        assert paths_in(list(second.resources)) == ["numbers.txt", "reports/results-report.pdf"]


async def test_a_page_ends_early_where_paths_are_long(settings: Settings, folder: Path) -> None:
    deep = folder / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    for number in range(6):
        (deep / f"{'ü' * 100}{number}.md").write_text("x", encoding="utf-8")
    server = build_documents_server(settings, resource_page_size=PageSize(size_bytes=2_000))
    async with Client(server) as client:
        pages = await pages_of(client)
        whole = await client.call_tool("list_research_documents")
    assert [name for page in pages for name in paths_in(page)] == [
        document["path"] for document in (whole.structured_content or {})["documents"]
    ]
    assert [len(page) for page in pages] == [2, 1, 1, 1, 1, 1, 1, 2]


async def test_relayed_resources_come_before_the_documents_and_in_pages_too(
    settings: Settings, tmp_path: Path
) -> None:
    other: FastMCP[Any] = FastMCP("other")
    for number in range(5):
        other.resource(f"note://{number}", name=f"note {number}")(lambda: "text")
    async with serving(other) as upstream:
        config = tmp_path / "servers.json"
        config.write_text(json.dumps({"mcpServers": {"far": {"url": upstream.url}}}), encoding="utf-8")
        gateway = build_gateway(
            settings.model_copy(update={"mcp_config": config}),
            upstream_timings=PATIENT,
            resource_page_size=PageSize(entries=3),
        )
        async with Client(gateway) as client:
            pages = await pages_of(client)
    uris = [[resource.uri for resource in page] for page in pages]
    assert uris[0] == ["research://scope", "note://far/0", "note://far/1"]
    assert uris[1][:3] == ["note://far/2", "note://far/3", "note://far/4"]
    assert [paths_in(page) for page in pages[1:]] == [
        ["broken.pdf", "client-impact.md", "numbers.txt"],
        ["reports/results-report.pdf"],
    ]


ODD_NAMES = (
    "a b.md",
    "C#.md",
    "50% off.md",
    "%41.md",
    "%2e%2e.md",
    "what? & why+=;,.md",
    "Größe \u2013 中文 🦉.md",
    "e\u0301.md",
    "\u00e9.md",
    "[x]{y}(z)!'*~@$:.md",
    "back\\slash.md",
    "line\nbreak.md",
    '"quoted" <b>.md',
    "x...md",
    "x.pdf#page=3.md",
)


@WAYS
async def test_every_listed_uri_can_be_read_whatever_the_name(
    settings: Settings, folder: Path, way: str
) -> None:
    odd = folder / "odd #1 %"
    odd.mkdir()
    texts: dict[str, str] = {}
    for number, name in enumerate(ODD_NAMES):
        (odd / name).write_text(f"text {number}\n", encoding="utf-8")
    Path(os.fsdecode(os.fsencode(odd) + b"/caf\xe9.md")).write_text("latin\n", encoding="utf-8")
    async with served(way, settings) as server, Client(server) as client:
        for resource in await client.list_resources():
            if resource.name.startswith("odd #1 %/"):
                (content,) = await client.read_resource(resource.uri)
                texts[resource.name] = getattr(content, "text", "")
        for path, text in texts.items():
            read = await client.call_tool("read_document", {"document_path": path})
            assert text.rstrip("\n") in json.dumps(read.structured_content)
    expected = {f"text {number}\n" for number in range(len(ODD_NAMES))} | {"latin\n"}
    assert set(texts.values()) == expected
    assert len(texts) == len(expected)


@WAYS
async def test_a_narrowed_client_is_listed_its_own_documents_only(
    settings: Settings, folder: Path, way: str
) -> None:
    (folder / "reports" / "second.md").write_text("x", encoding="utf-8")
    narrow = settings.model_copy(update={"client_roots": "narrow"})
    async with served(way, narrow, PageSize(entries=1)) as server:
        roots = [(folder / "reports").as_uri()]
        async with Client(server, mode="legacy", roots=roots) as client:
            pages = await pages_of(client)
            completion = await client.complete(TEMPLATE, {"name": "path", "value": ""})
        listed = [name for page in pages for name in paths_in(page)]
        if way == "alone":  # who narrows is the gateway
            assert len(listed) == 5
            return
        assert listed == ["reports/results-report.pdf", "reports/second.md"]
        assert completion.values == listed
        # Since 2026-07-28 a listing cannot ask for the client's roots; what cannot be asked for counts as nothing.
        async with Client(server, mode="auto", roots=roots) as client:
            assert [paths_in(page) for page in await pages_of(client)] == [[]]
        async with Client(server, mode="auto") as client:
            assert len([name for page in await pages_of(client) for name in paths_in(page)]) == 5


@ERAS
@WAYS
@pytest.mark.parametrize("cursor", ["nonsense", "x" * 10_000, "WyJhIiwgImIiXQ"])
async def test_a_cursor_of_somebody_else_is_refused_and_recorded(
    settings: Settings, way: str, mode: Any, cursor: str
) -> None:
    async with served(way, settings) as server, Client(server, mode=mode) as client:
        with pytest.raises((McpError, MCPError)) as failure:
            await client.list_resources_mcp(cursor=cursor)
    assert failure.value.error.code == -32602
    assert failure.value.error.data["error"]["code"] == "invalid_cursor"
    if way == "mounted":
        assert settings.audit_log is not None
        ends = [json.loads(line) for line in settings.audit_log.read_text(encoding="utf-8").splitlines()]
        end = next(e for e in ends if e["event"] == "end" and e["method"] == "resources/list")
        assert (end["outcome"], end["reason"]) == ("invalid_arguments", "invalid_cursor")


@WAYS
async def test_a_folder_that_is_gone_is_an_error_and_no_empty_list(
    settings: Settings, folder: Path, way: str
) -> None:
    async with served(way, settings) as server, Client(server) as client:
        folder.rename(folder.with_name("elsewhere"))
        with pytest.raises((McpError, MCPError)) as failure:
            await client.list_resources()
    assert failure.value.error.data["error"]["code"] == "root_unavailable"


async def test_a_documents_server_that_is_gone_is_an_error_and_no_empty_list(settings: Settings) -> None:
    async with serving(build_documents_server(settings)) as documents:
        gateway = build_gateway(settings.model_copy(update={"documents_url": documents.url}))
        async with Client(gateway) as client:
            assert len(await client.list_resources()) == 5
            await documents.stop()
            with pytest.raises((McpError, MCPError)) as failure:
                await client.list_resources()
    assert failure.value.error.data["error"]["code"] == "backend_unavailable"


async def test_a_host_that_does_not_page_gets_the_first_page_and_the_template(settings: Settings) -> None:
    host: FastMCP[Any] = FastMCP("somebody else's host")
    host.mount(build_documents_server(settings, resource_page_size=PageSize(entries=2)))
    async with Client(host) as client:
        assert [r.name for r in await client.list_resources()] == ["broken.pdf", "client-impact.md"]
        assert [t.uri_template for t in await client.list_resource_templates()] == [
            "research://documents/{path*}"
        ]
        (content,) = await client.read_resource("research://documents/numbers.txt")
        assert "line 500 of many" in getattr(content, "text", "")


async def test_an_audited_listing_says_how_much_it_gave_and_names_no_document(settings: Settings) -> None:
    async with Client(build_gateway(settings, resource_page_size=PageSize(entries=3))) as client:
        await client.session.list_resources()
    assert settings.audit_log is not None
    text = settings.audit_log.read_text(encoding="utf-8")
    end = next(
        e
        for e in map(json.loads, text.splitlines())
        if e["event"] == "end" and e["method"] == "resources/list"
    )
    assert (end["outcome"], end["result_items"]) == ("ok", 4)
    assert "client-impact.md" not in text


async def test_two_folders_are_listed_in_the_order_of_their_names(settings: Settings, tmp_path: Path) -> None:
    roots = []
    for name in ("zeta", "alpha"):
        (tmp_path / name / "b").mkdir(parents=True)
        (tmp_path / name / "b" / "x.md").write_text("x", encoding="utf-8")
        (tmp_path / name / "b.md").write_text("x", encoding="utf-8")
        roots.append(Root(name, tmp_path / name))
    two = settings.model_copy(update={"roots": tuple(roots)})
    async with Client(build_documents_server(two)) as client:
        listed = [r.name for r in await client.list_resources()]
    assert listed == ["alpha/b.md", "alpha/b/x.md", "zeta/b.md", "zeta/b/x.md"]


@ERAS
@WAYS
async def test_a_client_that_shows_apps_gets_links_to_documents_and_pages_of_hits_and_others_the_text_alone(
    settings: Settings, way: str, mode: Any
) -> None:
    shows = [advertise(UI_EXTENSION_ID, {"mimeTypes": [UI_MIME_TYPE]})]
    asked = {"query": "pilot", "file_pattern": "{client-impact.md,reports/*.pdf}"}
    async with (
        served(way, settings) as server,
        Client(server, mode=mode, extensions=shows) as client,
        Client(server, mode=mode) as plain,
    ):
        text, *links = (result := await client.call_tool("search_documents", asked)).content
        other = await plain.call_tool("search_documents", asked)
        assert (other.content, other.structured_content) == ([text], result.structured_content)
        titles = {link.name: link.title for link in links if isinstance(link, mcp_types.ResourceLink)}
        assert titles.keys() == {"client-impact.md", "reports/results-report.pdf"}
        assert titles["client-impact.md"] == "client-impact.md"
        assert (titles["reports/results-report.pdf"] or "").startswith("results-report.pdf, page ")
        for link in links:
            assert isinstance(link, mcp_types.ResourceLink)
            assert link.annotations is not None
            assert link.annotations.audience == ["user"]
            assert (await client.read_resource(link.uri))[0]
