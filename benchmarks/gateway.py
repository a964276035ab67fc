"""What the gateway costs: p50, p99 and requests/s over HTTP, with its middleware added one by one, and of its relay.

Usage: python benchmarks/gateway.py [DIR] [--rounds N]

DIR is a research folder; without it, one of ten small documents is made. Every server runs in a process of its own and
answers the same call (`list_research_documents`, MCP 2026-07-28) from the same load generator; they take turns, so that
what else the machine does falls on all of them alike.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
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
CLIENTS = {1: 60, 10: 100, 100: 200}
"""How many calls a block has, by the number of clients."""
MAX_COST, MAX_RELAY = 0.10, 3.0


def build(name: str, folder: Path, upstream: str | None) -> FastMCP[Any]:
    from fastmcp.server import create_proxy

    from research_documents.server import build_documents_server
    from research_gateway.app import build_gateway, policy
    from research_gateway.audit import AuditMiddleware, AuditTrail
    from research_gateway.retry import RetryUpstream
    from research_gateway.scope import ScopeFromClientRoots
    from research_shared.boundary import ErrorBoundary
    from research_shared.roots import Root
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


def started(name: str, folder: Path, upstream: str | None = None) -> tuple[subprocess.Popen[bytes], str]:
    """A server process that already answers, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, str(folder), "--serve", name, "--port", str(port)]
    process = subprocess.Popen([*command, *(["--upstream", upstream] if upstream else [])])
    url = f"http://127.0.0.1:{port}/mcp"
    for _ in range(300):
        try:
            if call(httpx.Client(), url):
                return process, url
        except httpx.HTTPError:
            time.sleep(0.1)
    process.kill()
    raise SystemExit(f"{name} does not answer")


HEADERS = {
    "accept": "application/json, text/event-stream",
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


def good(text: str) -> bool:
    line = next((line[6:] for line in text.splitlines() if line.startswith("data: ")), text)
    result = json.loads(line).get("result", {})
    return "structuredContent" in result and not result.get("isError")


def call(client: httpx.Client, url: str) -> bool:
    return good(client.post(url, json=BODY, headers=HEADERS).text)


async def block(url: str, clients: int, calls: int) -> tuple[list[float], float]:
    """The seconds that each call took, and all of them together."""
    taken: list[float] = []
    left = calls

    async def one(client: httpx.AsyncClient) -> None:
        nonlocal left
        await client.post(url, json=BODY, headers=HEADERS)
        await ready.wait()
        while left > 0:
            left -= 1
            begun = time.perf_counter()
            response = await client.post(url, json=BODY, headers=HEADERS)
            taken.append(time.perf_counter() - begun)
            if not good(response.text):
                raise SystemExit(f"{url} answers {response.text[:200]}")

    ready = asyncio.Event()
    opened = [httpx.AsyncClient(timeout=60) for _ in range(clients)]
    tasks = [asyncio.create_task(one(client)) for client in opened]
    await asyncio.sleep(0.05 + clients * 0.005)
    begun = time.perf_counter()
    ready.set()
    await asyncio.gather(*tasks)
    wall = time.perf_counter() - begun
    for client in opened:
        await client.aclose()
    return taken, wall


Figures = dict[tuple[str, int], tuple[float, float, float]]


def measure(servers: dict[str, str], rounds: int, numbers: list[int]) -> Figures:
    """(p50 ms, p99 ms, requests/s) by server and number of clients."""
    figures = {}
    for clients in numbers:
        calls = CLIENTS[clients]
        taken: defaultdict[str, list[float]] = defaultdict(list)
        medians: defaultdict[str, list[float]] = defaultdict(list)
        wall: defaultdict[str, float] = defaultdict(float)
        for _ in range(rounds):
            for name, url in servers.items():
                share = 4 if name == "FastMCP proxy" else 1
                times, seconds = asyncio.run(block(url, clients, max(calls // share, 15)))
                taken[name] += times
                medians[name].append(statistics.median(times))
                wall[name] += seconds
        for name, times in taken.items():
            p99 = statistics.quantiles(times, n=100)[98]
            # the quietest half of the rounds: what else runs on the machine comes and goes
            quiet = statistics.mean(sorted(medians[name])[: max(1, rounds // 2)])
            figures[name, clients] = (quiet * 1e3, p99 * 1e3, len(times) / wall[name])
    return figures


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("folder", type=Path, nargs="?")
    arguments.add_argument("--rounds", type=int, default=8)
    arguments.add_argument("--clients", type=int, nargs="+", choices=CLIENTS, default=list(CLIENTS))
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
    processes = []
    try:
        servers: dict[str, str] = {}
        for name in (*LOCAL, *REMOTE):
            process, servers[name] = started(
                name, folder.resolve(), servers.get("documents server") if name in REMOTE else None
            )
            processes.append(process)
        report(measure(servers, options.rounds, options.clients), options.clients)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=20)


def report(figures: Figures, numbers: list[int]) -> None:
    print(f"{os.cpu_count()} cores; p50 and p99 in ms")
    print(f"{'':20}" + "".join(f"{f'{n} clients':>28}" for n in numbers))
    for name in (*LOCAL, *REMOTE):
        cells = (figures[name, clients] for clients in numbers)
        print(f"{name:20}" + "".join(f"{p50:9.2f} {p99:8.2f} {rate:6.0f}/s" for p50, p99, rate in cells))
    for clients in numbers:
        mount, full = figures["bare mount", clients][0], figures["gateway", clients][0]
        direct, relayed = figures["documents server", clients][0], figures["gateway, remote", clients][0]
        cost, relay = full / mount - 1, relayed / direct
        print(
            f"{clients:3} clients: all middleware {cost:+.1%} of the bare mount (at most {MAX_COST:.0%}: "
            f"{'yes' if cost <= MAX_COST else 'no'}); remote {relay:.2f} x direct (at most {MAX_RELAY:.0f}: "
            f"{'yes' if relay <= MAX_RELAY else 'no'})"
        )


if __name__ == "__main__":
    main()
