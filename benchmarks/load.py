"""What one machine carries: python benchmarks/load.py [--quick] [--clients 10 100 1000] [--only one workers replicas]

Clients of both protocol eras, half of them of each, call one process, two workers (`serve --workers 2`), and three replicas
behind nginx with `deploy/nginx/nginx.conf`. Of their calls 20 % list, 45 % search, 30 % read and 5 % synthesise two
documents (three model calls, by a stand-in over HTTP that answers at once). Between two calls a client rests for 1 to 3 seconds,
so 1,000 clients want up to 500 calls a second. Each has a connection, an address and, before 2026-07-28, a session of its own, and tries nothing again.
Every answer is compared with that of one process at rest. Ends with status 1 if one is wrong or a call failed. A search for
an expression that began with *INCOMPLETE* because its time (`RESEARCH_SEARCH_DEADLINE_S`) was over is counted as *cut*: it is not wrong.

The generator is one process, measured first: against an ASGI application that answers with the same bytes at once. The column
*limit* says what kept more calls from being made: *think time* (nothing was busy), *one server* (its processor
was), *machine* (all processors were), *generator*, or *other programs*. Memory is that of the servers (PSS): at rest, with all clients
connected and one call of each answered, and the difference for each client; and after the load.

Settings as an operator has them for so many clients: RESEARCH_MAX_CONNECTIONS, RESEARCH_TOTAL_CONCURRENCY and
RESEARCH_KEEP_ALIVE_S (see `SETTINGS`), and as many open files (`ulimit -n`) as there may be.
"""

import argparse
import asyncio
import random
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from fleet.run import Gateway, essence, nginx_command, replicas_behind  # noqa: E402  (the path is set above)
from support.figures import (  # noqa: E402
    busy_share,
    family_of,
    machine,
    markdown_table,
    p50_p99_ms,
    processor_s,
    pss_mb,
)
from support.lean import FIRST_NUMBER, LeanClient, Prepared, SessionRefused, address, until_answering  # noqa: E402
from support.load import HANDSHAKE, MODERN, code_of, failing_provider, make_folder  # noqa: E402
from support.serving import reserved_port  # noqa: E402

THINK_S = (1.0, 3.0)
WITHIN_S = 60.0
KINDS = {"list": 20, "search": 45, "read": 30, "synthesise": 5}
"""How many of a hundred calls are of each kind."""
SETTINGS = {
    "RESEARCH_MAX_CONNECTIONS": "4000",
    "RESEARCH_TOTAL_CONCURRENCY": "4096",
    "RESEARCH_KEEP_ALIVE_S": "75",
    "RESEARCH_LOG_LEVEL": "warning",
}
QUERIES = ("owl river", "onion +relay", '"tax audit"', "budget risk pilot", "forest -stone", "evidence claim")
CALLS: Mapping[str, Sequence[tuple[str, dict[str, Any]]]] = {
    "list": [
        ("list_research_documents", {"limit": 20}),
        ("list_research_documents", {"file_pattern": "**/*7.md", "limit": 10}),
    ],
    "search": [
        *(("search_documents", {"query": query, "limit": 5}) for query in QUERIES),
        ("search_documents", {"query": "owls? hunt", "mode": "regex", "limit": 5}),
    ],
    "read": [
        ("read_document", {"document_path": f"note-{number}.md", "max_lines": 20})
        for number in range(0, 60, 10)
    ],
    "synthesise": [
        (
            "synthesize_research",
            {
                "document_paths": [f"note-{number}.md", f"note-{number + 1}.md"],
                "research_question": f"What is said of {about}?",
            },
        )
        for number, about in ((3, "owls"), (17, "margins"))
    ],
}
CALL_IDS = [
    (era, kind, number) for era in (MODERN, HANDSHAKE) for kind in KINDS for number in range(len(CALLS[kind]))
]
ENDED_AT_ITS_LIMIT = "INCOMPLETE: the search ended at its time limit"
CUT = "cut"
FOLLOW_UP = re.compile(r"v1\.[\w-]{40,}")
Key = tuple[str, str, int]
"""An era, a kind of call, and the number of the call."""

ANSWERING = """
import sys, uvicorn

answer = sys.stdin.buffer.read()
head = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    body = (await receive())["body"]
    at = body.find(b'"id": ') + 6
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": answer.replace(b"10000000", body[at : at + 8], 1)})

uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning", timeout_keep_alive=75, lifespan="off")
"""
"""An application that answers every request at once with the bytes it is given, under the id of the request."""


@dataclass
class Answers:
    """The right answers, and the bytes in which they have come so far."""

    right: dict[Key, str] = field(default_factory=dict)
    known: dict[Key, set[bytes]] = field(default_factory=lambda: defaultdict(set))

    def fault(self, key: Key, number: int, status: int, body: bytes, message: Any) -> str | None:
        """Return the code of an answer's error, `wrong` if it is another one than the right one, or nothing.

        `message` gives the answer, which is asked for only if its bytes were not seen before.
        """
        plain = body.replace(b'"id":%d' % number, b'"id":0', 1)
        if status == 200 and plain in self.known[key]:
            return None
        answer = message() if status == 200 else None
        if answer is None:
            return f"http {status}" if status != 200 else "no answer"
        if (code := code_of(answer)) != "ok":
            return code
        given = compared(answer["result"])
        if ENDED_AT_ITS_LIMIT in given:
            return CUT
        if given != (right := self.right.setdefault(key, given)):
            differs = next(
                (at for at, (one, other) in enumerate(zip(given, right, strict=False)) if one != other), 0
            )
            begin = max(differs - 200, 0)
            print(
                f"{key}: {given[begin : differs + 400]!r} instead of {right[begin : differs + 400]!r}",
                file=sys.stderr,
            )
            return "wrong"
        if (
            len(self.known[key]) < 8
        ):  # more ways than these are of answers that differ each time, such as in a seal
            self.known[key].add(plain)
        return None


def compared(result: dict[str, Any]) -> str:
    """Return what has to be the same of an answer whenever it is given: without seals and costs."""
    return FOLLOW_UP.sub("follow-up", essence(result))


@dataclass
class Seen:
    """What the clients have seen: the seconds that calls took which ended while `measuring`, and the faults of all calls."""

    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: Counter[str] = field(default_factory=Counter)
    measuring: bool = False
    stopped: bool = False
    resting: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def calls(self) -> int:
        return sum(map(len, self.took.values()))


@dataclass(frozen=True)
class Topology:
    """Servers that run, and where they are reached."""

    name: str
    port: int
    servers: Sequence[int]
    balancer: Sequence[int] = ()


async def call(client: LeanClient, key: Key, prepared: Prepared, answers: Answers) -> str | None:
    """Make a call, and return what was wrong with it."""
    try:
        async with asyncio.timeout(WITHIN_S):
            response = await client.request(prepared)
            number = client.number
            if response.status == 404 and client.session:
                await client.start()
    except (OSError, TimeoutError, SessionRefused) as error:
        client.close()
        client.connection = None
        return type(error).__name__
    return answers.fault(key, number, response.status, response.body, lambda: response.message(number))


async def keep_calling(
    client: LeanClient, seeded: random.Random, requests: Mapping[Key, Prepared], answers: Answers, seen: Seen
) -> None:
    """Call and rest until it is over, or, while it rests, until it is cancelled."""
    await asyncio.sleep(seeded.uniform(0, THINK_S[1]))
    task = asyncio.current_task()
    assert task is not None
    while not seen.stopped:
        (kind,) = seeded.choices(list(KINDS), weights=list(KINDS.values()))
        key = (client.era, kind, seeded.randrange(len(CALLS[kind])))
        begun = time.perf_counter()
        fault = await call(client, key, requests[key], answers)
        if fault is not None:
            seen.faults[fault] += 1
        if seen.measuring:
            seen.took[kind].append(time.perf_counter() - begun)
        seen.resting.add(task)
        await asyncio.sleep(seeded.uniform(*THINK_S))
        seen.resting.discard(task)


def prepared_for(port: int) -> dict[Key, Prepared]:
    """Return the bytes of all calls."""
    requests = {}
    for era, kind, number in CALL_IDS:
        tool, arguments = CALLS[kind][number]
        params = {"name": tool, "arguments": arguments}
        requests[era, kind, number] = Prepared.of(port, "tools/call", params, era=era)
    return requests


async def learn(port: int, answers: Answers) -> bytes:
    """Ask a server at rest for each answer twice: the first time it is the right one. Returns the bytes of a search."""
    requests, body = prepared_for(port), b""
    for era in (MODERN, HANDSHAKE):
        client = LeanClient(port, era)
        await client.start()
        for key in [key for key in CALL_IDS if key[0] == era] * 2:
            response = await client.request(requests[key])
            number = client.number
            fault = answers.fault(
                key, number, response.status, response.body, lambda r=response, n=number: r.message(n)
            )
            assert fault is None, (key, fault, response.body)
            if key == (MODERN, "search", 0):
                body = response.body.replace(b"%d" % number, b"%d" % FIRST_NUMBER, 1)
        client.close()
    for number in range(len(QUERIES)):
        assert '"matches": []' not in answers.right[MODERN, "search", number], QUERIES[number]
    return body


async def measured(
    topology: Topology, clients: int, seconds: float, answers: Answers, limit: float
) -> tuple[list[str], bool]:
    """Have so many clients call servers. Returns a row of the table, and whether all answers were right."""
    requests = prepared_for(topology.port)
    at_rest = pss_mb(topology.servers)
    callers = [
        LeanClient(topology.port, (MODERN, HANDSHAKE)[number % 2], address(number))
        for number in range(clients)
    ]
    opening = asyncio.Semaphore(50)

    async def begin(caller: LeanClient) -> None:
        async with opening:
            await caller.start()
            key = (caller.era, "list", 0)
            fault = await call(caller, key, requests[key], answers)
            assert fault is None, fault

    await asyncio.gather(*map(begin, callers))
    connected = pss_mb(topology.servers)
    seen = Seen()
    tasks = [
        asyncio.create_task(keep_calling(caller, random.Random(number), requests, answers, seen))
        for number, caller in enumerate(callers)
    ]
    await asyncio.sleep(THINK_S[1] + 1)  # until all of them are calling
    servers, balancer = processor_s(topology.servers), processor_s(topology.balancer)
    own, begun = time.process_time(), time.perf_counter()
    seen.measuring = True
    async with busy_share() as machine_share:
        await asyncio.sleep(seconds)
    seen.measuring = False
    wall = time.perf_counter() - begun
    own = (time.process_time() - own) / wall
    used = [(now - servers[pid]) / wall for pid, now in processor_s(topology.servers).items()]
    between = sum(now - balancer[pid] for pid, now in processor_s(topology.balancer).items()) / wall
    seen.stopped = True
    for task in seen.resting:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):  # a task that was cancelled while it rested has none of these
            raise ended
    after = pss_mb(topology.servers)
    for caller in callers:
        caller.close()
    rate = seen.calls / wall
    others = machine_share.busy * machine_share.count - sum(used) - between - own
    kept_by = (
        "generator"
        if own > 0.8 or rate > 0.8 * limit
        else "other programs"
        if machine_share.busy > 0.93 and others > 0.3
        else "machine"
        if machine_share.busy > 0.93
        else "one server"
        if max(used) > 0.9
        else "think time"
    )
    row = [
        topology.name,
        f"{clients:,}",
        f"{rate:.0f}",
        *(p50_p99_ms(seen.took[kind]) for kind in KINDS),
        ", ".join(f"{count} {code}" for code, count in sorted(seen.faults.items())) or "0",
        f"{at_rest:.0f}, {connected:.0f}, {after:.0f}",
        f"{1024 * (connected - at_rest) / clients:.0f}",
        f"{sum(used):.2f}, {between:.2f}, {own:.2f} of {machine_share.busy * machine_share.count:.2f}",
        kept_by,
    ]
    print(" | ".join(row), file=sys.stderr, flush=True)
    return row, not seen.faults.keys() - {CUT} and seen.calls > 0


HEADER = (
    "servers",
    "clients",
    "calls/s",
    *(f"{kind} p50, p99 ms" for kind in KINDS),
    "errors",
    "MB at rest, connected, after",
    "KiB a client",
    "processors busy: servers, nginx, generator, of all",
    "limit",
)


async def generator_limit(body: bytes, seconds: float) -> float:
    """Print and return how many calls a second the generator can make and check, one process on one processor."""
    answers, seen = Answers(), Seen(measuring=True)
    key = (MODERN, "search", 0)
    with reserved_port() as port:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ANSWERING, str(port), stdin=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None
        process.stdin.write(body)
        process.stdin.close()
        try:
            await until_answering(port)
            request = prepared_for(port)[key]
            clients = [LeanClient(port, MODERN, address(number)) for number in range(100)]

            async def ask(client: LeanClient) -> None:
                while not seen.stopped:
                    begun = time.perf_counter()
                    fault = await call(client, key, request, answers)
                    assert fault is None, fault
                    seen.took["search"].append(time.perf_counter() - begun)

            tasks = [asyncio.create_task(ask(client)) for client in clients]
            own, begun = time.process_time(), time.perf_counter()
            await asyncio.sleep(seconds)
            seen.stopped = True
            await asyncio.gather(*tasks)
            own, wall = time.process_time() - own, time.perf_counter() - begun
            for client in clients:
                client.close()
        finally:
            process.terminate()
            await process.wait()
    limit = seen.calls / own
    print(
        f"The generator against an application that answers {len(body):,} bytes at once: {seen.calls / wall:,.0f} calls/s from 100 "
        f"connections, {1e3 * own / seen.calls:.2f} ms of a processor each, so at most {limit:,.0f} calls/s.\n"
    )
    return limit


@asynccontextmanager
async def one(work: Path, settings: dict[str, str], workers: int = 1) -> AsyncIterator[Topology]:
    """One gateway, of one process or of several."""
    options = ("--workers", str(workers)) if workers > 1 else ()
    with reserved_port() as port:
        gateway = Gateway(f"{workers}-workers", port, work, options=options, settings=settings)
        try:
            await gateway.start()
            assert gateway.process is not None
            name = f"{workers} workers" if workers > 1 else "1 process"
            yield Topology(name, port, family_of(gateway.process.pid))
        finally:
            await gateway.end()


@asynccontextmanager
async def replicas(work: Path, settings: dict[str, str], nginx: str) -> AsyncIterator[Topology]:
    """Three gateways behind nginx."""
    async with replicas_behind(work, nginx_command(nginx), **settings) as (base, gateways, balancer):
        pids = [gateway.process.pid for gateway in gateways if gateway.process is not None]
        port = int(base.rpartition(":")[2])
        servers = [member for pid in pids for member in family_of(pid)]
        yield Topology("3 replicas behind nginx", port, servers, family_of(balancer.pid))


async def measure(work: Path, options: argparse.Namespace) -> bool:
    make_folder(work / "research", notes=options.notes)
    answers, rows, well, limit = Answers(), [], True, 0.0
    async with failing_provider(failures=0.0) as provider:
        settings = {
            **SETTINGS,
            "RESEARCH_PROVIDER": "openai",
            "RESEARCH_PROVIDER_MODEL": "m",
            "RESEARCH_PROVIDER_URL": provider,
        }
        topologies = {
            "one": lambda: one(work, settings),
            "workers": lambda: one(work, settings, workers=2),
            "replicas": lambda: replicas(work, settings, options.nginx),
        }
        print(f"{machine()}; {options.notes} notes; {options.seconds:.0f} s for each row.\n")
        for name in ("one", *(name for name in options.only if name != "one")):
            async with topologies[name]() as topology:
                body = await learn(topology.port, answers)
                if name == "one":
                    limit = await generator_limit(body, min(options.seconds, 5) / 2)
                for clients in options.clients if name in options.only else ():
                    row, right = await measured(topology, clients, options.seconds, answers, limit)
                    rows.append(row)
                    well = well and right
    print(markdown_table(HEADER, rows))
    return well


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--notes", type=int, default=300, help="documents in the folder")
    parser.add_argument(
        "--only", nargs="+", choices=("one", "workers", "replicas"), default=["one", "workers", "replicas"]
    )
    parser.add_argument("--nginx", default="nginx")
    parser.add_argument("--quick", action="store_true", help="100 clients only, 5 s for each row")
    options = parser.parse_args()
    if options.quick:
        options.clients, options.seconds = [100], 5.0
    if "replicas" in options.only and shutil.which(options.nginx) is None:
        parser.error(
            f"{options.nginx} is not installed; name it with --nginx, or leave it out: --only one workers"
        )
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the servers inherit it
    with tempfile.TemporaryDirectory(prefix="load-") as directory:
        well = asyncio.run(measure(Path(directory), options))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
