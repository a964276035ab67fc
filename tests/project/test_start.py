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
AUDIT_HELP = ("research_gateway", "audit", "--help")


def command_line(package: str, *arguments: str) -> tuple[str, list[str]]:
    return f"from {package}.cli import main; main()", [*arguments]


@cache
def loaded_by_printing() -> dict[tuple[str, ...], frozenset[str]]:
    """The modules that are loaded when commands that only print have ended, one after the other."""
    commands = [*PRINTING, AUDIT_HELP]
    seen = after_each(*(command_line(*command) for command in commands))
    return {command: snapshot.modules for command, snapshot in zip(commands, seen, strict=True)}


@pytest.mark.parametrize("command", PRINTING)
def test_version_and_help_load_neither_a_server_nor_settings(command: tuple[str, ...]) -> None:
    modules = loaded_by_printing()[command]
    assert f"{command[0]}.cli" in modules
    assert not modules & (SERVERS | SETTINGS | CLIENTS)


def test_help_on_the_audit_tools_loads_neither_a_server_nor_settings() -> None:
    modules = loaded_by_printing()[AUDIT_HELP]
    assert "research_gateway.audit.check.cli" in modules
    assert not modules & (SERVERS | SETTINGS | CLIENTS)


async def test_verifying_and_showing_an_audit_log_load_no_server(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    async with AuditTrail(AuditOptions(path=log)):
        pass
    commands = [
        command_line("research_gateway", "audit", command, str(log)) for command in ("verify", "tail")
    ]
    for snapshot in after_each(*commands):
        assert "research_gateway.audit.check.verify" in snapshot.modules
        assert not snapshot.modules & (SERVERS | CLIENTS)


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
