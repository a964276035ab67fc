"""The head file beside a log: how far the log has come, written in place for every batch of records."""

import errno
import os
from pathlib import Path

from research_gateway.audit.chain import SLOT_BYTES, Head, Position, decode_head
from research_gateway.audit.files import is_named, lock, open_private


class HeadFile:
    """An open head file that belongs to this process. `last` is the head that it held when it was opened."""

    def __init__(self, path: Path, fd: int, key: bytes | None) -> None:
        self.fd = fd
        self._path = path
        self._key = key
        self.last = decode_head(os.pread(fd, 2 * SLOT_BYTES, 0))
        self._count = self.last.count if self.last is not None else 0

    @classmethod
    def open(cls, path: Path, key: bytes | None) -> "HeadFile | None":
        """Open the file, creating it when it is missing; None when another process has it.

        Raises:
            OSError: it cannot be opened, or is no plain file.
        """
        fd = open_private(path, os.O_RDWR)
        if not lock(fd):
            os.close(fd)
            return None
        return cls(path, fd, key)

    @property
    def is_closed(self) -> bool:
        """Whether the file has been given back."""
        return self.fd < 0

    def is_in_place(self) -> bool:
        """Whether the file is still where it was opened."""
        return is_named(self.fd, self._path)

    def write(self, at: Position, segment: int, *, in_use: bool = True) -> None:
        """Say that the log has come to `at`, in the file with the number `segment`.

        Raises:
            OSError: the older head still stands.
        """
        count = self._count + 1
        head = Head.of(at, segment, count, in_use=in_use, key=self._key)
        if os.pwrite(self.fd, head.encode(), count % 2 * SLOT_BYTES) != SLOT_BYTES:
            raise OSError(errno.ENOSPC, "the head file cannot be written")
        self._count = count

    def close(self) -> None:
        """Give the file back."""
        if not self.is_closed:
            os.close(self.fd)
            self.fd = -1
