"""Passes HTTP requests on to another worker over its Unix socket, and takes those of the others."""

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
from starlette.types import Message, Receive, Scope, Send

from research_shared.logs import get_logger

log = get_logger("research.fleet")

PEER_HEADER = b"x-research-worker-peer"
"""Says on the Unix socket of a worker where the request came from. It is read nowhere else."""
_OF_ONE_CONNECTION = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", PEER_HEADER}
)
_ADDED_BY_UVICORN = frozenset({b"date", b"server"})
_KEPT_IDLE_S = 0.5
"""Less than the least `keep_alive_s`, so that no request meets a connection which its worker is closing."""


class PeerLost(Exception):
    """A worker does not answer: it has ended, or ended before its answer began."""


class SlowBody(Exception):
    """The body of a request took too long to arrive."""


@dataclass(eq=False)
class _Body(httpx.AsyncByteStream):
    """The body of a request, while it arrives until `deadline` (of the event loop's clock). `received` is set when it has."""

    receive: Receive
    deadline: float
    received: anyio.Event = field(default_factory=anyio.Event)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            with anyio.move_on_after(self.deadline - anyio.current_time()):
                message = await self.receive()
            if anyio.current_time() >= self.deadline:
                raise SlowBody
            if message["type"] == "http.disconnect":
                raise ClientGone
            more = bool(message.get("more_body", False))
            if part := message.get("body", b""):
                yield part
        self.received.set()


class ClientGone(Exception):
    """The client has closed its connection."""


class Peer:
    """Another worker. Its socket is at `path`. The body of a request has `body_s` seconds to arrive."""

    def __init__(self, path: Path, *, body_s: float) -> None:
        self._body_s = body_s
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEPT_IDLE_S
        )
        self._transport = httpx.AsyncHTTPTransport(uds=str(path), limits=limits, trust_env=False)

    async def close(self) -> None:
        """Close the connections to it."""
        await self._transport.aclose()

    async def get(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, bytes]:
        """Return status and body of a page.

        Raises:
            PeerLost: the worker does not answer.
        """
        request = httpx.Request("GET", f"http://worker{path}", headers=_end_to_end(headers))
        try:
            response = await self._transport.handle_async_request(request)
            try:
                return response.status_code, await response.aread()
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise PeerLost(repr(error)) from error

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the worker serve a request. It sees the request as if its client were connected to it.

        A client that goes away takes the request with it.

        Raises:
            PeerLost: nothing has been answered yet, and nothing will be.
            SlowBody: the same.
        """
        body = _Body(receive, anyio.current_time() + self._body_s)
        request = _request_of(scope, body)
        failure: PeerLost | SlowBody | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_gone, body, tasks.cancel_scope)
            try:
                response = await self._transport.handle_async_request(request)
                await _send_on(response, send)
            except ClientGone:
                pass
            except SlowBody as error:
                failure = error
            except httpx.TransportError as error:
                failure = PeerLost(repr(error))
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure


async def _cancel_when_gone(body: _Body, cancel: anyio.CancelScope) -> None:
    await body.received.wait()
    while (await body.receive())["type"] != "http.disconnect":
        pass
    cancel.cancel()


async def _send_on(response: httpx.Response, send: Send) -> None:
    """Send the response of a worker. One that breaks off is left without an end, so that its client sees that."""
    headers = [
        (name.lower(), value)
        for name, value in response.headers.raw
        if name.lower() not in _OF_ONE_CONNECTION | _ADDED_BY_UVICORN
    ]
    closes = response.headers.get("connection", "").lower() == "close"
    if closes:
        headers.append((b"connection", b"close"))
    try:
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        async for part in response.aiter_raw():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except httpx.TransportError as error:
        log.info("a worker ended in the middle of an answer", error=repr(error))
    finally:
        with anyio.CancelScope(shield=True):
            await response.aclose()


def _request_of(scope: Scope, body: _Body) -> httpx.Request:
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    url = httpx.URL("http://worker", raw_path=scope["raw_path"] + query)
    headers = _end_to_end(scope["headers"])
    came_from = {name: scope.get(name) for name in ("client", "server", "scheme")}
    headers.append((PEER_HEADER, json.dumps(came_from).encode()))
    has_body = {name.lower() for name, _ in scope["headers"]} & {b"content-length", b"transfer-encoding"}
    if b"transfer-encoding" in has_body:
        headers.append((b"transfer-encoding", b"chunked"))
    if not any(name.lower() == b"host" for name, _ in headers):
        headers.append((b"host", b""))  # as HTTP/1.0 allows; the owner refuses it like this worker would
    if not has_body:
        body.received.set()
    return httpx.Request(scope["method"], url, headers=headers, stream=body if has_body else _Nothing())


class _Nothing(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts: tuple[bytes, ...] = ()
        for part in parts:
            yield part


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in _OF_ONE_CONNECTION]


def as_it_came(scope: Scope) -> Scope:
    """Return the scope of a request that another worker has passed on, with the addresses that it had there."""
    told: dict[str, Any] = {}
    headers = []
    for name, value in scope["headers"]:
        if name == PEER_HEADER:
            told = json.loads(value)
        else:
            headers.append((name, value))
    addresses = {name: tuple(told[name]) for name in ("client", "server") if told.get(name)}
    return {**scope, **addresses, "scheme": told.get("scheme", scope["scheme"]), "headers": headers}


async def without_receiving() -> Message:
    """Be the `receive` of a request without a body, whose client stays."""
    await anyio.sleep_forever()
    raise AssertionError  # it never returns
