"""What the clients meet: a research folder, a model that answers by a script, and the gateway over them."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from support.providers import FakeProvider, listening
from support.scripted import ScriptedModel
from support.serving import reserved_port, until

COMMAND = Path(sys.executable).with_name("research-assistant")
SAMPLES = Path(__file__).parents[2] / "gateway" / "research_gateway" / "samples"
PDFS = ("cost-analysis.pdf", "results-report.pdf")

ONION = """# Onion routing

Onion routing wraps a message in layers of encryption, one for each relay.
Each relay removes one layer and learns only its neighbours on the path.

## Limits

A global adversary that watches both ends can still correlate traffic timing.
"""
ONION_PATH = "papers/onion-routing.md"
PHRASE = "layers of encryption"
PHRASE_LINE = 3
"""The line of `ONION` with `PHRASE`, which no other document has."""

TEXTS = {
    ONION_PATH: ONION,
    "notes/mix-networks.txt": "Mix networks\n\nMix networks delay and reorder messages before they send them on.\n"
    "The price of that protection is latency, and encryption in layers is not enough without it.\n",
    "notes/caches.md": "# Caches\n\nA cache has layers. The lowest of the layers is the slowest one, with or "
    "without encryption.\n",
    "notes/interviews/summary.md": "# Interviews\n\nTwelve people were asked how they choose what they read first.\n",
}
BROKEN = "broken.pdf"
DOCUMENTS = sorted([*TEXTS, *PDFS, BROKEN])


def make_folder(folder: Path) -> Path:
    """Write the documents, of which one cannot be read."""
    for path, text in TEXTS.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for name in PDFS:
        shutil.copy(SAMPLES / name, folder / name)
    (folder / BROKEN).write_bytes(b"%PDF-1.4 no such thing")
    return folder


@dataclass
class StandIn(FakeProvider):
    """A provider in the wire format of OpenAI that quotes what it is shown, and keeps callers waiting on request."""

    model: ScriptedModel = field(default_factory=ScriptedModel)
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def hold(self) -> None:
        """Answer nobody until `release()`."""
        self._open.clear()

    def release(self) -> None:
        """Answer those who wait, and everybody from now on."""
        self._open.set()

    def fail(self) -> None:
        """Answer everything with a server's error from now on."""
        self.model.always = lambda _kind, _text: RuntimeError()

    async def reached(self) -> None:
        """Wait until somebody waits for an answer."""
        await until(lambda: self.open_now > 0)

    async def _respond(
        self, path: str, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if not self._open.is_set():
            released = asyncio.ensure_future(self._open.wait())
            hung_up = asyncio.ensure_future(reader.read(1))
            done, waiting = await asyncio.wait({released, hung_up}, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            if hung_up in done:
                raise ConnectionResetError
        await super()._respond(path, body, reader, writer)


@asynccontextmanager
async def stand_in() -> AsyncIterator[StandIn]:
    """A model of its own for each client, so that holding it holds nobody else."""
    provider = StandIn()
    provider.release()
    async with listening(provider):
        yield provider


class Trail:
    """The audit trail of one gateway; processes that run at the same time write a file each."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "audit.jsonl"

    def records(self) -> list[dict[str, Any]]:
        """All records so far; the last line of a file may still be on its way."""
        files = sorted(self.path.parent.glob("audit*.jsonl"))
        lines = [line for file in files for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
        return [json.loads(line) for line in lines]

    def protocols(self) -> set[str]:
        """The protocol revisions in which requests came."""
        return {record["protocol"] for record in self.records() if record.get("protocol")}

    def outcomes(self, tool: str) -> list[str | None]:
        """How the calls of a tool ended, in the order in which they began; None for one that runs."""
        records = self.records()
        ends = {record["call_id"]: record["outcome"] for record in records if record["event"] == "end"}
        begun = [record for record in records if record["event"] == "start" and record.get("tool") == tool]
        return [ends.get(record["call_id"]) for record in begun]

    def unended(self) -> int:
        """How many requests have a start and no end."""
        events = [record["event"] for record in self.records()]
        return events.count("start") - events.count("end")


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """How a gateway is started: what a client gets as a command, and what is started for it to connect to."""

    folder: Path
    provider: StandIn | None
    trail: Trail
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        return [str(COMMAND), "serve", "--root", str(self.folder)]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a client's configuration gives to the server."""
        given = {"RESEARCH_AUDIT_LOG": str(self.trail.path), "RESEARCH_RETRY_BASE_S": "0.01"}
        if self.provider is not None:
            given |= {
                "RESEARCH_PROVIDER": "openai",
                "RESEARCH_PROVIDER_URL": self.provider.base_url("openai"),
                "RESEARCH_PROVIDER_MODEL": "stand-in",
            }
        return given | dict(self.settings)

    @asynccontextmanager
    async def target(self, transport: str) -> AsyncIterator[dict[str, Any]]:
        """What a driver connects to, for as long as the block lasts."""
        if transport == "stdio":
            yield {"transport": "stdio", "command": self.command, "environment": self.environment}
            return
        async with self.served() as (url, _):
            yield {"transport": "http", "url": url}

    @asynccontextmanager
    async def served(self) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
        """The gateway's URL and process, ready to answer; it is told to stop when the block ends."""
        with reserved_port() as port:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                *("--transport", "http", "--port", str(port)),
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                await _healthy(f"http://127.0.0.1:{port}/healthz", process)
                yield f"http://127.0.0.1:{port}/mcp", process
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.wait()


async def _healthy(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(60), httpx.AsyncClient() as http:
        while process.returncode is None:
            try:
                if (await http.get(url)).is_success:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    raise RuntimeError(f"the gateway ended with status {process.returncode}")
