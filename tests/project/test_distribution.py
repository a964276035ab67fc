"""What is published beside the wheel says what the code says: versions, tools, settings, commands."""

import importlib
import json
import re
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastmcp import Client

from research_gateway.app import build_gateway
from research_gateway.cli import clients
from research_shared.base_errors import ConfigurationError
from research_shared.root import Root
from research_shared.serving.version import VERSION
from research_shared.settings import Settings
from research_shared.settings.names import variable_of

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def json_of(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / path).read_text(encoding="utf-8"))
    return found


MANIFEST = json_of("deploy/mcpb/manifest.json")
SERVER = json_of("deploy/registry/server.json")
(PACKAGE,) = SERVER["packages"]


def settings(tmp_path: Path, **values: Any) -> Settings:
    (tmp_path / "research").mkdir()
    return Settings(
        roots=(Root("research", tmp_path / "research"),), audit_log=tmp_path / "audit.jsonl", **values
    )


def test_every_file_has_the_version_of_the_package() -> None:
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.search(r"^## (?!Unreleased)(\S+)", log, re.MULTILINE)
    versions = [PROJECT["version"], MANIFEST["version"], SERVER["version"], PACKAGE["version"]]
    assert versions == [VERSION] * 4
    assert released is not None
    assert released[1] == VERSION


async def test_the_bundle_names_the_tools_of_the_gateway(tmp_path: Path) -> None:
    async with Client(build_gateway(settings(tmp_path))) as client:
        tools = {tool.name for tool in await client.list_tools()}
    assert {tool["name"] for tool in MANIFEST["tools"]} == tools


def test_the_bundle_uses_each_value_that_it_asks_for_and_no_other() -> None:
    config = MANIFEST["server"]["mcp_config"]
    used = re.findall(r"\$\{user_config\.(\w+)\}", json.dumps(config))
    assert sorted(used) == sorted(MANIFEST["user_config"])
    assert {name for name, asked in MANIFEST["user_config"].items() if asked.get("sensitive")} == {
        "provider_key"
    }
    # An argument whose value is empty stays a placeholder; an empty variable is no setting.
    needed = {
        name for name, asked in MANIFEST["user_config"].items() if asked.get("required") or asked["default"]
    }
    assert set(re.findall(r"user_config\.(\w+)", json.dumps(config["args"]))) <= needed
    assert (ROOT / MANIFEST["server"]["entry_point"]).is_file()


def test_published_commands_and_variables_exist() -> None:
    variables = {variable_of(name) for name in Settings.model_fields}
    asked = chain(
        MANIFEST["server"]["mcp_config"]["env"], (each["name"] for each in PACKAGE["environmentVariables"])
    )
    assert set(asked) <= variables
    assert PACKAGE["identifier"] == PROJECT["name"]
    assert PROJECT["name"] in PROJECT["scripts"], "uvx and pipx start the command of that name"
    assert set(PROJECT["scripts"]) == clients.COMMANDS


def test_the_registry_entry_meets_the_registrys_schema() -> None:
    schema = json_of("tests/data/registry/server.schema.json")
    assert SERVER["$schema"] == schema["$id"]
    jsonschema.validate(SERVER, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**SERVER, "description": "x" * 101}, schema)


def test_all_is_every_extra_for_users() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]
    assert (
        everything == f"{PROJECT['name']}[{','.join(sorted(extras.keys() - {'all', 'dev', 'docs', 'test'}))}]"
    )


def test_without_the_extra_the_server_starts_and_metrics_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "research_gateway.metrics", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    for module in ("door", "figures"):  # of servers with several workers
        monkeypatch.delitem(sys.modules, f"research_shared.serving.fleet.{module}", raising=False)
    importlib.import_module("research_shared.serving.fleet.door")
    plain = settings(tmp_path)
    build_gateway(plain)
    with pytest.raises(ConfigurationError, match=r"RESEARCH_METRICS .* 'research-assistant-mcp\[metrics\]'"):
        build_gateway(plain.model_copy(update={"metrics": True}))
