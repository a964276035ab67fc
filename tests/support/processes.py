"""Servers in processes of their own, as an operator starts them."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.serving import reserved_port, until

BIN = Path(sys.executable).parent


@dataclass
class Server:
    """A server in a process of its own, over HTTP."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def said(self, message: str) -> int:
        """How often the log says this."""
        return self.log.read_text(encoding="utf-8").count(message)

    async def says(self, message: str) -> None:
        await until(lambda: self.said(message) > 0, within_s=120)

    async def faults(self) -> list[str]:
        async with httpx.AsyncClient() as http:
            body = (await http.get(self.url.replace("/mcp", "/readyz"))).json()
        return [fault["fault"] for fault in body["checks"]["faults"]["current"]]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(60) == -signal.SIGKILL


def started(prefix: Sequence[str], folder: Path, port: int, settings: dict[str, str]) -> Server:
    """Start a gateway over a folder. Its log and its audit trail stand beside the folder."""
    number = len(list(folder.parent.glob("log*")))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RESEARCH_", "COV"))}
    settings = settings | {"RESEARCH_AUDIT_LOG": str(folder.parent / f"audit{number}.jsonl")}
    command = [str(BIN / "research-assistant"), "serve", "--root", str(folder)]
    log = folder.parent / f"log{number}"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*prefix, *command, "--transport", "http", "--port", str(port)],
            env=kept | settings,
            stderr=stderr,
        )
    return Server(process, port, log)


@asynccontextmanager
async def served(folder: Path, *, prefix: Sequence[str] = (), **settings: str) -> AsyncIterator[Server]:
    """Serve a folder in a process that ends when the block ends. `prefix` is the command that it is started with."""
    with reserved_port() as port:
        server = started(prefix, folder, port, settings)
        process = server.process
        try:
            await until(lambda: process.poll() is not None or listens(port), within_s=120)
            assert process.poll() is None, server.log.read_text(encoding="utf-8")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:  # do not leave it behind for the tests that follow
                server.kill()
                raise


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
