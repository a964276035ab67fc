"""Limits the number of requests in flight."""

from collections import Counter
from typing import Any

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

from research_gateway.guards.clients import client_key
from research_shared.errors import Overloaded
from research_shared.serving.drain import WORK
from research_shared.tasks import current_work

CONCURRENCY_RETRY_AFTER_S = 1.0


class ConcurrencyLimit(Middleware):
    """Allows `per_client` requests in flight for one client and `total` for all; others fail with `overloaded`.

    Requests are never queued: a refused client holds neither memory nor a connection.

    >>> from fastmcp import FastMCP
    >>> server = FastMCP("host")
    >>> server.add_middleware(ConcurrencyLimit(per_client=16, total=256))
    """

    def __init__(self, *, per_client: int, total: int) -> None:
        self.per_client = per_client
        self.total = total
        self._in_flight: Counter[str] = Counter()

    @property
    def in_flight(self) -> int:
        """Number of requests being served now."""
        return self._in_flight.total()

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Serve the request, or refuse it when a limit is reached.

        Raises:
            Overloaded: too many requests are in flight.
        """
        # The work of tasks has a limit of its own.
        if context.method not in WORK or current_work() is not None:
            return await call_next(context)
        client = client_key(context)
        if self._in_flight[client] >= self.per_client or self.in_flight >= self.total:
            whose = "this client has" if self._in_flight[client] >= self.per_client else "the server has"
            raise Overloaded(f"{whose} too many requests in flight", retry_after_s=CONCURRENCY_RETRY_AFTER_S)
        self._in_flight[client] += 1
        try:
            return await call_next(context)
        finally:
            self._in_flight[client] -= 1
            if not self._in_flight[client]:
                del self._in_flight[client]
