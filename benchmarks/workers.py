"""What a call costs with one process and with several: python benchmarks/workers.py [--workers 2] [--calls 600]

Calls of both protocol eras, searches and readings, over 32 connections. The processor time of the gateway's processes is measured, not the clock's:
the clients and other programs may share the processors. N workers on N processors carry N times what one carries, times
the processor time of a call with one process over that with N (`efficiency`), as far as the connections are spread evenly.
"""

import argparse
import asyncio
import os
import random
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from fleet.run import Caller, Gateway, children_of  # noqa: E402  (the path is set above)
from support.load import HANDSHAKE, MODERN, make_folder  # noqa: E402
from support.serving import reserved_port  # noqa: E402

CONNECTIONS = 32
CALLS = (
    ("search_documents", {"query": "owl river", "limit": 5}),
    ("read_document", {"document_path": "note-7.md", "max_lines": 20}),
)
TICKS = os.sysconf("SC_CLK_TCK")


def processor_s(pids: list[int]) -> dict[int, float]:
    """Return the seconds of processor time that processes have had."""
    stats = {pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids}
    return {pid: (int(fields[11]) + int(fields[12])) / TICKS for pid, fields in stats.items()}


def pss_mb(pids: list[int]) -> list[int]:
    """Return the proportional memory of processes."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return [int(re.findall(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[0]) // 1024 for rollup in rollups]


async def measure(work: Path, workers: int, era: str, calls: int) -> float:
    """Print what a call costs, and return it in milliseconds of processor time."""
    with reserved_port() as port:
        options = ("--workers", str(workers)) if workers > 1 else ()
        gateway = Gateway(f"{workers}-{era}", port, work, options=options)
        await gateway.start()
        assert gateway.process is not None
        pid = gateway.process.pid
        serving = children_of(pid) if workers > 1 else [pid]
        callers = [Caller(f"{gateway.base}/mcp", era, random.Random(n)) for n in range(CONNECTIONS)]

        async def call(caller: Caller, times: int) -> None:
            for number in range(times):
                await caller.ask(*CALLS[number % len(CALLS)])

        await asyncio.gather(*(call(caller, 4) for caller in callers))
        before = processor_s(serving)
        await asyncio.gather(*(call(caller, calls // CONNECTIONS) for caller in callers))
        used = {pid: now - before[pid] for pid, now in processor_s(serving).items()}
        memory = pss_mb([pid, *serving] if workers > 1 else [pid])
        for caller in callers:
            await caller.http.aclose()
        await gateway.end()
    cost = 1000 * sum(used.values()) / (calls // CONNECTIONS * CONNECTIONS)
    share = ", ".join(f"{100 * each / sum(used.values()):.0f} %" for each in used.values())
    print(
        f"{workers} worker(s), {era}: {cost:.2f} ms of a processor a call; spread {share}; memory {memory} MB = {sum(memory)} MB",
        flush=True,
    )
    return cost


async def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--calls", type=int, default=600)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        make_folder(work / "research", notes=60)
        for era in (MODERN, HANDSHAKE):
            one = await measure(work, 1, era, given.calls)
            several = await measure(work, given.workers, era, given.calls)
            print(f"{era}: efficiency of {given.workers} workers {one / several:.2f}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
