"""What flows over HTTP while an answer is being worked on, for clients that ask for no progress."""

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from fastmcp import Client, FastMCP
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from research_shared.serving.drain import Drain
from research_shared.serving.transports.http import http_server
from research_shared.serving.transports.keep_alive import COMMENT, KeepAlive
from research_shared.settings import Settings
from support.serving import Served, serving, until

QUICK_S = 0.02
BOTH = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Stage:
    """A server whose tool answers when it is let go."""

    def __init__(self) -> None:
        self.release = anyio.Event()
        self.server: FastMCP[Any] = FastMCP("stage")
        self.server.tool(self.wait, name="wait")

    async def wait(self) -> str:
        await self.release.wait()
        return "waited"


def request(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


CALL: dict[str, Any] = {"name": "wait", "arguments": {}}


async def modern(_http: httpx.AsyncClient, _url: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A call of 2026-07-28, and its headers."""
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "wait"}
    return request("tools/call", {**CALL, "_meta": ENVELOPE}), headers


async def handshake(http: httpx.AsyncClient, url: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A call in a session, and its headers."""
    info = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    }
    begun = await http.post(url, json=request("initialize", info))
    headers = {"mcp-session-id": begun.headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}
    told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    await http.post(url, json=told, headers=headers)
    return request("tools/call", CALL), headers


ERAS = pytest.mark.parametrize("era", [modern, handshake])


@asynccontextmanager
async def kept(app: FastMCP[Any], every_s: float = QUICK_S) -> AsyncIterator[Served]:
    """The server over HTTP, kept alive."""

    async def answer(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await KeepAlive(app, every_s=every_s)(scope, receive, send)

    async with serving(app) as served:
        served.answer = answer
        yield served


def result_of(text: str) -> Any:
    """The JSON-RPC answer in an event stream."""
    (data,) = (line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: "))
    return json.loads(data)


@ERAS
async def test_a_call_without_a_progress_token_is_kept_alive_in_both_eras(era: Any) -> None:
    stage = Stage()
    async with kept(stage.server) as served, httpx.AsyncClient(headers=BOTH, timeout=60) as http:
        body, headers = await era(http, served.url)
        text = ""
        async with http.stream("POST", served.url, json=body, headers=headers) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            async for part in response.aiter_text():
                text += part
                if text.count(COMMENT.decode()) >= 3:
                    stage.release.set()
    assert response.status_code == 200
    assert result_of(text)["result"]["structuredContent"] == {"result": "waited"}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_clients_of_both_eras_read_an_answer_that_was_kept_alive(mode: Any) -> None:
    stage = Stage()
    async with kept(stage.server) as served, Client(served.url, mode=mode) as client:

        async def release() -> None:
            await anyio.sleep(3 * QUICK_S)
            stage.release.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(release)
            assert (await client.session.call_tool("wait", {})).structured_content == {"result": "waited"}


async def test_an_answer_in_time_stays_as_it_is() -> None:
    stage = Stage()
    stage.release.set()
    async with kept(stage.server, every_s=60) as served, httpx.AsyncClient(headers=BOTH, timeout=60) as http:
        body, headers = await modern(http, served.url)
        response = await http.post(served.url, json=body, headers=headers)
    assert response.headers["content-type"] == "application/json"
    assert response.json()["result"]["structuredContent"] == {"result": "waited"}


@pytest.mark.parametrize("era", [modern, handshake])
async def test_a_served_call_is_never_silent_for_fifteen_seconds(
    era: Any, tmp_path: Any, pass_time: Callable[[float], None]
) -> None:
    stage, drain = Stage(), Drain()
    settings = Settings.load({}, roots=str(tmp_path), allowed_origins="https://app.example")
    server = http_server(stage.server, settings, drain, host="127.0.0.1", port=0)
    server.config.timeout_keep_alive = 3600
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    async with (
        server.lifespan(),
        anyio.create_task_group() as tasks,
        httpx.AsyncClient(headers=BOTH, timeout=None) as http,
    ):
        tasks.start_soon(server._serve, [listener])
        await until(lambda: server.started)
        body, headers = await era(http, url)
        headers["origin"] = "https://app.example"
        comments = 0

        async def call() -> None:
            nonlocal comments
            async with http.stream("POST", url, json=body, headers=headers) as response:
                # What the server begins an answer with is for web pages too.
                assert response.headers["access-control-allow-origin"] == "https://app.example"
                async for line in response.aiter_lines():
                    comments += line.startswith(":")

        async with anyio.create_task_group() as calling:
            calling.start_soon(call)
            await until(lambda: drain.in_flight > 0)
            await anyio.sleep(0.05)
            for count in (1, 2, 3):
                pass_time(10)
                await until(lambda: comments >= count)  # noqa: B023  (waited for within the turn)
            stage.release.set()
        server.should_exit = True
    listener.close()


def http_scope(*, accept: str = BOTH["accept"], version: str = "2026-07-28") -> Scope:
    headers = [(b"accept", accept.encode()), (b"mcp-protocol-version", version.encode())]
    return {"type": "http", "method": "POST", "path": "/mcp", "headers": headers}


class Wire:
    """The two ends of an ASGI application."""

    def __init__(self, *body: Message) -> None:
        self.sent: list[Message] = []
        self._body = list(body or ({"type": "http.request", "body": b"{}", "more_body": False},))

    async def receive(self) -> Message:
        if self._body:
            return self._body.pop(0)
        await anyio.sleep_forever()
        raise AssertionError

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


async def answer(send: Send, status: int, *parts: bytes, kind: bytes = b"application/json") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    for number, part in enumerate(parts, 1):
        await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})


async def test_a_late_answer_of_any_status_and_in_any_parts_becomes_one_event() -> None:
    wire = Wire()

    async def late(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await until(lambda: wire.body.count(COMMENT) >= 2)
        await answer(send, 404, b'{"a":', b"\n1}")

    await KeepAlive(late, every_s=QUICK_S)(http_scope(), wire.receive, wire.send)
    assert wire.sent[0]["status"] == 200
    assert wire.body.replace(COMMENT, b"") == b'event: message\r\ndata: {"a":\r\ndata: 1}\r\n\r\n'
    assert [message["more_body"] for message in wire.sent[1:]][-2:] == [True, False]


async def test_a_late_answer_without_content_ends_the_stream() -> None:
    wire = Wire()

    async def late(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await until(lambda: COMMENT in wire.body)
        await answer(send, 202, b"")

    await KeepAlive(late, every_s=QUICK_S)(http_scope(), wire.receive, wire.send)
    assert wire.body.replace(COMMENT, b"") == b""
    assert wire.sent[-1]["more_body"] is False


async def test_a_stream_that_begins_late_goes_on_as_it_is() -> None:
    wire = Wire()

    async def late(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await until(lambda: COMMENT in wire.body)
        await answer(send, 200, b"data: 1\n\n", b"data: 2\n\n", kind=b"text/event-stream")

    await KeepAlive(late, every_s=QUICK_S)(http_scope(), wire.receive, wire.send)
    assert [message["type"] for message in wire.sent].count("http.response.start") == 1
    assert wire.body.replace(COMMENT, b"") == b"data: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize(
    "reason", ["accepts JSON alone", "is of an earlier era", "is not read yet", "is answered in JSON"]
)
async def test_a_request_without_a_stream_is_left_alone(reason: str) -> None:
    accept = "application/json" if reason == "accepts JSON alone" else BOTH["accept"]
    version = "2025-11-25" if reason == "is of an earlier era" else "2026-07-28"
    wire = Wire()

    async def slow(_scope: Scope, receive: Receive, send: Send) -> None:
        if reason == "is not read yet":
            await anyio.sleep(3 * QUICK_S)
        await receive()
        if reason == "is answered in JSON":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await anyio.sleep(3 * QUICK_S)
            await send({"type": "http.response.body", "body": b"{}"})
            return
        if reason != "is not read yet":
            await anyio.sleep(3 * QUICK_S)
        await answer(send, 200, b"{}")

    await KeepAlive(slow, every_s=QUICK_S)(
        http_scope(accept=accept, version=version), wire.receive, wire.send
    )
    assert wire.body == b"{}"


async def test_a_client_that_is_gone_is_sent_nothing_and_harms_nothing() -> None:
    tried = 0

    async def gone(_message: Message) -> None:
        nonlocal tried
        tried += 1
        raise OSError("gone")

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        await until(lambda: tried >= 1)

    await KeepAlive(app, every_s=QUICK_S)(http_scope(), Wire().receive, gone)
    left = Wire({"type": "http.request", "body": b"{}", "more_body": False}, {"type": "http.disconnect"})

    async def leaving(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        await receive()
        await anyio.sleep(3 * QUICK_S)

    await KeepAlive(leaving, every_s=QUICK_S)(http_scope(), left.receive, left.send)
    assert left.sent == []


async def test_what_is_no_request_for_an_answer_passes_through() -> None:
    wire = Wire()
    seen: list[tuple[Any, Any]] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((receive, send))

    await KeepAlive(app)({"type": "lifespan"}, wire.receive, wire.send)
    await KeepAlive(app)({**http_scope(), "method": "DELETE"}, wire.receive, wire.send)
    assert seen == [(wire.receive, wire.send)] * 2
