"""The gateway beside other proxies in front of the same documents server: python benchmarks/peers.py [--peers DIR] [--rounds 5]

    python -m venv DIR
    DIR/bin/pip install mcp-proxy==0.13.0 mcp-contextforge-gateway==1.0.7.post20260921

The versions are the newest that install beside each other on Python 3.11. FastMCP's proxy comes with FastMCP. `mcp-proxy` connects
a server over HTTP only in two steps: one of it serves over HTTP what another one of it, its child, reads over stdio.
ContextForge runs with SQLite, without authentication and without its pages; the tools are called by its virtual server.

All are called as clients of 2025-06-18 call, which the peers know, each with a session. In each round the servers take turns, in an order that
changes: one client lists and searches, then `--clients` search all the time. Times, rates and processor
time (of the proxy's processes, not of the documents server) are medians of the rounds; ratios are medians of
the ratios within the rounds. Every answer has to have the same hits as the direct one. What does not start is said.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.figures import family_of, machine, markdown_table, processor_s, pss_mb  # noqa: E402  (the path is set above)
from support.lean import LeanClient, Prepared, Response, SessionRefused, until_answering  # noqa: E402
from support.load import HANDSHAKE, make_folder  # noqa: E402
from support.serving import reserved_port  # noqa: E402

VERSION = "2025-06-18"
WITHIN_S = 300
DIRECT, OURS = "direct", "this gateway"
LIST, SEARCH = (
    ("list_research_documents", {"limit": 20}),
    ("search_documents", {"query": "owl river", "limit": 5}),
)
FASTMCP_PROXY = (
    "import sys; from fastmcp.server import create_proxy; "
    "create_proxy(sys.argv[1]).run(transport='http', port=int(sys.argv[2]), show_banner=False, log_level='error')"
)
CONTEXTFORGE = {
    "CACHE_TYPE": "memory",
    "JWT_SECRET_KEY": "a-key-of-a-benchmark-of-more-than-thirty-two-characters",
    "AUTH_ENCRYPTION_SECRET": "another-key-of-a-benchmark-of-more-than-thirty-two-characters",
    "AUTH_REQUIRED": "false",
    "ALLOW_UNAUTHENTICATED_ADMIN": "true",
    "MCP_REQUIRE_AUTH": "false",
    "MCPGATEWAY_UI_ENABLED": "false",
    "MCPGATEWAY_ADMIN_API_ENABLED": "false",
    "SSRF_ALLOW_LOCALHOST": "true",
    "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
    "LOG_LEVEL": "ERROR",
}


class DidNotStart(Exception):
    """A peer cannot be measured; says why."""


@dataclass
class Peer:
    """A server that runs, how its tools are called, and what was measured of it, by round."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"
    path: str = "/mcp"
    tools: dict[str, str] = field(default_factory=dict)
    figures: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def prepared(self, tool: tuple[str, dict[str, Any]]) -> Prepared:
        params = {"name": self.tools[tool[0]], "arguments": tool[1]}
        return Prepared.of(self.port, "tools/call", params, era=HANDSHAKE, version=VERSION, path=self.path)

    async def client(self) -> LeanClient:
        client = LeanClient(self.port, HANDSHAKE, version=VERSION, path=self.path)
        await client.start()
        return client


@dataclass(frozen=True)
class Place:
    """Where peers run: the upstream, a directory for their files, and the programs of their environment."""

    upstream: str
    work: Path
    programs: Path | None

    def program(self, name: str) -> str:
        if self.programs is None:
            raise DidNotStart("not tried: no environment was named with --peers")
        if not (self.programs / name).exists():
            raise DidNotStart(f"{name} is not installed there")
        return str(self.programs / name)


def environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESEARCH_")}
    return kept | settings


def run(name: str, port: int, command: Sequence[str], place: Place, **settings: str) -> Peer:
    """Start a program that serves at a port; its output goes to a file."""
    with (place.work / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment(**settings), stdout=log, stderr=log, cwd=place.work
        )
    return Peer(name, port, process)


async def listening(peer: Peer, place: Place) -> Peer:
    """Wait until it listens.

    Raises:
        DidNotStart: it ended, or did not listen in time.
    """
    waiting = asyncio.create_task(until_answering(peer.port, within_s=WITHIN_S))
    while not waiting.done():
        await asyncio.wait([waiting], timeout=0.2)
        if peer.process.poll() is not None:
            waiting.cancel()
            lines = (place.work / f"{peer.name}.log").read_text(errors="replace").strip().splitlines()
            raise DidNotStart(f"ended with {peer.process.returncode}: {(lines or [''])[-1][:200]}")
    try:
        waiting.result()
    except TimeoutError:
        raise DidNotStart(f"did not listen in {WITHIN_S} s") from None
    return peer


def mine(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


async def direct(port: int, place: Place) -> Peer:
    folder = str(place.work / "research")
    options = ("serve", "--root", folder, "--transport", "http", "--port", str(port))
    return run(DIRECT, port, mine("research_documents", *options), place, RESEARCH_LOG_LEVEL="warning")


async def ours(port: int, place: Place) -> Peer:
    settings = {
        "RESEARCH_DOCUMENTS_URL": place.upstream,
        "RESEARCH_AUDIT_LOG": str(place.work / "audit.jsonl"),
        "RESEARCH_LOG_LEVEL": "warning",
    }
    options = ("serve", "--root", str(place.work / "research"), "--transport", "http", "--port", str(port))
    return run(OURS, port, mine("research_gateway", *options), place, **settings)


async def fastmcp_proxy(port: int, place: Place) -> Peer:
    return run("FastMCP proxy", port, [sys.executable, "-c", FASTMCP_PROXY, place.upstream, str(port)], place)


async def mcp_proxy(port: int, place: Place) -> Peer:
    program = place.program("mcp-proxy")
    reader = (program, "--log-level", "ERROR", "--transport", "streamablehttp", place.upstream)
    command = [program, "--port", str(port), "--log-level", "ERROR", "--", *reader]
    return run("mcp-proxy", port, command, place)


async def contextforge(port: int, place: Place) -> Peer:
    database = f"sqlite:///{place.work}/contextforge.db"
    command = [place.program("mcpgateway"), "--host", "127.0.0.1", "--port", str(port)]
    peer = run(
        "ContextForge", port, command, place, DATABASE_URL=database, HOME=str(place.work), **CONTEXTFORGE
    )
    try:
        await listening(peer, place)
        peer.path = f"/servers/{await registered(port, place.upstream)}/mcp"
    except BaseException:
        ended(peer.process)
        raise
    return peer


async def registered(port: int, upstream: str) -> str:
    """Register the documents server with ContextForge, and a virtual server with its tools. Returns its id."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http:

        async def asked(method: str, path: str, **more: Any) -> Any:
            answer = await http.request(method, path, **more)
            if answer.status_code >= 400:
                raise DidNotStart(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
            return answer.json()

        about = {"name": "documents", "url": upstream, "transport": "STREAMABLEHTTP", "visibility": "public"}
        await asked("POST", "/gateways", json=about)
        found = await asked("GET", "/tools")
        tools = [tool["id"] for tool in (found if isinstance(found, list) else found["data"])]
        server = {"name": "documents", "associated_tools": tools, "visibility": "public"}
        made = await asked("POST", "/servers", json={"server": server, "visibility": "public"})
        return str(made["id"])


PEERS: Mapping[str, Callable[[int, Place], Awaitable[Peer]]] = {
    OURS: ours,
    "FastMCP proxy": fastmcp_proxy,
    "mcp-proxy": mcp_proxy,
    "ContextForge": contextforge,
}


def ended(process: "subprocess.Popen[bytes]") -> None:
    """End a program that was started here."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
        return
    process.kill()
    process.wait()


def result_of(client: LeanClient, response: Response) -> dict[str, Any]:
    """Return the result of a call.

    Raises:
        DidNotStart: it failed.
    """
    message = response.message(client.number)
    if (
        response.status != 200
        or message is None
        or "result" not in message
        or message["result"].get("isError")
    ):
        raise DidNotStart(f"a call failed: http {response.status} {response.body[:200]!r}")
    found: dict[str, Any] = message["result"]
    return found


async def learn_tools(peer: Peer) -> None:
    """Find out under which names the tools are offered."""
    client = await peer.client()
    listed = await client.request(
        Prepared.of(peer.port, "tools/list", {}, era=HANDSHAKE, version=VERSION, path=peer.path)
    )
    names = [tool["name"] for tool in result_of(client, listed)["tools"]]
    client.close()
    for tool in (LIST[0], SEARCH[0]):
        offered = [name for name in names if f"_{name.replace('-', '_')}".endswith(f"_{tool}")]
        if not offered:
            raise DidNotStart(f"offers no {tool}, but {names}")
        peer.tools[tool] = offered[0]


def substance(result: dict[str, Any]) -> str:
    """Return what has to be the same of the answers of all of them: names of documents, and how often each stands there."""
    return " ".join(sorted(re.findall(r"[\w-]+\.(?:md|pdf|csv)\b", json.dumps(result.get("content")))))


async def measure(peer: Peer, right: Mapping[str, str], options: argparse.Namespace) -> None:
    """Note the figures of one round."""
    client = await peer.client()

    async def ask(by: LeanClient, request: Prepared, tool: str) -> None:
        found = substance(result_of(by, await by.request(request)))
        if found != right[tool]:
            raise DidNotStart(f"another answer than the direct one: {found[:200]}")

    requests = {tool: peer.prepared((tool, arguments)) for tool, arguments in (LIST, SEARCH)}
    for tool, request in requests.items():
        took = []
        for number in range(options.calls + 3):
            begun = time.perf_counter()
            await ask(client, request, tool)
            if number >= 3:
                took.append(time.perf_counter() - begun)
        peer.figures[tool].append(1e3 * statistics.median(took))
    client.close()
    clients = [await peer.client() for _ in range(options.clients)]
    calls, end = 0, time.perf_counter() + options.seconds

    async def keep_asking(by: LeanClient) -> None:
        nonlocal calls
        while time.perf_counter() < end:
            await ask(by, requests[SEARCH[0]], SEARCH[0])
            calls += 1

    family = family_of(peer.process.pid)
    before, begun = sum(processor_s(family).values()), time.perf_counter()
    await asyncio.gather(*map(keep_asking, clients))
    peer.figures["rate"].append(calls / (time.perf_counter() - begun))
    used = sum(processor_s(family_of(peer.process.pid)).values()) - before
    peer.figures["cost"].append(1e3 * used / calls)
    peer.figures["memory"].append(pss_mb(family_of(peer.process.pid)))
    for client in clients:
        client.close()


HEADER = (
    "through",
    "list ms",
    "search ms",
    "search / direct",
    "search / this gateway",
    "calls/s",
    "calls/s / direct",
    "calls/s / this gateway",
    "processor ms a call",
    "MB",
)


def row(peer: Peer, peers: Mapping[str, Peer]) -> list[str]:
    def median(what: str) -> float:
        return statistics.median(peer.figures[what])

    def ratio(what: str, to: str) -> str:
        if to not in peers:
            return ""
        pairs = zip(peer.figures[what], peers[to].figures[what], strict=True)
        return f"{statistics.median(one / other for one, other in pairs):.2f}"

    return [
        peer.name,
        f"{median(LIST[0]):.1f}",
        f"{median(SEARCH[0]):.1f}",
        ratio(SEARCH[0], DIRECT),
        ratio(SEARCH[0], OURS),
        f"{median('rate'):.0f}",
        ratio("rate", DIRECT),
        ratio("rate", OURS),
        f"{median('cost'):.1f}",
        f"{median('memory'):.0f}",
    ]


async def compare(work: Path, options: argparse.Namespace) -> None:
    make_folder(work / "research", notes=60)
    missing: list[list[str]] = []
    peers: dict[str, Peer] = {}
    async with AsyncExitStack() as stack:
        ports = stack.enter_context(ExitStack())
        upstream = ports.enter_context(reserved_port())
        programs = options.peers.absolute() / "bin" if options.peers else None
        place = Place(f"http://127.0.0.1:{upstream}/mcp", work, programs)
        peers[DIRECT] = await direct(upstream, place)
        stack.callback(ended, peers[DIRECT].process)
        await listening(peers[DIRECT], place)
        await learn_tools(peers[DIRECT])
        for name in options.only:
            try:
                peer = await PEERS[name](ports.enter_context(reserved_port()), place)
                stack.callback(ended, peer.process)
                await listening(peer, place)
                await learn_tools(peer)
                peers[name] = peer
            except (DidNotStart, SessionRefused) as why:
                missing.append([name, str(why).replace("|", "/").replace("\n", " ")])
        client = await peers[DIRECT].client()
        right = {
            tool: substance(
                result_of(client, await client.request(peers[DIRECT].prepared((tool, arguments))))
            )
            for tool, arguments in (LIST, SEARCH)
        }
        client.close()
        assert all(right.values()), right
        seeded = random.Random(1)
        for _ in range(options.rounds):
            for name in seeded.sample(sorted(peers), len(peers)):
                try:
                    await measure(peers[name], right, options)
                except (DidNotStart, SessionRefused, OSError) as why:
                    if name == DIRECT:
                        raise
                    del peers[name]
                    missing.append([name, f"{type(why).__name__}: {why}".replace("|", "/")])
    print(
        f"{machine()}; {options.rounds} rounds of {options.calls} calls of one client, and {options.seconds:.0f} s with "
        f"{options.clients}.\n"
    )
    print(markdown_table(HEADER, [row(peers[name], peers) for name in (DIRECT, *PEERS) if name in peers]))
    for name, reason in missing:
        print(f"\n{name} was not measured: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, help="the environment in which they are installed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="peers-") as directory:
        asyncio.run(compare(Path(directory), options))


if __name__ == "__main__":
    main()
