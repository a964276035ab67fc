"""Streamable HTTP: the application with its limits, its health check, and the address that it listens on."""

import errno
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import uvicorn
from fastmcp import FastMCP
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from research_shared.base_errors import ConfigurationError
from research_shared.serving.auth import auth_provider, check_exposure, is_loopback
from research_shared.serving.drain import Drain
from research_shared.serving.fleet.place import Place
from research_shared.serving.limits.bodies import BodyLimits, RequestBodies
from research_shared.serving.limits.connections import ConnectionShares, LimitedConnection
from research_shared.serving.limits.released import ReleasedRequests
from research_shared.serving.limits.sessions import SessionLimit
from research_shared.serving.process import dedicated_process
from research_shared.serving.transports.draining import FOLLOW_UP_S, DrainingServer
from research_shared.serving.transports.keep_alive import KeepAlive
from research_shared.serving.web import trusted_names, web_middleware
from research_shared.settings import Settings

MCP_PATH = "/mcp"
HEALTH_PATH = "/healthz"
STOP_TIMEOUT_S = 2
"""Seconds that uvicorn waits for open connections, such as event streams, after the calls have ended."""
BACKLOG = 2048
"""Connections that may wait to be accepted."""
ACCEPTED_AT_ONCE = 8
"""Connections that one of several workers takes at once, so that the others get some."""


def add_health(server: FastMCP[Any]) -> None:
    """Answer `GET /healthz` with 200 as long as the process serves requests."""

    @server.custom_route(HEALTH_PATH, methods=["GET"], include_in_schema=False)
    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "server": server.name})


def build_for_http(
    build: Callable[[Settings], FastMCP[Any]], settings: Settings, host: str
) -> tuple[FastMCP[Any], Drain]:
    """Build what is served over HTTP.

    Raises:
        ConfigurationError: the server cannot be built or exposed.
    """
    server, drain = build(settings), Drain()
    server.auth = server.auth or auth_provider(settings)
    check_exposure(settings, host, authenticated=server.auth is not None)
    server.add_middleware(drain)
    add_health(server)
    return server, drain


def http_server(
    server: FastMCP[Any],
    settings: Settings,
    drain: Drain,
    *,
    host: str,
    port: int,
    follow_up_s: float = FOLLOW_UP_S,
    place: Place | None = None,
) -> DrainingServer:
    """Return the HTTP server of an MCP server, or of one worker with its `place` among several.

    On a loopback host, and without authentication on every host, it checks the Host and Origin headers.
    It stops `follow_up_s` seconds after the last answer.
    """
    # Without credentials a page in a browser must not be taken for a client, on whatever address (DNS rebinding).
    strict = is_loopback(host) or server.auth is None
    hosts, origins = trusted_names(
        settings.allowed_hosts, settings.allowed_origins, public_url=settings.public_url, always=strict
    )
    app = server.http_app(
        path=MCP_PATH,
        middleware=[
            *web_middleware(MCP_PATH, settings.allowed_origins),
            *_limits(settings),
            Middleware(drain.gate),
            # Below the others: the responses it starts get their headers.
            Middleware(KeepAlive),
            # Innermost: a session holds nothing of the others either.
            Middleware(ReleasedRequests),
        ],
        stateless_http=settings.sessions == "none",
        json_response=False,  # only a stream carries progress and can be kept alive
        host_origin_protection=True if strict else "auto",
        allowed_hosts=hosts or None,
        allowed_origins=origins or None,
        session_idle_timeout=settings.session_idle_s,
    )
    door = moving = None
    if place is not None:
        from research_shared.serving.fleet.door import FleetDoor
        from research_shared.serving.fleet.moving import MovingConnections

        door = FleetDoor(app, place, body_s=settings.body_timeout_s)
        moving = MovingConnections(place, prefix=f"{settings.replica}." if settings.replica else "")

    entrance: ASGIApp = app if door is None else door
    if settings.replica:
        from research_shared.serving.fleet.named_sessions import NamedSessions

        entrance = NamedSessions(entrance, f"{settings.replica}.")

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with app.lifespan(app), nullcontext() if door is None else door.open():
            yield

    config = uvicorn.Config(
        drain.counting(entrance),
        host=host,
        port=port,
        lifespan="off",
        log_config=None,
        ws="none",
        http=LimitedConnection.limited_to(
            settings.header_timeout_s,
            shares=ConnectionShares(
                settings.client_connections or max(settings.max_connections * 3 // 4, 1),
                proxies=settings.trusted_proxies,
            ),
            move=None if moving is None else moving.move,
        ),
        # uvicorn refuses the request that reaches the limit.
        # A request that a worker passes on takes a connection at both.
        limit_concurrency=settings.max_connections * (1 if place is None else 2) + 1,
        backlog=BACKLOG if place is None else ACCEPTED_AT_ONCE,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
        timeout_keep_alive=math.ceil(settings.keep_alive_s),
        # Not what uvicorn takes from the environment, or this machine: any program here could name any client.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
    )
    return DrainingServer(
        config,
        lifespan=lifespan,
        drain=drain,
        within_s=settings.drain_s,
        notice_s=settings.drain_notice_s,
        follow_up_s=follow_up_s,
        moving=moving,
    )


def _limits(settings: Settings) -> list[Middleware]:
    """Return the ASGI middleware that limits sessions and request bodies."""
    bodies = BodyLimits(
        body_bytes=settings.max_body_bytes,
        client_bytes=settings.client_held_bytes,
        held_bytes=settings.max_held_bytes,
        timeout_s=settings.body_timeout_s,
    )
    sessions = Middleware(
        SessionLimit,
        per_client=settings.client_sessions,
        total=settings.max_sessions,
        idle_s=settings.session_idle_s,
    )
    return [
        *([sessions] if settings.sessions == "memory" else []),
        Middleware(RequestBodies, limits=bodies, path=MCP_PATH, login=settings.login_client_id is not None),
    ]


async def run_http(listener: DrainingServer, settings: Settings) -> None:
    """Serve over HTTP. The lifespan is entered here, because uvicorn would log a traceback for an error in it."""
    async with listener.lifespan(), dedicated_process(settings):
        await listener.serve()


def address_of(host: str, port: int) -> tuple[Any, ...]:
    """Return what `getaddrinfo` says first of an address to listen on."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]


def check_address(host: str, port: int) -> None:
    """Check that the server can listen on an address.

    Raises:
        ConfigurationError: another process listens there, or the address is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = address_of(host, port)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = (
            "it is in use; name another with --port" if error.errno == errno.EADDRINUSE else error.strerror
        )
        raise ConfigurationError(f"cannot listen on {host} port {port}: {reason}") from error
