"""Graceful shutdown: requests in flight finish, new requests are refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import anyio
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from mcp_types import INVALID_REQUEST
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from research_shared.errors import ShuttingDown
from research_shared.serving.limits.bodies import receiving_first
from research_shared.serving.limits.refusals import caller_of_request, refusal
from research_shared.tasks import current_work

WORK = frozenset({"tools/call", "resources/read", "prompts/get", "completion/complete"})
"""The requests that limits apply to.

Listings are exempt: a client may list the tools to validate a result that it has just received, and would lose the
result if the listing were refused. Requests that keep a connection alive are exempt too.
"""

RETRY_ELSEWHERE_S = 1
"""What a refused client is told to wait: another replica can serve it at once, a restarted one in a few seconds."""

_ENDLESS = "subscriptions/listen"
_REFUSED_WHILE_DRAINING = WORK | {"initialize"}
"""What is refused over HTTP. A new session would end with the server."""


class Drain(Middleware):
    """Counts the requests in flight. After `begin()`, new requests are refused.

    Over HTTP a request is in flight until its response has been sent; `counting` tracks that. Behind `gate` a new one is
    answered with 503 before anything is done with it; without it, and over stdio, it fails with `shutting_down`.
    `announce()` only makes the server unready.

    >>> from fastmcp import FastMCP
    >>> drain = Drain()
    >>> server = FastMCP("host", middleware=[drain])
    >>> drain.begin()  # in the handler of SIGTERM
    >>> await drain.idle(within_s=10)
    True
    """

    def __init__(self) -> None:
        self.announced = False
        """Whether the server is about to stop, so that a balancer should send it nothing more."""
        self.draining = False
        """Whether new requests are refused."""
        self._gated = False
        self._in_flight = 0
        self._idle = anyio.Event()

    @property
    def in_flight(self) -> int:
        """Number of requests being served now."""
        return self._in_flight

    def announce(self) -> None:
        """Be unready from now on, and serve as before. Safe to call from a signal handler."""
        self.announced = True

    def begin(self) -> None:
        """Refuse new requests from now on. Safe to call from a signal handler of the event loop, and more than once."""
        self.announced = self.draining = True
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
        # The work of a task comes through no gate. It goes to another worker.
        if self.draining and (not self._gated or current_work() is not None):
            raise ShuttingDown(_STOPS)
        with self._counted():
            return await call_next(context)

    def gate(self, app: ASGIApp) -> ASGIApp:
        """Wrap `app` so that HTTP requests that begin work or a session are refused with 503 while the server is draining.

        What belongs to requests in flight is passed on: answers of clients, cancellations, listings. Whole bodies must be
        received before, as `RequestBodies` does. A request that has passed is not refused later. One without the
        credentials that it needs is passed on, to be refused for that.
        """
        self._gated = True

        async def gated(scope: Scope, receive: Receive, send: Send) -> None:
            posts = scope["type"] == "http" and scope["method"] == "POST"
            if not self.draining or not posts or caller_of_request(scope) is None:
                await app(scope, receive, send)
                return
            first = await receive()
            method, request_id = _asked_of(Headers(scope=scope), first)
            if method in _REFUSED_WHILE_DRAINING:
                await _answer_of_stopping(request_id)(scope, receive, send)
                return
            await app(scope, receiving_first(first, receive), send)

        return gated

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


_STOPS = "the server is about to stop"


def _answer_of_stopping(request_id: Any) -> ASGIApp:
    error = ShuttingDown(_STOPS)
    return refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"{error.code}: {error.message}\nHint: {error.hint}",
        code=INVALID_REQUEST,
        request_id=request_id,
        data={"error": error.payload()},
        retry_after_s=RETRY_ELSEWHERE_S,
    )


def _asked_of(headers: Headers, first: Message) -> tuple[str | None, Any]:
    """Return method and id of the request in a body that is there as a whole; None for anything else.

    Since 2026-07-28 the method is also in a header, which the SDK compares with the body.
    """
    try:
        message = json.loads(first.get("body", b""))
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(message, dict) or not isinstance(message.get("id"), str | int):
        return None, None
    version = headers.get("mcp-protocol-version")
    if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
        return headers.get("mcp-method"), message["id"]
    method = message.get("method")
    return (method if isinstance(method, str) else None), message["id"]
