"""Directories of indexes: where they may be, who may use them, and a copy of one for each process that only reads.

A directory belongs to the process that holds the lock of its file, and to nobody once that process has ended.
"""

import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from research_shared.access.roots import Root
from research_shared.base_errors import ConfigurationError
from research_shared.root import root_around


def refuse_inside_folders(directory: Path, roots: Sequence[Root]) -> None:
    """Check that a directory of an index lies outside of all research folders, under whatever name.

    Raises:
        ConfigurationError: it lies inside one.
    """
    if (root := root_around(directory, roots)) is not None:
        raise ConfigurationError(
            f"RESEARCH_INDEX_DIR={directory} lies inside the research folder {root.name}: name one outside of it"
        )


def make_private(directory: Path) -> None:
    """Create a directory and its parent, accessible to their owner only.

    Raises:
        OSError: it cannot be created, or others can write to it.
    """
    for place in (directory.parent, directory):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{directory} is not this user's own")


def locked(path: Path) -> int | None:
    """Return a descriptor that holds the lock, or None if another process holds it.

    Raises:
        OSError: the file cannot be opened, or its file system has no locks.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError:
            os.close(fd)
            raise
        os.close(fd)  # another process deleted the file after it was opened: a lock of it keeps nobody out


class IndexCopy:
    """A directory for the index of one process beside that of the writer. Those of processes that have ended are deleted."""

    def __init__(self, parent: Path) -> None:
        self.delete_ended(parent)
        while True:
            self.directory = parent / f"copy-{secrets.token_hex(8)}"
            lock = locked(self.directory.with_suffix(".lock"))
            if lock is not None:  # else a process that deletes what others left was faster
                break
        self._lock = lock
        try:
            self.directory.mkdir(mode=0o700)
        except OSError:
            self.delete()
            raise

    @staticmethod
    def delete_ended(parent: Path) -> None:
        """Delete the directories of processes that have ended."""
        for path in parent.glob("copy-*.lock"):
            if (ended := locked(path)) is not None:
                try:
                    _delete_copy_at(path.with_suffix(""))
                finally:
                    os.close(ended)

    @staticmethod
    def delete_without_lock(parent: Path) -> None:
        """Delete directories whose lock file is gone, and with it all who could use them. Call it with the lock of `parent`."""
        for path in parent.glob("copy-*"):
            if path.is_dir() and not path.with_suffix(".lock").exists():
                shutil.rmtree(path, ignore_errors=True)

    def link(self, index: Path) -> bool:
        """Link the files of an index here; return False if they changed meanwhile, or cannot be linked."""
        try:
            for path in index.iterdir():
                if not path.name.endswith(".lock"):
                    (self.directory / path.name).hardlink_to(path)
        except OSError:
            return False
        return True

    def empty(self) -> None:
        """Delete the files here."""
        shutil.rmtree(self.directory)
        self.directory.mkdir(mode=0o700)

    def delete(self) -> None:
        """Delete the directory."""
        try:
            _delete_copy_at(self.directory)
        finally:
            os.close(self._lock)


def _delete_copy_at(directory: Path) -> None:
    """Delete a directory whose lock is held. If something of it stays, its lock file stays, and the next process tries again."""
    shutil.rmtree(directory, ignore_errors=True)
    if not directory.exists():
        directory.with_suffix(".lock").unlink(missing_ok=True)
