"""HTTP connections whose requests must begin and arrive within a time limit."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeAlias

from uvicorn.protocols.http.h11_impl import H11Protocol

from research_shared.logs import get_logger
from research_shared.serving.limits.refusals import network_of

log = get_logger("research.serving")

_TIMEOUT_RESPONSE = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 15\r\n"
    b"connection: close\r\n\r\nRequest Timeout"
)
_SHARE_RESPONSE = (
    b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 17\r\n"
    b"retry-after: 5\r\nconnection: close\r\n\r\nToo Many Requests"
)
_LOG_EVERY_S: Final = 60.0
Mover: TypeAlias = Callable[[asyncio.Transport, bytes], bool]


class ConnectionShares:
    """How many connections each peer address has open: at most `most`, but for the addresses and networks of `proxies`.

    A peer is who connects, which is the proxy for everybody behind one. The 64 bits of an IPv6 network are one address.
    `clock` gives seconds.

    >>> shares = ConnectionShares(most=1)
    >>> shares.take("192.0.2.1"), shares.take("192.0.2.1"), shares.take("192.0.2.2")
    (True, False, True)
    """

    def __init__(
        self, most: int, *, proxies: Collection[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._proxies = [ip_network(proxy) for proxy in proxies]
        self._clock = clock
        self._open: Counter[str] = Counter()
        self._logged_s = -math.inf

    def take(self, address: str) -> bool:
        """Count a connection of an address. Return False, and log it once in a while, if it has its share already."""
        key = network_of(f"address:{address}")
        if self._open[key] < self._most or self._is_proxy(address):
            self._open[key] += 1
            return True
        if self._clock() - self._logged_s >= _LOG_EVERY_S:
            self._logged_s = self._clock()
            log.warning("connections beyond the share of one address are refused", address=address)
        return False

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in network for network in self._proxies)

    def give_back(self, address: str) -> None:
        """Count the end of a connection that was taken."""
        key = network_of(f"address:{address}")
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]


class LimitedConnection(H11Protocol):
    """A connection that is answered with 408 and closed when the headers of a request take longer than `header_s` seconds.

    The time begins with the connection, and with the first byte after a response. uvicorn closes a connection that
    rests between two requests by itself. A connection beyond the share of its address is answered with 429 and closed.

    `move` is given the first bytes that are read. If it returns True, another process serves the connection. `begun_with`
    are the first bytes of a connection that another process has begun to read; it stays here.
    """

    def __init__(
        self,
        *args: Any,
        header_s: float,
        shares: ConnectionShares,
        move: Mover | None = None,
        begun_with: bytes = b"",
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.header_s = header_s
        self.shares = shares
        self.begun_with = begun_with
        self.move = None if begun_with else move
        self.shared_address: str | None = None
        self.header_timer: asyncio.TimerHandle | None = None

    @classmethod
    def limited_to(cls, header_s: float, *, shares: ConnectionShares, move: Mover | None = None) -> Any:
        """Return the factory that uvicorn takes as a protocol class."""
        return partial(cls, header_s=header_s, shares=shares, move=move)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request, or refuse one connection too many of its address."""
        super().connection_made(transport)
        if isinstance(path := transport.get_extra_info("sockname"), str):
            self.move = None  # another worker asks, about its own figures, too
            if self.server is None:
                self.server = (path, None)  # uvicorn before 0.36 does not tell the path of a Unix socket
        address = None if self.client is None else self.client[0]
        if address is not None and not self.shares.take(address):
            transport.write(_SHARE_RESPONSE)
            transport.close()
            return
        self.shared_address = address
        self._await_headers()
        if self.begun_with:
            self.data_received(self.begun_with)

    def data_received(self, data: bytes) -> None:
        """Stop waiting when the headers are complete."""
        if self.move is not None:
            move, self.move = self.move, None
            if move(self.transport, data):
                return
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting()
        elif before is None or before.response_complete:  # type: ignore[redundant-expr]  # None at first
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        if self.timeout_keep_alive_task is not None:
            # uvicorn leaves it when the client resets the connection, and it holds all of the connection until it ends.
            self.timeout_keep_alive_task.cancel()
        if self.shared_address is not None:
            self.shares.give_back(self.shared_address)
            self.shared_address = None
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
