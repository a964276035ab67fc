"""Moves a connection to the worker that has the session it asks for, and takes those that the others move here."""

import asyncio
import re
import socket
import sys
from array import array
from collections.abc import Callable

from research_shared.logs import get_logger
from research_shared.serving.fleet.place import Place
from research_shared.serving.limits.bodies import SESSION_HEADER

log = get_logger("research.fleet")

MOST_BYTES = 65_536
"""That were read of a request which moves with its connection. If more were read at once, it is passed on."""
_AT_ONCE = 16
"""Connections that are taken before others of the event loop have their turn."""
_ROOM_FOR_ONE = socket.CMSG_SPACE(array("i").itemsize)
REST_S = 1.0
"""Seconds in which no connection is taken, after one was lost because too many files were open."""
_HEAD_ENDS = b"\r\n\r\n"
_MOVES = sys.platform == "linux"
"""Elsewhere a message between processes holds a few kilobytes."""


class MovingConnections:
    """The connections that one worker of several moves to the others, and those that it takes from them.

    Which worker a client reaches is chance, again with each connection that it opens, but its session lives in one of them.
    So the first request on a connection decides: if it asks for another worker's session, the socket and what was read of
    it go to that worker, which serves the connection from then on as if it had accepted it. What cannot move is passed on
    (`FleetDoor`), as are later requests of a connection for several sessions, such as a proxy's.

    `prefix` is what the ids of all sessions begin with, before the number of the worker.
    """

    def __init__(self, place: Place, *, prefix: str = "") -> None:
        self._place = place
        names = SESSION_HEADER.encode(), re.escape(prefix.encode())
        self._asked = re.compile(rb"\r\n%b:[ \t]*%b([^\r\n]+)" % names, re.IGNORECASE)
        self._sending = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sending.setblocking(False)
        self._receiving: socket.socket | None = None
        self._closed = False

    def move(self, transport: asyncio.Transport, received: bytes) -> bool:
        """Move a connection, of which nothing but `received` was read, if it asks for the session of another worker.

        Returns whether it has moved. This end of it is closed then, which its client does not notice.
        """
        number = self._owner(received)
        if number is None:
            return False
        connection: socket.socket = transport.get_extra_info("socket")
        # Not `socket.send_fds`: it leaves the address out.
        files = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [connection.fileno()]))
        try:
            self._sending.sendmsg([received], [files], 0, str(self._place.connections_of(number)))
        except OSError:  # the worker has ended, only starts, or is behind: the request is passed on
            return False
        transport.abort()
        return True

    def _owner(self, received: bytes) -> int | None:
        """Return the number of the other worker whose session a request asks for; None if there is none, or it is too long."""
        end = received.find(_HEAD_ENDS)
        if end < 0 or len(received) > MOST_BYTES:
            return None
        asked = self._asked.search(received, 0, end)
        return None if asked is None else self._place.other_owner(asked[1].decode("latin-1").strip())

    def start(self, serve: Callable[[socket.socket, bytes], object]) -> None:
        """From now on have `serve` take each connection that moves here, with what was read of it."""
        if not _MOVES or self._closed:
            return
        path = self._place.connections_of(self._place.number)
        path.unlink(missing_ok=True)
        self._receiving = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._receiving.bind(str(path))
        self._receiving.setblocking(False)
        asyncio.get_running_loop().add_reader(self._receiving, self._take, self._receiving, serve)

    def close(self) -> None:
        """Move nothing more, and take nothing more."""
        self._closed = True
        self._sending.close()
        self._stop_receiving()

    def _stop_receiving(self) -> None:
        if self._receiving is not None:
            asyncio.get_running_loop().remove_reader(self._receiving)
            self._receiving.close()
            self._receiving = None

    def _take(self, receiving: socket.socket, serve: Callable[[socket.socket, bytes], object]) -> None:
        for _ in range(_AT_ONCE):
            try:
                # Not `socket.recv_fds`: it leaves the flags out.
                received, sent, _flags, _address = receiving.recvmsg(
                    MOST_BYTES, _ROOM_FOR_ONE, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            if not sent:
                log.warning("a connection that another worker moved here is lost: too many files are open")
                # Until there is room, the others pass their requests on, which wait to be accepted.
                self._stop_receiving()
                asyncio.get_running_loop().call_later(REST_S, self.start, serve)
                return
            for _level, _kind, data in sent:
                (number,) = array("i", data)
                serve(socket.socket(fileno=number), received)
