"""Who the servers say they are, on each transport and in both protocol eras."""

import base64
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from fastmcp import Client, FastMCP
from fastmcp.apps import UI_EXTENSION_ID
from fastmcp.server.extensions import ServerExtension
from mcp_types import SERVER_INFO_META_KEY, Implementation

from research_documents.server import build_documents_server
from research_gateway.app import build_gateway
from research_reasoning.server import build_reasoning_server
from research_shared.access.roots import Root
from research_shared.serving.identity import WEBSITE, icon, new_server
from research_shared.settings import Settings
from research_shared.tasks.wire import TASKS_EXTENSION
from research_shared.tools.names import OWN_PROMPTS, OWN_TOOLS
from support.serving import serving

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


SERVERS: dict[str, tuple[Callable[[Settings], FastMCP[Any]], str]] = {
    "research-assistant": (build_gateway, "Research Assistant"),
    "research-documents": (build_documents_server, "Research Assistant: documents"),
    "research-reasoning": (build_reasoning_server, "Research Assistant: reasoning"),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "research").mkdir()
    root = Root("research", tmp_path / "research")
    return Settings(roots=(root,), watch=False, model_route="extractive", audit_log=tmp_path / "audit.jsonl")


@ERAS
@pytest.mark.parametrize("over_http", [False, True])
@pytest.mark.parametrize("name", SERVERS)
async def test_a_server_says_who_it_is_and_declares_the_extensions_that_it_has(
    name: str, mode: Any, over_http: bool, settings: Settings
) -> None:
    build, title = SERVERS[name]
    expected = Implementation(
        name=name, title=title, version=version(PROJECT["name"]), website_url=WEBSITE, icons=[icon()]
    )

    async def check(target: Any) -> None:
        async with Client(target, mode=mode) as client:
            assert client.server_info == expected
            assert client.server_capabilities is not None
            extensions: dict[str, Any] | None
            modern = mode != "legacy" and name != "research-documents"
            extensions = {UI_EXTENSION_ID: {}, TASKS_EXTENSION: {}} if modern else None
            assert client.server_capabilities.extensions == extensions
            listed = await client.list_tools_mcp()
            if mode == "auto":  # since 2026-07-28 each result says it again
                assert listed.meta is not None
                assert Implementation.model_validate(listed.meta[SERVER_INFO_META_KEY]) == expected

    if not over_http:
        await check(build(settings))
        return
    async with serving(build(settings)) as served:
        await check(served.url)


def test_the_identity_is_that_of_the_distribution() -> None:
    assert PROJECT["urls"]["Homepage"] == WEBSITE
    assert PROJECT["version"] == version(PROJECT["name"])


def test_the_icon_is_a_small_picture_that_runs_nothing() -> None:
    kind, _, data = icon().src.partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert len(data) < 500  # it travels with every result
    picture = ET.fromstring(base64.b64decode(data, validate=True))
    assert {element.tag.rpartition("}")[2] for element in picture.iter()} <= {
        "svg",
        "rect",
        "g",
        "path",
        "circle",
    }
    assert not [name for element in picture.iter() for name in element.attrib if name.startswith("on")]


@pytest.mark.parametrize("name", SERVERS)
async def test_tools_and_prompts_have_titles_and_prompts_small_icons_but_not_tools_which_models_read(
    name: str, settings: Settings
) -> None:
    build, _ = SERVERS[name]
    async with Client(build(settings)) as client:
        tools, prompts = await client.list_tools(), await client.list_prompts()
        others = [*await client.list_resource_templates(), *await client.list_resources()]
    assert {one.name for one in tools} <= set(OWN_TOOLS)
    assert {one.name for one in prompts} <= set(OWN_PROMPTS)
    for prompt in prompts:
        assert prompt.title
        assert prompt.icons is not None
        (picture,) = prompt.icons
        kind, _, data = picture.src.partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert len(data) < 300
        shapes = ET.fromstring(base64.b64decode(data)).iter()
        assert {one.tag.rpartition("}")[2] for one in shapes} == {"svg", "path"}
    assert all(one.title and not one.icons for one in [*tools, *others])


class Clock(ServerExtension):
    identifier = "org.example/clock"


async def test_an_extension_that_is_registered_stays_declared() -> None:
    server = new_server("extended", middleware=[])
    server.add_extension(Clock())
    declared = []
    for target in (server, FastMCP("plain")):
        async with Client(target) as client:
            assert client.server_capabilities is not None
            declared.append(client.server_capabilities.extensions)
    assert declared == [{"org.example/clock": {}}, {UI_EXTENSION_ID: {}}]
