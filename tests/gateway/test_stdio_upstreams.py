"""Messages of an upstream over stdio are bounded, and its process ends with them."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.mcp_config import StdioMCPServer

from research_gateway.upstreams import Upstream
from research_gateway.upstreams.transports import BoundedStdioTransport, stdio, transport_of
from research_gateway.upstreams.transports.stdio import LineTooLong, lines_of
from support.results import error_of
from support.serving import until
from support.sizes import FULL
from support.upstreams import PATIENT, Gateway

SERVER = """
import json, os, subprocess, sys
TOOL = {"name": "say", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True, "idempotentHint": True}}
for line in sys.stdin:
    request = json.loads(line)
    result = {"error": {"code": -32601, "message": "no"}}
    if request["method"] == "initialize":
        result = {"result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                             "serverInfo": {"name": "s", "version": "1"}}}
    elif request["method"] == "tools/list":
        result = {"result": {"tools": [TOOL]}}
    elif request["method"] == "tools/call":
        asked = request["params"]["arguments"]
        if asked.get("dies"):
            os._exit(1)
        if asked.get("odd"):
            sys.stdout.write("this is no message\\n\\n")
        said = "x" * asked.get("size", 0)
        if asked.get("starts"):
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            said = str(subprocess.Popen(["sleep", "600"], **quiet).pid)
        result = {"result": {"content": [{"type": "text", "text": said}, {"type": "text", "text": str(os.getpid())}]}}
        if asked.get("endless"):
            while True:
                sys.stdout.write("x" * 10_000)
    if "id" in request:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **result}), flush=True)
"""


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_lines_are_put_together_from_parts_up_to_the_limit() -> None:
    parts = (b"ab", b"c\nd\n\n", b"efgh\n", b"ij")
    assert [line async for line in lines_of(chunks(*parts), max_bytes=4)] == [b"abc", b"d", b"", b"efgh"]


@pytest.mark.parametrize("parts", [(b"abcde\n",), (b"abc", b"de"), (b"abc", b"de\n"), (b"\nabcde",)])
async def test_a_line_over_the_limit_is_refused_also_before_it_ends(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(LineTooLong):
        [line async for line in lines_of(chunks(*parts), max_bytes=4)]


def stdio_gateway(tmp_path: Path, *, max_line_bytes: int) -> Gateway:
    script = tmp_path / "server.py"
    script.write_text(SERVER, encoding="utf-8")
    transport = StdioTransport(sys.executable, ["-I", "-S", str(script)])
    upstream = Upstream(
        "loud",
        lambda: BoundedStdioTransport(transport, upstream="loud", max_line_bytes=max_line_bytes),
        timings=PATIENT,
    )
    return Gateway(upstream, namespace="loud")


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def alive(pid: int) -> bool:
    """Whether a process runs that may be nobody's child to wait for."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def ended(pid: int) -> None:
    await until(lambda: not runs(pid))


async def pid_of(client: Client[Any], **arguments: Any) -> int:
    content: Any = (await client.call_tool("loud_say", arguments)).content
    return int(content[1].text)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_message_over_the_limit_ends_the_process_and_the_next_call_starts_another(
    mode: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = stdio_gateway(tmp_path, max_line_bytes=100_000)

    async with Client(gateway.server, mode=mode) as client:
        before = await pid_of(client, size=90_000)
        for arguments in ({"size": 100_000}, {"endless": True}):
            refused = error_of(await client.call_tool("loud_say", arguments, raise_on_error=False))
            assert refused["code"] == "backend_refused"
            assert refused["message"].endswith("the response is too large")
            await ended(before)
            after = await pid_of(client)
            assert after != before
            before = after
    await ended(before)
    assert sum("a message of the upstream is too large" in line for line in caplog.messages) == 2


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_process_that_has_ended_between_two_calls_is_started_again(mode: Any, tmp_path: Path) -> None:
    async with Client(stdio_gateway(tmp_path, max_line_bytes=100_000).server, mode=mode) as client:
        before = await pid_of(client)
        os.kill(before, signal.SIGKILL)
        await ended(before)
        assert await pid_of(client) != before


async def test_a_process_that_dies_is_replaced_by_the_next_call(tmp_path: Path) -> None:
    async with Client(stdio_gateway(tmp_path, max_line_bytes=100_000).server) as client:
        before = await pid_of(client)
        died = await client.call_tool("loud_say", {"dies": True}, raise_on_error=False)
        assert error_of(died)["code"] == "backend_unavailable"
        assert await pid_of(client) != before


@pytest.mark.parametrize("how", ["asked", *(["killed"] if FULL else [])])
async def test_what_a_process_has_started_ends_with_it(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`how`: the process ends because its input does, or is killed from outside; neither ends its children."""
    monkeypatch.setattr(stdio, "EXIT_S", 0.2)
    async with Client(stdio_gateway(tmp_path, max_line_bytes=100_000).server) as client:
        content: Any = (await client.call_tool("loud_say", {"starts": True})).content
        child, process = (int(part.text) for part in content)
        assert alive(child)
        if how == "killed":
            os.kill(process, signal.SIGKILL)
            await ended(process)
    await until(lambda: not alive(child))


async def test_lines_that_are_no_messages_cost_nothing_else(tmp_path: Path) -> None:
    async with Client(stdio_gateway(tmp_path, max_line_bytes=100_000).server) as client:
        result = await client.call_tool("loud_say", {"odd": True})
        assert len(result.content) == 2


def test_the_servers_of_a_configuration_have_the_limit_of_http() -> None:
    made = transport_of(StdioMCPServer(command="x"), name="loud")
    assert callable(made)
    assert isinstance(made(), BoundedStdioTransport)
