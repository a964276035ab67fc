"""How often the pages of a login, which need no token, may be asked for."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from research_shared.logs import get_logger
from research_shared.serving.limits.buckets import TokenBuckets
from research_shared.serving.limits.refusals import address_of_request, network_of

log = get_logger("research.auth")

LOG_EVERY_S = 60.0
_ALL = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class PageRate:
    """Requests that one address, and all addresses together, may send at once, and then each second."""

    address_burst: int
    address_per_second: float
    burst: int
    per_second: float


PAGES = PageRate(address_burst=60, address_per_second=1.0, burst=300, per_second=10.0)
"""What begins a login: each request is kept in a file, and may make the server fetch the metadata of a client."""
TOKENS = PageRate(address_burst=120, address_per_second=2.0, burst=600, per_second=20.0)
"""What ends and renews one."""
REGISTRATIONS = PageRate(address_burst=30, address_per_second=1 / 20, burst=100, per_second=1 / 10)
"""Registrations are kept. One address never takes all that others are given."""
_RATES = {
    ("/authorize", "/consent"): PAGES,
    ("/token", "/revoke"): TOKENS,
    ("/register",): REGISTRATIONS,
}


class PageLimit:
    """The limit of some pages: a request over `rate` is to wait. `clock` gives seconds.

    Behind a proxy whose addresses of clients are not trusted, all have the proxy's address.
    """

    def __init__(self, rate: PageRate, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._addresses = TokenBuckets(
            per_second=rate.address_per_second, burst=rate.address_burst, clock=clock
        )
        self._all = TokenBuckets(per_second=rate.per_second, burst=rate.burst, clock=clock)
        self._logged_s = -math.inf

    def wait_s(self, address: str) -> float:
        """Return the seconds after which a request of `address` may come again, 0 if it may be answered."""
        # The address first: who has nothing left of their own takes nothing from the others.
        return self._addresses.take(network_of(address)) or self._all.take(_ALL)

    def note(self, path: str) -> None:
        """Log that a request was refused. One line in a while: whoever sends many would fill the log."""
        if self._clock() - self._logged_s >= LOG_EVERY_S:
            self._logged_s = self._clock()
            log.warning("too many requests to a page of the login are refused", path=path)


class LimitedPage:
    """ASGI application that answers requests over a limit with 429, and the others with `app`."""

    def __init__(self, app: ASGIApp, limit: PageLimit) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        # A preflight request of a browser does nothing.
        wait_s = self._limit.wait_s(address_of_request(scope)) if scope["method"] != "OPTIONS" else 0
        if not wait_s:
            await self._app(scope, receive, send)
            return
        self._limit.note(scope["path"])
        answer = JSONResponse(
            {
                "error": "temporarily_unavailable",
                "error_description": "too many requests have come: try again later",
            },
            status_code=HTTPStatus.TOO_MANY_REQUESTS,
            headers={"retry-after": str(math.ceil(wait_s))},
        )
        await answer(scope, receive, send)


def limited_pages(routes: Sequence[Route], clock: Callable[[], float] = time.monotonic) -> list[Route]:
    """Return the routes of a login, with limits on those that need no token and keep or fetch something."""
    limits = {
        path: limit
        for limit, paths in ((PageLimit(rate, clock), paths) for paths, rate in _RATES.items())
        for path in paths
    }
    return [
        Route(
            route.path,
            LimitedPage(route.app, limits[route.path]),
            methods=sorted(route.methods or ()) or None,
        )
        if route.path in limits
        else route
        for route in routes
    ]
