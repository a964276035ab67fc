"""What the audit trail costs: the same server with and without it, in one run, calls interleaved.

    python benchmarks/audit.py [--calls 2000] [--transport memory|http] [--directory DIR]

A call is one `tools/call`; a client of the 2026 era lists the tools with each of them, so that it is two requests and four
records there. Prints per variant the p50 and p99 of a call in milliseconds, the ratio of its p50 to that of the bare server, and the
processor time of a call (client and server together) with its ratio, for one client and for ten at once. Variants take
turns in blocks, so that a change of the machine's load hits all of them; processor time hardly depends on that load.
"""

import argparse
import asyncio
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastmcp import Client, FastMCP

from research_gateway.audit import AuditMiddleware, AuditOptions, AuditTrail
from research_gateway.metrics import Metrics, MetricsMiddleware

BLOCK = 25


def build(name: str) -> FastMCP:
    server = FastMCP(name)

    @server.tool
    async def echo(text: str) -> str:
        return text

    return server


def variants(directory: Path) -> dict[str, tuple[FastMCP, AuditTrail | None]]:
    found: dict[str, tuple[FastMCP, AuditTrail | None]] = {"bare": (build("bare"), None)}
    metrics = build("metrics")
    metrics.add_middleware(MetricsMiddleware(Metrics()))
    found["metrics"] = (metrics, None)
    for fsync in ("never", "interval", "always"):
        options = AuditOptions(path=directory / f"{fsync}.jsonl", fsync=fsync, key=b"k" * 32)
        trail = AuditTrail(options)
        server = build(f"audit-{fsync}")
        server.add_middleware(AuditMiddleware(trail))
        found[f"audit {fsync}"] = (server, trail)
    return found


@asynccontextmanager
async def served(server: FastMCP, transport: str) -> AsyncIterator[FastMCP | str]:
    if transport == "memory":
        yield server
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        config = uvicorn.Config(server.http_app(), log_level="error", lifespan="on")
        runner = uvicorn.Server(config)
        task = asyncio.create_task(runner.serve(sockets=[listener]))
        while not runner.started:  # noqa: ASYNC110  (uvicorn has no event for it)
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{port}/mcp"
        runner.should_exit = True
        await task


async def block(client: Client[Any], times: list[float], concurrency: int) -> None:
    async def one() -> None:
        begun = time.perf_counter()
        await client.call_tool_mcp("echo", {"text": "hello"})
        times.append(time.perf_counter() - begun)

    for _ in range(BLOCK // concurrency or 1):
        await asyncio.gather(*(one() for _ in range(concurrency)))


async def measure(calls: int, transport: str, directory: Path, concurrency: int) -> None:
    found = variants(directory)
    times: dict[str, list[float]] = {name: [] for name in found}
    spent: dict[str, list[float]] = {name: [] for name in found}
    async with AsyncExitStack() as stack:
        clients = {}
        for name, (server, trail) in found.items():
            if trail is not None:
                await stack.enter_async_context(trail)
            target = await stack.enter_async_context(served(server, transport))
            clients[name] = await stack.enter_async_context(Client(target))
            await block(clients[name], [], concurrency)
        names = list(found)
        for number in range(calls // BLOCK):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                before, begun = len(times[name]), time.process_time()
                await block(clients[name], times[name], concurrency)
                spent[name].append((time.process_time() - begun) / (len(times[name]) - before))
    base = statistics.median(times["bare"])
    print(f"\n{transport}, {concurrency} at once, {len(times['bare'])} calls each")
    base_spent = statistics.median(spent["bare"])
    print(f"{'':16}{'p50 ms':>9}{'p99 ms':>9}{'+ms':>8}{'ratio':>8}{'cpu ms':>9}{'ratio':>8}")
    for name, taken in times.items():
        p50, p99 = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
        cpu = statistics.median(spent[name])
        wall = f"{p50 * 1e3:9.3f}{p99 * 1e3:9.3f}{(p50 - base) * 1e3:8.3f}{p50 / base:8.3f}"
        print(f"{name:16}{wall}{cpu * 1e3:9.3f}{cpu / base_spent:8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000, help="calls per variant")
    parser.add_argument("--transport", choices=["memory", "http"], default="http")
    parser.add_argument(
        "--directory", type=Path, default=None, help="where the logs go; a temporary one if not set"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        for concurrency in (1, 10):
            place = Path(directory) / str(concurrency)
            place.mkdir()
            asyncio.run(measure(given.calls, given.transport, place, concurrency))


if __name__ == "__main__":
    main()
