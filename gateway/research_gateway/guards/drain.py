"""Stopping without losing anything: what is under way is finished, what is new is refused."""

from typing import Any

import anyio
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

from research_gateway.guards.clients import WORK
from research_shared.errors import ShuttingDown


class Drain(Middleware):
    """Counts the requests under way; after `begin()` new ones end with `shutting_down`."""

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

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Serve the request, unless the server is about to stop."""
        if context.method not in WORK:
            return await call_next(context)
        if self.draining:
            raise ShuttingDown("the server is about to stop")
        self._under_way += 1
        try:
            return await call_next(context)
        finally:
            self._under_way -= 1
            self._settle()
