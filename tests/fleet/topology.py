"""Run the fleet of compose.yaml in plain processes, and call it through its balancer.

Usage: python tests/fleet/topology.py [--opensearch]

Services, commands, settings, secrets, volumes, networks and health checks are those of the file. Each process is apart as in a
container (support/containers.py); what the image adds stands in the Dockerfile. With `--opensearch` a real node is started, and
the indexer. Without it the replicas search with an index of their own.

Needs Linux, root, `nginx`, and `valkey-server` or `redis-server`. Prints one line for each check and ends with status 1 if one
fails.
"""

import asyncio
import json
import os
import random
import re
import runpy
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
from fastmcp import Client

from fleet.run import CALLS, Caller, TryAgain
from support.checks import check, failed
from support.compose import ROOT, Volume, environment_of, read_compose, secret_path, volumes_of
from support.containers import Container, Network, run_apart, which
from support.load import HANDSHAKE, MODERN, make_folder
from support.providers import FakeProvider, listening
from support.scripted import ScriptedModel
from support.tasks import AsksForTasks, ended, submitted

SECRETS: dict[str, Any] = runpy.run_path(str(ROOT / "deploy" / "compose" / "make_secrets.py"))
LIMIT_S = 300.0
"""For a machine that is busy: each step takes a second or two on one that is not."""
HEALTH_INTERVAL_S = 1.0
USERS = {"balancer": 101, "valkey": 999}
"""Users of images that are not ours."""
MODEL, OPENSEARCH, INDEXER = "model", "opensearch", "indexer"
SUMMARIZE = ("summarize_document", {"document_path": "note-7.md", "summary_length": "brief"})
PROGRAMS = {
    f"/usr/local/bin/valkey-{part}": which(f"valkey-{part}", f"redis-{part}") for part in ("server", "cli")
}


@dataclass(frozen=True, kw_only=True)
class Image:
    """What the Dockerfile says of a container."""

    entrypoint: list[str]
    command: list[str]
    health: list[str]
    environment: Mapping[str, str]
    user: int

    @classmethod
    def read(cls) -> "Image":
        text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").rpartition("\nFROM ")[2]
        words = {
            kind: json.loads(re.findall(rf"^{kind}[^\n]*?(\[.*\])$", text, re.MULTILINE)[0])
            for kind in ("ENTRYPOINT", "CMD", "HEALTHCHECK")
        }
        variables = dict(re.findall(r"\b(RESEARCH_\w+)=(\S+)", text))
        (user,) = re.findall(r"^USER (\d+)", text, re.MULTILINE)
        return cls(
            entrypoint=words["ENTRYPOINT"], command=words["CMD"], health=words["HEALTHCHECK"],
            environment=variables, user=int(user),
        )  # fmt: skip


@dataclass
class Topology:
    """The services of the profile `fleet`, each as a container."""

    work: Path
    environ: Mapping[str, str]
    without: frozenset[str]
    containers: dict[str, Container] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    image: Image = field(default_factory=Image.read)

    def __post_init__(self) -> None:
        self.compose = read_compose(self.environ)
        for number, (name, options) in enumerate(self.compose["networks"].items(), start=1):
            fixed = options.get("ipam", {}).get("config", [{}])[0].get("subnet")
            self.networks[name] = Network(number, fixed or f"172.30.{100 + number}.0/24")
        services = {n: s for n, s in self.compose["services"].items() if "fleet" in s.get("profiles", ())}
        self.services = {name: each for name, each in services.items() if name not in self.without}
        for name, service in self.services.items():
            self.containers[name] = self._container(name, service)

    def _container(self, name: str, service: dict[str, Any]) -> Container:
        environment, command = environment_of(service, self.environ), service.get("command", [])
        if "build" in service:
            user = self.image.user
            command = [*self.image.entrypoint, *(command or self.image.command)]
            environment = {**self.image.environment, **environment}
        else:
            user = USERS[name]
        if INDEXER in self.without:
            environment = {n: v for n, v in environment.items() if not n.startswith("RESEARCH_SEARCH_")}
        addresses = {
            network: (options or {}).get("ipv4_address") or self.networks[network].free_address()
            for network, options in service["networks"].items()
        }
        return Container(
            name=name, command=command, environment=environment, user=user, addresses=addresses,
            volumes=[*self._volumes(service, user), *self._secrets(service)], temporary=service.get("tmpfs", ()),
            directory=self.work / "containers" / name,
        )  # fmt: skip

    def _volumes(self, service: dict[str, Any], user: int) -> list[Volume]:
        found = []
        for volume in volumes_of(service):
            source = ROOT / volume.source if volume.source.startswith("./") else Path(volume.source)
            if volume.source in self.compose["volumes"]:
                source = self.work / "volumes" / volume.source
                source.mkdir(parents=True, exist_ok=True)
                os.chown(source, user, user)
            found.append(Volume(source=str(source), target=volume.target, read_only=volume.read_only))
        return found

    def _secrets(self, service: dict[str, Any]) -> list[Volume]:
        files = {name: self.compose["secrets"][name]["file"] for name in service.get("secrets", ())}
        return [Volume(source=f, target=secret_path(n), read_only=True) for n, f in files.items()]

    def hosts_of(self, name: str) -> dict[str, str]:
        """Return the addresses that a service can ask for by name: those in its networks."""
        mine = self.containers[name].addresses
        found = {
            other: address
            for other, container in self.containers.items()
            for network, address in container.addresses.items()
            if network in mine
        }
        lent = {"outside": MODEL} | ({"stores": OPENSEARCH} if OPENSEARCH in self.without else {})
        return found | {
            host: self.networks[network].host for network, host in lent.items() if network in mine
        }

    async def start(self) -> None:
        """Start all services, each when what it depends on is there."""
        for name, container in self.containers.items():
            container.connect(self.networks)
            container.furnish(self.hosts_of(name), PROGRAMS if name == "valkey" else {})
        started = {name: asyncio.Event() for name in self.containers}
        healthy = {name: asyncio.Event() for name in self.containers}

        async def start(name: str) -> None:
            for other, wanted in self.services[name].get("depends_on", {}).items():
                if other not in self.without:
                    await (healthy if wanted["condition"] == "service_healthy" else started)[other].wait()
            self.containers[name].start()
            started[name].set()
            await self.until_healthy(name)
            healthy[name].set()

        try:
            async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
                for name in self.containers:
                    tasks.create_task(start(name))
        except TimeoutError:
            waiting = [name for name in started if started[name].is_set() and not healthy[name].is_set()]
            said = "\n".join(
                f"{name}: {self.seen.get(name)}\n{self.containers[name].said[-2000:]}" for name in waiting
            )
            raise RuntimeError(f"not healthy within {LIMIT_S:.0f} s:\n{said}") from None

    def health_test(self, name: str) -> list[str] | None:
        """Return the command of a service's health check."""
        given = self.services[name].get("healthcheck", {})
        if given.get("disable"):
            return None
        if "test" not in given:
            return self.image.health
        kind, *words = given["test"]
        return ["sh", "-c", *words] if kind == "CMD-SHELL" else words

    async def until_healthy(self, name: str) -> None:
        container, test = self.containers[name], self.health_test(name)
        while test and (done := await asyncio.to_thread(container.try_inside, test)).returncode:
            self.seen[name] = done.stderr[-500:]
            if container.started.poll() is not None:
                raise RuntimeError(f"{name} ended:\n{container.said[-4000:]}")
            await asyncio.sleep(HEALTH_INTERVAL_S)

    async def stop(self, name: str) -> int:
        """Stop a service as Compose does, and return its status."""
        container = self.containers[name]
        container.terminate()
        return await asyncio.to_thread(container.started.wait, LIMIT_S)


@asynccontextmanager
async def relay(listen: str, listen_port: int, to: str, to_port: int) -> AsyncIterator[None]:
    """Pass the bytes of connections on, as Docker does for a published port."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the other direction ends as well
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(to, to_port)
        except ConnectionError:
            writer.close()
            return
        await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(connected, listen, listen_port)
    try:
        yield
    finally:
        server.close()


# Checks


async def until_indexed(cluster: str, url: str, token: str, documents: int) -> None:
    """Wait until the indexer has pushed all documents, and see that they are on the cluster."""
    headers = {"authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(timeout=60, trust_env=False, headers=headers) as http,
        asyncio.timeout(LIMIT_S),
    ):
        caller = Caller(url, MODERN, random.Random(0), http)
        while "INCOMPLETE" in await caller.ask("search_documents", {"query": "owl", "limit": 1}):  # noqa: ASYNC110
            await asyncio.sleep(HEALTH_INTERVAL_S)
    async with httpx.AsyncClient(trust_env=False) as http:
        found = (await http.get(f"{cluster}/research-documents/_count")).json()
    check("the indexer has pushed all documents", found.get("count") == documents, found)


async def call_everything(url: str, token: str) -> None:
    """Make each kind of call in both protocol eras, and see that sessions are kept."""
    headers = {"authorization": f"Bearer {token}"}
    for era in (MODERN, HANDSHAKE):
        http = httpx.AsyncClient(timeout=60, trust_env=False, headers=headers)
        caller = Caller(url, era, random.Random(0), http)
        for tool, arguments in CALLS:
            try:
                answer = await caller.ask(tool, arguments)
            except TryAgain as error:
                answer = f"isError: {error}"
            wrong = 'isError": true' in answer or '"error"' in answer
            found = "note-" in answer
            check(f"{era}: {tool} {arguments.get('query', '')}".rstrip(), found and not wrong, answer[:2000])
        await http.aclose()
    replicas = set()
    for number in range(30):
        http = httpx.AsyncClient(timeout=60, trust_env=False, headers=headers)
        caller = Caller(url, HANDSHAKE, random.Random(number), http)
        for _ in range(2):  # the second one in the same session
            await caller.ask("list_research_documents", {"limit": 1})
        check_session = caller.session or ""
        replicas.add(check_session[:2])
        if caller.retries:
            check("a session stays at its replica", False, caller.retries)
        await http.aclose()
        if len(replicas) == 3:
            break
    check(
        "all replicas have sessions, which the balancer leads to them",
        replicas == {"a.", "b.", "c."},
        replicas,
    )
    async with httpx.AsyncClient(trust_env=False) as http:
        refused = await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    check("nobody is let in without a token", refused.status_code == 401, refused.status_code)


async def call_as_task(topology: Topology, url: str, token: str) -> None:
    """Have the worker write a summary, with the model of the provider."""
    async with Client(url, auth=token, extensions=[AsksForTasks()], timeout=60) as client:
        task = await submitted(client, *SUMMARIZE)
        answer = await ended(client, task.task_id)
    result = answer.result or {}
    check("a task is completed", answer.status == "completed" and not result.get("isError"), answer)
    audit = topology.work / "volumes" / "audit"
    by = {
        log.stem
        for log in audit.glob("*.jsonl")
        for line in log.read_text(encoding="utf-8").splitlines()
        if (record := json.loads(line)).get("task") == task.task_id and record.get("attempt")
    }
    check("the worker has done it", by == {"worker"}, by)


def look_at_borders(topology: Topology) -> None:
    """See that processes can do what the file lets them do, and nothing else."""
    for name, container in topology.containers.items():
        status = container.status()
        rights = {status[each].split()[0] for each in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")}
        apart = (rights, status["NoNewPrivs"], status["Uid"].split()[0])
        check(
            f"{name}: an ordinary user without capabilities",
            apart == ({"0" * 16}, "1", str(container.user)),
            apart,
        )
    for name in ("gateway-a", "worker"):
        container = topology.containers[name]
        written = {place: container.try_inside(["touch", f"{place}/x"]).returncode == 0 for place in ("", "/research", "/run/secrets", "/opt", "/audit", "/tmp")}  # fmt: skip
        check(f"{name}: can write logs and what is temporary, and nothing else", {p for p, done in written.items() if done} == {"/audit", "/tmp"}, written)  # fmt: skip
    valkey = topology.containers["valkey"].addresses["stores"]
    connect = ["python", "-c", f"import socket; socket.create_connection(({valkey!r}, 6379), 2)"]
    reached = {
        n: topology.containers[n].try_inside(connect).returncode == 0
        for n in ("gateway-a", "worker", "balancer")
    }
    check("the stores are reached by the members and not by the balancer", reached == {"gateway-a": True, "worker": True, "balancer": False}, reached)  # fmt: skip


async def stop_and_verify(topology: Topology) -> None:
    """Stop what is ours in order, and verify all audit logs."""
    ours = [name for name, service in topology.services.items() if "build" in service]
    statuses = dict(zip(ours, await asyncio.gather(*map(topology.stop, ours)), strict=True))
    check("all stop in order", set(statuses.values()) == {0}, statuses)
    logs = sorted(f"/audit/{path.name}" for path in (topology.work / "volumes" / "audit").glob("*.jsonl"))
    verify = [*topology.image.entrypoint, "audit", "verify", *logs]
    done = await asyncio.to_thread(topology.containers["gateway-a"].try_inside, verify)
    check(
        f"the {len(logs)} audit logs are signed and intact, as one of the containers sees them",
        done.returncode == 0 and len(logs) >= 4,
        done.stdout + done.stderr,
    )


async def main(work: Path, *, opensearch: bool) -> None:
    begun = time.monotonic()
    make_folder(work / "research", notes=30)
    SECRETS["write_secrets"](work / "secrets")
    token = (work / "secrets" / "auth-tokens").read_text(encoding="utf-8").strip().partition("=")[2]
    without = {OPENSEARCH} if opensearch else {OPENSEARCH, INDEXER}
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(listening(FakeProvider(ScriptedModel())))
        environ = {
            "RESEARCH_FOLDER": str(work / "research"),
            "RESEARCH_SECRETS": str(work / "secrets"),
            "RESEARCH_PROVIDER": "openai",
            "RESEARCH_PROVIDER_MODEL": "m",
            "RESEARCH_PROVIDER_KEY": "k",
            "RESEARCH_PROVIDER_URL": f"http://{MODEL}:{provider.port}/v1",
        }
        topology = Topology(work, environ, frozenset(without))
        lent = [(topology.networks["outside"].host, provider.port, provider.port)]
        if opensearch:
            from support.opensearch import cluster_url

            cluster = cluster_url()
            lent.append((topology.networks["stores"].host, 9200, int(cluster.rpartition(":")[2])))
        for address, port, real in lent:
            await stack.enter_async_context(relay(address, port, "127.0.0.1", real))
        published = topology.services["balancer"]["ports"][0].split(":")
        balancer = topology.containers["balancer"].addresses["published"]
        await stack.enter_async_context(relay(published[0], int(published[1]), balancer, int(published[2])))
        for container in topology.containers.values():
            stack.callback(container.end)
        await topology.start()
        check(f"{', '.join(topology.containers)} are healthy after {time.monotonic() - begun:.0f} s", True)
        url = f"http://{published[0]}:{published[1]}/mcp"
        if opensearch:
            await until_indexed(cluster, url, token, len([*(work / "research").iterdir()]))
        await call_everything(url, token)
        await call_as_task(topology, url, token)
        look_at_borders(topology)
        await stop_and_verify(topology)
        if failed:
            for name, container in topology.containers.items():
                print(f"-- {name}\n{container.said[-2000:]}", file=sys.stderr)
    print(
        f"       OpenSearch: {'a real node' if opensearch else 'left out'}; all of it in {time.monotonic() - begun:.0f} s"
    )


def program(directory: Path) -> int:
    asyncio.run(main(directory, opensearch="--opensearch" in sys.argv[1:]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_apart(program))
