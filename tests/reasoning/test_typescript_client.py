"""Another SDK's client, with a sampling handler, completes the main job on both protocol eras."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from research_reasoning import build_reasoning_server
from support.carriers import served, settings
from support.sizes import FULL

SCRIPT = Path(__file__).parent.parent / "typescript" / "synthesize.mjs"
DIRECTORY = Path(os.environ.get("RESEARCH_TEST_TS_CLIENT_DIR") or SCRIPT.parent)
NODE = shutil.which("node")
PACKAGE = DIRECTORY / "node_modules" / "@modelcontextprotocol" / "client"

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not PACKAGE.is_dir(),
        reason="@modelcontextprotocol/client is not installed: run `npm install` in tests/typescript, "
        "or name a directory that has it in RESEARCH_TEST_TS_CLIENT_DIR",
    ),
]

PATHS = ["tor.md", "missing.md", "notes/mix.txt"]
QUESTION = {"document_paths": PATHS, "research_question": "How do networks hide who talks to whom?"}


async def run(mode: str, tool: str, arguments: dict[str, Any], *target: str, **environment: str) -> Any:
    command = [str(NODE), str(SCRIPT), str(DIRECTORY), mode, tool, json.dumps(arguments), *target]
    with anyio.fail_after(300):
        done = await anyio.run_process(
            command, env=os.environ | environment, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def check_progress(said: Any) -> None:
    """Steps arrive in order. The SDK drops one that it reads in the same chunk as the response, so it may tell fewer."""
    steps = [step for step in said["arrived"] if step[1] is not None]  # a heartbeat has no total
    assert steps == [[1, 3], [2, 3], [3, 3]]
    assert said["progress"] == [step for step in steps if step in said["progress"]]


def check_synthesis(said: Any) -> None:
    content = said["result"]["structuredContent"]
    assert not said["result"].get("isError")
    assert (content["route"], content["model"]) == ("client", "typescript-model")
    assert (content["sources_used"], content["sources_skipped"]) == (2, 1)
    assert content["synthesis"] == "They agree [1]."
    assert [insight["verified"] for insight in content["key_insights"]] == [True, True]
    assert sorted(said["asked"]) == ["Answer the", "Find what", "Find what"]
    check_progress(said)
    levels = {level for level, _ in said["logs"]}
    assert levels == {"info", "warning"}


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
async def test_a_typescript_client_completes_both_tools_over_http(
    folder: Path, mode: str, version: str
) -> None:
    async with served(build_reasoning_server(settings(folder))) as url:
        said = await run(mode, "synthesize_research", QUESTION, url)
        summary = await run(mode, "summarize_document", {"document_path": "tor.md"}, url)
    assert said["version"] == version
    check_synthesis(said)
    assert summary["result"]["structuredContent"]["summary"].count("\n\n") == 2
    check_progress(summary)


@pytest.mark.parametrize("mode", ["auto", "legacy"] if FULL else ["auto"])
async def test_a_typescript_client_completes_a_synthesis_over_stdio(folder: Path, mode: str) -> None:
    program = "from research_reasoning import create_server; create_server().run(show_banner=False)"
    said = await run(
        mode, "synthesize_research", QUESTION, sys.executable, "-c", program, RESEARCH_ROOTS=str(folder)
    )
    check_synthesis(said)
