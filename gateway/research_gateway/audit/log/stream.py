"""The interface of a log, and the log that writes to standard error.

Methods may block and are not thread-safe: one thread owns a log.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from research_gateway.audit.log.chain import Chain, Event
from research_gateway.audit.log.files import write_all
from research_gateway.audit.log.format import ChainPosition


class Log(Protocol):
    """A destination of records."""

    at: ChainPosition
    name: str

    def append(self, events: list[Event]) -> None:
        """Write the events as records, all or none.

        Raises:
            OSError: no event was written.
        """

    def sync(self) -> None:
        """Sync written records to disk.

        Raises:
            OSError: the sync failed.
        """

    def close(self) -> None:
        """Write the `closed` record and close the log.

        Raises:
            OSError: the record was not written.
        """


class StreamLog:
    """A log on standard error. Each process has its own chain, without head file and rotation."""

    def __init__(self, fd: int, chain: Chain, origin: Mapping[str, Any]) -> None:
        self.at = ChainPosition.fresh()
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
        """Do nothing: a stream cannot be synced."""

    def close(self) -> None:
        """Write the `closed` record. The stream stays open."""
        self._write([Event.of("closed", self._chain.clock())], final=True)
