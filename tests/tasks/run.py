"""Tasks on a real Redis server, with gateways and workers as processes of their own, which are killed and restarted.

Usage: python tests/tasks/run.py [PYTHON] [--only CHECK…]

`PYTHON` is that of an environment with fastmcp-tasks, whose client then works with the gateway. Needs `redis-server`, and
the extras `tasks` and `test`. Ends with status 1 if a check fails.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import anyio
import httpx
from fastmcp import Client
from mcp import MCPError

from research_gateway.app import build_gateway
from research_reasoning.server import build_reasoning_server
from research_shared.logs import configure_logging
from research_shared.settings import Settings
from support.providers import listening
from support.scripted import ScriptedModel
from support.serving import reserved_port, serving, until
from support.tasks import (
    POLICY,
    SUMMARIZE,
    AsksForTasks,
    HeldProvider,
    acknowledged,
    asked,
    ended,
    research_folder,
    submitted,
)

HERE = Path(__file__).parent
COMMAND = Path(sys.executable).with_name("research-assistant")
TOKENS = {"ann": "token-of-ann-0123456789", "bob": "token-of-bob-0123456789"}
LEASE_S = 6
KEY = "a key of the fleet, of 32 bytes and more"


class Process:
    """A process of ours, with what it logged."""

    def __init__(self, name: str, arguments: list[str], environ: dict[str, str], directory: Path) -> None:
        self.name = name
        self._log = directory / f"{name}-{time.monotonic_ns()}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(COMMAND), *arguments],
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    async def says(self, text: str) -> None:
        """Wait until it has logged a text."""
        try:
            await until(lambda: text in self.said or not self.running)
        finally:
            if text not in self.said:
                print(f"-- {self.name} did not say {text!r}:\n{self.said}", file=sys.stderr)
        assert text in self.said, f"{self.name} ended before it said {text!r}"

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    async def wait(self) -> int:
        await until(lambda: not self.running)
        return self._process.wait()

    async def kill(self) -> None:
        """End it at once, as the kernel or a power cut would."""
        self._process.kill()
        await self.wait()


@dataclass
class Fleet:
    """A provider, a gateway that only takes tasks, and workers, on one Redis server."""

    directory: Path
    folder: Path
    provider: HeldProvider
    redis: str
    port: int
    processes: list[Process] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "RESEARCH_ROOTS": str(self.folder),
            "RESEARCH_INDEX_DIR": "none",
            "RESEARCH_POLICY": str(self.directory / "policy.toml"),
            "RESEARCH_PROVIDER": "openai",
            "RESEARCH_PROVIDER_MODEL": "m",
            "RESEARCH_PROVIDER_KEY": "k",
            "RESEARCH_PROVIDER_URL": self.provider.base_url("openai"),
            "RESEARCH_AUTH_TOKENS": ",".join(f"{name}={token}" for name, token in TOKENS.items()),
            "RESEARCH_AUDIT_LOG": str(self.directory / "audit" / "audit.jsonl"),
            "RESEARCH_STATE_KEYS_FILE": str(self.directory / "keys"),
            "RESEARCH_TASKS_URL_FILE": str(self.directory / "url"),
            "RESEARCH_TASKS_CONCURRENCY": "0",
            "RESEARCH_TASKS_LEASE_S": str(LEASE_S),
        }

    def start(self, name: str, *arguments: str, **environ: str) -> Process:
        process = Process(name, list(arguments), {**self.environ, **environ}, self.directory)
        self.processes.append(process)
        return process

    async def gateway(self) -> Process:
        gateway = self.start("gateway", "serve", "--transport", "http", "--port", str(self.port))
        async with httpx.AsyncClient() as client:

            async def ready() -> bool:
                try:
                    return (await client.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            with anyio.fail_after(60):
                while not await ready():
                    assert gateway.running, gateway.said
                    await anyio.sleep(0.05)
        return gateway

    async def worker(self, name: str, **environ: str) -> Process:
        worker = self.start(name, "worker", "--concurrency", "1", **environ)
        await worker.says("worker ready")
        return worker

    def client(self, name: str) -> Client[Any]:
        return Client(
            f"http://127.0.0.1:{self.port}/mcp", auth=TOKENS[name], extensions=[AsksForTasks()], timeout=60
        )

    def records(self) -> list[dict[str, Any]]:
        """All audit records of all processes."""
        logs = sorted((self.directory / "audit").glob("audit*.jsonl"))
        return [
            json.loads(line) for log in logs for line in log.read_text().splitlines() if line.endswith("}")
        ]

    async def model_is_asked(self, times: int) -> None:
        """Wait until the provider has got a request in all so many times, and holds it."""
        await until(lambda: len(self.provider.requests) >= times and self.provider.open_now >= 1)


async def refusal(client: Client[Any], task_id: str, method: str) -> str | None:
    """Return with which words a question about a task is refused, or None."""
    try:
        await asked(client, task_id, method)
    except MCPError as error:
        return error.error.message
    return None


def output(*command: str, status: int = 0) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RESEARCH_")}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def started(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as said:
        return subprocess.Popen(command, stdout=said)


@asynccontextmanager
async def redis_server(directory: Path) -> AsyncIterator[str]:
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    assert binary, "redis-server or valkey-server is needed"
    with reserved_port() as port:
        arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
        server = started([binary, *arguments], directory / "redis.log")
        try:
            await until(lambda: b"Ready to accept connections" in (directory / "redis.log").read_bytes())
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()
            server.wait()


Check = Callable[[Fleet], Awaitable[str]]


async def a_killed_worker_is_replaced(fleet: Fleet) -> str:
    asked_before = len(fleet.provider.requests)
    workers = await asyncio.gather(fleet.worker("worker-a"), fleet.worker("worker-b"))
    async with fleet.client("ann") as client:
        task = await submitted(client, *SUMMARIZE)
        await fleet.model_is_asked(asked_before + 1)
        (busy,) = [worker for worker in workers if f"task={task.task_id}" in worker.said]
        (idle,) = [worker for worker in workers if worker is not busy]
        assert (await asked(client, task.task_id)).status_message
        begun = time.monotonic()
        await busy.kill()
        await idle.says(f"task={task.task_id} attempt=2")
        passed = time.monotonic() - begun
        await fleet.model_is_asked(asked_before + 2)
        fleet.provider.release.set()
        answer = await ended(client, task.task_id)
        assert answer.status == "completed", answer
        assert answer.result is not None
        assert not answer.result.get("isError"), answer.result
        await idle.says("task ended")
    assert "result=stored" in idle.said
    assert "task ended" not in busy.said
    work = [r for r in fleet.records() if r.get("task") == task.task_id and r.get("attempt")]
    ends = [r for r in work if r["event"] == "end"]
    assert sorted(r["attempt"] for r in work if r["event"] == "start") == [1, 2]
    assert [
        (r["attempt"], r["outcome"], r["model_calls"], r["input_tokens"], r["output_tokens"]) for r in ends
    ] == [(2, "ok", 1, 11, 7)]
    submission = next(
        r
        for r in fleet.records()
        if r.get("task") == task.task_id and r["event"] == "end" and not r.get("attempt")
    )
    assert {r["logical_call_id"] for r in work} == {submission["logical_call_id"]}
    assert {r["principal"]["client_id"] for r in work if r["event"] == "start"} == {"ann"}
    idle.send(signal.SIGTERM)
    assert await idle.wait() == 0
    return f"taken over {passed:.1f} s after kill -9 (lease {LEASE_S} s), one end, one result"


async def a_gateway_is_restarted(fleet: Fleet) -> str:
    asked_before = len(fleet.provider.requests)
    worker = await fleet.worker("worker")
    (gateway,) = [process for process in fleet.processes if process.name == "gateway" and process.running]
    async with fleet.client("ann") as client:
        running = await submitted(client, *SUMMARIZE)
        waiting = await submitted(client, *SUMMARIZE)
        await fleet.model_is_asked(asked_before + 1)
    await gateway.kill()
    await fleet.gateway()
    async with fleet.client("ann") as client:
        again = await asked(client, running.task_id)
        assert (again.status, bool(again.status_message)) == ("working", True), again
        await acknowledged(client, waiting.task_id, "tasks/cancel")
        fleet.provider.release.set()
        assert (await ended(client, running.task_id)).status == "completed"
        assert (await asked(client, waiting.task_id)).status == "cancelled"
    assert len(fleet.provider.requests) == asked_before + 1
    await worker.kill()
    return "progress, cancellation and result outlive kill -9 of the gateway; the model was asked once"


async def a_task_is_cancelled(fleet: Fleet) -> str:
    asked_before, aborted_before = len(fleet.provider.requests), fleet.provider.aborted
    worker = await fleet.worker("worker")
    async with fleet.client("ann") as client:
        task = await submitted(client, "synthesize_research", {"research_question": "What pulls the sea?"})
        await fleet.model_is_asked(asked_before + 1)
        begun = time.monotonic()
        await acknowledged(client, task.task_id, "tasks/cancel")
        assert (await asked(client, task.task_id)).status == "cancelled"
        await until(lambda: fleet.provider.aborted > aborted_before)
        passed = time.monotonic() - begun
        await worker.says("task taken away")
        await until(
            lambda: any(
                r.get("outcome") == "cancelled" and r.get("task") == task.task_id for r in fleet.records()
            )
        )
    assert len(fleet.provider.requests) == asked_before + 1
    await worker.kill()
    return f"its model call is cut {passed:.1f} s later, and none follows"


async def a_worker_is_stopped(fleet: Fleet) -> str:
    asked_before = len(fleet.provider.requests)
    first = await fleet.worker("worker-a", RESEARCH_DRAIN_S="0.1")
    async with fleet.client("ann") as client:
        task = await submitted(client, *SUMMARIZE)
        await fleet.model_is_asked(asked_before + 1)
        first.send(signal.SIGTERM)
        assert await first.wait() == 0
        assert "task given back" in first.said, first.said
        second = await fleet.worker("worker-b")
        await second.says(f"task={task.task_id} attempt=1")
        fleet.provider.release.set()
        assert (await ended(client, task.task_id)).status == "completed"
    await second.kill()
    return "a worker that is stopped gives its task back, and another one does it"


async def principals_are_apart(fleet: Fleet) -> str:
    worker = await fleet.worker("worker")
    fleet.provider.release.set()
    async with fleet.client("ann") as ann, fleet.client("bob") as bob:
        task = await submitted(ann, *SUMMARIZE)
        await ended(ann, task.task_id)
        for method in ("tasks/get", "tasks/cancel"):
            assert await refusal(bob, task.task_id, method) == f"Task {task.task_id} not found"
        hidden = await ended(bob, (await submitted(bob, *SUMMARIZE)).task_id)
        assert hidden.result is not None
        assert "document_not_found" in json.dumps(hidden.result), hidden
    kept = await asyncio.to_thread(output, "redis-cli", "-u", fleet.redis, "--no-raw", "EVAL", _DUMP, "0")
    assert "research-tasks" in kept
    for word in ("tides.md", "moon pulls", '"ann"', "summarize_document", *TOKENS.values()):
        assert word not in kept, word
    await worker.kill()
    return "the task of one is not there for the other, a worker sees no more than its caller, and Redis holds no word of it"


_DUMP = (
    "local found = {} for _, k in ipairs(redis.call('KEYS', '*')) do found[#found + 1] = k "
    "if redis.call('TYPE', k).ok == 'hash' then found[#found + 1] = table.concat(redis.call('HGETALL', k), ' ') end end "
    "return found"
)


async def a_task_expires(fleet: Fleet) -> str:
    asked_before, aborted_before = len(fleet.provider.requests), fleet.provider.aborted
    settings = Settings.load(
        {**fleet.environ, "RESEARCH_TASKS_CONCURRENCY": "1", "RESEARCH_TASKS_TTL_S": "5"}, policy=None
    )
    settings = settings.model_copy(update={"audit_log": fleet.directory / "expiry.jsonl"})
    async with Client(build_gateway(settings), extensions=[AsksForTasks()]) as client:
        task = await submitted(client, *SUMMARIZE)
        assert task.ttl_ms == 5_000
        with anyio.fail_after(60):
            while (told := await refusal(client, task.task_id, "tasks/get")) is None:  # noqa: ASYNC110  (clients poll)
                await anyio.sleep(0.05)
        assert told == f"Task {task.task_id} not found"
        # One that was begun before it expired is cut off; on a slow machine, it may not have been.
        if len(fleet.provider.requests) > asked_before:
            await until(lambda: fleet.provider.aborted > aborted_before)
    return "a task is gone after its time, and its model call with it"


async def a_task_is_relayed(fleet: Fleet) -> str:
    asked_before, aborted_before = len(fleet.provider.requests), fleet.provider.aborted
    plain = {**fleet.environ, "RESEARCH_TASKS_CONCURRENCY": "1"}
    behind = Settings.load({**plain, "RESEARCH_TASKS_URL_FILE": ""}, policy=None)
    async with serving(build_reasoning_server(behind)) as upstream:
        settings = Settings.load({**plain, "RESEARCH_REASONING_URL": upstream.url}, policy=None)
        settings = settings.model_copy(update={"audit_log": fleet.directory / "relay.jsonl"})
        async with Client(build_gateway(settings), extensions=[AsksForTasks()]) as client:
            task = await submitted(client, *SUMMARIZE)
            await fleet.model_is_asked(asked_before + 1)
            assert (await asked(client, task.task_id)).status_message
            fleet.provider.release.set()
            answer = await ended(client, task.task_id)
            assert answer.result is not None
            assert not answer.result.get("isError"), answer
            fleet.provider.release.clear()
            task = await submitted(client, *SUMMARIZE)
            await fleet.model_is_asked(asked_before + 2)
            await acknowledged(client, task.task_id, "tasks/cancel")
            await until(lambda: fleet.provider.aborted > aborted_before)
    return "a task of a relayed tool tells its progress, ends, and when cancelled cuts the model call of the upstream"


async def no_chain_is_broken(fleet: Fleet) -> str:
    logs = sorted(str(log) for log in (fleet.directory / "audit").glob("audit*.jsonl"))
    await asyncio.to_thread(output, str(COMMAND), "audit", "verify", *logs)
    return f"{len(logs)} audit logs are intact"


def a_worker_needs_a_server() -> str:
    said = output(str(COMMAND), "worker", "--root", str(HERE), status=2)
    assert "RESEARCH_TASKS_URL: a worker takes tasks from a server" in said, said
    return "a worker without a server is refused in one line"


async def a_worker_switches_its_log_level(fleet: Fleet) -> str:
    worker = await fleet.worker("worker")
    worker.send(signal.SIGUSR1)
    await worker.says("the log level was switched")
    assert worker.running
    worker.send(signal.SIGTERM)
    assert await worker.wait() == 0
    return "SIGUSR1 switches the log level of a worker"


async def the_client_of_fastmcp_tasks_works(fleet: Fleet, python: str) -> str:
    worker = await fleet.worker("worker")
    fleet.provider.release.set()
    driver = await asyncio.create_subprocess_exec(
        python,
        str(HERE / "drivers" / "fastmcp_tasks_client.py"),
        f"http://127.0.0.1:{fleet.port}/mcp",
        TOKENS["ann"],
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await driver.communicate()
    assert driver.returncode == 0, said.decode()
    await worker.kill()
    return said.decode().strip()


def run_the_tests_of_stores(redis: str) -> str:
    tests = [str(HERE / "test_stores.py"), str(HERE / "durable.py")]
    environ = {**os.environ, "RESEARCH_TEST_REDIS": redis}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *tests],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parents[1],
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "skipped" not in ran.stdout, ran.stdout
    return ran.stdout.strip().splitlines()[-1]


CHECKS: tuple[Check, ...] = (
    a_killed_worker_is_replaced,
    a_gateway_is_restarted,
    a_task_is_cancelled,
    a_worker_is_stopped,
    a_worker_switches_its_log_level,
    principals_are_apart,
    a_task_expires,
    a_task_is_relayed,
    no_chain_is_broken,
)


async def main() -> None:
    arguments = sys.argv[1:]
    named = arguments.index("--only") if "--only" in arguments else len(arguments)
    given, only = arguments[:named], arguments[named + 1 :]
    configure_logging("error")
    with tempfile.TemporaryDirectory() as made, reserved_port() as port:
        directory = Path(made)
        (directory / "audit").mkdir()
        (directory / "policy.toml").write_text(POLICY)
        (directory / "keys").write_text(f"{KEY.replace(' ', '-').replace(',', '')}\n")
        async with redis_server(directory) as redis, listening(HeldProvider(ScriptedModel())) as provider:
            (directory / "url").write_text(redis)
            fleet = Fleet(directory, research_folder(directory), provider, redis, port)
            begun = time.monotonic()

            def report(name: str, figure: str) -> None:
                print(f"{time.monotonic() - begun:6.1f} s  {name.replace('_', ' ')}: {figure}", flush=True)

            try:
                if not only:
                    report("the tests of stores", await asyncio.to_thread(run_the_tests_of_stores, redis))
                    report("the command", a_worker_needs_a_server())
                await fleet.gateway()
                for check in [check for check in CHECKS if not only or check.__name__ in only]:
                    provider.release.clear()
                    report(check.__name__, await check(fleet))
                for python in given:
                    report("another client", await the_client_of_fastmcp_tasks_works(fleet, python))
            finally:
                for process in fleet.processes:
                    if process.running:
                        await process.kill()


if __name__ == "__main__":
    anyio.run(main)
