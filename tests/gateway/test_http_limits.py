"""What clients may hold open over HTTP: connections, unfinished requests, and sessions."""

import asyncio
import gc
import json
import socket
import struct
import sys
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvicorn
from fastmcp import FastMCP
from starlette.authentication import UnauthenticatedUser

from research_shared.access.roots import Root
from research_shared.serving.auth import SharedTokens
from research_shared.serving.drain import Drain
from research_shared.serving.limits import ReleasedRequests, RequestBodies
from research_shared.serving.limits.bodies import BodyLimits
from research_shared.serving.limits.connections import ConnectionShares
from research_shared.serving.limits.sessions import SessionLimit
from research_shared.serving.transports.http import http_server
from research_shared.settings import Settings
from support.asgi import Answer, send_request
from support.serving import reserved_port, until
from support.upstreams import Clock

TOKENS = ("the-token-of-ann-0001", "the-token-of-bob-0002")
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
INITIALIZE = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "f", "version": "1"},
        },
    }
).encode()


def settings_for(folder: Path, **changes: Any) -> Settings:
    return Settings(roots=(Root("research", folder),), **changes)


@dataclass
class Listening:
    """A server on a socket."""

    port: int
    state: uvicorn.server.ServerState

    async def connect(self, address: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))

    async def said(self, *parts: bytes, address: str = "127.0.0.1") -> bytes:
        """Send parts of a request and return all that is answered until the connection is closed."""
        reader, writer = await self.connect(address)
        for part in parts:
            writer.write(part)
        with anyio.fail_after(60):
            answer = await reader.read()
        writer.close()
        return answer


@asynccontextmanager
async def listening(tmp_path: Path, **changes: Any) -> AsyncIterator[Listening]:
    server: FastMCP[Any] = FastMCP("limited")
    with reserved_port() as port:
        settings = settings_for(tmp_path, **changes)
        listener = http_server(server, settings, Drain(), host="127.0.0.1", port=port)
        stopped = anyio.Event()

        async def serve() -> None:
            with anyio.CancelScope(shield=True):
                async with listener.lifespan():
                    await listener.serve()
            stopped.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            await until(lambda: listener.started)
            try:
                yield Listening(port, listener.server_state)
            finally:
                listener.should_exit = listener.force_exit = True
                with anyio.CancelScope(shield=True):
                    await stopped.wait()


@pytest.mark.parametrize("sent", [b"", b"POST /mcp HT", b"POST /mcp HTTP/1.1\r\nhost: x\r\nx-a: "])
async def test_headers_that_do_not_arrive_end_with_408(tmp_path: Path, sent: bytes) -> None:
    async with listening(tmp_path, header_timeout_s=0.05) as server:
        assert (await server.said(sent)).startswith(b"HTTP/1.1 408 ")


async def test_headers_after_a_response_have_the_same_time(
    tmp_path: Path, pass_time: Callable[[float], None]
) -> None:
    async with listening(tmp_path, header_timeout_s=30) as server:
        reader, writer = await server.connect()
        with anyio.fail_after(60):
            writer.write(b"GET /nothing HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert (await reader.readuntil(b"Not Found\r\n")).startswith(b"HTTP/1.1 404 ")
            writer.write(b"GET /nothing HTT")
            (connection,) = server.state.connections
            await until(lambda: getattr(connection, "header_timer", None) is not None)
            pass_time(31)
            assert b"HTTP/1.1 408 " in await reader.read()
        writer.close()


async def test_nothing_holds_a_connection_that_its_client_has_reset(tmp_path: Path) -> None:
    async with listening(tmp_path, keep_alive_s=600) as server:
        reader, writer = await server.connect()
        writer.write(b"GET /nothing HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        with anyio.fail_after(60):
            await reader.readuntil(b"Not Found\r\n")
        (connection,) = server.state.connections
        closed = weakref.ref(connection)
        del connection
        at_once = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.transport.abort()
        await until(lambda: not server.state.connections)
        gc.collect()
        assert closed() is None


async def test_a_body_that_does_not_arrive_ends_with_408(tmp_path: Path) -> None:
    async with listening(tmp_path, body_timeout_s=0.05) as server:
        head = f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\ncontent-length: 9\r\n\r\nab"
        answer = await server.said(head.encode())
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["error"]["code"] == -32600


async def test_a_connection_beyond_the_limit_is_answered_with_503(tmp_path: Path) -> None:
    async with listening(tmp_path, max_connections=2, client_connections=9) as server:
        held = [await server.connect() for _ in range(2)]
        whole = b"GET /nothing HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
        assert (await server.said(whole)).startswith(b"HTTP/1.1 503 ")
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        with anyio.fail_after(60):
            while not (await server.said(whole)).startswith(b"HTTP/1.1 404 "):  # noqa: ASYNC110
                await anyio.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 as addresses")
@pytest.mark.parametrize("share", [{"client_connections": 3, "max_connections": 9}, {"max_connections": 4}])
async def test_one_address_does_not_take_the_connections_of_all(
    tmp_path: Path, share: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(tmp_path, **share) as server:
        held = [await server.connect() for _ in range(3)]
        for _ in range(2):
            assert (await server.said()).startswith(b"HTTP/1.1 429 ")
        whole = b"GET /nothing HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
        assert (await server.said(whole, address="127.0.0.2")).startswith(b"HTTP/1.1 404 ")
        held.pop()[1].close()
        with anyio.fail_after(60):
            while not await accepted(server, whole):  # noqa: ASYNC110
                await anyio.sleep(0.01)
        for _, writer in held:
            writer.close()
    refused = [record for record in caplog.records if "share of one address" in record.message]
    assert [vars(record)["address"] for record in refused] == ["127.0.0.1"]


async def test_a_proxy_that_is_named_may_have_all_connections(tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_connections": 3, "client_connections": 1}
    async with listening(tmp_path, **options, trusted_proxies=("127.0.0.0/8",)) as server:
        held = [await server.connect() for _ in range(2)]
        whole = b"GET /nothing HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
        assert (await server.said(whole)).startswith(b"HTTP/1.1 404 ")
        for _, writer in held:
            writer.close()


def test_the_share_of_an_address_counts_networks_and_spares_proxies() -> None:
    shares = ConnectionShares(most=1, proxies=["192.0.2.0/24", "2001:db8:1::/48"])
    assert shares.take("2001:db8::1")
    assert not shares.take("2001:db8::2")
    assert shares.take("2001:db8:0:1::1")
    assert shares.take("198.51.100.1")
    assert not shares.take("::ffff:198.51.100.1")
    assert [shares.take(a) for a in ("192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8:1::1")] == [
        True
    ] * 4
    shares.give_back("2001:db8::1")
    assert shares.take("2001:db8::2")


async def accepted(server: Listening, request: bytes) -> bool:
    """Whether a request is answered. One that is refused before it has arrived may see the connection reset."""
    try:
        return (await server.said(request)).startswith(b"HTTP/1.1 404 ")
    except ConnectionError:
        return False


@pytest.mark.parametrize("length", [b"content-length: 3000000", b"transfer-encoding: chunked"])
async def test_a_client_that_is_still_sending_sees_why_it_is_refused(tmp_path: Path, length: bytes) -> None:
    async with listening(tmp_path, max_body_bytes=100_000) as server:
        head = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n%b\r\n\r\n" % (server.port, length)
        body = b"x" * 3_000_000
        if length.startswith(b"transfer"):
            body = b"2DC6C0\r\n" + body + b"\r\n0\r\n\r\n"
        reader, writer = await server.connect()
        with anyio.fail_after(60):
            writer.write(head + body)
            await writer.drain()
            assert (await reader.read()).startswith(b"HTTP/1.1 413 ")
        writer.close()


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Read the body, and answer with its size."""
    size = len((await receive())["body"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


async def test_a_body_over_the_limit_is_answered_with_413() -> None:
    app = RequestBodies(nothing, limits=BodyLimits(body_bytes=10, linger_s=0.01))
    assert (await send_request(app, b"x" * 10, {})).body == b"10"
    for headers in ({}, {"content-length": "11"}, {"content-length": "9" * 5_000}):
        refused = await send_request(app, b"x" * 11, headers)
        assert (refused.status, refused.headers["connection"]) == (413, "close")
    assert (await send_request(app, b"x" * 10, {"content-length": "many"})).status == 200


@asynccontextmanager
async def unfinished(app: RequestBodies, body: bytes, address: str, **more: Any) -> AsyncIterator[None]:
    """A request of which `body` has arrived and one byte has not, while the block runs; it is then served."""
    begun, going_on = anyio.Event(), anyio.Event()
    parts = [(body, None), (b"y", going_on)]
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        part, after = parts.pop(0)
        if after is not None:
            begun.set()
            await after.wait()
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        statuses.append(message.get("status", 0))

    async with anyio.create_task_group() as tasks:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/mcp",
            "headers": [],
            "client": (address, 1),
            **more,
        }
        tasks.start_soon(app, scope, receive, send)
        await begun.wait()
        yield
        going_on.set()
    assert statuses[0] == 200


async def test_unfinished_requests_hold_no_more_than_the_limit() -> None:
    app = RequestBodies(nothing, limits=BodyLimits(held_bytes=10, linger_s=0.01))
    async with unfinished(app, b"x" * 8, "a"):
        assert app.held_bytes == 8
        refused = await send_request(app, b"x" * 3, {})
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert (await send_request(app, b"xx", {})).status == 200
    assert app.held_bytes == 0


async def test_one_slow_client_leaves_room_for_the_others() -> None:
    app = RequestBodies(nothing, limits=BodyLimits(client_bytes=10, held_bytes=20, linger_s=0.01))
    for _ in range(2):  # nothing is left over from the first time
        async with unfinished(app, b"x" * 4, "127.0.0.1"), unfinished(app, b"x" * 3, "127.0.0.1"):
            refused = await send_request(app, b"x" * 4, {})
            assert (refused.status, refused.headers["retry-after"], refused.headers["connection"]) == (
                429,
                "1",
                "close",
            )
            assert "this client" in json.loads(refused.body)["error"]["message"]
            assert (await send_request(app, b"x" * 3, {})).status == 200
            async with unfinished(app, b"x" * 9, "another"):
                refused = await send_request(app, b"x" * 5, {}, address="a third")
                assert refused.status == 503
                assert (await send_request(app, b"x" * 4, {}, address="a third")).status == 200
        assert app.held_bytes == 0


async def test_callers_without_credentials_take_no_room_from_the_others() -> None:
    stranger: dict[str, Any] = {"path": "/token", "user": UnauthenticatedUser()}
    app = RequestBodies(nothing, limits=BodyLimits(held_bytes=160, open_bytes=10, linger_s=0.01), login=True)
    async with unfinished(app, b"x" * 8, "a", **stranger):
        refused = await send_request(app, b"x" * 3, {}, address="a", **stranger)
        assert refused.status == 429
        async with AsyncExitStack() as others:
            for address in "bcd":
                await others.enter_async_context(unfinished(app, b"x" * 9, address, **stranger))
            refused = await send_request(app, b"x" * 6, {}, address="e", **stranger)
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert (await send_request(app, b"x" * 160, {})).status == 200
    assert app.held_bytes == 0


async def test_a_body_that_no_page_is_there_for_is_not_received() -> None:
    app = RequestBodies(nothing, limits=BodyLimits(body_bytes=10, linger_s=0.01))
    assert (await send_request(app, b"x" * 11, {}, path="/token")).body == b"11"
    assert (await send_request(app, b"x" * 11, {})).status == 413


async def test_the_share_of_a_client_is_a_setting(tmp_path: Path) -> None:
    ann, bob = TOKENS
    async with sessions(tmp_path, client_held_bytes=1_024) as app:
        body = INITIALIZE + b" " * (1_025 - len(INITIALIZE))
        assert (await send_request(app, body, of(ann))).status == 429
        assert (await send_request(app, body[:-1], of(ann))).status == 200
        assert (await send_request(app, body, of(bob))).status == 429
        assert (await send_request(app, body, of("nobody"))).status == 401


async def test_a_client_that_leaves_before_its_body_is_whole_holds_nothing() -> None:
    app = RequestBodies(nothing, limits=BodyLimits())
    parts: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"x", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(_message: Any) -> None:
        raise AssertionError

    await app(
        {"type": "http", "method": "POST", "path": "/mcp", "headers": [], "client": ("a", 1)}, receive, send
    )
    assert app.held_bytes == 0


@asynccontextmanager
async def sessions(tmp_path: Path, **changes: Any) -> AsyncIterator[Any]:
    """A server with tokens, without a socket."""
    server: FastMCP[Any] = FastMCP("limited", auth=SharedTokens(TOKENS))
    listener = http_server(server, settings_for(tmp_path, **changes), Drain(), host="127.0.0.1", port=0)
    async with listener.lifespan():
        yield listener.config.app


def of(token: str, session: str | None = None) -> dict[str, str]:
    named = {} if session is None else {"mcp-session-id": session}
    return {**HEADERS, **named, "authorization": f"Bearer {token}"}


async def opened(app: Any, token: str) -> Answer:
    return await send_request(app, INITIALIZE, of(token))


async def test_sessions_of_one_principal_do_not_lock_others_out(tmp_path: Path) -> None:
    ann, bob = TOKENS
    async with sessions(tmp_path, client_sessions=2, max_sessions=3) as app:
        first = await opened(app, ann)
        assert [first.status, (await opened(app, ann)).status, (await opened(app, ann)).status] == [
            200,
            200,
            429,
        ]
        assert (await opened(app, bob)).status == 200
        full = await opened(app, bob)
        assert (full.status, full.headers["retry-after"]) == (503, "30")
        assert (await send_request(app, INITIALIZE, of("nobody"))).status == 401
        session = first.headers["mcp-session-id"]
        ended = await send_request(app, b"", of(ann, session), method="DELETE")
        assert ended.status == 200
        assert (await opened(app, ann)).status == 200


async def test_a_session_without_requests_ends_and_makes_room(tmp_path: Path) -> None:
    ann = TOKENS[0]
    async with sessions(tmp_path, client_sessions=1, session_idle_s=0.05) as app:
        first = (await opened(app, ann)).headers["mcp-session-id"]
        ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
        with anyio.fail_after(60):
            while (await opened(app, ann)).status != 200:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        with anyio.fail_after(60):
            while (await send_request(app, ping, of(ann, first))).status != 404:  # noqa: ASYNC110
                await anyio.sleep(0.08)  # each request begins the time anew


class Connection:
    """What a server keeps of a connection: here an answer to look at."""

    def __init__(self) -> None:
        self.parts: list[Any] = [{"type": "http.request", "body": INITIALIZE, "more_body": False}]
        self.answer = Answer()

    async def receive(self) -> Any:
        return self.parts.pop() if self.parts else await anyio.sleep_forever()

    async def send(self, message: Any) -> None:
        self.answer.status = message.get("status", self.answer.status)
        self.answer.headers |= {k.decode(): v.decode() for k, v in message.get("headers", ())}


async def opened_over(app: Any, connection: Connection) -> str:
    headers = [(name.encode(), value.encode()) for name, value in of(TOKENS[0]).items()]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/mcp",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8000"), *headers],
        "client": ("127.0.0.1", 40_000),
        "server": ("127.0.0.1", 8_000),
        "state": {},
    }
    with anyio.fail_after(60):
        await app(scope, connection.receive, connection.send)
    assert connection.answer.status == 200
    return connection.answer.headers["mcp-session-id"]


async def test_a_session_does_not_hold_the_connection_that_opened_it(tmp_path: Path) -> None:
    async with sessions(tmp_path) as app:
        connection = Connection()
        session = await opened_over(app, connection)
        closed = weakref.ref(connection)
        del connection
        gc.collect()
        assert closed() is None
        ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
        assert (await send_request(app, ping, of(TOKENS[0], session))).status == 200


async def test_after_a_request_nothing_is_received_or_sent() -> None:
    kept: list[Any] = []
    connection = Connection()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        kept.extend((receive, send))
        assert (await receive())["body"] == INITIALIZE
        await send({"type": "http.response.start", "status": 200, "headers": []})

    released = ReleasedRequests(app)
    await released({"type": "http"}, connection.receive, connection.send)
    receive, send = kept
    assert await receive() == {"type": "http.disconnect"}
    await send({"type": "http.response.start", "status": 500, "headers": []})
    assert connection.answer.status == 200


async def test_a_session_that_is_in_use_or_refused_is_counted_right() -> None:
    clock = Clock()
    answers: list[tuple[int, dict[bytes, bytes]]] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        status, headers = answers.pop(0)
        assert limit.open_sessions() > 0
        await send({"type": "http.response.start", "status": status, "headers": list(headers.items())})
        await send({"type": "http.response.body"})

    limit = SessionLimit(app, per_client=5, total=5, idle_s=10, clock=clock)
    answers.append((400, {b"mcp-session-id": b"none"}))
    await send_request(limit, b"", {})
    assert limit.open_sessions() == 0
    answers.append((200, {b"mcp-session-id": b"one"}))
    await send_request(limit, b"", {})
    assert limit.open_sessions() == limit.open_sessions("address:127.0.0.1") == 1
    clock.now = 8
    answers.append((200, {}))
    await send_request(limit, b"", {"mcp-session-id": "one"})
    clock.now = 17
    assert limit.open_sessions() == 1
    answers.append((404, {}))
    await send_request(limit, b"", {"mcp-session-id": "one"})
    assert limit.open_sessions() == 0


@dataclass
class Timers:
    """Callbacks that are due at times of a clock."""

    clock: Clock
    due: list[tuple[float, Callable[[], None], "Timers.Timer"]] = field(default_factory=list)

    @dataclass
    class Timer:
        cancelled: bool = False

        def cancel(self) -> None:
            self.cancelled = True

    def later(self, seconds: float, callback: Callable[[], None]) -> "Timers.Timer":
        timer = Timers.Timer()
        self.due.append((self.clock.now + seconds, callback, timer))
        return timer

    def times(self) -> list[float]:
        return [time for time, _callback, timer in self.due if not timer.cancelled]

    def pass_one(self) -> None:
        """Let the time of the only one come."""
        ((self.clock.now, callback, _timer),) = [each for each in self.due if not each[2].cancelled]
        self.due.clear()
        callback()


@dataclass
class Sessions:
    """An application that opens a session with each request that names none, and its limit."""

    clock: Clock = field(default_factory=Clock)
    opened: int = 0
    held: anyio.Event | None = None
    """Requests of a session are served once it is set."""

    def __post_init__(self) -> None:
        self.timers = Timers(self.clock)
        self.limit = SessionLimit(
            self._serve, per_client=5, total=5, idle_s=10, clock=self.clock, call_later=self.timers.later
        )

    async def _serve(self, scope: Any, _receive: Any, send: Any) -> None:
        headers: list[tuple[bytes, bytes]] = []
        if b"mcp-session-id" not in dict(scope["headers"]):
            self.opened += 1
            headers.append((b"mcp-session-id", str(self.opened).encode()))
        elif self.held is not None:
            await self.held.wait()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    async def open(self) -> None:
        await send_request(self.limit, b"", {})

    async def use(self, session: int, method: str = "POST") -> None:
        await send_request(self.limit, b"", {"mcp-session-id": str(session)}, method=method)

    @asynccontextmanager
    async def in_use(self, session: int) -> AsyncIterator[None]:
        """Have a request of a session in flight while the block runs."""
        self.held = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.use, session)
            await anyio.wait_all_tasks_blocked()
            yield
            self.held.set()


async def test_ended_sessions_are_forgotten_though_no_other_one_is_opened() -> None:
    sessions = Sessions()
    for sessions.clock.now in (0, 4):
        await sessions.open()
    ends = []
    while sessions.timers.times():
        sessions.timers.pass_one()
        ends.append(sessions.clock.now)
    assert ends == [11, 15]
    sessions.clock.now = (
        4  # the time at which both are open: they would be counted if anything were left of them
    )
    assert sessions.limit.open_sessions() == 0


async def test_nothing_looks_for_ended_sessions_while_each_is_in_use() -> None:
    sessions = Sessions()
    await sessions.open()
    async with sessions.in_use(1):
        sessions.timers.pass_one()
        assert sessions.timers.times() == []
        sessions.clock.now = 100
    assert sessions.limit.open_sessions() == 1
    assert sessions.timers.times() == [111]
    sessions.timers.pass_one()
    sessions.clock.now = 100
    assert sessions.limit.open_sessions() == 0
    assert sessions.timers.times() == []


async def test_a_session_in_use_does_not_hasten_the_look_for_the_others() -> None:
    sessions = Sessions()
    await sessions.open()
    async with sessions.in_use(1):
        sessions.clock.now = 9
        await sessions.open()
        sessions.timers.pass_one()
        assert sessions.clock.now == 11
        assert sessions.timers.times() == [20]


async def test_nothing_looks_for_ended_sessions_when_the_last_one_is_deleted() -> None:
    sessions = Sessions()
    for _ in range(2):
        await sessions.open()
    await sessions.use(1, "DELETE")
    assert sessions.timers.times() == [11]
    await sessions.use(2, "DELETE")
    assert sessions.timers.times() == []


def test_another_event_loop_looks_for_ended_sessions_itself() -> None:
    sessions = Sessions()
    asyncio.run(sessions.open())
    sessions.clock.now = 5
    asyncio.run(sessions.open())
    assert len(sessions.timers.due) == 2
    assert sessions.timers.times() == [11]


async def test_a_modern_request_opens_no_session() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    limit = SessionLimit(app, per_client=1, total=1, idle_s=10)
    for _ in range(3):
        assert (await send_request(limit, b"", {"mcp-protocol-version": "2026-07-28"})).status == 200
    assert limit.open_sessions() == 0
