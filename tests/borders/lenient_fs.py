"""A read-only file system that looks names up without case and Unicode form and keeps the stored spelling, as APFS does.

Usage: python tests/borders/lenient_fs.py DIRECTORY MOUNT_POINT [--inodes]

It needs `/dev/fuse`, the library of Debian's package `fuse3` and the Python package `mfusepy`. It runs until MOUNT_POINT is
unmounted. With --inodes a file has one number in all spellings, as on a disk; without, each spelling has a number of its own,
as on some network file systems.
"""

import argparse
import errno
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mfusepy import FUSE, FuseOSError, Operations

SHOWN = ("st_atime", "st_ctime", "st_gid", "st_ino", "st_mode", "st_mtime", "st_nlink", "st_size", "st_uid")


def looked_up(name: str) -> str:
    """Return what a name is compared by."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


class LenientNames(Operations):  # type: ignore[misc]
    """Serves the files of a directory, whatever the spelling of their names."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _real(self, path: str) -> Path:
        found = self._directory
        for part in filter(None, path.split("/")):
            try:
                found = next(each for each in found.iterdir() if looked_up(each.name) == looked_up(part))
            except StopIteration:
                raise FuseOSError(errno.ENOENT) from None
        return found

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """Return the status of a file."""
        del fh
        status = self._real(path).lstat()
        return {name: getattr(status, name) for name in SHOWN}

    def readdir(self, path: str, fh: int) -> Iterator[tuple[str, dict[str, Any], int]]:
        """List a directory, with the status of each entry: an entry without a number is not listed."""
        base = path.rstrip("/")
        for name in (".", ".."):
            yield name, self.getattr(path, fh), 0
        for entry in self._real(path).iterdir():
            yield entry.name, self.getattr(f"{base}/{entry.name}", fh), 0

    def readlink(self, path: str) -> str:
        """Return the target of a link."""
        return str(self._real(path).readlink())

    def open(self, path: str, flags: int) -> int:
        """Open a file for reading."""
        return os.open(self._real(path), flags & ~os.O_ACCMODE | os.O_RDONLY)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Read from a file."""
        del path
        return os.pread(fh, size, offset)

    def release(self, path: str, fh: int) -> int:
        """Close a file."""
        del path
        os.close(fh)
        return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("mount_point")
    parser.add_argument("--inodes", action="store_true")
    given = parser.parse_args()
    FUSE(
        LenientNames(given.directory.resolve()),
        given.mount_point,
        foreground=True,
        ro=True,
        nothreads=True,
        use_ino=given.inodes,
    )
