"""Run a server from the command line: transports, health check, graceful stop."""

import asyncio
import errno
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import uvicorn
from fastmcp import FastMCP
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from research_shared.base_errors import ConfigurationError
from research_shared.logs import configure_logging, get_logger, switch_level
from research_shared.serving.auth import auth_provider, check_exposure, is_loopback
from research_shared.serving.drain import Drain
from research_shared.serving.fleet.place import Place, listening_sockets
from research_shared.serving.fleet.share import share_of_worker
from research_shared.serving.keep_alive import KeepAlive
from research_shared.serving.limits.bodies import BodyLimits, RequestBodies
from research_shared.serving.limits.connections import ConnectionShares, LimitedConnection
from research_shared.serving.limits.released import ReleasedRequests
from research_shared.serving.limits.sessions import SessionLimit
from research_shared.serving.memory import keep_memory_low, tune_gc_for_dedicated_process
from research_shared.serving.version import VERSION
from research_shared.serving.web import trusted_names, web_middleware
from research_shared.settings import Settings

log = get_logger("research.serving")

MCP_PATH = "/mcp"
FOLLOW_UP_S = 1.0
"""Seconds between the last answer and the stop, in which clients receive it and list the tools to validate it.

There is no signal for the end of that, and a client whose listing fails loses its answer.
"""
TOLD_TWICE_S = 1.0
"""Seconds in which a second signal to a worker counts as the first one."""
STOP_TIMEOUT_S = 2
"""Seconds that uvicorn waits for open connections, such as event streams, after the calls have ended."""
KILL_AFTER_S = 10.0
"""Seconds for which workers may be late before they are killed."""
BACKLOG = 2048
"""Connections that may wait to be accepted."""
ACCEPTED_AT_ONCE = 8
"""Connections that one of several workers takes at once, so that the others get some."""
HEALTH_PATH = "/healthz"


def add_health(server: FastMCP[Any]) -> None:
    """Answer `GET /healthz` with 200 as long as the process serves requests."""

    @server.custom_route(HEALTH_PATH, methods=["GET"], include_in_schema=False)
    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "server": server.name})


def serve(
    build: Callable[[Settings], FastMCP[Any]],
    settings: Settings,
    *,
    transport: Literal["stdio", "http"] = "stdio",
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
) -> None:
    """Run a server until it is asked to stop: over stdio, or as Streamable HTTP at `/mcp`, there by so many processes.

    Raises:
        ConfigurationError: the server cannot be built, started or exposed as the settings say.
        SystemExit: the status of several processes that did not all stop in order, and of each of them.
    """
    configure_logging(settings.log_level, form=settings.log_format)
    if transport == "stdio":
        server, drain = build(settings), Drain()
        server.add_middleware(drain)
        with traces_exported(settings, server.name):
            asyncio.run(_run_stdio(server, drain=drain, settings=settings))
        return
    settings = share_of_worker(settings, workers)
    server, drain = _built(build, settings, host)
    check_address(host, port)
    if workers == 1:
        with traces_exported(settings, server.name):
            asyncio.run(_run_http(http_server(server, settings, drain, host=host, port=port), settings))
        return
    # Built for its checks, and for what it imports. Each process builds its own: no two may draw the same ids.
    del server, drain
    _run_workers(build, settings, host=host, port=port, workers=workers)


def _built(
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


def _run_workers(
    build: Callable[[Settings], FastMCP[Any]], settings: Settings, *, host: str, port: int, workers: int
) -> None:
    """Have processes serve at one address until they are asked to stop.

    Raises:
        SystemExit: see `serve`.
    """
    from research_shared.serving.fleet.supervisor import Supervisor

    if settings.tasks_off:
        log.info("tasks are off: several workers need RESEARCH_TASKS_URL for them")
    if settings.index_dir is None:
        log.warning("each worker reads all documents: with RESEARCH_INDEX_DIR one of them does it for all")
    family, _, _, _, address = _address_of(host, port)
    sockets_of_workers = listening_sockets(address, family=family, workers=workers, backlog=BACKLOG)
    directory = Path(tempfile.mkdtemp(prefix="research-workers-"))
    supervisor = os.getpid()

    def close_sockets(kept: socket.socket | None = None) -> None:
        # What another process holds open would still be given connections after its worker has ended.
        for each in sockets_of_workers:
            if each is not kept:
                each.close()

    def work(place: Place, says_ready: int, parent: int) -> int:
        listening = sockets_of_workers[place.number - 1]
        close_sockets(kept=listening)
        try:
            server, drain = _built(build, settings, host)
            listener = http_server(server, settings, drain, host=host, port=port, place=place)
            sockets = [listening, place.listen()]
            with traces_exported(settings, server.name):
                asyncio.run(_run_worker(listener, settings, sockets, says_ready=says_ready, parent=parent))
        except ConfigurationError as error:
            log.error("the worker cannot serve", reason=error.message)  # noqa: TRY400  (the message says it all)
            return 2
        if os.getppid() != supervisor:  # which would have done this
            shutil.rmtree(directory, ignore_errors=True)
        return 0

    own_host, own_port = sockets_of_workers[0].getsockname()[:2]
    log.info("workers serve", host=own_host, port=own_port, workers=workers)
    stop_s = settings.drain_notice_s + settings.drain_s + FOLLOW_UP_S + STOP_TIMEOUT_S + KILL_AFTER_S
    status = Supervisor(
        workers=workers, directory=directory, work=work, stop_s=stop_s, on_stop=close_sockets
    ).run()
    # Not in a `finally`: the workers leave through here, too.
    shutil.rmtree(directory)
    if status:
        sys.exit(status)


async def _run_worker(
    listener: "DrainingServer",
    settings: Settings,
    sockets: list[socket.socket],
    *,
    says_ready: int,
    parent: int,
) -> None:
    """Serve at inherited sockets. Stop when told, or when the parent process has ended."""
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(parent)
        log.warning("the parent process has ended, so this one stops")
        listener.handle_exit(signal.SIGTERM, None)

    def started() -> None:
        # asyncio takes one number for how many may wait and how many it accepts at once.
        for listening in sockets:
            listening.listen(BACKLOG)
        os.write(says_ready, b"1")
        os.close(says_ready)

    loop.add_reader(parent, orphaned)
    listener.on_started = started
    async with listener.lifespan(), _dedicated_process(settings):
        await listener.serve(sockets)


def _address_of(host: str, port: int) -> tuple[Any, ...]:
    """Return what `getaddrinfo` says first of an address to listen on."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]


def check_address(host: str, port: int) -> None:
    """Check that the server can listen on an address.

    Raises:
        ConfigurationError: another process listens there, or the address is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = _address_of(host, port)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = (
            "it is in use; name another with --port" if error.errno == errno.EADDRINUSE else error.strerror
        )
        raise ConfigurationError(f"cannot listen on {host} port {port}: {reason}") from error


@contextmanager
def traces_exported(settings: Settings, service: str) -> Iterator[None]:
    """Send the spans of the process to the collector of the settings, if there is one, while a block runs.

    Raises:
        ConfigurationError: the packages of the extra `otlp` are missing.
    """
    if settings.otlp_url is None:
        yield
        return
    try:
        from research_shared.telemetry.export import export_traces
    except ImportError as error:
        raise ConfigurationError(
            "RESEARCH_OTLP_URL needs packages that are not installed: pip install 'research-assistant-mcp[otlp]'"
        ) from error
    headers = {name: value.get_secret_value() for name, value in settings.otlp_headers.items()}
    end = export_traces(settings.otlp_url, headers=headers, service=service, version=VERSION)
    try:
        yield
    finally:
        end()


async def _run_http(listener: "DrainingServer", settings: Settings) -> None:
    """Serve over HTTP. The lifespan is entered here, because uvicorn would log a traceback for an error in it."""
    async with listener.lifespan(), _dedicated_process(settings):
        await listener.serve()


@asynccontextmanager
async def _dedicated_process(settings: Settings) -> AsyncIterator[None]:
    """Keep the memory of this process, which runs only our server, low while a block runs. Heed SIGUSR1."""
    tune_gc_for_dedicated_process()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, switch_level, settings.log_level)
    task = asyncio.create_task(keep_memory_low())
    try:
        yield
    finally:
        task.cancel()
        loop.remove_signal_handler(signal.SIGUSR1)


class DrainingServer(uvicorn.Server):
    """A uvicorn server that stops `follow_up_s` seconds after no request is in flight, or after `within_s` seconds.

    uvicorn stops listening and ends event streams at once, answers in flight included. The server is unready from the
    signal on, and refuses new calls with 503 `notice_s` seconds later. A second signal stops it immediately. `is_worker`: an interrupt from the terminal is left to the parent process.

    Enter `lifespan()` before `serve()`: uvicorn does not run the lifespan of the application.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        lifespan: Callable[[], AbstractAsyncContextManager[Any]],
        drain: Drain,
        within_s: float,
        notice_s: float = 0.0,
        follow_up_s: float = FOLLOW_UP_S,
        is_worker: bool = False,
    ) -> None:
        super().__init__(config)
        self.lifespan = lifespan
        self._drain = drain
        self._within_s = within_s
        self._notice_s = notice_s
        self._is_worker = is_worker
        self._told_s = 0.0
        self.on_started: Callable[[], None] | None = None
        self._follow_up_s = follow_up_s
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.on_started is not None:
            self.on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; stop at a second signal."""
        if sig == signal.SIGINT and self._is_worker:
            return
        if self._drain.announced:
            # Who stops a service may tell all of its processes, and then the parent tells its workers: that is one signal.
            if not self._is_worker or time.monotonic() - self._told_s > TOLD_TWICE_S:
                super().handle_exit(sig, frame)
            return
        self._told_s = time.monotonic()
        self._drain.announce()
        if not self._notice_s:
            self._drain.begin()
        self._draining = asyncio.get_running_loop().create_task(self._stop_when_idle())

    async def _stop_when_idle(self) -> None:
        if self._notice_s:
            await asyncio.sleep(self._notice_s)
            self._drain.begin()
        if not await self._drain.idle(self._within_s):
            log.warning("drain timeout: requests in flight are cut off", calls=self._drain.in_flight)
        else:
            await asyncio.sleep(self._follow_up_s)
        self.should_exit = True


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
            Middleware(ReleasedRequests),
            *web_middleware(MCP_PATH, settings.allowed_origins),
            *_limits(settings),
            Middleware(drain.gate),
            # Innermost: the responses it starts get the headers of the others.
            Middleware(KeepAlive),
        ],
        stateless_http=settings.sessions == "none",
        json_response=False,  # only a stream carries progress and can be kept alive
        host_origin_protection=True if strict else "auto",
        allowed_hosts=hosts or None,
        allowed_origins=origins or None,
        session_idle_timeout=settings.session_idle_s,
    )
    door = None
    if place is not None:
        from research_shared.serving.fleet.door import FleetDoor

        door = FleetDoor(app, place, body_s=settings.body_timeout_s)

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
        is_worker=place is not None,
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


async def _run_stdio(server: FastMCP[Any], *, drain: Drain, settings: Settings) -> None:
    """Serve over stdio until the client hangs up, or until SIGTERM and the end of the requests in flight."""
    hang_up = _detachable_stdin()
    stopping: list[asyncio.Task[None]] = []

    async def stop() -> None:
        drain.begin()
        await drain.idle(settings.drain_s)
        await asyncio.sleep(FOLLOW_UP_S)
        hang_up()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: stopping.append(loop.create_task(stop())))
    try:
        async with _dedicated_process(settings):
            await server.run_stdio_async(show_banner=False)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _detachable_stdin() -> Callable[[], None]:
    """Put a pipe in front of standard input. Return a function that ends the input as if the client had hung up.

    A read of standard input cannot be interrupted and would prevent an orderly end of the process.
    """
    source = os.dup(0)
    end, entry = os.pipe()
    os.dup2(end, 0)
    os.close(end)
    closing = threading.Lock()

    def hang_up() -> None:
        if closing.acquire(blocking=False):
            os.close(entry)

    def copy() -> None:
        try:
            while data := os.read(source, 65_536):
                view = memoryview(data)
                while view:
                    view = view[os.write(entry, view) :]
        except OSError as error:
            log.debug("standard input has ended", error=str(error))
        hang_up()

    threading.Thread(target=copy, name="stdin", daemon=True).start()
    return hang_up
