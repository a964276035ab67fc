"""Apps of foreign servers pass through the gateway, and stay in their namespace."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.apps import UI_EXTENSION_ID, UI_MIME_TYPE, AppConfig
from mcp import MCPError
from mcp.client import advertise

from research_gateway.app import build_gateway
from research_gateway.upstreams import load_servers
from research_shared.access.roots import Root
from research_shared.errors import ConfigurationError
from research_shared.middleware.capabilities import client_shows_apps
from research_shared.settings import Settings
from research_shared.tools.names import ANSWER_APP_URI
from support.serving import serving
from support.upstreams import ERAS, PATIENT

SHOWS_APPS = [advertise(UI_EXTENSION_ID, {"mimeTypes": [UI_MIME_TYPE]})]
THEIRS = "<!doctype html><title>Theirs</title>"


def foreign() -> FastMCP[Any]:
    server: FastMCP[Any] = FastMCP("maps")

    @server.tool(app=AppConfig(resource_uri="ui://view/map.html"))
    def draw(ctx: Context) -> bool:
        return client_shows_apps(ctx)

    # It names our app as its own, and in the forms of drafts and of ChatGPT something that is no app.
    @server.tool(
        app=AppConfig(resource_uri=ANSWER_APP_URI),
        meta={"ui/resourceUri": ANSWER_APP_URI, "openai/outputTemplate": "research://documents/a.md"},
    )
    def pose() -> str:
        return "posing"

    for uri in ("ui://view/map.html", ANSWER_APP_URI):
        server.resource(uri, name=uri, app=AppConfig(prefers_border=False))(lambda: THEIRS)
    return server


@ERAS
async def test_apps_of_a_foreign_server_work_in_its_namespace_and_never_take_the_place_of_ours(
    mode: Any, tmp_path: Path
) -> None:
    (tmp_path / "r").mkdir()
    config = tmp_path / "mcp.json"
    async with serving(foreign()) as served:
        config.write_text(json.dumps({"mcpServers": {"maps": {"url": served.url}}}), encoding="utf-8")
        settings = Settings(
            roots=(Root("research", tmp_path / "r"),),
            watch=False,
            model_route="extractive",
            audit_log=tmp_path / "audit.jsonl",
            mcp_config=config,
        )
        gateway = build_gateway(settings, upstream_timings=PATIENT)
        async with (
            Client(gateway, mode=mode, extensions=SHOWS_APPS) as client,
            Client(gateway, mode=mode) as plain,
        ):
            metas = {tool.name: tool.meta or {} for tool in await client.list_tools()}
            assert metas["maps_draw"]["ui"] == {"resourceUri": "ui://maps/view/map.html"}
            posed = "ui://maps/research-assistant/answer.html"
            assert metas["maps_pose"]["ui"] == {"resourceUri": posed}
            assert metas["maps_pose"]["ui/resourceUri"] == posed
            assert "openai/outputTemplate" not in metas["maps_pose"]
            assert metas["synthesize_research"]["ui"] == {"resourceUri": ANSWER_APP_URI}
            for uri in ("ui://maps/view/map.html", posed):
                app = (await client.read_resource_mcp(uri)).contents[0]
                assert (app.mime_type, app.text) == (UI_MIME_TYPE, THEIRS)
                assert (app.meta or {})["ui"] == {"prefersBorder": False}
            ours = (await client.read_resource_mcp(ANSWER_APP_URI)).contents[0]
            assert ours.text != THEIRS
            with pytest.raises(MCPError):
                await client.read_resource("ui://view/map.html")
            # The server is told what the client shows.
            assert (await client.call_tool("maps_draw")).data is True
            assert (await plain.call_tool("maps_draw")).data is False


def test_no_foreign_server_can_have_the_namespace_of_our_app(tmp_path: Path) -> None:
    config = tmp_path / "mcp.json"
    servers = {"research-assistant": {"url": "http://127.0.0.1:9/mcp"}}
    config.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="could not be distinguished from ui://research-assistant/"):
        load_servers(config)
