"""File names of an audit log, and how its files are opened safely.

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
from typing import Final

from research_shared.base_errors import ConfigurationError
from research_shared.root import Root

MAX_PROCESSES: Final = 64
"""Processes that can have a log each beside one path."""
_MODE = 0o600
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})


@dataclass(frozen=True, slots=True)
class LogName:
    """The paths of one log."""

    path: Path
    head: Path

    @classmethod
    def of(cls, path: Path, head: Path | None = None, process: int = 1) -> "LogName":
        """Return the paths used by the `process`-th concurrent writer of `path`."""
        if process > 1:
            path = path.with_name(f"{path.stem}-{process}{path.suffix}")
            head = head and head.with_name(f"{head.stem}-{process}{head.suffix}")
        return cls(path, head or path.with_name(path.name + ".head"))

    def segment(self, number: int) -> Path:
        """Return the path of segment `number`."""
        return self.path.with_name(f"{self.path.stem}.{number:06d}{self.path.suffix}")

    def segments(self) -> dict[int, Path]:
        """Return the existing segments, sorted by number."""
        pattern = re.compile(re.escape(self.path.stem) + r"\.(\d{6,})" + re.escape(self.path.suffix))
        found = {
            int(match[1]): path
            for path in self.path.parent.iterdir()
            if (match := pattern.fullmatch(path.name))
        }
        return dict(sorted(found.items()))


def split_name(path: Path) -> tuple[LogName, int | None]:
    """Return the log that a file belongs to, and its segment number (None for the file in use)."""
    match = re.fullmatch(r"(.+)\.(\d{6,})", path.stem)
    if match is None:
        return LogName.of(path), None
    return LogName.of(path.with_name(match[1] + path.suffix)), int(match[2])


def refuse_inside_roots(path: Path, roots: Sequence[Root]) -> None:
    """Check that a file is outside of all research folders, symlinks resolved.

    Raises:
        ConfigurationError: the file is inside a root, or its directory does not exist.
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
    """Open or create a regular file with mode 0600.

    Raises:
        OSError: the file cannot be opened, is a symlink, has a second hard link, or is not regular.
    """
    fd = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, _MODE)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(fd)
        raise OSError(errno.EPERM, "it is not a regular file with a single name")
    if stat.S_IMODE(status.st_mode) != _MODE:
        os.fchmod(fd, _MODE)
    return fd


def lock_file(fd: int) -> bool:
    """Lock the file until it is closed. Return False if another process has locked it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def takes_no_locks(error: OSError) -> bool:
    """Return whether `lock_file` failed because the file system has no locks, as some mounts of NFS, SMB and FUSE."""
    return error.errno in _NO_LOCKS


def is_named(fd: int, path: Path) -> bool:
    """Return whether `path` still refers to the open file."""
    try:
        named = path.lstat()
    except OSError:
        return False
    held = os.fstat(fd)
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def write_all(fd: int, data: bytes) -> None:
    """Write all bytes.

    Raises:
        OSError: a write failed; some bytes may have been written.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_directory(path: Path) -> None:
    """Sync the directory of `path`, so that a new name survives a power failure."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
