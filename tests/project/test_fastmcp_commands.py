"""`fastmcp run` and `fastmcp install` with the project's `fastmcp.json`, from another directory."""

import json
import os
import sys
from pathlib import Path

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "fastmcp.json"
SAMPLES = ROOT / "gateway" / "research_gateway" / "samples"
FASTMCP = str(Path(sys.executable).parent / "fastmcp")


def environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RESEARCH_", "FASTMCP_"))}
    return kept | {"HOME": str(home), "RESEARCH_ROOTS": f"samples={SAMPLES}"}


async def test_fastmcp_run_serves_the_gateway_from_another_directory(tmp_path: Path) -> None:
    transport = StdioTransport(
        FASTMCP,
        ["run", str(CONFIG), "--no-banner"],
        env=environment(tmp_path),
        cwd=str(tmp_path),
        keep_alive=False,
    )
    async with Client(transport) as client:
        listing = await client.call_tool("list_research_documents", {})
        summary = await client.call_tool(
            "summarize_document", {"document_path": "no.md"}, raise_on_error=False
        )
    assert listing.structured_content is not None
    assert listing.structured_content["total"] == len([*SAMPLES.iterdir()])
    assert summary.is_error


def test_fastmcp_install_writes_absolute_paths_and_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) - environment(tmp_path).keys():
        monkeypatch.delenv(name)
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    from fastmcp.cli.cli import app  # takes half a second

    options = ["--with-editable", str(ROOT), "--env", f"RESEARCH_ROOTS={SAMPLES}"]
    app(["install", "mcp-json", str(CONFIG), *options], result_action="return_value")
    ((name, entry),) = json.loads(capsys.readouterr().out).items()
    assert name == "research-assistant"
    assert entry["env"] == {"RESEARCH_ROOTS": str(SAMPLES)}
    assert entry["args"][-3:] == ["fastmcp", "run", f"{ROOT}/gateway/research_gateway/app.py:create_server"]
    assert entry["args"][entry["args"].index("--with-editable") + 1] == str(ROOT)
