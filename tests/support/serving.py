"""Servers on real sockets, in the loop of the test: they can be killed, come back, and misbehave."""

import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import uvicorn
from fastmcp import FastMCP
from starlette.types import ASGIApp, Receive, Scope, Send


async def until(condition: Callable[[], bool], within_s: float = 60) -> None:
    """Wait until something that cannot be awaited has come true."""
    with anyio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110  (that is what this is for)
            await anyio.sleep(0.01)


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that nobody else is given, also while the server for which it is meant does not listen."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        if sys.platform != "linux":  # elsewhere, nobody could listen there as long as it is held
            held.close()
        yield port


class Served:
    """A server at a fixed address that can be stopped and started again."""

    def __init__(self, build: Callable[[], FastMCP[Any]], port: int, **options: Any) -> None:
        self._build = build
        self.port = port
        self._options = options
        self._tasks: anyio.abc.TaskGroup | None = None
        self._server: uvicorn.Server | None = None
        self._stopped = anyio.Event()
        self.requests = 0
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[ASGIApp, Scope, Receive, Send], Any] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def _counting(self, app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["method"] == "POST":
                self.requests += 1
                self.headers.append({k.decode(): v.decode() for k, v in scope["headers"]})
                if self.answer is not None:
                    await self.answer(app, scope, receive, send)
                    return
            await app(scope, receive, send)

        return counted

    async def start(self, tasks: anyio.abc.TaskGroup) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        app = self._build().http_app(path="/mcp", **self._options)
        config = uvicorn.Config(
            self._counting(app), log_config=None, lifespan="on", timeout_graceful_shutdown=1, ws="none"
        )
        self._server = server = uvicorn.Server(config)
        self._stopped = stopped = anyio.Event()

        async def serve() -> None:
            with listener:
                await server._serve([listener])
            stopped.set()

        tasks.start_soon(serve)
        await until(lambda: server.started)

    async def stop(self) -> None:
        """Close the socket and every connection at once."""
        assert self._server is not None
        self._server.should_exit = self._server.force_exit = True
        self._abort_connections(self._server)
        with anyio.fail_after(60):
            await self._stopped.wait()
        # One that was accepted just before the socket closed is not known to the server when it shuts down.
        self._abort_connections(self._server)
        self._server = None

    @staticmethod
    def _abort_connections(server: uvicorn.Server) -> None:
        for connection in list(server.server_state.connections):
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()

    @property
    def running(self) -> bool:
        return self._server is not None


@asynccontextmanager
async def serving(server: FastMCP[Any] | Callable[[], FastMCP[Any]], **options: Any) -> AsyncIterator[Served]:
    """Serve over HTTP on a free port until the block ends."""
    build = (lambda: server) if isinstance(server, FastMCP) else server
    with reserved_port() as port:
        served = Served(build, port, **options)
        async with anyio.create_task_group() as tasks:
            await served.start(tasks)
            served._tasks = tasks
            try:
                yield served
            finally:
                if served.running:
                    await served.stop()
                tasks.cancel_scope.cancel()
