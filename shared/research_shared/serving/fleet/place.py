"""The place of one worker among the processes that serve at one address."""

import os
import re
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SESSION_ID = re.compile(r"([1-9][0-9]{0,3})-(.+)")
_SPREADS = sys.platform == "linux"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Worker `number` (from 1) of `workers`. Each listens on a Unix socket of its own in `directory`, for the others.

    `directory` is private to the user of the processes: whoever can connect there is one of them.
    """

    number: int
    workers: int
    directory: Path

    @property
    def peers(self) -> range:
        """The numbers of all workers, this one included."""
        return range(1, self.workers + 1)

    def other_owner(self, session: str) -> int | None:
        """Return the number of the other worker that a session belongs to, by its id; None if it is ours, or nobody's."""
        match = _SESSION_ID.fullmatch(session)
        number = int(match[1]) if match is not None else self.number
        return number if number != self.number and number in self.peers else None

    def path_of(self, number: int) -> Path:
        """Return the path of a worker's socket."""
        return self.directory / f"{number}.sock"

    def connections_of(self, number: int) -> Path:
        """Return the path of the socket at which a worker takes connections from the others."""
        return self.directory / f"{number}.conn"

    def listen(self) -> socket.socket:
        """Return the listening socket of this worker, in place of that of a worker which has ended."""
        path = self.path_of(self.number)
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(os.fspath(path))
        listening.listen()
        return listening


def listening_sockets(
    address: tuple[Any, ...], *, family: int, workers: int, backlog: int
) -> list[socket.socket]:
    """Return a listening socket for each worker, all at one address.

    Linux spreads connections evenly over the sockets of an address (`SO_REUSEPORT`). From one socket that all share, the
    same worker would take nearly all of them as long as it is not busy. Elsewhere there is but that one.
    """
    if not _SPREADS:
        return [_listening(address, family, backlog)] * workers
    # Where the port is 0, one is chosen here. It is bound by number then, so that a socket that pauses keeps it.
    with _bound(address, family) as first:
        return [_listening(first.getsockname(), family, backlog) for _ in range(workers)]


def pause_listening(listening: socket.socket) -> None:
    """Have new connections go to the other sockets of an address, until the next `listen` on this one.

    What waits to be accepted is reset. Only on Linux is there another socket; elsewhere nothing changes.
    """
    # One that does not listen (a replacement ended before it did) would keep the shutdown: what it accepts later could not
    # be read.
    if _SPREADS and listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listening.shutdown(socket.SHUT_RD)


def _listening(address: tuple[Any, ...], family: int, backlog: int) -> socket.socket:
    listening = _bound(address, family)
    listening.listen(backlog)
    return listening


def tcp_socket(family: int) -> socket.socket:
    """Return a socket to listen on with asyncio.

    Its protocol is named: only then does asyncio have answers leave at once, not when the client has acknowledged their head.
    """
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)


def _bound(address: tuple[Any, ...], family: int) -> socket.socket:
    bound = tcp_socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if _SPREADS:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(address)
    return bound
