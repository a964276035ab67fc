"""The files of an audit log: their names, and the careful way they are opened.

A log `audit.jsonl` has a head file `audit.jsonl.head` and, once it has been rotated, segments `audit.000001.jsonl`,
`audit.000002.jsonl` and so on. A second process that finds the log in use writes to `audit-2.jsonl`, a third one to
`audit-3.jsonl`: each is a log of its own.
"""

import errno
import fcntl
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from research_shared.base_errors import ConfigurationError
from research_shared.root import Root

MAX_PROCESSES = 64
_MODE = 0o600


@dataclass(frozen=True, slots=True)
class LogName:
    """The names that belong to one log."""

    path: Path
    head: Path

    @classmethod
    def of(cls, path: Path, head: Path | None = None, process: int = 1) -> "LogName":
        """The names for the `process`-th process that writes to `path` at the same time."""
        if process > 1:
            path = path.with_name(f"{path.stem}-{process}{path.suffix}")
            head = head and head.with_name(f"{head.stem}-{process}{head.suffix}")
        return cls(path, head or path.with_name(path.name + ".head"))

    def segment(self, number: int) -> Path:
        """The name that the `number`-th file of the log gets when it is full."""
        return self.path.with_name(f"{self.path.stem}.{number:06d}{self.path.suffix}")

    def segments(self) -> dict[int, Path]:
        """The full files that are there, by number and in order."""
        pattern = re.compile(re.escape(self.path.stem) + r"\.(\d{6,})" + re.escape(self.path.suffix))
        found = {
            int(match[1]): path
            for path in self.path.parent.iterdir()
            if (match := pattern.fullmatch(path.name))
        }
        return dict(sorted(found.items()))


def split_name(path: Path) -> tuple[LogName, int | None]:
    """The log that a file belongs to, and its number when the file is a segment."""
    match = re.fullmatch(r"(.+)\.(\d{6,})", path.stem)
    if match is None:
        return LogName.of(path), None
    return LogName.of(path.with_name(match[1] + path.suffix)), int(match[2])


def refuse_inside_roots(path: Path, roots: Sequence[Root]) -> None:
    """Refuse a file that lies in a research folder, by whatever name the folder is reached.

    Raises:
        ConfigurationError: it does, or its directory does not exist.
    """
    try:
        directory = path.parent.resolve(strict=True)
    except OSError as error:
        raise ConfigurationError(f"the directory of the audit file {path.name!r} does not exist") from error
    taken = set()
    for root in roots:
        with suppress(OSError):  # a root that is missing holds nothing
            status = root.directory.stat()
            taken.add((status.st_dev, status.st_ino))
    for ancestor in (directory, *directory.parents):
        status = ancestor.stat()
        if (status.st_dev, status.st_ino) in taken:
            raise ConfigurationError(f"the audit file {path.name!r} must not lie inside a research folder")


def open_private(path: Path, flags: int) -> int:
    """Open a regular file that only its owner can read, creating it when it is missing.

    Raises:
        OSError: it cannot be opened, or is a link, has a second name, or is no regular file.
    """
    fd = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, _MODE)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(fd)
        raise OSError(errno.EPERM, "it is not a regular file with a single name")
    if stat.S_IMODE(status.st_mode) != _MODE:
        os.fchmod(fd, _MODE)
    return fd


def lock(fd: int) -> bool:
    """Take the file for this process until it is closed; False when another process has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_named(fd: int, path: Path) -> bool:
    """Whether the open file is still the one that its name leads to."""
    try:
        named = path.lstat()
    except OSError:
        return False
    held = os.fstat(fd)
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte or raise `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_directory(path: Path) -> None:
    """Make a new or changed name survive a power failure."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
