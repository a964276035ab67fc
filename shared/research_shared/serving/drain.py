"""Graceful shutdown: requests in flight finish, new requests are refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from research_shared.errors import ShuttingDown

WORK = frozenset({"tools/call", "resources/read", "prompts/get", "completion/complete"})
"""The requests that limits apply to.

Listings are exempt: a client may list the tools to validate a result that it has just received, and would lose the
result if the listing were refused. Requests that keep a connection alive are exempt too.
"""

_ENDLESS = "subscriptions/listen"


class Drain(Middleware):
    """Counts the requests in flight. After `begin()`, new requests fail with `shutting_down`.

    Over HTTP a request is in flight until its response has been sent; `counting` tracks that.

    >>> from fastmcp import FastMCP
    >>> drain = Drain()
    >>> server = FastMCP("host", middleware=[drain])
    >>> drain.begin()  # in the handler of SIGTERM
    >>> await drain.idle(within_s=10)
    True
    """

    def __init__(self) -> None:
        self.draining = False
        self._in_flight = 0
        self._idle = anyio.Event()

    @property
    def in_flight(self) -> int:
        """Number of requests being served now."""
        return self._in_flight

    def begin(self) -> None:
        """Refuse new requests from now on. Safe to call from a signal handler of the event loop, and more than once."""
        self.draining = True
        self._settle()

    def _settle(self) -> None:
        if self.draining and not self._in_flight:
            self._idle.set()

    async def idle(self, within_s: float) -> bool:
        """Wait until no request is in flight. Return False after `within_s` seconds."""
        with anyio.move_on_after(within_s):
            await self._idle.wait()
        return self._idle.is_set()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            self._settle()

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Serve the request, or refuse it while the server is draining."""
        if context.method not in WORK:
            return await call_next(context)
        if self.draining:
            raise ShuttingDown("the server is about to stop")
        with self._counted():
            return await call_next(context)

    def counting(self, app: ASGIApp) -> ASGIApp:
        """Wrap `app` so that a request stays in flight until its whole response has been sent."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            posts = scope["type"] == "http" and scope["method"] == "POST"
            if not posts or self.draining or Headers(scope=scope).get("mcp-method") == _ENDLESS:
                await app(scope, receive, send)
                return
            with self._counted():
                await app(scope, receive, send)

        return counted
