"""Limits the sessions of the handshake era that a client, and all together, may have open over HTTP."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Protocol

from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from research_shared.serving.limits.bodies import SESSION_HEADER
from research_shared.serving.limits.refusals import caller_of_request, refusal

RETRY_AFTER_S = 30
_FORGET_EVERY_S = 1.0
"""Least seconds between two looks for sessions that have ended."""


@dataclass(slots=True)
class _Session:
    owner: str
    last_used: float
    in_flight: int = 0


class _Timer(Protocol):
    def cancel(self) -> None: ...


class SessionLimit:
    """ASGI middleware that answers the opening of a session with 429 when its client has `per_client` already.

    With `total` sessions it answers with 503. A client is its principal, else its address. A session ends when it is
    deleted, or without a request in flight for `idle_s` seconds, as the SDK ends it. `call_later` runs a callback after
    some seconds, unless what it returns is cancelled; without one, the event loop does.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        per_client: int,
        total: int,
        idle_s: float,
        clock: Callable[[], float] = time.monotonic,
        call_later: Callable[[float, Callable[[], None]], _Timer] | None = None,
    ) -> None:
        self._app = app
        self._per_client = per_client
        self._total = total
        self._idle_s = idle_s
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._opening: Counter[str] = Counter()
        self._call_later = call_later
        self._timer: _Timer | None = None
        """The next look for ended sessions, in `_loop`. There is none while no session is without a request."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def open_sessions(self, owner: str | None = None) -> int:
        """Return the number of open sessions of a client, or of all."""
        self._forget_ended()
        if owner is None:
            return len(self._sessions) + self._opening.total()
        return sum(session.owner == owner for session in self._sessions.values()) + self._opening[owner]

    def _forget_ended(self) -> None:
        ended = self._clock() - self._idle_s
        for key in [k for k, s in self._sessions.items() if not s.in_flight and s.last_used < ended]:
            del self._sessions[key]

    def _forget_later(self) -> None:
        """Forget the open sessions when they have ended, though no client opens another one.

        The few bytes that are known of a session are between all that it holds. If they stayed, Python could not return
        its memory to the system: it returns whole mebibytes only.
        """
        loop = asyncio.get_running_loop()
        if self._timer is not None and self._loop is loop:
            return  # no session ends before the one that it waits for
        self._cancel_timer()  # of a loop that runs no more
        unused = [session.last_used for session in self._sessions.values() if not session.in_flight]
        if not unused:
            return
        # In a context of its own, which does not hold the request that is served now.
        call_later = self._call_later or partial(loop.call_later, context=Context())
        delay_s = max(min(unused) + self._idle_s - self._clock(), 0.0) + _FORGET_EVERY_S
        self._timer, self._loop = call_later(delay_s, self._forget), loop

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop = None

    def _forget(self) -> None:
        self._timer = self._loop = None
        self._forget_ended()
        self._forget_later()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or refuse to open another session."""
        owner = caller_of_request(scope) if scope["type"] == "http" else None
        if owner is None:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session = headers.get(SESSION_HEADER)
        if session is not None:
            await self._within(session, scope, receive, send)
        elif scope["method"] == "POST" and _is_handshake(headers.get("mcp-protocol-version")):
            await self._opened(owner, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _within(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        session = self._sessions.get(key)
        if session is None:
            await self._app(scope, receive, send)
            return

        async def watched(message: Message) -> None:
            ended = message["type"] == "http.response.start" and (
                message["status"] == HTTPStatus.NOT_FOUND
                or (scope["method"] == "DELETE" and message["status"] < HTTPStatus.BAD_REQUEST)
            )
            if ended:
                self._sessions.pop(key, None)
                if not self._sessions:
                    self._cancel_timer()
            await send(message)

        session.in_flight += 1
        try:
            await self._app(scope, receive, watched)
        finally:
            session.in_flight -= 1
            session.last_used = self._clock()
            self._forget_later()

    async def _opened(self, owner: str, scope: Scope, receive: Receive, send: Send) -> None:
        if self.open_sessions(owner) >= self._per_client:
            status, message = HTTPStatus.TOO_MANY_REQUESTS, "this client has too many open sessions"
        elif self.open_sessions() >= self._total:
            status, message = HTTPStatus.SERVICE_UNAVAILABLE, "too many sessions are open"
        else:
            await self._open(owner, scope, receive, send)
            return
        await refusal(status, message, retry_after_s=RETRY_AFTER_S)(scope, receive, send)

    async def _open(self, owner: str, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < HTTPStatus.BAD_REQUEST:
                key = Headers(raw=message.get("headers", [])).get(SESSION_HEADER)
                if key is not None:
                    self._sessions[key] = _Session(owner, self._clock())
                    self._forget_later()
            await send(message)

        self._opening[owner] += 1
        try:
            await self._app(scope, receive, watched)
        finally:
            self._opening[owner] -= 1
            if not self._opening[owner]:
                del self._opening[owner]


def _is_handshake(version: str | None) -> bool:
    return version is None or version in HANDSHAKE_PROTOCOL_VERSIONS
