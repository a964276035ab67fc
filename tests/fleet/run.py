"""Run a fleet as people do, and end its processes under load.

Usage: python tests/fleet/run.py [--envoy ENVOY] [--nginx NGINX] [--only PART] [--clients N]

Parts: `workers` (`serve --workers 2`), `nginx` (three gateways behind `deploy/nginx/nginx.conf`), `envoy` (the same behind
`deploy/envoy/envoy.yaml`, with `--envoy`). Clients of both protocol eras list, search, read and summarise, the last with a
model of their own that is a script. Meanwhile each gateway is once stopped with SIGTERM and started again, and once killed.

A client tries a call again as any client may: after 503, after a connection that broke, and in a new session where its own
is gone. Prints one line for each check and ends with status 1 if one fails: an answer that differs from that of a gateway at rest, a
call that is lost in spite of being tried again, a broken chain of the audit trail.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx

from support.checks import check, failed
from support.load import HANDSHAKE, HEADERS, MODERN, make_folder, obliging
from support.serving import reserved_port

DEPLOY = Path(__file__).parents[2] / "deploy"
RESEARCH = [sys.executable, "-m", "research_gateway"]
CLIENTS, CLIENTS_OF_WORKERS, CLIENTS_OF_ENVOY = 200, 40, 40
TOGETHER = (("workers", "envoy"), ("nginx",))
"""Parts that run at the same time: what they have in clients together is less than what another part has alone."""
ATTEMPTS = 12
THINK_S = (1.0, 4.0)
"""Seconds for which a client rests between two calls, so that the load is below what two processors carry."""
KEY = "a-key-of-more-than-thirty-two-characters"
ME = {"name": "fleet", "version": "1"}
NOTE = "note-7.md"
CALLS: Sequence[tuple[str, dict[str, Any]]] = (
    ("list_research_documents", {"limit": 20}),
    ("search_documents", {"query": "owl river", "limit": 5}),
    ("search_documents", {"query": "onion +relay", "limit": 5}),
    ("read_document", {"document_path": NOTE, "max_lines": 20}),
    ("summarize_document", {"document_path": NOTE, "summary_length": "brief"}),
)


class TryAgain(Exception):
    """The call was not answered. `gone`: nor will any other of this session be."""

    def __init__(self, why: str, *, gone: bool = False, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.why, self.gone, self.after_s = why, gone, after_s


@dataclass
class Caller:
    """One client with a model of its own, of the modern or the handshake era."""

    url: str
    era: str
    seeded: random.Random
    http: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(timeout=httpx.Timeout(30.0), trust_env=False)
    )
    session: str | None = None
    number: int = 0
    retries: Counter[str] = field(default_factory=Counter)

    async def ask(self, tool: str, arguments: dict[str, Any]) -> Any:
        """Call a tool until it answers. Returns what `essence` leaves of the answer.

        Raises:
            TryAgain: it did not, in all attempts.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if self.era == HANDSHAKE and self.session is None:
                    await self._open()
                return essence(await self._call(tool, arguments))
            except TryAgain as again:
                if attempt == ATTEMPTS:
                    raise
                self.retries[again.why] += 1
                self.session = None if again.gone else self.session
                await asyncio.sleep(again.after_s or 0.1 * attempt)
        raise AssertionError

    async def _open(self) -> None:
        params = {"protocolVersion": HANDSHAKE, "capabilities": {"sampling": {}}, "clientInfo": ME}
        self.number += 1
        async with self._sent({"id": self.number, "method": "initialize", "params": params}) as answer:
            self.session = answer.headers["mcp-session-id"]
            await answer.aread()
        async with self._sent({"method": "notifications/initialized"}) as answer:
            await answer.aread()

    async def _call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        if self.era == MODERN:
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientInfo": ME,
                "io.modelcontextprotocol/clientCapabilities": {"sampling": {}},
            }
        result = await self._result(params)
        while result.get("resultType") == "input_required":
            asked = result["inputRequests"].items()
            answers = {key: sampled(question["params"]) for key, question in asked}
            result = await self._result(
                {**params, "inputResponses": answers, "requestState": result["requestState"]}
            )
        return result

    async def _result(self, params: dict[str, Any]) -> dict[str, Any]:
        self.number += 1
        number = self.number
        message = {"id": number, "method": "tools/call", "params": params}
        async with self._sent(message, name=params["name"]) as answer:
            if "event-stream" not in answer.headers.get("content-type", ""):
                return result_of(json.loads(await answer.aread()))
            async for line in answer.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                told = json.loads(line[6:])
                if told.get("method") == "sampling/createMessage":
                    reply = {"id": told["id"], "result": sampled(told["params"])}
                    async with self._sent(reply) as taken:
                        await taken.aread()
                elif told.get("id") == number:
                    return result_of(told)
        raise TryAgain("the answer broke off", gone=True)

    @asynccontextmanager
    async def _sent(self, message: dict[str, Any], name: str = "") -> AsyncIterator[httpx.Response]:
        """Send a message. Raises `TryAgain` if it is refused or the connection breaks."""
        headers = dict(HEADERS)
        if self.era == MODERN:
            headers |= {"mcp-protocol-version": MODERN, "mcp-method": message["method"], "mcp-name": name}
        elif self.session is not None:
            headers |= {"mcp-protocol-version": HANDSHAKE, "mcp-session-id": self.session}
        body = {"jsonrpc": "2.0", **message}
        try:
            async with self.http.stream("POST", self.url, json=body, headers=headers) as answer:
                if answer.status_code in {502, 503, 504}:
                    after_s = float(answer.headers.get("retry-after", 0))
                    raise TryAgain(f"status {answer.status_code}", after_s=after_s)
                if answer.status_code == 404 and self.session is not None:
                    raise TryAgain("the session was gone", gone=True)
                if answer.status_code >= 400:
                    check("no call is refused otherwise", False, (answer.status_code, await answer.aread()))
                yield answer
        except httpx.TransportError as error:
            raise TryAgain(type(error).__name__, gone=True) from error


def result_of(told: dict[str, Any]) -> dict[str, Any]:
    """Return the result in a message. An error of the protocol that says so may be tried again."""
    if "error" in told:
        code = (told["error"].get("data") or {}).get("error", {}).get("code")
        if code == "shutting_down":
            raise TryAgain("shutting down")
        return {"error": told["error"]}
    result: dict[str, Any] = told["result"]
    return result


def sampled(params: dict[str, Any]) -> dict[str, Any]:
    """Return what the client's model says."""
    content = params["messages"][0]["content"]
    content = content[0] if isinstance(content, list) else content
    said = obliging(params.get("systemPrompt", ""), content["text"])
    return {
        "role": "assistant",
        "model": "m",
        "content": {"type": "text", "text": said},
        "stopReason": "endTurn",
    }


def essence(result: dict[str, Any]) -> str:
    """Return the whole result as a text that can be compared.

    Without `_meta`, and without what a call has cost: the random boundary around a document has more or fewer tokens.
    """
    structured = {k: v for k, v in (result.get("structuredContent") or {}).items() if k != "usage"}
    compared = {**result, "_meta": None, "structuredContent": structured}
    return json.dumps(compared, sort_keys=True)


# Processes


def environment(work: Path, name: str, **settings: str) -> dict[str, str]:
    """Return the environment of a gateway with a log and an index of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RESEARCH_")}
    return {
        **inherited,
        "RESEARCH_ROOTS": str(work / "research"),
        "RESEARCH_AUDIT_LOG": str(work / f"audit-of-{name}.jsonl"),
        "RESEARCH_INDEX_DIR": str(work / f"index-of-{name}"),
        "TMPDIR": str(work),
        "RESEARCH_STATE_KEYS": KEY,
        "RESEARCH_METRICS": "true",
        **settings,
    }


@dataclass
class Gateway:
    """A gateway as a process that can be stopped, killed and started again."""

    name: str
    port: int
    work: Path
    options: Sequence[str] = ()
    settings: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        command = [*RESEARCH, "serve", "--transport", "http", "--port", str(self.port), *self.options]
        with (self.work / f"{self.name}.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                env=environment(self.work, self.name, **self.settings),
                stderr=log,
                start_new_session=True,
            )
        await until_status(f"{self.base}/readyz", 200, self.process)

    def tell(self, what: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(what)

    async def ended(self) -> int:
        assert self.process is not None
        async with asyncio.timeout(60):
            return await self.process.wait()

    async def end(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.tell(signal.SIGTERM)
            try:
                await self.ended()
            except TimeoutError:
                os.killpg(self.process.pid, signal.SIGKILL)  # with its workers, which nobody else would end
                raise


async def until_status(url: str, status: int, process: asyncio.subprocess.Process) -> None:
    """Wait until a page answers with a status."""
    async with asyncio.timeout(120), httpx.AsyncClient(trust_env=False) as http:
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"the process has ended with {process.returncode}")
            try:
                if (await http.get(url)).status_code == status:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def until_other_children(pid: int, before: list[int]) -> list[int]:
    """Wait until a process has as many children as before, and others."""
    async with asyncio.timeout(60):
        while len(now := children_of(pid)) != len(before) or now == before:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return now


async def until_gone(pids: list[int]) -> None:
    """Wait until processes that are not ours to wait for have ended."""
    async with asyncio.timeout(60):
        while any(map(is_running, pids)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def is_running(pid: int) -> bool:
    """Return whether a process has not ended, whoever is to take note of that."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# Load


@dataclass
class Load:
    """What many clients have seen."""

    answered: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    retries: Counter[str] = field(default_factory=Counter)


async def reference(url: str) -> dict[tuple[str, int], str]:
    """Return the right answers of both eras, from a gateway at rest."""
    right = {}
    for era in (MODERN, HANDSHAKE):
        caller = Caller(url, era, random.Random(0))
        for number, (tool, arguments) in enumerate(CALLS):
            answer = await caller.ask(tool, arguments)
            assert '"isError": true' not in answer, answer
            assert '"error"' not in answer, answer
            if tool == "summarize_document":
                assert '"route": "client"' in answer, answer
            right[era, number] = answer
        await caller.http.aclose()
    return right


async def under_load(
    url: str, right: dict[tuple[str, int], str], clients: int, events: Callable[[], Awaitable[None]]
) -> Load:
    """Have clients of both eras call while things happen."""
    load, stop = Load(), asyncio.Event()
    answers = [0] * clients

    async def each_has(more: list[int]) -> None:
        """Wait until each client has had one more answer than it had."""
        async with asyncio.timeout(300):
            while any(now <= before for now, before in zip(answers, more, strict=True)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def client(number: int) -> None:
        seeded = random.Random(number)
        caller = Caller(url, (MODERN, HANDSHAKE)[number % 2], seeded)
        await asyncio.sleep(seeded.uniform(0, THINK_S[1]))
        while not stop.is_set():
            chosen = seeded.randrange(len(CALLS))
            tool, arguments = CALLS[chosen]
            try:
                answer = await caller.ask(tool, arguments)
            except TryAgain as error:
                load.lost.append(f"{caller.era} {tool}: {error.why}")
            else:
                load.answered[f"{caller.era} {tool}"] += 1
                if answer != right[caller.era, chosen]:
                    load.wrong.append(f"{caller.era} {tool}: {difference(answer, right[caller.era, chosen])}")
            answers[number] += 1
            await asyncio.sleep(seeded.uniform(*THINK_S))
        load.retries += caller.retries
        await caller.http.aclose()

    async with asyncio.TaskGroup() as tasks:
        for number in range(clients):
            tasks.create_task(client(number))
        await each_has([0] * clients)
        await events()
        await each_has([*answers])  # what the last event did to them is seen
        stop.set()
    return load


async def lost_at_rest(url: str, clients: int) -> Counter[str]:
    """Have clients of the handshake era make every call at once while nothing happens. Returns why they tried again."""
    callers = [Caller(url, HANDSHAKE, random.Random(number)) for number in range(clients // 4)]

    async def each(caller: Caller) -> None:
        for tool, arguments in CALLS:
            await caller.ask(tool, arguments)
        await caller.http.aclose()

    async with asyncio.TaskGroup() as tasks:
        for caller in callers:
            tasks.create_task(each(caller))
    return sum((caller.retries for caller in callers), Counter[str]())


def difference(one: str, other: str) -> str:
    """Return the places of two texts from where they differ on."""
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    return f"{one[max(same - 60, 0) : same + 60]!r}, not {other[max(same - 60, 0) : same + 60]!r}"


def judge(load: Load, where: str) -> None:
    total = load.answered.total()
    print(f"       {where}: {total} answers; tried again: {dict(load.retries)}")
    check(f"{where}: every kind of call was answered", len(load.answered) == 8, load.answered)
    check(f"{where}: no answer was wrong", not load.wrong, load.wrong[:3])
    check(f"{where}: no call was lost", not load.lost, load.lost[:10])
    check(f"{where}: the clients met what happened", load.retries.total() > 0, load.retries)


async def ended_with(command: Sequence[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Return how a command ends, while the clients of another part go on."""
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=120, check=False, env=environ
    )


async def verify_trail(work: Path, where: str) -> None:
    """Verify the chains of all logs."""
    logs = sorted(path for path in work.glob("audit-of-*.jsonl") if not re.search(r"\.\d{6}$", path.stem))
    command = [*RESEARCH, "audit", "verify", *map(str, logs)]
    done = await ended_with(command, environment(work, "nobody"))
    print("       " + done.stdout.strip().replace("\n", "\n       "))
    check(f"{where}: every chain of the trail is intact", done.returncode == 0, done.stderr or done.stdout)


# Parts


async def workers_under_load(gateway: Gateway) -> None:
    """Kill workers under load, interrupt all of them, and kill their parent."""
    await gateway.start()
    assert gateway.process is not None
    pid = gateway.process.pid
    url = f"{gateway.base}/mcp"
    right = await reference(url)

    async def events() -> None:
        for _ in range(2):
            before = children_of(pid)
            os.kill(before[0], signal.SIGKILL)  # the oldest, so the other one next time
            await until_other_children(pid, before)
            await asyncio.sleep(THINK_S[1])

    judge(await under_load(url, right, CLIENTS_OF_WORKERS, events), "two workers, each killed once")
    async with httpx.AsyncClient(trust_env=False) as http:
        page = (await http.get(f"{gateway.base}/metrics")).text
    up = re.findall(r'^research_worker_up\{worker="(\d)"\} 1\.0$', page, re.MULTILINE)
    check("the metrics are those of both workers", sorted(up) == ["1", "2"], page[:500])
    calls = {
        number: sum(
            float(n)
            for n in re.findall(rf'^research_calls_total\{{.*worker="{number}"\}} (\S+)$', page, re.MULTILINE)
        )
        for number in ("1", "2")
    }
    check("both workers serve", min(calls.values()) > 0, calls)
    print(f"       calls since they started: {calls}; memory: {memory(pid)}")
    usable = sorted(os.sched_getaffinity(0))
    bound = [[number] for number in usable] if len(usable) == 2 else [usable, usable]
    found = sorted(sorted(os.sched_getaffinity(child)) for child in children_of(pid))
    check("each worker has a processor of its own, where there are two", found == bound, found)
    os.killpg(
        pid, signal.SIGTERM
    )  # as who stops a service does: each worker has it twice, from its parent as well
    check("a signal to all processes stops them in order", await gateway.ended() == 0)

    await gateway.start()
    os.killpg(gateway.process.pid, signal.SIGINT)  # as a terminal does: every process of the group has it
    check("an interrupt of all processes stops them in order", await gateway.ended() == 0)

    await gateway.start()
    left = children_of(gateway.process.pid)
    gateway.tell(signal.SIGKILL)
    await gateway.ended()
    await until_gone(left)
    check("workers whose parent is killed stop by themselves", True)


async def workers(work: Path) -> None:
    """Two workers of one gateway: one is killed, all are stopped, and the parent is killed."""
    with reserved_port() as port:
        gateway = Gateway("workers", port, work, options=("--workers", "2"))
        try:
            await workers_under_load(gateway)
        finally:
            await gateway.end()
    await verify_trail(work, "two workers")
    refused = await ended_with(
        [*RESEARCH, "serve", "--transport", "http", "--port", "0", "--workers", "2"],
        environment(work, "refused", RESEARCH_AUDIT_LOG=str(work / "nowhere" / "audit.jsonl")),
    )
    check("workers that cannot start end the command", refused.returncode == 2, refused)
    check("their sockets are gone", not list(work.glob("research-workers-*")))


def memory(pid: int) -> str:
    """Return the proportional memory (PSS) of a gateway and its workers."""
    sizes = {}
    for process in (pid, *children_of(pid)):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        (kib,) = re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        sizes[process] = int(kib) // 1024
    parent, *rest = sizes.values()
    return f"{sum(sizes.values())} MB in all: {parent} of the parent, {' + '.join(map(str, rest))} of the workers"


Balancer = Callable[[Path, int, Sequence[int]], Sequence[str]]


def nginx_command(program: str) -> Balancer:
    def command(work: Path, port: int, replicas: Sequence[int]) -> Sequence[str]:
        config = with_ports((DEPLOY / "nginx" / "nginx.conf").read_text(encoding="utf-8"), port, replicas)
        file = work / "nginx.conf"
        file.write_text(config, encoding="utf-8")
        options = f"daemon off; pid {work}/nginx.pid; error_log {work}/nginx.log;"
        return [program, "-c", str(file), "-e", str(work / "nginx.log"), "-g", options]

    return command


def envoy_command(program: str) -> Balancer:
    def command(work: Path, port: int, replicas: Sequence[int]) -> Sequence[str]:
        config = with_ports((DEPLOY / "envoy" / "envoy.yaml").read_text(encoding="utf-8"), port, replicas)
        file = work / "envoy.yaml"
        file.write_text(config, encoding="utf-8")
        quiet = ["--log-level", "error", "--log-path", str(work / "envoy.log")]
        return [program, "-c", str(file), *quiet, "--concurrency", "1", "--disable-hot-restart"]

    return command


def with_ports(config: str, port: int, replicas: Sequence[int]) -> str:
    """Return a sample with the ports of this run."""
    for sample, real in zip((8000, 8001, 8002, 8003), (port, *replicas), strict=True):
        config, found = re.subn(rf"\b{sample}\b(?!\d)(?=[;, }}]|$)", str(real), config, flags=re.MULTILINE)
        assert found, sample
    return config


@asynccontextmanager
async def replicas_behind(
    work: Path, balancer: Balancer, **more: str
) -> AsyncIterator[tuple[str, Sequence[Gateway], asyncio.subprocess.Process]]:
    """Start three gateways behind a balancer. Gives its address, the gateways and the process of the balancer."""
    async with AsyncExitStack() as stack:
        port, *ports = [stack.enter_context(reserved_port()) for _ in range(4)]
        settings = {"RESEARCH_KEEP_ALIVE_S": "75", "RESEARCH_TRUSTED_PROXIES": "127.0.0.1", **more}
        gateways = [
            Gateway(letter, its_port, work, settings={**settings, "RESEARCH_REPLICA": letter})
            for letter, its_port in zip("abc", ports, strict=True)
        ]
        for gateway in gateways:
            stack.push_async_callback(gateway.end)
        async with asyncio.TaskGroup() as tasks:
            for gateway in gateways:
                tasks.create_task(gateway.start())
        process = await asyncio.create_subprocess_exec(
            *balancer(work, port, ports), stdout=subprocess.DEVNULL
        )
        base = f"http://127.0.0.1:{port}"
        try:
            await until_status(f"{base}/healthz", 200, process)
            yield base, gateways, process
        finally:
            process.terminate()
            await process.wait()


async def replicas(work: Path, name: str, balancer: Balancer, clients: int) -> None:
    """Three gateways behind a balancer: each is stopped and started once, and killed and started once."""
    async with replicas_behind(work, balancer) as (base, gateways, _):
        right = await reference(f"{gateways[0].base}/mcp")
        lost = await lost_at_rest(f"{base}/mcp", clients)
        check(f"{name}: each session stays where it was opened", not lost, lost)
        stopped: list[int] = []

        async def events() -> None:
            for gateway in gateways:
                gateway.tell(signal.SIGTERM)
                stopped.append(await gateway.ended())
                await gateway.start()
            for gateway in gateways:
                gateway.tell(signal.SIGKILL)
                await gateway.ended()
                await asyncio.sleep(THINK_S[1])
                await gateway.start()

        judge(await under_load(f"{base}/mcp", right, clients, events), f"three replicas behind {name}")
        check(f"{name}: each replica stopped in order", stopped == [0, 0, 0], stopped)
        async with httpx.AsyncClient(trust_env=False) as http:
            pages = [(await http.get(f"{gateway.base}/metrics")).text for gateway in gateways]
        check(f"{name}: each replica serves again", all("research_calls_total{" in page for page in pages))
    await verify_trail(work, f"three replicas behind {name}")


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--nginx", default="nginx")
    options.add_argument("--envoy")
    options.add_argument("--clients", type=int)
    options.add_argument("--only", choices=("workers", "nginx", "envoy"))
    given = options.parse_args()
    parts: dict[str, Callable[[Path], Awaitable[None]]] = {
        "workers": workers,
        "nginx": lambda work: replicas(work, "nginx", nginx_command(given.nginx), given.clients or CLIENTS),
    }
    if given.envoy:
        parts["envoy"] = lambda work: replicas(
            work, "Envoy", envoy_command(given.envoy), given.clients or CLIENTS_OF_ENVOY
        )

    async def run(name: str) -> None:
        with tempfile.TemporaryDirectory(prefix="fleet-") as directory:
            work = Path(directory)
            make_folder(work / "research", notes=30)
            begun = time.monotonic()
            await parts[name](work)
            print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)

    for together in TOGETHER:
        async with asyncio.TaskGroup() as tasks:
            for name in together:
                if name in parts and given.only in {None, name}:
                    tasks.create_task(run(name))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    asyncio.run(main())
