"""How many requests may be under way at once."""

from collections import Counter
from typing import Any

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

from research_gateway.guards.clients import client_key
from research_shared.errors import Overloaded
from research_shared.serving.drain import WORK

RETRY_AFTER_S = 1.0


class ConcurrencyLimit(Middleware):
    """Refuses requests beyond `per_client` under way for one client, or `total` for all, with `overloaded`.

    Nothing is queued: a client that is told to come back keeps neither memory nor a connection here.
    """

    def __init__(self, *, per_client: int, total: int) -> None:
        self.per_client = per_client
        self.total = total
        self._under_way: Counter[str] = Counter()

    @property
    def under_way(self) -> int:
        """How many requests are being served now."""
        return self._under_way.total()

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Serve the request if there is room for it."""
        if context.method not in WORK:
            return await call_next(context)
        client = client_key(context)
        if self._under_way[client] >= self.per_client or self.under_way >= self.total:
            whose = "this client has" if self._under_way[client] >= self.per_client else "the server has"
            raise Overloaded(f"{whose} too many requests under way", retry_after_s=RETRY_AFTER_S)
        self._under_way[client] += 1
        try:
            return await call_next(context)
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]
