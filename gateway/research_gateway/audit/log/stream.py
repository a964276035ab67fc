"""A log as the writer thread sees it, and the one that goes to a stream.

Nothing here is safe to share between threads and everything may block; one thread owns a log.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from research_gateway.audit.log.chain import Chain, Event
from research_gateway.audit.log.files import write_all
from research_gateway.audit.log.format import Position


class Log(Protocol):
    """Where records go."""

    at: Position
    name: str

    def append(self, events: list[Event]) -> None:
        """Write the events as records, all or none; raises `OSError` when they are not written."""

    def sync(self) -> None:
        """Make what was written survive a power failure; raises `OSError`."""

    def close(self) -> None:
        """Write the last record and let the log go; raises `OSError`."""


class StreamLog:
    """A log on standard error: a chain for each process, no head file and no rotation."""

    def __init__(self, fd: int, chain: Chain, origin: Mapping[str, Any]) -> None:
        self.at = Position.fresh()
        self.name = "standard error"
        self._fd = fd
        self._chain = chain
        self._first = chain.genesis(self.at, **origin, segment=1, supersedes=None)

    def append(self, events: list[Event]) -> None:
        """Write the events as records."""
        self._write(events, final=False)

    def _write(self, events: list[Event], *, final: bool) -> None:
        first = [self._first] if self.at.sequence < 0 else []
        data, at = self._chain.encode(self.at, [*first, *events], final=final)
        write_all(self._fd, data)
        self.at = at

    def sync(self) -> None:
        """A stream has nothing to sync."""

    def close(self) -> None:
        """End the chain; the stream stays open because it is the process's own."""
        self._write([Event.of("closed", self._chain.clock())], final=True)
