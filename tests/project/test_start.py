"""What a start loads: the commands that only print load no server, and a server loads no relay that it does not need."""

from functools import cache
from pathlib import Path

import pytest

from research_gateway.audit import AuditOptions, AuditTrail
from research_shared import errors
from research_shared.errors import ConfigurationError, RequestError, ResearchError
from support.starts import after_each, start_of_servers

SERVERS = {"fastmcp", "mcp", "mcp_types", "starlette", "uvicorn", "tantivy", "re2", "pypdf", "pypdfium2"}
SETTINGS = {"pydantic", "pydantic_settings", "structlog"}
CLIENTS = {"httpx", "httpx2"}
RELAY = "research_gateway.upstreams"


PRINTING = [
    (command, *arguments)
    for command in ("research_documents", "research_gateway")
    for arguments in (["--version"], ["--help"], ["serve", "--help"])
]
HELP_OF_EVERY_COMMAND = """
import contextlib
from research_gateway.cli import app

def help_of(commands, *names):
    for name in commands:
        if not name.startswith("-"):
            with contextlib.suppress(SystemExit):
                app([*names, name, "--help"])
            help_of(commands[name], *names, name)

help_of(app)
"""


def command_line(package: str, *arguments: str) -> tuple[str, list[str]]:
    return f"from {package}.cli import main; main()", [*arguments]


@cache
def loaded_by_printing() -> list[frozenset[str]]:
    """The modules that are loaded when commands that only print have ended, one after the other; last, every help."""
    seen = after_each(*(command_line(*command) for command in PRINTING), (HELP_OF_EVERY_COMMAND, []))
    return [snapshot.modules for snapshot in seen]


@pytest.mark.parametrize("command", PRINTING)
def test_version_and_help_load_neither_a_server_nor_settings(command: tuple[str, ...]) -> None:
    modules = loaded_by_printing()[PRINTING.index(command)]
    assert f"{command[0]}.cli" in modules
    assert not modules & (SERVERS | SETTINGS | CLIENTS)


def test_help_on_every_command_loads_neither_a_server_nor_settings() -> None:
    modules = loaded_by_printing()[-1]
    assert {f"research_gateway.cli.{name}" for name in ("tools", "doctor", "config", "install")} <= modules
    assert {f"research_gateway.{name}" for name in ("audit.check.cli", "scope.check")} <= modules
    assert not modules & (SERVERS | SETTINGS | CLIENTS | {"asyncio", "rich.markdown", "rich.progress"})


async def test_commands_that_need_no_server_load_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "research").mkdir()
    (tmp_path / "research" / "a.md").write_text("# A\n", encoding="utf-8")
    log = tmp_path / "audit.jsonl"
    async with AuditTrail(AuditOptions(path=log)):
        pass
    commands = (
        ["audit", "verify", str(log)],
        ["audit", "tail", str(log)],
        ["config"],
        ["doctor"],
        ["install", "cursor", "--dry-run"],
    )
    code, arguments = command_line("research_gateway", "upstreams", "held")
    pins = (
        f"import os; os.environ['RESEARCH_MCP_PINS'] = {str(tmp_path / 'pins.json')!r}\n{code}",
        arguments,
    )
    *_, last = after_each(*(command_line("research_gateway", *command) for command in commands), pins)
    used = {"research_gateway.audit.check.verify", "research_gateway.upstreams.offers.pins"}
    assert used | {"pydantic_settings"} <= last.modules
    assert not last.modules & (SERVERS | CLIENTS | {"structlog", "rich.markdown"})


@pytest.mark.parametrize("server", ["research_gateway.app", "research_documents.server"])
def test_a_server_without_upstreams_loads_no_relay_and_adds_no_http_client(server: str) -> None:
    loaded = start_of_servers()
    added = loaded[server].modules - loaded["an empty server"].modules
    assert server in added
    assert not {name for name in added if name.startswith(RELAY)}
    assert not added & CLIENTS
    assert "griffe" not in added  # takes docstrings apart; ours are descriptions as they stand


def test_a_gateway_with_an_upstream_loads_the_relay() -> None:
    assert RELAY in start_of_servers()["a gateway with an upstream"].modules


def test_every_error_of_a_request_passes_fastmcp_unmasked_and_is_quiet_in_its_log() -> None:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = {kind for kind in classes if issubclass(kind, ResearchError)}
    served = ours - {ResearchError, ConfigurationError}
    assert len(served) > 20
    assert all(issubclass(kind, RequestError) for kind in served)
    assert RequestError("no").log_level == 10
