"""What N workers on N processors carry beside one on one: python benchmarks/workers.py [--workers 2] [--rounds 5] [--seconds 4]

Both are run in turns in the same minutes, kept busy all the time by 32 connections of `support/lean.py` with searches and
readings. Every status is looked at, and every fifth answer:

- one process, bound to processor 0; the generator is bound to the others;
- one process as people start it, on processors 0 to N - 1: its threads use more than one of them only to wait for each other;
- N workers, on processors 0 to N - 1, each of which binds itself to one; the generator is bound to the others, if there are any.

Where the machine has no more than N processors, the generator shares them with the workers. Then two ratios are printed: *clock*
has nothing taken off, and is a lower bound; *without the generator* divides the calls of the N workers by the processors that
were left to them (N less the processor time of the generator), as if it had run elsewhere. That supposes that they would use the
rest as well as the part that they had. With more processors the two are the same.

*plain loops* is what N processes that share nothing, each bound to one of the processors, make of one that is bound to the first: what
the machine itself gives. Virtual processors may be two halves of one, and then no program gets N times as much.

*efficiency* compares the processor time of a call: it shows what the workers cost each other, but not whether one waits while
another one has much to do; *busy* shows that, for each worker, of what it could have had.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from fleet.run import Gateway, children_of  # noqa: E402  (the path is set above)
from support.figures import machine, markdown_table, processor_s, pss_mb  # noqa: E402
from support.lean import LeanClient, Prepared  # noqa: E402
from support.load import HANDSHAKE, MODERN, code_of, make_folder  # noqa: E402
from support.serving import reserved_port  # noqa: E402

CONNECTIONS = 32
CALLS = (
    {"name": "search_documents", "arguments": {"query": "owl river", "limit": 5}},
    {"name": "read_document", "arguments": {"document_path": "note-7.md", "max_lines": 20}},
)
HEADER = (
    "protocol",
    "calls/s of 1 bound, 1 as started",
    "calls/s of {n}",
    "clock",
    "generator used",
    "without the generator",
    "plain loops",
    "ms a call of 1, {n}",
    "efficiency",
    "busy of {n}",
    "MB of 1, {n}",
)


PLAIN_LOOP = """
import json, os, sys, time

os.sched_setaffinity(0, {int(sys.argv[1])})
message = {"result": {"content": [{"type": "text", "text": "owl river " * 20}] * 20}}
rounds, end = 0, time.perf_counter() + float(sys.argv[2])
while time.perf_counter() < end:
    json.loads(json.dumps(message))
    rounds += 1
print(rounds)
"""


async def plain_loops(processors: Iterable[int], seconds: float) -> int:
    """Return how often processes, one on each of the processors, do the same small work in so many seconds, all together."""
    command = (sys.executable, "-c", PLAIN_LOOP)
    started = [
        await asyncio.create_subprocess_exec(
            *command, str(number), str(seconds), stdout=asyncio.subprocess.PIPE
        )
        for number in processors
    ]
    return sum(int(said) for said, _ in await asyncio.gather(*(each.communicate() for each in started)))


@dataclass
class Servers:
    """One gateway, of one or of several processes, and the figures of each round."""

    gateway: Gateway
    pids: Sequence[int]
    serving: Sequence[int]
    processors: set[int]
    clients: list[LeanClient] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    costs_ms: list[float] = field(default_factory=list)
    generator: list[float] = field(default_factory=list)
    busy: list[list[float]] = field(default_factory=list)


@contextmanager
def bound_to(processors: set[int]) -> Iterator[None]:
    """Bind this process, and what it starts meanwhile, to processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def started(work: Path, port: int, workers: int, processors: set[int]) -> Servers:
    options = ("--workers", str(workers)) if workers > 1 else ()
    gateway = Gateway(f"{workers}-workers-{port}", port, work, options=options)
    with bound_to(processors):
        await gateway.start()
    assert gateway.process is not None
    pid = gateway.process.pid
    serving = children_of(pid) if workers > 1 else [pid]
    return Servers(gateway, sorted({pid, *serving}), serving, processors)


async def saturate(servers: Servers, requests: Sequence[Prepared], seconds: float, *, note: bool) -> None:
    """Have all clients call without a rest, and note the figures, unless it is to warm up."""
    stopped = False
    calls = 0

    async def ask(client: LeanClient, number: int) -> None:
        nonlocal calls
        while not stopped:
            response = await client.request(requests[number % len(requests)])
            message = response.message(client.number) if number % 10 < 2 else None
            if response.status != 200 or (message is not None and code_of(message) != "ok"):
                raise RuntimeError(f"http {response.status}: {response.body[:300]!r}")
            calls += 1
            number += 1

    tasks = [asyncio.create_task(ask(client, number)) for number, client in enumerate(servers.clients)]
    await asyncio.sleep(seconds / 4)
    before, calls_before = processor_s(servers.serving), calls
    own, begun = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    wall, made = time.perf_counter() - begun, calls - calls_before
    own = time.process_time() - own
    used = [now - before[pid] for pid, now in processor_s(servers.serving).items()]
    stopped = True
    await asyncio.gather(*tasks)
    if not note:
        return
    servers.rates.append(made / wall)
    servers.costs_ms.append(1e3 * sum(used) / made)
    servers.generator.append(own / wall)
    servers.busy.append([each / wall for each in used])


async def measure(work: Path, era: str, options: argparse.Namespace) -> list[str]:
    """Run one process and N workers in turns, and return a row of the table."""
    everything = os.sched_getaffinity(0)
    ordered = sorted(everything)
    scaled: list[float] = []
    with reserved_port() as port, reserved_port() as third, reserved_port() as other:
        one = await started(work, port, 1, {ordered[0]})
        free = several = None
        try:
            free = await started(work, third, 1, set(ordered[: options.workers]))
            several = await started(work, other, options.workers, set(ordered[: options.workers]))
            for servers in (one, free, several):
                requests = [Prepared.of(servers.gateway.port, "tools/call", call, era=era) for call in CALLS]
                servers.clients = [LeanClient(servers.gateway.port, era) for _ in range(CONNECTIONS)]
                for client in servers.clients:
                    await client.start()
            for number in range(options.rounds + 1):
                for servers in (one, free, several):
                    requests = [
                        Prepared.of(servers.gateway.port, "tools/call", call, era=era) for call in CALLS
                    ]
                    with bound_to(everything - servers.processors or everything):
                        await saturate(servers, requests, options.seconds, note=number > 0)
                one_loop = await plain_loops(ordered[:1], options.seconds / 2)
                scaled.append(await plain_loops(ordered[: options.workers], options.seconds / 2) / one_loop)
            memory = [pss_mb(servers.pids) for servers in (one, several)]
            for client in (*one.clients, *free.clients, *several.clients):
                client.close()
        finally:
            for ended in (one, free, several):
                if ended is not None:
                    await ended.gateway.end()
    return row(era, one, free, several, scaled, memory, shared=len(everything) <= options.workers)


def row(
    era: str,
    one: Servers,
    free: Servers,
    several: Servers,
    scaled: list[float],
    memory: list[float],
    *,
    shared: bool,
) -> list[str]:
    """Return medians of the rounds."""
    count = len(several.processors)
    clock = [more / less for less, more in zip(one.rates, several.rates, strict=True)]
    left = [count - used if shared else count for used in several.generator]
    without = [ratio * count / free for ratio, free in zip(clock, left, strict=True)]
    efficiency = [less / more for less, more in zip(one.costs_ms, several.costs_ms, strict=True)]
    busy = [statistics.median(each) for each in zip(*several.busy, strict=True)]
    median = statistics.median
    return [
        era,
        f"{median(one.rates):.0f}, {median(free.rates):.0f}",
        f"{median(several.rates):.0f}",
        f"{median(clock):.2f} ({min(clock):.2f} to {max(clock):.2f})",
        f"{median(several.generator):.2f} processors",
        f"{median(without):.2f}",
        f"{median(scaled):.2f} ({min(scaled):.2f} to {max(scaled):.2f})",
        f"{median(one.costs_ms):.2f}, {median(several.costs_ms):.2f}",
        f"{median(efficiency):.2f}",
        " + ".join(f"{each:.2f}" for each in busy),
        ", ".join(f"{each:.0f}" for each in memory),
    ]


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=4.0, help="of each in a round")
    given = options.parse_args()
    if len(os.sched_getaffinity(0)) < given.workers:
        options.error(f"{given.workers} workers need as many processors")
    print(f"{machine()}; {given.rounds} rounds of {given.seconds:.0f} s each.\n")
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        make_folder(work / "research", notes=60)
        rows = [await measure(work, era, given) for era in (MODERN, HANDSHAKE)]
    print(markdown_table([cell.format(n=given.workers) for cell in HEADER], rows))


if __name__ == "__main__":
    asyncio.run(main())
