"""Stopping without losing anything: what is under way is finished, what is new is refused."""

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

Listings are none: a client may list the tools to check the result that it has just received, and would lose that
result if the listing were refused. What keeps a connection going is never refused either.
"""

_ENDLESS = "subscriptions/listen"


class Drain(Middleware):
    """Counts the requests under way; after `begin()` new ones end with `shutting_down`.

    Over HTTP a request is under way until its response has been sent, which `counting` sees.
    """

    def __init__(self) -> None:
        self.draining = False
        self._under_way = 0
        self._idle = anyio.Event()

    @property
    def under_way(self) -> int:
        """How many requests are being served now."""
        return self._under_way

    def begin(self) -> None:
        """Take no new work from now on. Safe to call from a signal handler of the event loop, and again."""
        self.draining = True
        self._settle()

    def _settle(self) -> None:
        if self.draining and not self._under_way:
            self._idle.set()

    async def idle(self, within_s: float) -> bool:
        """Wait until nothing is under way any more; False when that takes longer than `within_s` seconds."""
        with anyio.move_on_after(within_s):
            await self._idle.wait()
        return self._idle.is_set()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._settle()

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Serve the request, unless the server is about to stop."""
        if context.method not in WORK:
            return await call_next(context)
        if self.draining:
            raise ShuttingDown("the server is about to stop")
        with self._counted():
            return await call_next(context)

    def counting(self, app: ASGIApp) -> ASGIApp:
        """The same application, whose requests are under way until they have been answered whole."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            posts = scope["type"] == "http" and scope["method"] == "POST"
            if not posts or self.draining or Headers(scope=scope).get("mcp-method") == _ENDLESS:
                await app(scope, receive, send)
                return
            with self._counted():
                await app(scope, receive, send)

        return counted
