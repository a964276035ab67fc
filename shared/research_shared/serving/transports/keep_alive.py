"""Keeps the HTTP connection of a request alive until its answer is ready."""

import asyncio

from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from research_shared.logs import get_logger

log = get_logger("research.serving")

EVERY_S = 10.0
"""Longest silence of a response. Below the 15 s after which the MCP SDK sends comments of its own."""

COMMENT = b": still working\r\n\r\n"
_STREAM = b"text/event-stream"
_STREAM_HEADERS = [
    (b"content-type", _STREAM),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class KeepAlive:
    """ASGI middleware that sends something at least every `every_s` seconds while a response is pending.

    An event stream gets a comment, which clients skip. A pending request of 2026-07-28 or later is answered with an event
    stream: the JSON answer follows as an event, as the protocol allows. Other responses pass unchanged: before
    2026-07-28 answers are event streams from the start, and may open a session. It works below the protocol, so it also
    serves clients that ask for no progress.
    """

    def __init__(self, app: ASGIApp, *, every_s: float = EVERY_S) -> None:
        self._app = app
        self._every_s = every_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "POST"}:
            await self._app(scope, receive, send)
            return
        response = _Response(scope, send, self._every_s)
        try:
            await self._app(scope, response.receiving(receive), response.send)
        finally:
            response.stop()


class _Response:
    """State of one response."""

    def __init__(self, scope: Scope, send: Send, every_s: float) -> None:
        self._send = send
        self._every_s = every_s
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        headers = Headers(scope=scope)
        self._may_begin = (
            scope["method"] == "POST"
            and headers.get("mcp-protocol-version") in MODERN_PROTOCOL_VERSIONS
            and "text/event-stream" in headers.get("accept", "")
        )
        self._read = False
        """Whether the whole request has been received. Before that, the client is the one to send."""
        self._started = self._streams = self._ended = False
        self._held: list[bytes] | None = None
        """Chunks of a JSON answer that is sent as an event once complete; None if chunks are passed on."""
        self._sent_at = self._loop.time()
        self._sending: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(every_s, self._look)

    def receiving(self, receive: Receive) -> Receive:
        """Return `receive`, watched for the end of the request."""

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                self._ended = True
            elif not message.get("more_body", False) and not self._read:
                self._read = True
                self._sent_at = self._loop.time()
            return message

        return watched

    def stop(self) -> None:
        """Send nothing more."""
        self._ended = True
        self._timer.cancel()
        if self._sending is not None:
            self._sending.cancel()

    def _look(self) -> None:
        if self._ended or (self._started and not self._streams):
            return
        left = self._sent_at + self._every_s - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        elif not self._read:
            self._timer = self._loop.call_later(self._every_s, self._look)
        elif self._streams or self._may_begin:
            self._sending = self._loop.create_task(self._keep())

    async def _keep(self) -> None:
        try:
            await self._comment()
        except OSError as error:
            log.debug("the client is gone; its connection is not kept alive", error=type(error).__name__)

    async def _comment(self) -> None:
        async with self._lock:
            if self._ended or (self._started and not self._streams):
                return
            if not self._started:
                self._started = self._streams = True
                self._held = []
                await self._send({"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS})
            await self._send({"type": "http.response.body", "body": COMMENT, "more_body": True})
            self._sent_at = self._loop.time()
        self._timer = self._loop.call_later(self._every_s, self._look)

    async def send(self, message: Message) -> None:
        """Pass on a message of the application, as an event if a stream has been opened meanwhile."""
        async with self._lock:
            self._sent_at = self._loop.time()
            if message["type"] == "http.response.start":
                await self._begin(message)
            elif message["type"] == "http.response.body":
                await self._go_on(message)
            else:
                await self._send(message)

    async def _begin(self, message: Message) -> None:
        streams = any(
            name.lower() == b"content-type" and value.startswith(_STREAM)
            for name, value in message.get("headers", ())
        )
        if self._started:
            if streams:
                self._held = None
            return
        self._started, self._streams = True, streams
        await self._send(message)

    async def _go_on(self, message: Message) -> None:
        last = not message.get("more_body", False)
        self._ended = self._ended or last
        if self._held is None:
            await self._send(message)
            return
        self._held.append(message.get("body", b""))
        if last:
            await self._send({**message, "body": as_event(b"".join(self._held))})


def as_event(answer: bytes) -> bytes:
    r"""Return a JSON answer as a server-sent event. An empty answer stays empty.

    >>> as_event(b'{"jsonrpc": "2.0"}')
    b'event: message\r\ndata: {"jsonrpc": "2.0"}\r\n\r\n'
    """
    lines = answer.splitlines()
    return (
        b"event: message\r\n" + b"".join(b"data: %b\r\n" % line for line in lines) + b"\r\n" if lines else b""
    )
