"""How often a client may ask."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

from research_gateway.guards.clients import client_key
from research_shared.errors import Overloaded
from research_shared.serving.drain import WORK

MAX_CLIENTS = 10_000


class RateLimit(Middleware):
    """A token bucket for each client: `per_second` requests on average, `burst` of them at once.

    Beyond it requests end with `overloaded`, whose `retry_after_s` says when the next one fits. Of more than
    `MAX_CLIENTS` clients the one that has been silent longest is forgotten, which gives it a full bucket.
    """

    def __init__(self, *, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self.burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def _take(self, client: str) -> float:
        """Take one token; the seconds to wait when there is none."""
        now = self._clock()
        tokens, last = self._buckets.pop(client, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - last) * self.per_second)
        short = 1.0 - tokens
        self._buckets[client] = (tokens if short > 0 else tokens - 1.0, now)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return max(short, 0.0) / self.per_second

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Serve the request if the client's bucket holds a token."""
        if context.method in WORK and (wait := self._take(client_key(context))) > 0:
            raise Overloaded("this client asks too often", retry_after_s=round(wait, 3))
        return await call_next(context)
