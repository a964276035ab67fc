"""The place of one worker among the processes that serve at one address."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path


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

    def path_of(self, number: int) -> Path:
        """Return the path of a worker's socket."""
        return self.directory / f"{number}.sock"

    def listen(self) -> socket.socket:
        """Return the listening socket of this worker, in place of that of a worker which has ended."""
        path = self.path_of(self.number)
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(os.fspath(path))
        listening.listen()
        return listening
