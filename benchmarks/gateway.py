"""What the gateway costs over HTTP, with its middleware added one by one, and what its relay costs.

Usage: python benchmarks/gateway.py [DIR] [--rounds N] [--clients 1 10 100]

DIR is a research folder; without it, one of ten small documents is made. Every server runs in a process of its own and
answers the same call (`list_research_documents`, MCP 2026-07-28). This process only makes the load, with a client that
does as little as possible. In every round each server is asked for one block of calls, in an order that changes, so
that what else the machine does falls on all of them alike. A server is compared with the bare mount of the same
round: the cost is the median of these ratios of block medians, shown with their quartiles.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastmcp import FastMCP

TOOL = "list_research_documents"
STEPS = ("audit", "error boundary", "limits", "scope", "retry")
LOCAL = (
    "bare FastMCP",
    "documents server",
    "bare mount",
    *(f"+ {step}" for step in STEPS),
    "gateway",
)
REMOTE = ("FastMCP proxy", "gateway, remote")
BASE, FULL = "bare mount", f"+ {STEPS[-1]}"
CLIENTS = {1: 60, 10: 100, 100: 200}
"""How many calls a block has, by the number of clients."""
SLOW = "FastMCP proxy"
"""Opens a session for every call, so it gets fewer of them, and a block in every fourth round only."""
MAX_COST, MAX_RELAY = 0.10, 3.0


def build(name: str, folder: Path, upstream: str | None) -> FastMCP[Any]:
    from fastmcp.server import create_proxy

    from research_documents.server import build_documents_server
    from research_gateway.app import build_gateway, policy
    from research_gateway.audit import AuditMiddleware, AuditTrail
    from research_gateway.retry import RetryUpstream
    from research_gateway.scope.middleware import ScopeFromClientRoots
    from research_shared.access.roots import Root
    from research_shared.middleware.boundary import ErrorBoundary
    from research_shared.settings import Settings

    log = Path(tempfile.mkdtemp()) / "audit.jsonl"
    settings = Settings(
        roots=(Root("research", folder),),
        model_route="extractive",
        audit_log=log,
        documents_url=upstream if name == "gateway, remote" else None,
    )
    if name == "bare FastMCP":
        server: FastMCP[Any] = FastMCP("bare")

        @server.tool(name=TOOL)
        async def listing() -> dict[str, Any]:
            return {"documents": [], "count": 0, "total": 0, "next_cursor": None}

        return server
    if name == "documents server":
        return build_documents_server(settings)
    if name.startswith("gateway"):
        return build_gateway(settings)
    if name == "FastMCP proxy":
        assert upstream is not None
        return create_proxy(upstream)
    steps = STEPS[: STEPS.index(name.removeprefix("+ ")) + 1] if name.startswith("+ ") else ()
    trail = AuditTrail.open(settings)
    limits = [m for m in policy(settings) if not isinstance(m, RetryUpstream)]
    parts: dict[str, list[Any]] = {
        "audit": [AuditMiddleware(trail)],
        "error boundary": [ErrorBoundary()],
        "limits": limits,
        "scope": [ScopeFromClientRoots(settings.roots)],
        "retry": [RetryUpstream()],
    }
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def lifespan(_server: FastMCP[Any]) -> AsyncIterator[dict[str, Any]]:
        async with trail:
            yield {}

    host: FastMCP[Any] = FastMCP(
        "host",
        lifespan=lifespan if "audit" in steps else None,
        middleware=[middleware for step in steps for middleware in parts[step]],
    )
    host.mount(build_documents_server(settings))
    return host


def serve(name: str, folder: Path, port: int, upstream: str | None) -> None:
    import uvicorn

    from research_shared.logs import configure_logging

    configure_logging("error")
    app = build(name, folder, upstream).http_app(path="/mcp")
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False)


def started(name: str, folder: Path, upstream: str | None = None) -> tuple[subprocess.Popen[bytes], int]:
    """A server process, and its port; it does not answer yet."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    command = [sys.executable, __file__, str(folder), "--serve", name, "--port", str(port)]
    return subprocess.Popen([*command, *(["--upstream", upstream] if upstream else [])]), port


HEADERS = {
    "accept": "application/json, text/event-stream",
    "content-type": "application/json",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": TOOL,
}
BODY = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {
        "name": TOOL,
        "arguments": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}


def url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}/mcp"


def good(text: str) -> bool:
    line = next((line[6:] for line in text.splitlines() if line.startswith("data: ")), text)
    result = json.loads(line).get("result", {})
    return "structuredContent" in result and not result.get("isError")


def wait_for(name: str, port: int) -> None:
    request = urllib.request.Request(url_of(port), json.dumps(BODY).encode(), HEADERS)
    for _ in range(600):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                if good(answer.read().decode()):
                    return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{name} does not answer")


def request_bytes() -> bytes:
    body = json.dumps(BODY).encode()
    headers = {"host": "127.0.0.1", "content-length": str(len(body)), **HEADERS}
    return (
        "".join(["POST /mcp HTTP/1.1\r\n", *(f"{k}: {v}\r\n" for k, v in headers.items()), "\r\n"]).encode()
        + body
    )


class Caller(asyncio.Protocol):
    """One client on one connection: sends the next request when the answer to the last one is whole."""

    request = request_bytes()

    def __init__(self) -> None:
        self._block: Block | None = None
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def work_on(self, block: "Block") -> None:
        """Send a request, if the block has one left."""
        self._block = block
        if block.left == 0:
            return
        block.left -= 1
        self._answer = b""
        self._begun = time.perf_counter()
        self._transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, _, body = self._answer.partition(b"\r\n\r\n")
        head = head.lower()
        if b"transfer-encoding: chunked" in head:
            whole = body.endswith(b"0\r\n\r\n")
        else:
            _, _, length = head.partition(b"content-length: ")
            whole = bool(length) and len(body) >= int(length.split(b"\r\n")[0])
        if whole and self._block is not None:
            self._block.took(time.perf_counter() - self._begun, head, body)
            self.work_on(self._block)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._block is not None:
            self._block.broken(exc)


class Block:
    """So many calls of so many clients to one server, each of which makes one more before that does not count."""

    def __init__(self, calls: int) -> None:
        self.left = self._open = calls
        self.times: list[float] = []
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def took(self, seconds: float, head: bytes, body: bytes) -> None:
        self.times.append(seconds)
        if not head.startswith(b"http/1.1 200") or b'"isError":true' in body:
            self.broken(RuntimeError(body[:200]))
        self._open -= 1
        if self._open == 0 and not self._done.done():
            self._done.set_result(None)

    def broken(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the server hung up"))

    async def run(self, callers: Sequence["Caller"]) -> float:
        """The seconds that all of it took."""
        begun = time.perf_counter()
        for caller in callers:
            caller.work_on(self)
        await self._done
        return time.perf_counter() - begun


async def block(port: int, clients: int, calls: int) -> tuple[list[float], float]:
    """The seconds that each call took, and all of them together."""
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(Caller, "127.0.0.1", port) for _ in range(clients)]
    callers = [caller for _, caller in opened]
    await Block(clients).run(callers)
    measured = Block(calls)
    wall = await measured.run(callers)
    for transport, _ in opened:
        transport.close()
    return measured.times, wall


def busy_seconds(pid: int) -> float:
    """The processor time that a process has taken, where Linux tells it to the microsecond; otherwise 0."""
    try:
        threads = [path.read_text(encoding="ascii") for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    except OSError:
        return 0.0
    return sum(int(line.split()[0]) for line in threads) / 1e9


@dataclass
class Sample:
    """What was measured of one server with one number of clients, block by block."""

    times: list[float] = field(default_factory=list)
    medians: dict[int, float] = field(default_factory=dict)
    busy: dict[int, float] = field(default_factory=dict)
    wall: float = 0.0

    @property
    def p50(self) -> float:
        return statistics.median(self.medians.values())

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.times, n=100)[98]


Servers = dict[str, tuple[subprocess.Popen[bytes], int]]


def measure(servers: Servers, rounds: int, clients: int) -> dict[str, Sample]:
    """A sample of each server."""
    found: defaultdict[str, Sample] = defaultdict(Sample)
    order = list(servers)
    shuffle = random.Random(clients).shuffle
    for number in range(rounds):
        shuffle(order)
        for name in order:
            if name == SLOW and number % 4:
                continue
            process, port = servers[name]
            calls = max(CLIENTS[clients] // (4 if name == SLOW else 1), clients)
            before = busy_seconds(process.pid)
            gc.collect()
            gc.disable()
            times, wall = asyncio.run(block(port, clients, calls))
            gc.enable()
            sample = found[name]
            sample.times += times
            sample.wall += wall
            sample.medians[number] = statistics.median(times)
            sample.busy[number] = (busy_seconds(process.pid) - before) / (calls + clients)
    return found


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """The median between the quartiles."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def ratios(of: dict[int, float], to: dict[int, float]) -> tuple[float, float, float]:
    """How many times as much one took as the other in the same round: the median between the quartiles."""
    return quartiles([of[number] / to[number] for number in of if to[number]] or [1.0])


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("folder", type=Path, nargs="?")
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument("--clients", type=int, nargs="+", choices=CLIENTS, default=list(CLIENTS))
    arguments.add_argument("--only", nargs="+", choices=(*LOCAL, *REMOTE), default=(*LOCAL, *REMOTE))
    arguments.add_argument("--serve")
    arguments.add_argument("--port", type=int)
    arguments.add_argument("--upstream")
    options = arguments.parse_args()
    if options.serve:
        serve(options.serve, options.folder, options.port, options.upstream)
        return
    folder = options.folder
    if folder is None:
        folder = Path(tempfile.mkdtemp()) / "research"
        folder.mkdir()
        for number in range(10):
            (folder / f"note-{number}.md").write_text(
                f"# Note {number}\n\nOwls hunt at night.\n", encoding="utf-8"
            )
    servers: Servers = {}
    try:
        for name in options.only:
            direct = servers.get("documents server")
            upstream = url_of(direct[1]) if direct is not None and name in REMOTE else None
            servers[name] = started(name, folder.resolve(), upstream)
        for name, (_, port) in servers.items():
            wait_for(name, port)
        for clients in options.clients:
            report(measure(servers, options.rounds, clients), clients, options.rounds)
    finally:
        for process, _ in servers.values():
            process.terminate()
        for process, _ in servers.values():
            process.wait(timeout=20)


def report(found: dict[str, Sample], clients: int, rounds: int) -> None:
    print(
        f"\n{clients} clients, {rounds} rounds, {os.cpu_count()} cores; times in ms, `cpu` is the server's per call"
    )
    print(
        f"{'':18}{'p50':>8}{'p99':>8}{'calls/s':>9}   p50 against the bare mount{'cpu':>8}   against the bare mount"
    )
    base = found.get(BASE)
    for name in (name for name in (*LOCAL, *REMOTE) if name in found):
        sample = found[name]
        line = (
            f"{name:18}{sample.p50 * 1e3:8.2f}{sample.p99 * 1e3:8.2f}{len(sample.times) / sample.wall:9.0f}"
        )
        busy = f"{statistics.median(sample.busy.values()) * 1e3:8.2f}"
        if base is None or name in REMOTE:
            print(f"{line}{'':29}{busy}")
        else:
            print(
                f"{line}   {shown(sample.medians, base.medians):26}{busy}   {shown(sample.busy, base.busy)}"
            )
    if base is not None and FULL in found:
        _, cost, _ = ratios(found[FULL].medians, base.medians)
        print(
            f"all middleware costs {cost - 1:+.1%} of the bare mount's p50 (at most {MAX_COST:.0%}: {verdict(cost <= 1 + MAX_COST)})"
        )
    if "gateway, remote" in found and "documents server" in found:
        low, relay, high = ratios(found["gateway, remote"].medians, found["documents server"].medians)
        print(
            f"a remote call takes {relay:.2f} x a direct one ({low:.2f} to {high:.2f}; at most {MAX_RELAY:.0f}: {verdict(relay <= MAX_RELAY)})"
        )


def shown(of: dict[int, float], to: dict[int, float]) -> str:
    low, middle, high = ratios(of, to)
    return f"{middle - 1:+6.1%} ({low - 1:+.1%} to {high - 1:+.1%})"


def verdict(holds: bool) -> str:
    return "yes" if holds else "no"


if __name__ == "__main__":
    main()
