"""A server behind a balancer: how it leaves, whom it believes, and what it does without sessions."""

import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Context, FastMCP
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from research_gateway.guards import RateLimit
from research_shared.access.roots import Root
from research_shared.errors import ConfigurationError
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.serving.auth import auth_provider
from research_shared.serving.drain import Drain
from research_shared.serving.health import add_readiness
from research_shared.serving.transports.draining import DrainingServer
from research_shared.serving.transports.http import http_server
from research_shared.settings import Settings
from support.asgi import Answer, send_request
from support.serving import until

HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
BASE = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
ME = {"name": "test", "version": "1"}
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": ME,
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": ME}
TOKEN = "a-token-of-some-length"


@dataclass
class Replica:
    """A server with a call that waits until it is let go, spoken to without a socket."""

    listener: DrainingServer
    drain: Drain
    app: Any
    begun: list[str]
    release: anyio.Event
    number: int = 0
    answers: list[Answer] = field(default_factory=list)

    async def post(self, message: dict[str, Any], address: str = "127.0.0.1", **headers: str) -> Answer:
        """Send a JSON-RPC message; `_` in the name of a header stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        return await send_request(self.app, body, {**BASE, **named}, address=address, within_s=7_200)

    async def ask(
        self, method: str, params: dict[str, Any] | None = None, *, session: str | None = None, **more: str
    ) -> Answer:
        """Send a request, of 2026-07-28 without a session."""
        self.number += 1
        params = params or {}
        if session is None:
            named = {"mcp_name": params["name"]} if "name" in params else {}
            more |= {"mcp_protocol_version": MODERN, "mcp_method": method, **named}
            params = {**params, "_meta": META}
        else:
            more |= {"mcp_protocol_version": HANDSHAKE, "mcp_session_id": session}
        answer = await self.post({"id": self.number, "method": method, "params": params}, **more)
        self.answers.append(answer)
        return answer

    async def open(self) -> str:
        """Open a session of the handshake era."""
        answer = await self.post({"id": 0, "method": "initialize", "params": INITIALIZE})
        await self.post(
            {"method": "notifications/initialized"}, mcp_session_id=answer.headers["mcp-session-id"]
        )
        return answer.headers["mcp-session-id"]

    async def status(self, path: str) -> int:
        return (await send_request(self.app, b"", {}, method="GET", path=path)).status


@asynccontextmanager
async def replica(*middleware: Any, **changes: Any) -> AsyncIterator[Replica]:
    settings = Settings(roots=(Root("r", Path("/")),), **changes)
    begun: list[str] = []
    release = anyio.Event()
    server: FastMCP[Any] = FastMCP(
        "s", middleware=[ErrorBoundary(), *middleware], auth=auth_provider(settings)
    )

    @server.tool
    async def slow(ctx: Context) -> str:
        begun.append(ctx.session.protocol_version)
        await release.wait()
        return "finished"

    @server.custom_route("/who", methods=["GET"])
    async def who(request: Request) -> Response:
        assert request.client is not None
        return JSONResponse([request.client.host, request.url.scheme])

    drain = Drain()
    server.add_middleware(drain)
    add_readiness(server, {})
    listener = http_server(server, settings, drain, host="127.0.0.1", port=0, follow_up_s=0.0)
    listener.config.load()
    async with listener.lifespan():
        yield Replica(listener, drain, listener.config.loaded_app, begun, release)


SLOW = {"name": "slow", "arguments": {}}


async def test_a_call_is_refused_before_it_is_taken_and_what_was_taken_is_finished() -> None:
    async with replica() as server, anyio.create_task_group() as tasks:
        session = await server.open()
        for taken in (None, session):
            tasks.start_soon(partial(server.ask, "tools/call", SLOW, session=taken))
        await until(lambda: len(server.begun) == 2)
        server.drain.begin()
        assert (await server.status("/readyz"), await server.status("/nowhere")) == (503, 404)
        for again in (None, session):
            refused = await server.ask("tools/call", SLOW, session=again)
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert refused.headers["connection"] == "close"
            answer = json.loads(refused.body)
            assert answer["id"] == server.number
            assert answer["error"]["data"]["error"]["code"] == "shutting_down"
            assert answer["error"]["message"].startswith("shutting_down: the server is about to stop\nHint: ")
        new = await server.post({"id": 9, "method": "initialize", "params": INITIALIZE})
        assert new.status == 503
        # What the calls in flight need is served: the tool list for their results, and answers of their clients.
        assert (await server.ask("tools/list", session=session)).status == 200
        assert (await server.ask("tools/list")).status == 200
        told = {"id": "of-the-server", "result": {}}
        assert (await server.post(told, mcp_session_id=session)).status == 202
        assert len(server.begun) == 2
        assert await server.drain.idle(0) is False
        server.release.set()
        assert await server.drain.idle(60)
    assert [answer.status for answer in server.answers if b"finished" in answer.body] == [200, 200]


async def test_a_call_without_credentials_learns_nothing_of_the_draining() -> None:
    async with replica(auth_tokens=TOKEN) as server:
        server.drain.begin()
        assert (await server.ask("tools/call", SLOW)).status == 401
        assert (await server.ask("tools/call", SLOW, authorization=f"Bearer {TOKEN}")).status == 503


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"a"', b'{"id": {}, "method": "tools/call"}', b"[" * 100_000]
)
async def test_what_is_no_request_is_judged_by_the_server_as_ever(body: bytes) -> None:
    async with replica() as server:
        headers = {**BASE, "mcp-session-id": await server.open()}
        before = await send_request(server.app, body, headers)
        server.drain.begin()
        after = await send_request(server.app, body, headers)
        assert (before.status, before.body) == (after.status, after.body)
        assert after.status == 400


async def test_the_server_is_unready_before_it_refuses_calls(pass_time: Callable[[float], None]) -> None:
    async with replica(drain_notice_s=1_800.0, drain_s=1_800.0) as server, anyio.create_task_group() as tasks:
        server.listener.handle_exit(signal.SIGTERM, None)
        assert await server.status("/readyz") == 503
        tasks.start_soon(server.ask, "tools/call", SLOW)
        await until(lambda: len(server.begun) == 1)
        assert not server.drain.draining
        pass_time(1_800)
        await until(lambda: server.drain.draining)
        assert (await server.ask("tools/call", SLOW)).status == 503
        assert not server.listener.should_exit
        server.release.set()
        await until(lambda: server.listener.should_exit)
    assert b"finished" in server.answers[-1].body


async def test_a_second_signal_during_the_notice_ends_the_server_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A signal that ends uvicorn ends all event streams of the process, those of later tests too.
    monkeypatch.setattr("sse_starlette.sse.AppStatus.should_exit", False)
    async with replica(drain_notice_s=1_800.0) as server:
        server.listener.handle_exit(signal.SIGTERM, None)
        assert not server.listener.should_exit
        server.listener.handle_exit(signal.SIGTERM, None)
        assert server.listener.should_exit


async def test_connections_rest_as_long_as_the_operator_says() -> None:
    async with replica(keep_alive_s=75.0) as server:
        assert server.listener.config.timeout_keep_alive == 75


CLIENT, PROXY, FAR_PROXY = "203.0.113.9", "10.1.2.3", "198.51.100.7"


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "who"),
    [
        ((), "127.0.0.1", CLIENT, ["127.0.0.1", "http"]),
        (("10.0.0.0/8",), "127.0.0.1", CLIENT, ["127.0.0.1", "http"]),
        (("10.0.0.0/8",), CLIENT, "192.0.2.1", [CLIENT, "http"]),
        (("10.0.0.0/8",), PROXY, CLIENT, [CLIENT, "https"]),
        # What a client claims stands before what the proxy adds.
        (("10.0.0.0/8",), PROXY, f"192.0.2.1, 127.0.0.1, {CLIENT}", [CLIENT, "https"]),
        (("10.0.0.0/8", FAR_PROXY), PROXY, f"192.0.2.1, {CLIENT}, {FAR_PROXY}", [CLIENT, "https"]),
        (("2001:db8::/32",), "2001:db8::1", "2001:db9::7", ["2001:db9::7", "https"]),
    ],
)
async def test_only_a_trusted_proxy_says_who_a_client_is(
    trusted: tuple[str, ...], peer: str, forwarded: str, who: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # uvicorn's own variable decides nothing here
    async with replica(trusted_proxies=trusted) as server:
        headers = {"x-forwarded-for": forwarded, "x-forwarded-proto": "https"}
        answer = await send_request(server.app, b"", headers, method="GET", path="/who", address=peer)
    assert json.loads(answer.body) == who


async def test_a_forwarded_name_does_not_pass_the_check_of_the_host() -> None:
    async with replica(trusted_proxies=("127.0.0.1",), allow_unauthenticated=True) as server:
        forged: dict[str, Any] = {
            "x-forwarded-host": "127.0.0.1",
            "forwarded": "host=127.0.0.1",
            "host": "evil.example",
        }
        assert (await server.ask("tools/list", session=None, **forged)).status == 421
        assert (await server.ask("tools/list", x_forwarded_for=CLIENT)).status == 200


@pytest.mark.parametrize("entry", ["*", "proxy.internal", "10.0.0.1/8", "10.0.0.0/33"])
def test_a_proxy_that_is_no_address_is_refused(entry: str) -> None:
    with pytest.raises(ConfigurationError, match=r"RESEARCH_TRUSTED_PROXIES=.*is neither"):
        Settings.load({"RESEARCH_TRUSTED_PROXIES": entry})


async def test_without_sessions_every_replica_serves_every_request_of_the_handshake_era() -> None:
    async with replica(sessions="none") as one, replica(sessions="none") as other:
        one.release.set()
        other.release.set()
        opened = await one.post({"id": 0, "method": "initialize", "params": INITIALIZE})
        assert (opened.status, "mcp-session-id" in opened.headers) == (200, False)
        for server in (one, other):
            call = {"id": 1, "method": "tools/call", "params": SLOW}
            answer = await server.post(call, mcp_protocol_version=HANDSHAKE)
            assert (answer.status, b"finished" in answer.body) == (200, True)
        other.drain.begin()
        assert (await other.post(call, mcp_protocol_version=HANDSHAKE)).status == 503
        headers = {**BASE, "mcp-protocol-version": HANDSHAKE}
        assert (await send_request(one.app, b"", headers, method="GET")).status == 405


async def test_a_made_up_session_is_no_way_around_the_rate_of_an_address() -> None:
    rate = RateLimit(per_second=1e-6, burst=2)
    async with replica(rate, sessions="none") as server:
        server.release.set()
        call = {"id": 1, "method": "tools/call", "params": SLOW}
        said = [
            await server.post(call, address, mcp_session_id=name, mcp_protocol_version=HANDSHAKE)
            for address, name in ((CLIENT, "a"), (CLIENT, "b"), (CLIENT, "c"), (PROXY, "c"))
        ]
    assert [b"overloaded" in answer.body for answer in said] == [False, False, True, False]
