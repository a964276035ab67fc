"""How much memory a gateway with an index directory takes, where a ready index is opened and where it is built.

    python benchmarks/index_memory.py CORPUS [--workers 1 2 4] [--searches 300] [--update 100] [--index DIR] [--bound MB]

The gateway is a process of its own over HTTP. It builds the index (`builds`), is stopped, and starts again from the
ready index (`serves`), once for each number of `--workers`; `--index` names a directory that may hold a ready index. Then
come `--searches` searches by words, for phrases and prefixes, for expressions with a rare literal, listings and
readings, by turns of clients of both protocol eras. With `--update` so many files of the corpus get a line more, are searched,
and lose it again: no one else may use the corpus.

Resident memory is split into what is the process's own (`anonymous`) and pages of files (`files`), which the
system takes back when it needs them and which processes share: `index` are those of the index, `libraries` those of
programs. `shared out` (PSS) gives each process its part of what several map. Times are of this client, one call after
another. Ends with status 1 when a single process that serves takes more than `--bound` MB. A corpus is made by
`make_corpus.py`. Linux only.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.load import HANDSHAKE, HEADERS, META, MODERN, Caller
from support.serving import reserved_port

Call = tuple[str, dict[str, Any]]
READY_S = 1800
SETTLE_S = 3.0
"""Seconds before a figure is read: what a call leaves to do is done then."""
CALLS_PER_WORKER = 40
"""Connections in a row that must find the index complete, for each worker: the kernel spreads them."""


def calls(corpus: Path, count: int) -> Iterator[tuple[str, Call]]:
    """Yield so many calls, each with its kind; the words are taken from files of the corpus."""
    seeded = random.Random(11)
    files = sorted(path for path in corpus.rglob("*") if path.is_file())

    def words(number: int) -> list[str]:
        found: list[str] = []
        while len(found) < number:
            lines = seeded.choice(files).read_text(encoding="utf-8", errors="replace").splitlines()
            inside = re.findall(r"[A-Za-z]{4,}", seeded.choice(lines or [""]))
            at = seeded.randrange(max(len(inside) - number, 0) + 1)
            found = inside[at : at + number]
        return found

    def search(mode: str, query: str, limit: int = 10) -> Call:
        return "search_documents", {"query": query, "mode": mode, "limit": limit}

    for number in range(count):
        match number % 8:
            case 0:
                yield "1 word", search("keyword", words(1)[0])
            case 1:
                yield "3 words", search("keyword", " ".join(words(3)))
            case 2:
                yield "phrase", search("keyword", f'"{" ".join(words(2))}"')
            case 3:
                yield "prefix", search("keyword", f"{words(1)[0][:5]}*")
            case 4:
                yield "rare literal", search("regex", rf"k{seeded.randrange(10**4):04d}\d*")
            case 5:
                yield "100 hits", search("keyword", " ".join(words(2)), 100)
            case 6:
                yield "listing", ("list_research_documents", {"limit": 100})
            case _:
                path = seeded.choice(files).relative_to(corpus).as_posix()
                yield "reading", ("read_document", {"document_path": path})


class Server:
    """A gateway over a corpus with an index directory, and all processes of it that serve."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, workers: int) -> None:
        self.process, self.url, self.workers = process, url, workers

    @property
    def serving(self) -> list[int]:
        """The processes that serve: that which was started, or its children."""
        if self.workers == 1:
            return [self.process.pid]
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return sorted(int(pid) for each in tasks for pid in each.read_text(encoding="ascii").split())

    async def call(
        self, http: httpx.AsyncClient, tool: str, arguments: dict[str, Any], *, session: str | None = None
    ) -> dict[str, Any]:
        """Return the structured content of a call, in a session of the handshake era or without one."""
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        if session is None:
            params["_meta"] = {**META, "io.modelcontextprotocol/clientCapabilities": {}}
            era = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": tool}
        else:
            era = _in_session(session)
        headers = {**HEADERS, **era}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = await http.post(self.url, json=body, headers=headers)
        text = answer.text
        if "event-stream" in answer.headers.get("content-type", ""):
            # a session gets what the server logs as well; the answer comes last
            text = [line[6:] for line in text.splitlines() if line.startswith("data: ")][-1]
        result = json.loads(text)["result"]
        if result.get("isError"):
            raise SystemExit(f"{tool} {arguments}: {result['content']}")
        content: dict[str, Any] = result["structuredContent"]
        return content

    async def complete(self) -> float:
        """Return the seconds until every process answers from a complete index."""
        started, in_a_row = time.perf_counter(), 0
        while in_a_row < (CALLS_PER_WORKER * self.workers if self.workers > 1 else 1):
            if self.process.poll() is not None or time.perf_counter() - started > READY_S:
                raise SystemExit("the gateway has ended, or takes too long")
            try:
                async with httpx.AsyncClient(timeout=60) as http:
                    found = await self.call(http, "search_documents", {"query": "the", "limit": 1})
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            in_a_row = (
                0 if "indexing" in found or (found["truncated"] and not found["matches"]) else in_a_row + 1
            )
            if not in_a_row:
                await asyncio.sleep(0.2)
        return time.perf_counter() - started


def _in_session(session: str) -> dict[str, str]:
    return {"mcp-protocol-version": HANDSHAKE, "mcp-session-id": session}


@asynccontextmanager
async def session_of(http: httpx.AsyncClient, url: str) -> AsyncIterator[str]:
    """Open a session of the handshake era, and end it."""
    caller = Caller(http, url)
    await caller.open()
    if caller.session is None:
        raise SystemExit("the gateway has opened no session")
    yield caller.session
    await http.delete(url, headers=_in_session(caller.session))


@contextmanager
def served(corpus: Path, index: Path, workers: int) -> Iterator[Server]:
    """Run a gateway; it is stopped in order."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RESEARCH_")}
    environment |= {
        "RESEARCH_ROOTS": f"research={corpus}",
        "RESEARCH_INDEX_DIR": str(index),
        "RESEARCH_AUDIT_LOG": str(index.parent / "audit.jsonl"),
    }
    with reserved_port() as port, (index.parent / "stderr.log").open("wb") as log:
        command = [
            sys.executable,
            "-m",
            "research_gateway",
            "serve",
            "--transport",
            "http",
            "--port",
            str(port),
        ]
        options = ["--workers", str(workers)] if workers > 1 else []
        process = subprocess.Popen([*command, *options], env=environment, stderr=log)
        try:
            yield Server(process, f"http://127.0.0.1:{port}/mcp", workers)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=120)


def files_mb(pid: int) -> dict[str, float]:
    """Return what pages of files a process has mapped, in MB: those of an index, and all others."""
    index = libraries = 0
    is_index = False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "Rss":
            resident = int(value.split()[0])
        elif name == "Anonymous":
            of_file = resident - int(value.split()[0])
            index += of_file if is_index else 0
            libraries += 0 if is_index else of_file
        elif re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            is_index = "/index/" in line or "/copy-" in line
    return {"index": index / 1024, "libraries": libraries / 1024}


def memory_mb(pid: int) -> dict[str, float]:
    """Return what a process takes, in MB (of 1,048,576 bytes)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")

    def value(name: str, text: str) -> float:
        return int(re.findall(rf"^{name}:\s+(\d+)", text, re.MULTILINE)[0]) / 1024

    return {
        "resident": value("VmRSS", status),
        "anonymous": value("RssAnon", status),
        "files": value("RssFile", status),
        "highest": value("VmHWM", status),
        "shared out": value("Pss", rollup),
        **files_mb(pid),
    }


def said(step: str, server: Server) -> list[dict[str, float]]:
    """Print what each process takes, and return it."""
    found = [memory_mb(pid) for pid in server.serving]
    for number, each in enumerate(found, 1):
        which = f" ({number} of {len(found)})" if len(found) > 1 else ""
        print(f"{step + which:42}" + "  ".join(f"{name} {mb:6.1f}" for name, mb in each.items()), flush=True)
    if len(found) > 1:
        print(
            f"{step + ' (together)':42}shared out {sum(each['shared out'] for each in found):6.1f}",
            flush=True,
        )
    return found


async def searched(server: Server, corpus: Path, count: int) -> None:
    """Make the calls on fresh connections, so that all processes get some, and print the median time of each kind.

    Of 16 calls, 8 are of a modern client and 8 of one with a session.
    """
    took: dict[str, list[float]] = {}
    for number, (kind, (tool, arguments)) in enumerate(calls(corpus, count)):
        async with httpx.AsyncClient(timeout=120) as http, AsyncExitStack() as stack:
            await http.get(server.url.removesuffix("mcp") + "healthz")
            session = await stack.enter_async_context(session_of(http, server.url)) if number & 8 else None
            started = time.perf_counter()
            await server.call(http, tool, arguments, session=session)
            took.setdefault(kind, []).append(1000 * (time.perf_counter() - started))
    print(
        "    " + ", ".join(f"{kind} {statistics.median(each):.1f} ms" for kind, each in took.items()),
        flush=True,
    )


def first_notes(corpus: Path, count: int) -> dict[Path, bytes]:
    """Return so many Markdown files of a corpus with what they hold."""
    files = sorted(path for path in corpus.rglob("*.md") if path.is_file())[:count]
    return {path: path.read_bytes() for path in files}


async def updated(server: Server, before: dict[Path, bytes]) -> None:
    """Add a line to these files, wait until a search finds it in all of them, and take it away again."""
    mark = f"lineof{time.time_ns()}"
    try:
        for path, text in before.items():
            path.write_bytes(text + f"\n{mark}\n".encode())
        found = 0
        async with httpx.AsyncClient(timeout=120) as http, asyncio.timeout(READY_S):
            while found < len(before):
                arguments = {"query": mark, "limit": len(before)}
                found = len((await server.call(http, "search_documents", arguments))["matches"])
                await asyncio.sleep(0.2)
        await asyncio.sleep(SETTLE_S)
        said(f"… and an update of {len(before)} files", server)
    finally:
        for path, text in before.items():
            path.write_bytes(text)


async def measure(options: argparse.Namespace, index: Path, *, is_ready: bool) -> bool:
    """Build, then serve with each number of workers; return whether the bound holds."""
    holds, figures = True, {}
    if not is_ready:
        with served(options.corpus, index, 1) as server:
            print(f"complete after {await server.complete():.1f} s", flush=True)
            await asyncio.sleep(SETTLE_S)
            said("builds", server)
            await searched(server, options.corpus, options.searches)
            await asyncio.sleep(SETTLE_S)
            figures["builds"] = said("builds, after searches", server)
    for workers in options.workers:
        with served(options.corpus, index, workers) as server:
            print(f"{workers} worker(s): complete after {await server.complete():.1f} s", flush=True)
            await asyncio.sleep(SETTLE_S)
            said("serves", server)
            await searched(server, options.corpus, options.searches * workers)
            await asyncio.sleep(SETTLE_S)
            figures[f"serves, {workers}"] = found = said("serves, after searches", server)
            if options.update:
                await updated(server, first_notes(options.corpus, options.update))
            if workers == 1 and options.bound and found[0]["resident"] > options.bound:
                holds = False
                print(f"NOT WITHIN {options.bound:.0f} MB")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return holds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--workers", type=int, nargs="*", default=[1])
    parser.add_argument("--searches", type=int, default=300)
    parser.add_argument("--update", type=int, default=0, help="files that are changed")
    parser.add_argument("--index", type=Path, help="a directory that outlasts this run")
    parser.add_argument("--bound", type=float, default=0.0, help="MB")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.corpus = options.corpus.absolute()
    with tempfile.TemporaryDirectory() as work:
        index = (options.index or Path(work) / "index").absolute()
        index.parent.mkdir(parents=True, exist_ok=True)
        sys.exit(0 if asyncio.run(measure(options, index, is_ready=index.exists())) else 1)


if __name__ == "__main__":
    main()
