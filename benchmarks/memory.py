"""How much memory a gateway keeps after many calls and after many abandoned sessions, over HTTP, with both protocol eras.

    python benchmarks/memory.py [--calls 25000] [--sessions 2000] [--clients 32] [--bound 15]

The gateway is a process of its own. It is warmed up with mixed calls of both eras, among them failing ones and calls of a
model that fails. Then its resident memory is read, `--calls` more are made, and `--sessions` sessions are opened and
abandoned until they have expired. Ends with status 1 when more than `--bound` MB stay in one of the two steps. Linux only.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.load import (
    KEEPALIVE_S,
    Caller,
    Gateway,
    failing_provider,
    gateway,
    make_folder,
    mixed,
    ready,
)

IDLE_S = 5.0
SERVER_KEEPS_S = 60.0
"""Seconds that the gateway keeps an unused connection: so long that the client closes it first on a busy machine, too."""
EXPIRED = "-32600"
"""What a call in a session that has expired is answered with."""
SETTLE_S = IDLE_S + 65.0
"""Seconds before a figure is read: sessions end, and a server returns freed memory once a minute."""


async def calls(url: str, count: int, clients: int) -> Counter[str]:
    """Make so many mixed calls from so many clients; every other one is of the handshake era."""
    codes: Counter[str] = Counter()
    left = iter(range(count))
    limits = httpx.Limits(max_connections=clients, keepalive_expiry=KEEPALIVE_S)
    async with httpx.AsyncClient(timeout=120, limits=limits) as http:

        async def client(number: int) -> None:
            caller = Caller(http, url, sampling=number % 4 > 1, seeded=random.Random(number))
            if number % 2:
                await caller.open()
            for _ in left:
                code = await caller.call(*mixed(caller.seeded))
                codes[code] += 1
                if code == EXPIRED and caller.session is not None:
                    await caller.open()  # on a machine that is busy a client may be idle for too long

        async with asyncio.TaskGroup() as tasks:
            for number in range(clients):
                tasks.create_task(client(number))
    return codes


async def abandon(url: str, count: int) -> None:
    """Open so many sessions, 50 at once, and leave them. Every other one gets as far as a call."""
    left = iter(range(count))
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(keepalive_expiry=KEEPALIVE_S)) as http:

        async def opener() -> None:
            for number in left:
                caller = Caller(http, url)
                status = await caller.open(initialized=number % 2 == 0)
                if status != 200:
                    raise SystemExit(f"a session was refused with {status}")
                if number % 2 == 0:
                    await caller.call(
                        "tools/call", {"name": "list_research_documents", "arguments": {"limit": 1}}
                    )

        async with asyncio.TaskGroup() as tasks:
            for _ in range(50):
                tasks.create_task(opener())


def said(step: str, served: Gateway, before: float | None) -> float:
    found = served.figures()
    change = "" if before is None else f" {found.rss_mb - before:+6.1f} MB"
    print(
        f"{step:32} RSS {found.rss_mb:7.1f} MB{change}  descriptors {found.descriptors}  threads {found.threads}  "
        f"children {found.children}",
        flush=True,
    )
    return found.rss_mb


async def measure(options: argparse.Namespace, work: Path) -> bool:
    make_folder(work / "research")
    async with failing_provider(failures=0.05) as provider_url:
        with gateway(
            work,
            provider_url=provider_url,
            session_idle_s=str(IDLE_S),
            client_sessions="10000",
            keep_alive_s=str(SERVER_KEEPS_S),
        ) as served:
            await ready(served.url)
            await calls(served.url, options.warm_up, options.clients)
            await abandon(served.url, options.warm_up // 20)
            await asyncio.sleep(SETTLE_S)
            start = said(f"after {options.warm_up} calls (warm)", served, None)
            began = time.perf_counter()
            codes = await calls(served.url, options.calls, options.clients)
            took = time.perf_counter() - began
            await asyncio.sleep(SETTLE_S)
            after_calls = said(f"after {options.calls} more calls", served, start)
            print(f"  {options.calls / took:.0f} calls/s: {dict(codes.most_common())}")
            await abandon(served.url, options.sessions)
            said(f"with {options.sessions} sessions", served, start)
            await asyncio.sleep(SETTLE_S)
            after_sessions = said("after they have expired", served, start)
    rises = {"calls": after_calls - start, "abandoned sessions": after_sessions - start}
    holds = {step: rise <= options.bound for step, rise in rises.items()}
    print(f"{start:.1f} MB at the start")
    for step, rise in rises.items():
        verdict = "within" if holds[step] else "NOT WITHIN"
        print(f"{rise:+.1f} MB after the {step}: {verdict} {options.bound:.0f} MB")
    return all(holds.values())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=25_000)
    parser.add_argument("--sessions", type=int, default=2_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--warm-up", type=int, default=2_000)
    parser.add_argument("--bound", type=float, default=15.0, help="MB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        holds = asyncio.run(measure(options, Path(work)))
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
