"""Limits the request rate of each client."""

import time
from collections.abc import Callable
from typing import Any

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

from research_gateway.guards.clients import client_key
from research_shared.errors import Overloaded
from research_shared.serving.drain import WORK
from research_shared.serving.limits.buckets import MAX_BUCKETS, TokenBuckets
from research_shared.tasks import current_work


class RateLimit(Middleware):
    """A token bucket for each client: `per_second` requests on average, `burst` of them at once.

    Requests over the limit fail with `overloaded`; `retry_after_s` is the time until the next token. Beyond
    `max_clients` clients, the least recently seen one is evicted and gets a full bucket when it returns.

    >>> from fastmcp import FastMCP
    >>> server = FastMCP("host")
    >>> server.add_middleware(RateLimit(per_second=5, burst=20))
    """

    def __init__(
        self,
        *,
        per_second: float,
        burst: int,
        max_clients: int = MAX_BUCKETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buckets = TokenBuckets(per_second=per_second, burst=burst, max_buckets=max_clients, clock=clock)

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Serve the request if the client's bucket holds a token.

        Raises:
            Overloaded: the bucket is empty.
        """
        if current_work() is not None:  # it was counted when it was submitted
            return await call_next(context)
        if context.method in WORK and (wait := self._buckets.take(client_key(context))) > 0:
            raise Overloaded(f"rate limit exceeded; retry in {wait:.3g} s", retry_after_s=round(wait, 3))
        return await call_next(context)
