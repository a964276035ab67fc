"""HTTP connections whose requests must begin and arrive within a time limit."""

import asyncio
from functools import partial
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_TIMEOUT_RESPONSE = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 15\r\n"
    b"connection: close\r\n\r\nRequest Timeout"
)


class LimitedConnection(H11Protocol):
    """A connection that is answered with 408 and closed when the headers of a request take longer than `header_s` seconds.

    The time begins with the connection, and with the first byte after a response. uvicorn closes a connection that
    rests between two requests by itself.
    """

    def __init__(self, *args: Any, header_s: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self.header_s = header_s
        self.header_timer: asyncio.TimerHandle | None = None

    @classmethod
    def limited_to(cls, header_s: float) -> Any:
        """Return the factory that uvicorn takes as a protocol class."""
        return partial(cls, header_s=header_s)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        """Stop waiting when the headers are complete."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting()
        elif before is None or before.response_complete:  # type: ignore[redundant-expr]  # None at first
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        if self.header_timer is None:
            self.header_timer = self.loop.call_later(self.header_s, self._time_out)

    def _stop_waiting(self) -> None:
        if self.header_timer is not None:
            self.header_timer.cancel()
            self.header_timer = None

    def _time_out(self) -> None:
        self.header_timer = None
        if not self.transport.is_closing():
            self.transport.write(_TIMEOUT_RESPONSE)
            self.transport.close()
