"""Reads the bodies of HTTP requests within limits, before anything else is done with them."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import anyio
from mcp_types import PARSE_ERROR
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from research_shared.serving.limits.refusals import address_of_request, caller_of_request, refusal

SESSION_HEADER = "mcp-session-id"
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after_s = status, message, retry_after_s


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyLimits:
    """Limits of request bodies: bytes of one, bytes that unfinished ones hold, and seconds for receiving one.

    `open_bytes`: what one without credentials has at most on the pages of a login, which need none.
    `client_bytes`, `held_bytes`: what those of one client, and of all clients, hold together.
    `linger_s`: seconds for which the rest of a refused body is received and thrown away.
    """

    body_bytes: int = 4 << 20
    open_bytes: int = 64 << 10
    client_bytes: int = 16 << 20
    held_bytes: int = 64 << 20
    timeout_s: float = 30.0
    linger_s: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Budget:
    """Bytes that the bodies of some callers hold: of one, of one caller and of all at most, and `held` at the moment."""

    body_bytes: int
    client_bytes: int
    held_bytes: int
    held: Counter[str] = field(default_factory=Counter)


class RequestBodies:
    """ASGI middleware that receives each body whole before the request is served.

    A body over `body_bytes` is answered with 413, one that takes longer than `timeout_s` with 408. While unfinished
    requests of a client, which is its principal, else its address, hold `client_bytes`, its others are answered with 429.
    While those of all clients hold `held_bytes`, others are answered with 503. In a session of the handshake era, a request with the id
    of one in flight is refused: its answer could not be told from the other's. A body with half of a surrogate pair is a
    parse error in both eras, as it is over stdio: such text has no UTF-8 form, so that no answer could hold it.

    A request to `path` without the credentials that it needs is passed on unread: it will be refused. One to another path
    is read only if `login` says that there are pages of a login. Those without credentials hold a quarter of `held_bytes`
    at most, those of one address a quarter of that, and take nothing from the clients that have some.
    """

    def __init__(self, app: ASGIApp, *, limits: BodyLimits, path: str = "/mcp", login: bool = False) -> None:
        self._app = app
        self._limits = limits
        self._path = path
        self._login = login
        self._clients = _Budget(
            body_bytes=limits.body_bytes, client_bytes=limits.client_bytes, held_bytes=limits.held_bytes
        )
        strangers = limits.held_bytes // 4
        self._strangers = _Budget(
            body_bytes=min(limits.body_bytes, limits.open_bytes),
            # enough for a whole body, however small the budget is
            client_bytes=min(limits.client_bytes, max(strangers // 4, limits.open_bytes)),
            held_bytes=strangers,
        )
        self._in_flight: set[tuple[str, str]] = set()

    @property
    def held_bytes(self) -> int:
        """Bytes held by requests that are not finished yet."""
        return self._clients.held.total() + self._strangers.held.total()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receive the body and serve the request, or refuse it."""
        caller, budget = self._caller(scope)
        if caller is None:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            body = await self._body(caller, budget, headers, receive)
        except _Refused as refused:
            response = refusal(refused.status, refused.message, retry_after_s=refused.retry_after_s)
            slow = refused.status == HTTPStatus.REQUEST_TIMEOUT
            await response(scope, receive, send if slow else self._lingering(receive, send))
            return
        except ClientDisconnect:
            return
        whole = {"type": "http.request", "body": body, "more_body": False}
        await self._serve(headers.get(SESSION_HEADER), body, scope, receiving_first(whole, receive), send)

    def _caller(self, scope: Scope) -> tuple[str | None, "_Budget"]:
        """Return who sends a body that is to be read, and what it counts against; None if it is passed on unread."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return None, self._clients
        page = scope["path"] != self._path
        if page and not self._login:
            return None, self._clients
        caller = caller_of_request(scope)
        if page and caller is None:
            return address_of_request(scope), self._strangers
        return caller, self._clients

    def _lingering(self, receive: Receive, send: Send) -> Send:
        """Return a `send` that discards the rest of the body before it ends the response.

        A connection that is closed while its client still sends is reset, and the client never sees the response.
        """

        async def send_and_discard(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
                return
            await send({**message, "more_body": True})
            with anyio.move_on_after(self._limits.linger_s):
                while (await receive()).get("more_body", False):
                    pass
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        return send_and_discard

    async def _body(self, caller: str, budget: "_Budget", headers: Headers, receive: Receive) -> bytes:
        limit = budget.body_bytes
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length[:20]) > limit:
            raise _too_large(limit)
        held = bytearray()
        try:
            with anyio.fail_after(self._limits.timeout_s):
                while await self._receive_part(caller, budget, held, receive):
                    pass
        except TimeoutError:
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, "the request took too long to arrive") from None
        finally:
            budget.held[caller] -= len(held)
            if not budget.held[caller]:
                del budget.held[caller]
        return bytes(held)

    async def _receive_part(self, caller: str, budget: "_Budget", held: bytearray, receive: Receive) -> bool:
        """Add one part of the body to `held`. Return whether there is more."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        if len(held) + len(part) > budget.body_bytes:
            raise _too_large(budget.body_bytes)
        if budget.held[caller] + len(part) > budget.client_bytes:
            raise _Refused(
                HTTPStatus.TOO_MANY_REQUESTS, "this client has too many unfinished requests", retry_after_s=1
            )
        if budget.held.total() + len(part) > budget.held_bytes:
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many unfinished requests", retry_after_s=1)
        held += part
        budget.held[caller] += len(part)
        return bool(message.get("more_body", False))

    async def _serve(
        self, session: str | None, body: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if has_half_a_character(body):
            message = "Parse error: half of a surrogate pair is no character"
            await refusal(HTTPStatus.BAD_REQUEST, message, code=PARSE_ERROR)(scope, receive, send)
            return
        request_id = _id_of(body) if session is not None else None
        if session is None or request_id is None:
            await self._app(scope, receive, send)
            return
        key = (session, str(request_id))
        if key in self._in_flight:
            message = "another request with this id is in flight in this session"
            await refusal(HTTPStatus.BAD_REQUEST, message, request_id=request_id)(scope, receive, send)
            return
        self._in_flight.add(key)
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight.discard(key)


def _too_large(limit: int) -> _Refused:
    return _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request has more than {limit} bytes")


def receiving_first(message: Message, receive: Receive) -> Receive:
    """Return a `receive` that gives a message that has been received already, and then what comes after it."""
    pending = [message]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def has_half_a_character(body: bytes) -> bool:
    r"""Return whether a body is JSON but for half of a surrogate pair, which Python's parser allows.

    >>> has_half_a_character(rb'"\ud83d"'), has_half_a_character(rb'"\ud83d\ude00"'), has_half_a_character(b"{")
    (True, False, False)
    """
    if _HALF_PAIR.search(body) is None:
        return False
    try:
        from_json(body)
    except ValueError:
        try:
            json.loads(body)
        except (ValueError, RecursionError):
            return False
        return True
    return False


def _id_of(body: bytes) -> Any:
    """Return the id of a JSON-RPC request, or None for anything else."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(message, dict) and "method" in message and isinstance(message.get("id"), str | int):
        return message["id"]
    return None
