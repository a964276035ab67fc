"""The app of an answer: for clients that show apps, and nothing else for the others."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from fastmcp import Client, FastMCP
from fastmcp.apps import UI_EXTENSION_ID, UI_MIME_TYPE
from mcp import MCPError
from mcp.client import advertise

from research_gateway.app import build_gateway
from research_reasoning.apps.answer_app import MAX_CONTENT_BYTES, PAGE_META_KEY, answer_meta
from research_reasoning.server import build_reasoning_server
from research_shared.access.roots import Root
from research_shared.reading.library import Library
from research_shared.settings import Settings
from research_shared.tools.names import ANSWER_APP_URI
from support.serving import serving
from support.upstreams import PATIENT

SHOWS_APPS = [advertise(UI_EXTENSION_ID, {"mimeTypes": [UI_MIME_TYPE]})]
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
QUESTION = {"research_question": "How often does the moon pull the water of the sea?"}


def mounted(settings: Settings) -> FastMCP[Any]:
    host: FastMCP[Any] = FastMCP("host")
    host.mount(build_reasoning_server(settings))
    return host


SERVERS: dict[str, Callable[[Settings], FastMCP[Any]]] = {
    "direct": build_reasoning_server,
    "mounted": mounted,
    "gateway": build_gateway,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "tides.md").write_text(
        "# Tides\n\nThe moon pulls the water of the sea twice a day.\nSpring tides are higher.\n",
        encoding="utf-8",
    )
    return Settings(
        roots=(Root("research", tmp_path / "r"),),
        watch=False,
        model_route="extractive",
        audit_log=tmp_path / "audit.jsonl",
        document_url="https://dms.example/{path}",
    )


async def ask(client: Client[Any]) -> dict[str, Any]:
    """Return a result as it is on the wire, without what every result of the era says of the server."""
    result = await client.call_tool_mcp("synthesize_research", QUESTION)
    assert not result.is_error
    wire = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    wire.get("_meta", {}).pop(mcp_types.SERVER_INFO_META_KEY, None)
    sealed = wire["structuredContent"].pop("follow_up")  # anew each time
    wire["content"][0]["text"] = wire["content"][0]["text"].replace(sealed, "TOKEN")
    return wire


@ERAS
@pytest.mark.parametrize("place", SERVERS)
async def test_a_client_that_shows_apps_gets_the_rendered_answer_besides_the_same_result(
    place: str, mode: Any, settings: Settings
) -> None:
    server = SERVERS[place](settings)
    async with (
        Client(server, mode=mode, extensions=SHOWS_APPS) as client,
        Client(server, mode=mode) as other,
    ):
        shown, plain = await ask(client), await ask(other)
        tools = {tool.name: tool for tool in await client.list_tools()}
        assert (tools["synthesize_research"].meta or {})["ui"] == {"resourceUri": ANSWER_APP_URI}
        app = (await client.read_resource_mcp(ANSWER_APP_URI)).contents[0]
    content = shown.pop("_meta").pop(PAGE_META_KEY)
    assert {key: value for key, value in plain.items() if value != {}} == shown
    assert "<mark>The moon pulls the water of the sea twice a day.</mark>" in content
    assert 'href="https://dms.example/tides.md"' in content
    assert (app.mime_type, (app.meta or {})["ui"]) == (UI_MIME_TYPE, {"csp": {}, "prefersBorder": True})


@pytest.mark.parametrize(
    "settings_of_extension", [{}, {"mimeTypes": ["text/uri-list"]}, {"mimeTypes": UI_MIME_TYPE}]
)
async def test_a_client_that_shows_other_apps_gets_the_text_alone(
    settings_of_extension: dict[str, Any], settings: Settings
) -> None:
    extension = advertise(UI_EXTENSION_ID, settings_of_extension)
    async with Client(build_reasoning_server(settings), extensions=[extension]) as client:
        assert not (await ask(client)).get("_meta")


async def test_the_app_is_not_among_the_listed_resources(settings: Settings) -> None:
    async with Client(build_gateway(settings), extensions=SHOWS_APPS) as client:
        assert not [one for one in await client.list_resources() if str(one.uri).startswith("ui:")]
        with pytest.raises(MCPError):
            await client.read_resource("ui://research-assistant/other.html")


@ERAS
async def test_the_app_works_with_a_remote_reasoning_server(mode: Any, settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving(build_reasoning_server(settings)))
        gateway = build_gateway(
            settings.model_copy(update={"reasoning_url": served.url}), upstream_timings=PATIENT
        )
        client = await stack.enter_async_context(Client(gateway, mode=mode, extensions=SHOWS_APPS))
        assert (
            "The moon pulls the water of the sea twice a day." in (await ask(client))["_meta"][PAGE_META_KEY]
        )
        tools = {tool.name: tool for tool in await client.list_tools()}
        assert (tools["synthesize_research"].meta or {})["ui"] == {"resourceUri": ANSWER_APP_URI}
        app = (await client.read_resource_mcp(ANSWER_APP_URI)).contents[0]
        assert app.mime_type == UI_MIME_TYPE
        plain = await stack.enter_async_context(Client(gateway, mode=mode))
        assert not (await ask(plain)).get("_meta")


async def test_an_answer_that_is_too_large_to_render_comes_without_surroundings_or_as_text_alone(
    settings: Settings,
) -> None:
    async with Client(build_reasoning_server(settings)) as client:
        result = (await client.call_tool("synthesize_research", QUESTION)).structured_content
    assert result is not None

    async def rendered(chars: int) -> str | None:
        library = Library.from_settings(settings)
        long = result | {"synthesis": "x" * chars}
        async with library:
            meta = await answer_meta(long, library=library, link=lambda _path, _page: None)
        return None if meta is None else str(meta[PAGE_META_KEY])

    whole = await rendered(0)
    assert whole is not None
    assert "In its context" in whole
    shorter = await rendered(MAX_CONTENT_BYTES - len(whole.encode()) + 10)
    assert shorter is not None
    assert "In its context" not in shorter
    assert await rendered(MAX_CONTENT_BYTES) is None


async def test_an_answer_is_rendered_without_the_surroundings_of_a_document_that_is_gone(
    settings: Settings,
) -> None:
    async with Client(build_reasoning_server(settings)) as client:
        result = (await client.call_tool("synthesize_research", QUESTION)).structured_content
    assert result is not None
    (settings.roots[0].directory / "tides.md").unlink()
    library = Library.from_settings(settings)
    async with library:
        meta = await answer_meta(result, library=library, link=lambda _path, _page: None)
    assert meta is not None
    assert "The moon pulls the water of the sea twice a day." in meta[PAGE_META_KEY]
    assert "In its context" not in meta[PAGE_META_KEY]
