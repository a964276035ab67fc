"""What the benchmarks `memory.py` and `soak.py` share: a gateway as a process of its own, clients of both protocol eras, and a model.

The clients write their messages themselves, so that thousands of calls cost little and every answer is looked at.
"""

import asyncio
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"
ERROR_KEY = "io.github.research-assistant-mcp/error"
WORDS = [
    "owl",
    "hunt",
    "night",
    "onion",
    "routing",
    "latency",
    "layer",
    "relay",
    "client",
    "market",
    "survey",
    "margin",
    "tax",
    "audit",
    "forest",
    "river",
    "stone",
    "cache",
    "passage",
    "index",
    "query",
    "answer",
    "model",
    "evidence",
    "quote",
    "claim",
    "report",
    "partner",
    "pilot",
    "budget",
    "risk",
]
KEEPALIVE_S = 2.0
"""Seconds that a client keeps a connection for the next request: less than the server, which may close it at that moment."""
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
}


# The folder


def text(random: random.Random, *, paragraphs: int = 12) -> str:
    """A note of sentences that a keyword search and a model find something in."""
    sentences = [f"{' '.join(random.choices(WORDS, k=12)).capitalize()}." for _ in range(paragraphs * 3)]
    return "# Note\n\n" + "\n\n".join(" ".join(sentences[n::paragraphs]) for n in range(paragraphs)) + "\n"


def pdf(line: str) -> bytes:
    """A PDF of one page with one line of ASCII text."""
    stream = f"BT /F1 12 Tf 72 720 Td ({line}) Tj ET".encode()
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R /Resources << /Font << /F1 4 0 R >> >> >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
    )
    written, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(written)
    return written + b"xref\n0 6\n0000000000 65535 f \n" + table + end


def make_folder(folder: Path, *, notes: int = 60) -> None:
    """Write notes and a few PDFs and tables."""
    seeded = random.Random(1)
    folder.mkdir(parents=True)
    for number in range(notes):
        (folder / f"note-{number}.md").write_text(text(seeded), encoding="utf-8")
    for number in range(4):
        (folder / f"page-{number}.pdf").write_bytes(
            pdf(f"Owls of page {number} hunt at night near the river.")
        )
    (folder / "table.csv").write_text("\n".join(f"{n},{n * n}" for n in range(200)), encoding="utf-8")


async def change_files(folder: Path, *, every_s: float) -> None:
    """Rewrite, add, remove and rename files for ever. Their number stays the same in the long run."""
    seeded = random.Random(2)
    while True:
        number = seeded.randrange(20)
        file, other = folder / f"changing-{number}.md", folder / f"renamed-{number}.md"
        match seeded.randrange(4):
            case 0 | 1:
                file.write_text(text(seeded), encoding="utf-8")
            case 2 if file.exists():
                file.rename(other)
            case _:
                file.unlink(missing_ok=True)
                other.unlink(missing_ok=True)
        (folder / "page-0.pdf").write_bytes(pdf(f"Owls change {seeded.random()}"))
        await asyncio.sleep(every_s)


# The model


def obliging(system: str, shown: str) -> str:
    """What an obliging model says."""
    found = re.search(r"<<<UNTRUSTED \w+\n(.*)\nUNTRUSTED", shown, re.DOTALL)
    material = found[1] if found else ""
    if system.startswith("Find what"):
        quotes = re.findall(r"[A-Z][^.\n]{20,200}\.", material)[:2]
        return json.dumps(
            {"relevant": bool(quotes), "findings": [{"claim": "It says so.", "quotes": [q]} for q in quotes]}
        )
    if system.startswith("Answer the"):
        marks = re.findall(r"^(\d+\.\d+) ", material, re.MULTILINE)
        insights = [{"claim": f"Finding {mark}", "evidence": [mark]} for mark in marks[:5]]
        return json.dumps({"answered": True, "synthesis": "They agree [1].", "insights": insights})
    return "\n\n".join(f"Paragraph {n} on {' '.join(material.split()[:30])}" for n in range(1, 5))


@dataclass
class FailingProvider:
    """An OpenAI-compatible server that answers a share `failures` of its requests badly, late or not at all."""

    failures: float
    seeded: random.Random = field(default_factory=lambda: random.Random(3))
    connections: set[asyncio.StreamWriter] = field(default_factory=set)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections.add(writer)
        try:
            while await reader.readline():
                length = 0
                while (line := (await reader.readline()).decode().strip()) != "":
                    name, _, value = line.partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                request = json.loads(await reader.readexactly(length))
                await self._answer(writer, *(message["content"] for message in request["messages"][:2]))
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self.connections.discard(writer)
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, system: str, user: str) -> None:
        status, content = 200, obliging(system, user)
        fault = self.seeded.randrange(6) if self.seeded.random() < self.failures else None
        if fault in {0, 1, 2}:
            status = (500, 429, 503)[fault]
        elif fault == 3:
            content = content[: len(content) // 2]
        elif fault == 4:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{")
            raise ConnectionResetError
        elif fault == 5:
            await asyncio.sleep(0.5)  # a slow answer is the fault
        choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        usage = {"prompt_tokens": (len(system) + len(user)) // 4, "completion_tokens": 9}
        body = json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()


@asynccontextmanager
async def failing_provider(*, failures: float) -> AsyncIterator[str]:
    """Run a `FailingProvider` on a loopback socket. Gives its address."""
    provider = FailingProvider(failures)
    server = await asyncio.start_server(provider.connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for writer in tuple(provider.connections):
            writer.close()
        await asyncio.sleep(0.05)  # for the tasks of the connections to end


# The gateway


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a process holds: resident memory, open descriptors, threads and child processes."""

    rss_mb: float
    descriptors: int
    threads: int
    children: int


@dataclass
class Gateway:
    """A gateway that serves over HTTP in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str
    work: Path

    @property
    def folder(self) -> Path:
        return self.work / "research"

    @property
    def audit_log(self) -> Path:
        return self.work / "audit.jsonl"

    def figures(self) -> Figures:
        """What the process holds now.

        Raises:
            SystemExit: it has ended.
        """
        if self.process.poll() is not None:
            raise SystemExit(
                f"the gateway has ended with status {self.process.returncode}; see {self.work}/stderr.log"
            )
        proc = Path(f"/proc/{self.process.pid}")
        status = dict(
            line.split(":", 1)
            for line in (proc / "status").read_text(encoding="utf-8").splitlines()
            if ":" in line
        )
        children = sum(
            len(task.read_text(encoding="ascii").split()) for task in (proc / "task").glob("*/children")
        )
        return Figures(
            rss_mb=int(status["VmRSS"].split()[0]) / 1024,
            descriptors=len(os.listdir(proc / "fd")),  # noqa: PTH208
            threads=int(status["Threads"]),
            children=children,
        )


@contextmanager
def gateway(work: Path, *, provider_url: str, **settings: str) -> Iterator[Gateway]:
    """Start a gateway over `work/research`, with `settings` named like the variables but in lower case."""
    settings = {"provider": "openai", "provider_model": "m", "retry_base_s": "0.05", **settings}
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RESEARCH_")}
    environment |= {f"RESEARCH_{name.upper()}": value for name, value in settings.items()}
    environment |= {"RESEARCH_PROVIDER_URL": provider_url, "RESEARCH_ROOTS": str(work / "research")}
    environment |= {"RESEARCH_AUDIT_LOG": str(work / "audit.jsonl")}
    command = (
        shutil.which("research-assistant", path=str(Path(sys.executable).parent)) or "research-assistant"
    )
    with (work / "stderr.log").open("wb") as log:
        process = subprocess.Popen(
            [command, "serve", "--transport", "http", "--port", str(port)], env=environment, stderr=log
        )
        try:
            yield Gateway(process, f"http://127.0.0.1:{port}/mcp", work)
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# The clients


def mixed(seeded: random.Random) -> tuple[str, dict[str, Any]]:
    """One request of those that clients send, among them some that fail."""
    note = f"note-{seeded.randrange(60)}.md"
    words = " ".join(seeded.choices(WORDS, k=2))

    def tool(name: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
        return "tools/call", {"name": name, "arguments": arguments}

    requests: tuple[tuple[int, tuple[str, dict[str, Any]]], ...] = (
        (20, tool("search_documents", query=words, limit=5)),
        (8, tool("search_documents", query=f"{words.split()[0]}s?", mode="regex", limit=5)),
        (1, tool("search_documents", query="(", mode="regex")),
        (15, tool("read_document", document_path=note, max_lines=20)),
        (3, tool("read_document", document_path=f"changing-{seeded.randrange(20)}.md")),
        (3, tool("read_document", document_path=f"page-{seeded.randrange(4)}.pdf")),
        (2, tool("read_document", document_path="../../etc/passwd")),
        (2, tool("read_document", document_path=f"none-{seeded.random()}.md")),
        (8, tool("list_research_documents", limit=10)),
        (3, tool("list_research_documents", file_pattern=f"**/*{seeded.randrange(10)}.md")),
        (3, tool("verify_quotes", quotes=[{"quote": f"{words} {seeded.random()}", "document_path": note}])),
        (3, tool("summarize_document", document_path=note, summary_length="brief")),
        (2, tool("synthesize_research", document_paths=[note], research_question=f"What of {words}?")),
        (
            1,
            tool("synthesize_research", research_question=f"What do owls do with {words}?", depth="overview"),
        ),
        (1, tool("no_such_tool", argument=words)),
        (3, ("tools/list", {})),
        (3, ("resources/list", {})),
        (3, ("resources/read", {"uri": f"research://documents/{note}"})),
        (1, ("resources/read", {"uri": f"research://documents/none-{seeded.random()}.md"})),
        (1, ("prompts/list", {})),
        (1, ("no/such/method", {})),
        (
            3,
            (
                "completion/complete",
                {
                    "ref": {"type": "ref/resource", "uri": "research://documents/{path*}"},
                    "argument": {"name": "path", "value": "note-1"},
                },
            ),
        ),
    )
    ((_, chosen),) = seeded.choices(requests, weights=[weight for weight, _ in requests])
    return chosen


@dataclass
class Caller:
    """One client: of the modern era without a session, else of the handshake era."""

    http: httpx.AsyncClient
    url: str
    session: str | None = None
    sampling: bool = False
    seeded: random.Random = field(default_factory=random.Random)
    number: int = 0

    async def open(self, *, initialized: bool = True) -> int:
        """Open a session of the handshake era. Gives the HTTP status."""
        capabilities: dict[str, Any] = {"sampling": {}} if self.sampling else {}
        params = {
            "protocolVersion": HANDSHAKE,
            "capabilities": capabilities,
            "clientInfo": {"name": "load", "version": "1"},
        }
        body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        answer = await self.http.post(self.url, json=body, headers=HEADERS)
        self.session = answer.headers.get("mcp-session-id")
        if initialized and self.session is not None:
            await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer.status_code

    def _headers(self, method: str = "", name: str = "") -> dict[str, str]:
        if self.session is not None:
            return {**HEADERS, "mcp-protocol-version": HANDSHAKE, "mcp-session-id": self.session}
        return {
            **HEADERS,
            "mcp-protocol-version": MODERN,
            "mcp-method": method,
            **({"mcp-name": name} if name else {}),
        }

    async def _post(self, message: dict[str, Any]) -> None:
        await self.http.post(self.url, json=message, headers=self._headers())

    async def call(self, method: str, params: dict[str, Any]) -> str:
        """Send a request and give the code of its error, `ok`, or `asked back` for a round that is left unanswered."""
        self.number += 1
        if self.session is None:
            capabilities: dict[str, Any] = {"sampling": {}} if self.sampling else {}
            meta = {**META, "io.modelcontextprotocol/clientCapabilities": capabilities}
            params = {**params, "_meta": meta}
        body = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        headers = self._headers(method, params.get("name") or params.get("uri") or "")
        async with self.http.stream("POST", self.url, json=body, headers=headers) as answer:
            if "event-stream" not in answer.headers.get("content-type", ""):
                content = await answer.aread()
                return code_of(json.loads(content)) if content else f"http {answer.status_code}"
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    message = json.loads(line[6:])
                    if message.get("id") == self.number and "method" not in message:
                        return code_of(message)
                    if "method" in message and "id" in message:
                        await self._sample(message)
        return "no answer"

    async def _sample(self, request: dict[str, Any]) -> None:
        """Answer the server's question for the client's model, which fails in one of five times."""
        if request["method"] != "sampling/createMessage" or self.seeded.random() < 0.2:
            error = {"code": -32603, "message": "no model here"}
            await self._post({"jsonrpc": "2.0", "id": request["id"], "error": error})
            return
        content = request["params"]["messages"][0]["content"]
        said = obliging(request["params"].get("systemPrompt", ""), content["text"])
        result = {
            "role": "assistant",
            "model": "m",
            "content": {"type": "text", "text": said},
            "stopReason": "endTurn",
        }
        await self._post({"jsonrpc": "2.0", "id": request["id"], "result": result})


def code_of(message: dict[str, Any]) -> str:
    """The code of an answer's error, or `ok`."""
    if "error" in message:
        error = message["error"]
        data = error.get("data")
        known = data.get("error") if isinstance(data, dict) else None
        return str(known["code"] if isinstance(known, dict) else error["code"])
    result = message["result"]
    if result.get("resultType") == "input_required":
        return "asked back"
    if result.get("isError"):
        return str(result.get("_meta", {}).get(ERROR_KEY, {}).get("code", "error without a code"))
    return "ok"


async def ready(url: str) -> None:
    """Wait until the gateway answers a search with a complete index."""
    async with httpx.AsyncClient(timeout=60) as http:
        for _ in range(600):
            try:
                arguments = {"query": "owl", "limit": 1}
                if (
                    await Caller(http, url).call(
                        "tools/call", {"name": "search_documents", "arguments": arguments}
                    )
                    == "ok"
                ):
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)  # another program is starting; nothing tells when it listens
    raise SystemExit("the gateway does not answer")
