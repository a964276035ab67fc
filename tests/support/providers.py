"""A provider over a real socket: speaks both wire formats, and misbehaves on request."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from support.scripted import MODEL, Reply, ScriptedModel

STOPS = {
    "anthropic": {
        "endTurn": "end_turn",
        "maxTokens": "max_tokens",
        "refusal": "refusal",
        "toolUse": "tool_use",
    },
    "openai": {
        "endTurn": "stop",
        "maxTokens": "length",
        "refusal": "content_filter",
        "toolUse": "tool_calls",
    },
}


@dataclass(frozen=True)
class Fault:
    """What the server does instead of answering. `body` and `headers` go out with `status`."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    delay_headers_s: float = 0.0
    delay_body_s: float = 0.0
    reset_after: int | None = None


def error(status: int, code: str, *headers: tuple[str, str]) -> Fault:
    return Fault(
        status, json.dumps({"type": "error", "error": {"type": code, "message": "no"}}).encode(), headers
    )


@dataclass
class FakeProvider:
    model: ScriptedModel
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    delay_s: float = 0.0
    count_input: Callable[[str], int] = lambda _text: 11
    """The input tokens that it reports (OpenAI's format)."""
    together: int = 0
    """So many requests are waited for before the first one is answered after `delay_s`."""
    on_delay: Callable[[], None] = lambda: None
    """Told when a fault begins to delay its answer."""
    port: int = 0
    open_now: int = 0
    most_open: int = 0
    aborted: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def base_url(self, kind: str) -> str:
        return self.url if kind == "anthropic" else f"{self.url}/v1"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await _head(reader)) is not None:
                path, headers = head
                body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))))
                self.requests.append((path, headers, body))
                self.open_now += 1
                self.most_open = max(self.most_open, self.open_now)
                try:
                    await self._respond(path, body, reader, writer)
                finally:
                    self.open_now -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            self.aborted += 1
        finally:
            writer.close()

    async def _wait(self, reader: asyncio.StreamReader) -> None:
        """Think for a while, unless the caller hangs up."""
        while self.most_open < self.together:  # noqa: ASYNC110  (nothing else needs to be told)
            await asyncio.sleep(0.005)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), self.delay_s)
            raise ConnectionResetError

    async def _respond(
        self, path: str, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.faults:
            fault = self.faults.pop(0)
            if fault.delay_headers_s or fault.delay_body_s:
                asyncio.get_running_loop().call_later(0.05, self.on_delay)
            await _misbehave(fault, writer)
            return
        if self.delay_s:
            await self._wait(reader)
        try:
            answer = self._answer(path, body)
        except Exception:  # noqa: BLE001  (a scripted failure is a failing server)
            await send(writer, 500, b"{}")
            return
        await send(writer, 200, json.dumps(answer).encode())

    def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/v1/messages":
            return anthropic(self.model.answer(body["system"], body["messages"][0]["content"]))
        assert path == "/v1/chat/completions", path
        system, user = body["messages"]
        answer = openai(self.model.answer(system["content"], user["content"]))
        answer["usage"]["prompt_tokens"] = self.count_input(system["content"] + user["content"])
        return answer


def anthropic(reply: Reply) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": reply.text}] if reply.text else [],
        "stop_reason": STOPS["anthropic"][reply.stop],
        "usage": {"input_tokens": 11, "output_tokens": 7},
    }


def openai(reply: Reply) -> dict[str, Any]:
    return {
        "model": MODEL,
        "choices": [
            {
                "message": {"role": "assistant", "content": reply.text},
                "finish_reason": STOPS["openai"][reply.stop],
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7},
    }


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]] | None:
    line = await reader.readline()
    if not line:
        return None
    headers: dict[str, str] = {}
    while (header := (await reader.readline()).decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return line.split()[1].decode(), headers


async def send(
    writer: asyncio.StreamWriter, status: int, body: bytes, headers: tuple[tuple[str, str], ...] = ()
) -> None:
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()


async def _misbehave(fault: Fault, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(fault.delay_headers_s)
    if fault.reset_after is not None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b'{"a":"' + b"x" * fault.reset_after
        )
        await writer.drain()
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionResetError
    if fault.delay_body_s:
        head = f"HTTP/1.1 {fault.status} X\r\ncontent-length: {len(fault.body) + 1}\r\n\r\n"
        writer.write(head.encode() + fault.body)
        await writer.drain()
        await asyncio.sleep(fault.delay_body_s)
        writer.write(b" ")
        await writer.drain()
        return
    await send(writer, fault.status, fault.body, fault.headers)


@asynccontextmanager
async def fake_provider(model: ScriptedModel) -> AsyncIterator[FakeProvider]:
    async with listening(FakeProvider(model)) as provider:
        yield provider


P = TypeVar("P", bound=FakeProvider)


@asynccontextmanager
async def listening(provider: P) -> AsyncIterator[P]:
    """Let a provider answer on a free port of this machine until the block ends."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await provider.handle(reader, writer)
        except asyncio.CancelledError:
            writer.close()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
