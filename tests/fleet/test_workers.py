"""Workers that serve at one address: whose session it is, who asks, and what all of them have done."""

import asyncio
import json
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import anyio
import pytest
from fastmcp import Context, FastMCP
from mcp_types import SamplingMessage, TextContent
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from research_gateway.metrics import Metrics, MetricsMiddleware, add_metrics
from research_shared.access.roots import Root
from research_shared.serving.auth import auth_provider
from research_shared.serving.commandline import add_serve
from research_shared.serving.drain import Drain
from research_shared.serving.fleet import moving
from research_shared.serving.fleet.moving import MOST_BYTES
from research_shared.serving.fleet.passing import PEER_HEADER
from research_shared.serving.fleet.place import Place, listening_sockets, pause_listening
from research_shared.serving.fleet.share import share_of_worker
from research_shared.serving.fleet.supervisor import pause_after
from research_shared.serving.transports.draining import DrainingServer
from research_shared.serving.transports.http import http_server
from research_shared.settings import Settings
from support.asgi import Answer, send_request
from support.serving import until

HANDSHAKE = "2025-11-25"
BASE = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
INITIALIZE = {
    "protocolVersion": HANDSHAKE,
    "capabilities": {"sampling": {}},
    "clientInfo": {"name": "test", "version": "1"},
}
TOKEN = "a-token-of-some-length"


@dataclass
class Stream:
    """A request whose response is read while it arrives, and whose client can go away."""

    parts: list[bytes] = field(default_factory=list)
    gone: anyio.Event = field(default_factory=anyio.Event)
    ended: bool = False

    async def of(self, app: Any, method: str, body: bytes, headers: dict[str, str]) -> None:
        sent = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if sent:
                return sent.pop()
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.parts.append(message.get("body", b""))

        length = {"content-length": str(len(body))} if body else {}
        encoded = [
            (k.encode(), v.encode()) for k, v in {"host": "127.0.0.1:8000", **length, **headers}.items()
        ]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": "/mcp",
            "raw_path": b"/mcp",
            "query_string": b"",
            "root_path": "",
            "headers": encoded,
            "client": ("127.0.0.1", 40_000),
            "server": ("127.0.0.1", 8_000),
            "state": {},
        }
        await app(scope, receive, send)
        self.ended = True

    def messages(self) -> list[dict[str, Any]]:
        lines = b"".join(self.parts).decode().splitlines()
        return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


@dataclass
class Worker:
    listener: DrainingServer
    app: Any
    place: Place
    address: tuple[str, int]
    number: int = 0

    @property
    def connections(self) -> int:
        """How many connections it serves."""
        return len(self.listener.server_state.connections)

    async def post(self, message: dict[str, Any], address: str = "127.0.0.1", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        named["content-length"] = str(len(body))
        return await send_request(self.app, body, {**BASE, **named}, address=address)

    async def call(self, tool: str, session: str, **more: Any) -> Answer:
        self.number += 1  # of each worker: no two requests of a session may have one id
        message = {
            "id": f"{self.place.number}.{self.number}",
            "method": "tools/call",
            "params": {"name": tool, "arguments": {}},
        }
        return await self.post(message, mcp_session_id=session, mcp_protocol_version=HANDSHAKE, **more)

    async def open(self, **headers: str) -> str:
        answer = await self.post({"id": 0, "method": "initialize", "params": INITIALIZE}, **headers)
        session = answer.headers["mcp-session-id"]
        await self.post({"method": "notifications/initialized"}, mcp_session_id=session, **headers)
        return session


@asynccontextmanager
async def running(place: Place, **changes: Any) -> AsyncIterator[Worker]:
    """One worker of several. Each has a port of its own, so that a test chooses which one it connects to."""
    settings = Settings(roots=(Root("r", Path("/")),), **changes)
    metrics = Metrics()
    server: FastMCP[Any] = FastMCP("s", middleware=[MetricsMiddleware(metrics)], auth=auth_provider(settings))
    add_metrics(server, metrics, needs_token=settings.metrics_token)

    @server.tool
    async def who(ctx: Context) -> list[Any]:
        assert ctx.request_context is not None
        request = ctx.request_context.request
        assert request is not None
        assert request.client is not None
        return [place.number, request.client.host, request.url.scheme, request.url.hostname]

    @server.tool
    async def ask(ctx: Context) -> str:
        message = SamplingMessage(role="user", content=TextContent(type="text", text="What now?"))
        answer = await ctx.session.create_message([message], max_tokens=10, related_request_id=ctx.request_id)
        assert isinstance(answer.content, TextContent)
        return answer.content.text

    @server.custom_route("/peer", methods=["GET"])
    async def peer(request: Request) -> Response:
        return JSONResponse([place.number, request.client.host if request.client else None])

    drain = Drain()
    server.add_middleware(drain)
    listener = http_server(server, settings, drain, host="127.0.0.1", port=0, place=place)
    listener.config.load()
    stopped = anyio.Event()
    (listening,) = listening_sockets(("127.0.0.1", 0), family=socket.AF_INET, workers=1, backlog=8)

    async def serve() -> None:
        with anyio.CancelScope(shield=True):
            async with listener.lifespan():
                await listener.serve([place.listen(), listening])
        stopped.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        await until(lambda: listener.started)
        try:
            yield Worker(listener, listener.config.loaded_app, place, listening.getsockname())
        finally:
            listener.should_exit = listener.force_exit = True
            with anyio.CancelScope(shield=True):
                await stopped.wait()


@asynccontextmanager
async def workers(directory: Path, **changes: Any) -> AsyncIterator[tuple[Worker, Worker]]:
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(
                running(Place(number=number, workers=2, directory=directory), **changes)
            )
            for number in (1, 2)
        ]
        yield one, two


@pytest.fixture
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")  # short, as paths of sockets must be


def said(answer: Answer) -> Any:
    (line,) = [line for line in answer.body.decode().splitlines() if line.startswith("data: {")]
    return json.loads(json.loads(line[6:])["result"]["content"][0]["text"])


async def test_a_session_is_served_by_the_worker_that_opened_it_wherever_its_requests_arrive(
    sockets: Path,
) -> None:
    async with workers(sockets) as (one, two):
        session = await one.open()
        assert session.startswith("1-")
        for worker in (one, two):
            answer = await worker.call("who", session, address="203.0.113.9")
            assert answer.status == 200
            assert answer.headers["mcp-session-id"] == session
            assert said(answer) == [1, "203.0.113.9", "http", "127.0.0.1"]
        ended = await send_request(two.app, b"", {"mcp-session-id": session}, method="DELETE")
        assert ended.status == 200
        assert [(await worker.call("who", session)).status for worker in (one, two)] == [404, 404]


async def test_a_replica_says_its_name_before_the_numbers_of_its_workers(sockets: Path) -> None:
    async with workers(sockets, replica="a") as (one, two):
        session = await one.open()
        assert session.startswith("a.1-")
        for worker in (one, two):
            answer = await worker.call("who", session)
            assert (answer.headers["mcp-session-id"], said(answer)[0]) == (session, 1)
        assert (await two.call("who", f"b.{session.removeprefix('a.')}")).status == 404


NOBODYS = ["3-abc", "0-abc", "2-", "1-abc", "2-abc", "-1-abc", "99999-abc", "abc"]


async def test_a_session_of_nobody_is_not_found(sockets: Path) -> None:
    async with workers(sockets) as (one, _two):
        assert [(await one.call("who", session)).status for session in NOBODYS] == [404] * len(NOBODYS)


async def test_a_client_cannot_pretend_to_be_a_worker(sockets: Path) -> None:
    async with workers(sockets) as (one, two):
        session = await one.open()
        forged = json.dumps({"client": ["203.0.113.9", 1], "server": ["evil", 1], "scheme": "https"})
        name = PEER_HEADER.decode().replace("-", "_")
        for worker in (one, two):
            answer = await worker.call("who", session, **{name: forged})
            assert said(answer)[:3] == [1, "127.0.0.1", "http"]
        body = await send_request(one.app, b"", {PEER_HEADER.decode(): forged}, method="GET", path="/peer")
        assert json.loads(body.body) == [1, "127.0.0.1"]


async def test_a_question_to_the_client_and_its_answer_cross_between_workers(sockets: Path) -> None:
    async with workers(sockets) as (one, two), anyio.create_task_group() as tasks:
        session = await one.open()
        headers = {**BASE, "mcp-session-id": session, "mcp-protocol-version": HANDSHAKE}
        call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "ask", "arguments": {}}}
        stream = Stream()
        tasks.start_soon(stream.of, two.app, "POST", json.dumps(call).encode(), headers)
        await until(lambda: any("method" in message for message in stream.messages()))
        (question,) = stream.messages()
        assert question["method"] == "sampling/createMessage"
        content = {"type": "text", "text": "Tea."}
        result = {"role": "assistant", "model": "m", "content": content, "stopReason": "endTurn"}
        reply = await two.post({"id": question["id"], "result": result}, mcp_session_id=session)
        assert reply.status == 202
        await until(lambda: stream.ended)
    assert stream.messages()[-1]["result"]["content"][0]["text"] == "Tea."


async def test_a_client_that_leaves_its_stream_leaves_it_at_the_owner_too(sockets: Path) -> None:
    async with workers(sockets) as (one, two), anyio.create_task_group() as tasks:
        session = await one.open()
        headers = {"accept": "text/event-stream", "mcp-session-id": session}
        stream = Stream()
        tasks.start_soon(stream.of, two.app, "GET", b"", headers)
        await until(lambda: bool(stream.parts))
        assert one.listener.server_state.tasks
        stream.gone.set()
        await until(lambda: stream.ended and not one.listener.server_state.tasks)
        # The SDK allows one such stream: the place is free again.
        again = Stream()
        tasks.start_soon(again.of, two.app, "GET", b"", headers)
        await until(lambda: bool(again.parts))
        again.gone.set()


@dataclass
class Connection:
    """A connection of a client, kept open, on which it writes what it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int = 0

    @classmethod
    @asynccontextmanager
    async def to(cls, worker: Worker) -> AsyncIterator[Self]:
        reader, writer = await asyncio.open_connection(*worker.address)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def get(self, path: str, session: str) -> str:
        """Return a page, asked for with the id of a session."""
        head = f"host: 127.0.0.1\r\nconnection: close\r\nMcp-Session-Id: {session}\r\n"
        self.writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        return (await self.reader.read()).decode()

    async def call(self, tool: str, session: str, *, parts: int = 1, padding: int = 0) -> tuple[int, Any]:
        """Call a tool, in a request that arrives in so many parts. Returns the status, and what was said."""
        self.number += 1
        params = {"name": tool, "arguments": {}, "_meta": {"padding": "x" * padding}}
        message = {"jsonrpc": "2.0", "id": self.number, "method": "tools/call", "params": params}
        body = json.dumps(message).encode()
        headers = {
            "host": "127.0.0.1",
            **BASE,
            "content-length": len(body),
            "Mcp-Session-Id": session,
            "mcp-protocol-version": HANDSHAKE,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + body
        step = -(-len(request) // parts)
        for at in range(0, len(request), step):
            self.writer.write(request[at : at + step])
            await self.writer.drain()
            if parts > 1:
                await asyncio.sleep(0.05)
        status = int((await self.reader.readuntil(b"\r\n")).split()[1])
        length = re.search(rb"content-length: ([0-9]+)", await self.reader.readuntil(b"\r\n\r\n"))
        if length is not None:
            await self.reader.readexactly(int(length[1]))
            return status, None
        answer = await self.reader.readuntil(b"\r\n0\r\n\r\n")
        (line,) = [line for line in answer.decode().splitlines() if line.startswith("data: {")]
        return status, json.loads(json.loads(line[6:])["result"]["content"][0]["text"])


moves = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere requests are passed on")


@moves
@pytest.mark.parametrize("replica", ["", "a"])
async def test_a_connection_moves_to_the_worker_whose_session_it_asks_for(
    sockets: Path, replica: str
) -> None:
    async with workers(sockets, replica=replica) as (one, two):
        first, second = await one.open(), await two.open()
        async with Connection.to(two) as client:
            for _ in range(3):
                assert await client.call("who", first) == (200, [1, "127.0.0.1", "http", "127.0.0.1"])
                assert (one.connections, two.connections) == (1, 0)
            # It stays there, so that a request of another session is passed on.
            assert (await client.call("who", second))[1][0] == 2
            assert (await client.call("who", first))[1][0] == 1
            assert one.connections == 1
        await until(lambda: not one.connections)


@moves
async def test_a_connection_stays_where_its_session_is_or_nobodys_is_asked_for(sockets: Path) -> None:
    async with workers(sockets) as (one, two):
        session = await two.open()
        for asked, status in ((session, 200), *((nobodys, 404) for nobodys in NOBODYS if nobodys != "1-abc")):
            async with Connection.to(two) as client:
                assert (await client.call("who", asked))[0] == status
                assert (one.connections, two.connections) == (0, 1)
            await until(lambda: not two.connections)


@moves
@pytest.mark.parametrize(("parts", "padding"), [(3, 0), (1, MOST_BYTES)])
async def test_a_request_that_is_long_or_arrives_in_parts_is_passed_on(
    sockets: Path, parts: int, padding: int
) -> None:
    async with workers(sockets) as (one, two):
        session = await one.open()
        async with Connection.to(two) as client:
            assert (await client.call("who", session, parts=parts, padding=padding))[1][0] == 1
            assert two.connections == 1


@moves
async def test_a_connection_counts_for_its_address_only_where_it_is_served(sockets: Path) -> None:
    async with workers(sockets, client_connections=1) as (one, two):
        session = await one.open()
        async with Connection.to(two) as client, Connection.to(two) as other:
            assert (await client.call("who", session))[0] == 200
            assert (await other.call("who", session))[0] == 429  # moved as well: there it is one too many
            async with Connection.to(two) as third:
                assert (await third.call("who", await two.open()))[0] == 200


@moves
@pytest.mark.parametrize(("rest_s", "passed_on"), [(3600.0, 1), (0.0, 0)])
async def test_a_worker_without_room_for_a_connection_takes_none_for_a_while(
    sockets: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    rest_s: float,
    passed_on: int,
) -> None:
    monkeypatch.setattr(moving, "REST_S", rest_s)
    async with workers(sockets) as (one, two):
        session = await one.open()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            # So it arrives where the process has no number left for the connection.
            other.sendto(b"GET / HTTP/1.1\r\n\r\n", str(one.place.connections_of(1)))
        await until(lambda: "too many files are open" in caplog.text)
        async with Connection.to(two) as client:
            assert (await client.call("who", session))[1][0] == 1
            assert two.connections == passed_on


@moves
async def test_the_connection_to_a_worker_that_has_ended_stays_and_its_session_is_gone(sockets: Path) -> None:
    async with running(Place(number=1, workers=2, directory=sockets)) as one:
        async with running(Place(number=2, workers=2, directory=sockets)) as two:
            session = await two.open()
        async with Connection.to(one) as client:
            assert (await client.call("who", session))[0] == 404
            assert (await client.call("who", await one.open()))[0] == 200


async def test_the_sessions_of_a_worker_that_has_ended_are_gone(sockets: Path) -> None:
    async with workers(sockets) as (one, two):
        other = Place(number=2, workers=2, directory=sockets)
        other.path_of(2).unlink()
        answer = await one.call("who", "2-abc")
        assert (answer.status, json.loads(answer.body)["error"]["message"]) == (404, "Session not found")
        assert (await two.call("who", await two.open())).status == 200
        left = await send_request(one.app, b"", {}, method="GET", path="/metrics")
        assert 'research_worker_up{worker="2"} 0.0' in left.body.decode()


async def test_a_body_for_another_worker_must_arrive_in_time_too(sockets: Path) -> None:
    async with workers(sockets, body_timeout_s=0.05) as (one, _two):
        sent = [{"type": "http.request", "body": b"{", "more_body": True}]
        answered: list[Any] = []

        async def receive() -> Any:
            if sent:
                return sent.pop()
            return await anyio.sleep_forever()

        async def send(message: Any) -> None:
            answered.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "scheme": "http",
            "path": "/mcp",
            "raw_path": b"/mcp",
            "query_string": b"",
            "headers": [(b"mcp-session-id", b"2-abc"), (b"transfer-encoding", b"chunked")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        await one.app(scope, receive, send)
    assert answered[0]["status"] == 408, answered


async def test_the_metrics_are_those_of_all_workers(sockets: Path) -> None:
    async with workers(sockets) as (one, two):
        await one.call("who", await one.open())
        session = await two.open()
        for worker in (one, two):
            await worker.call("who", session)
        pages = [
            (await send_request(worker.app, b"", {}, method="GET", path="/metrics")).body.decode()
            for worker in (one, two)
        ]
        calls = {
            sample.labels["worker"]: sample.value
            for family in text_string_to_metric_families(pages[0])
            for sample in family.samples
            if sample.name == "research_calls_total" and sample.labels["method"] == "tools/call"
        }
        assert calls == {"1": 1.0, "2": 2.0}
        assert pages[0].replace(" ", "").count('research_worker_up{worker="2"}1.0') == 1
        assert pages[0].splitlines()[0] == pages[1].splitlines()[0]


@moves
async def test_the_metrics_of_all_are_asked_once_whatever_session_the_request_names(sockets: Path) -> None:
    async with workers(sockets) as (one, two):
        for session in (await one.open(), await two.open(), "1-nobodys", "2-nobodys"):
            for worker in (one, two):
                async with Connection.to(worker) as client:
                    page = await client.get("/metrics", session)
                assert page.count("research_worker_up{") == 2
        # What the workers asked each other is no connection to somebody else now.
        session = await one.open()
        answer = await two.call("who", session, address="203.0.113.9")
        assert said(answer) == [1, "203.0.113.9", "http", "127.0.0.1"]


async def test_the_metrics_of_all_need_the_credentials_that_those_of_one_need(sockets: Path) -> None:
    async with workers(sockets, auth_tokens=TOKEN, metrics_token=True) as (one, _two):
        refused = await send_request(one.app, b"", {}, method="GET", path="/metrics")
        assert (refused.status, refused.body) == (401, b"")
        allowed = {"authorization": f"Bearer {TOKEN}"}
        shown = await send_request(one.app, b"", allowed, method="GET", path="/metrics")
        assert 'research_worker_up{worker="2"} 1.0' in shown.body.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all workers share one socket")
def test_the_connections_of_a_worker_that_has_ended_go_to_the_others_until_it_listens_again() -> None:
    first, second = listening_sockets(("127.0.0.1", 0), family=socket.AF_INET, workers=2, backlog=64)
    with first, second:
        address = first.getsockname()
        assert second.getsockname() == address
        for paused, other in ((first, second), (second, first)):
            paused.listen(64)
            other.listen(64)
            pause_listening(paused)
            other.settimeout(60)
            with ExitStack() as clients:
                for _ in range(20):
                    clients.enter_context(socket.create_connection(address))
                    other.accept()[0].close()
        pause_listening(first)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


async def test_the_second_part_of_an_answer_does_not_wait_until_the_first_is_acknowledged() -> None:
    accepted: list[socket.socket] = []

    class Served(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.append(transport.get_extra_info("socket"))

    (listening,) = listening_sockets(("127.0.0.1", 0), family=socket.AF_INET, workers=1, backlog=1)
    async with await asyncio.get_running_loop().create_server(Served, sock=listening):
        with socket.create_connection(listening.getsockname()):
            await until(lambda: bool(accepted))
            assert accepted[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all workers share one socket")
def test_a_socket_pauses_again_when_the_replacement_of_its_worker_ends_before_it_listens() -> None:
    first, second = listening_sockets(("127.0.0.1", 0), family=socket.AF_INET, workers=2, backlog=64)
    with first, second:
        pause_listening(first)
        pause_listening(first)
        pause_listening(second)
        first.listen(64)
        first.settimeout(60)
        with socket.create_connection(first.getsockname()):
            accepted, _address = first.accept()
            with accepted:
                accepted.setblocking(False)
                with pytest.raises(BlockingIOError):  # nothing has arrived yet; b"" would be the end of it
                    accepted.recv(1)


def test_a_worker_is_replaced_at_once_the_first_time_and_with_longer_pauses_if_it_ends_again_and_again() -> (
    None
):
    pauses: list[float | None] = [None]
    for _ in range(9):
        pauses.append(pause_after(pauses[-1], lived_s=1.0))
    assert pauses[1:] == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert pause_after(30.0, lived_s=3600.0) == 0.0


def test_workers_divide_the_limits_of_all_and_share_a_key() -> None:
    settings = Settings(max_connections=5, max_sessions=10, total_concurrency=1, extract_workers=2)
    share = share_of_worker(settings, 3)
    assert (share.max_connections, share.max_sessions, share.total_concurrency) == (2, 4, 1)
    assert share.extract_workers == 1
    assert share.max_held_bytes == settings.max_held_bytes // 3 + 1
    assert share_of_worker(settings, 100).max_held_bytes == settings.max_body_bytes
    (key,) = share.state_keys
    assert len(key.get_secret_value()) >= 32
    assert share_of_worker(settings, 1) is settings
    assert share.tasks_url.get_secret_value() == "off"
    own = Settings(tasks_url=SecretStr("redis://localhost"), state_keys=(SecretStr("k" * 32),))
    kept = share_of_worker(own, 2)
    assert (kept.state_keys, kept.tasks_url) == (own.state_keys, own.tasks_url)


def test_workers_are_for_http(capsys: pytest.CaptureFixture[str]) -> None:
    from cyclopts import App

    app = App(name="host")
    add_serve(app, build=lambda _settings: FastMCP("s"), text="Serve.")
    with pytest.raises(SystemExit) as ended:
        app(["serve", "--workers", "2"])
    assert ended.value.code == 2
    assert "--workers is for HTTP: add --transport http" in capsys.readouterr().err
