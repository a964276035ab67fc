"""What a start loads: the commands that only print load no server, and a server loads no relay that it does not need."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from research_gateway.audit import AuditOptions, AuditTrail
from research_shared import errors
from research_shared.errors import ConfigurationError, RequestError, ResearchError

SERVERS = {"fastmcp", "mcp", "mcp_types", "starlette", "uvicorn", "tantivy", "re2", "pypdf", "pypdfium2"}
SETTINGS = {"pydantic", "pydantic_settings", "structlog"}
CLIENTS = {"httpx", "httpx2"}
RELAY = "research_gateway.upstreams"


def loaded(code: str, *arguments: str) -> set[str]:
    """The modules that a fresh interpreter has loaded at the end of `code`."""
    report = """
import atexit, sys
atexit.register(lambda: sys.stderr.write("\\nloaded " + " ".join(sys.modules)))
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESEARCH_")}
    ended = subprocess.run(
        [sys.executable, "-c", report + code, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=kept,
        timeout=300,
    )
    return set(ended.stderr.rpartition("\nloaded ")[2].split())


@pytest.mark.parametrize("command", ["research_gateway", "research_documents"])
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["serve", "--help"]])
def test_version_and_help_load_neither_a_server_nor_settings(command: str, arguments: list[str]) -> None:
    modules = loaded(f"from {command}.cli import main; main()", *arguments)
    assert f"{command}.cli" in modules
    assert not modules & (SERVERS | SETTINGS | CLIENTS)


def test_help_on_the_audit_tools_loads_neither_a_server_nor_settings() -> None:
    modules = loaded("from research_gateway.cli import main; main()", "audit", "--help")
    assert "research_gateway.audit.check.cli" in modules
    assert not modules & (SERVERS | SETTINGS | CLIENTS)


async def test_verifying_and_showing_an_audit_log_load_no_server(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    async with AuditTrail(AuditOptions(path=log)):
        pass
    for command in ("verify", "tail"):
        modules = loaded("from research_gateway.cli import main; main()", "audit", command, str(log))
        assert "research_gateway.audit.check.verify" in modules
        assert not modules & (SERVERS | CLIENTS)


@cache
def loaded_by_an_empty_server() -> set[str]:
    return loaded("from fastmcp import FastMCP; FastMCP('empty')")


@pytest.mark.parametrize("server", ["research_gateway.app", "research_documents.server"])
def test_a_server_without_upstreams_loads_no_relay_and_adds_no_http_client(server: str) -> None:
    code = (
        "import tempfile\n"
        f"from {server} import create_server\n"
        "import research_shared.serving.run, os\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    os.environ['RESEARCH_ROOTS'] = folder\n"
        "    create_server()\n"
    )
    added = loaded(code) - loaded_by_an_empty_server()
    assert server in added
    assert not {name for name in added if name.startswith(RELAY)}
    assert not added & CLIENTS
    assert "griffe" not in added  # takes docstrings apart; ours are descriptions as they stand


def test_a_gateway_with_an_upstream_loads_the_relay(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "os.environ |= {'RESEARCH_ROOTS': sys.argv[1], 'RESEARCH_REASONING_URL': 'http://127.0.0.1:9/mcp'}\n"
        "from research_gateway.app import create_server\n"
        "create_server()\n"
    )
    assert RELAY in loaded(code, str(tmp_path))


def test_every_error_of_a_request_passes_fastmcp_unmasked_and_is_quiet_in_its_log() -> None:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = {kind for kind in classes if issubclass(kind, ResearchError)}
    served = ours - {ResearchError, ConfigurationError}
    assert len(served) > 20
    assert all(issubclass(kind, RequestError) for kind in served)
    assert RequestError("no").log_level == 10
