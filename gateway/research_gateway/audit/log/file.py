"""The log in a file: appended to, never rewritten, continued by the next process and rotated when it is full."""

import errno
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from research_gateway.audit.log.chain import MAX_LISTED_CALLS, Chain, Event, seconds_of
from research_gateway.audit.log.files import (
    MAX_PROCESSES,
    LogName,
    is_named,
    lock,
    open_private,
    refuse_inside_roots,
    sync_directory,
    write_all,
)
from research_gateway.audit.log.format import Position
from research_gateway.audit.log.head import Head, HeadFile
from research_gateway.audit.log.recovery import Contents, look_into, objection, open_calls
from research_gateway.audit.options import AuditOptions
from research_shared.errors import ConfigurationError

PLACE_CHECK_S = 0.02
"""How long it may go unnoticed that a log was taken away or changed, in seconds."""
_GREETING = 100
_sync_data = getattr(os, "fdatasync", os.fsync)


class FileLog:
    """A log in a file of its own, see `open_log`."""

    def __init__(
        self, name: LogName, options: AuditOptions, chain: Chain, origin: Mapping[str, Any], head: HeadFile
    ) -> None:
        self.at = Position.fresh()
        self.name = name.path.name
        self._names = name
        self._options = options
        self._chain = chain
        self._origin = dict(origin)
        self._head = head
        self._fd: int | None = None
        self._size = 0
        self._dirty = False
        self._place_known_until = 0.0
        self._segment = 0
        self._since = chain.clock()
        self._calls: dict[str, None] = {}

    # Opening

    def resume(self) -> bool:
        """Continue the log that is there or begin one; False when another process holds it."""
        path = self._names.path
        head = self._head.last
        try:
            path.lstat()
        except FileNotFoundError:
            self._begin_file(head, torn=0)
            return True
        fd = open_private(path, os.O_RDWR | os.O_APPEND)
        if not lock(fd):
            os.close(fd)
            return False
        found = look_into(fd)
        if found.end == 0:
            os.close(fd)
            path.unlink()
            self._begin_file(head, torn=found.torn)
        elif reason := objection(found, head, self._options.key):
            os.close(fd)
            self._begin_chain(head, reason, aside=True)
        else:
            self._adopt(fd, found, head)
        return True

    def _adopt(self, fd: int, found: Contents, head: Head | None) -> None:
        first, last = found.first, found.last
        if first is None or last is None or head is None:
            raise AssertionError("only a log without objections is adopted")
        if found.torn:
            os.ftruncate(fd, found.end)
        self._fd, self._size, self.at = fd, found.end, last.position
        self._segment = first.fields["segment"]
        self._since = seconds_of(first.fields["time"])
        if head.in_use:
            with os.fdopen(os.dup(fd), "rb") as file:
                file.seek(0)
                self._calls = open_calls(file)
        self._greet(torn=found.torn, opened=True)

    def _begin_file(self, head: Head | None, *, torn: int) -> None:
        """Begin when there is no file: the first start, a crash within a rotation, or somebody took it away."""
        segments = self._names.segments()
        if head is None:
            if segments:
                self._begin_chain(None, "head_missing")
            else:
                self._begin_chain(None, None, torn=torn)
        elif head.position.sequence < 0:
            self._begin_chain(None, None, torn=torn)
        elif (number := self._rotated(head)) is not None:
            self._segment = number
            self._continue()
            self._greet(torn=torn, opened=True)
        else:
            self._begin_chain(head, "missing")

    def _rotated(self, head: Head) -> int | None:
        """The number of the newest segment when it goes as far as the head, so that nothing is missing."""
        segments = self._names.segments()
        number = max(segments, default=0)
        if number != head.segment:
            return None
        fd = open_private(segments[number], os.O_RDONLY)
        with os.fdopen(fd, "rb") as file:
            found = look_into(fd)
            if objection(found, head, self._options.key) or found.last is None:
                return None
            self.at = found.last.position
            self._calls = open_calls(file)
        return number

    def _begin_chain(
        self, head: Head | None, reason: str | None, *, aside: bool = False, torn: int = 0
    ) -> None:
        segments = self._names.segments()
        number = max([*segments, 0 if aside or head is None else head.segment, 0])
        if aside:
            number += 1
            self._names.path.rename(self._names.segment(number))
        self._segment = number + 1
        self.at = Position.fresh()
        self._head.write(self.at, self._segment)
        supersedes = None
        if reason is not None:
            at = head.position if head else None
            supersedes = {
                "reason": reason,
                "chain": at.chain if at else None,
                "seq": at.sequence if at else None,
                "hash": at.digest if at else None,
            }
        genesis = self._chain.genesis(self.at, **self._origin, segment=self._segment, supersedes=supersedes)
        self._create([genesis])
        self._greet(torn=torn, opened=False)

    def _continue(self) -> None:
        """Begin the next file of the chain."""
        self._segment += 1
        listed = list(self._calls)[:MAX_LISTED_CALLS]
        try:
            self._create(
                [Event.of("continued", self._chain.clock(), segment=self._segment, open_calls=listed)]
            )
        except OSError:
            self._segment -= 1
            raise

    def _create(self, events: list[Event]) -> None:
        path = self._names.path
        fd = open_private(path, os.O_RDWR | os.O_APPEND | os.O_EXCL)
        try:
            lock(fd)
            sync_directory(path)
            self._fd, self._size, self._since = fd, 0, self._chain.clock()
            self._commit(events)
        except OSError:
            os.close(fd)
            self._fd = None
            with suppress(OSError):
                path.unlink()
            raise

    def _greet(self, *, torn: int, opened: bool) -> None:
        """Say that this process writes from here on, what was repaired, and that the last one's calls are over."""
        now = self._chain.clock()
        events = []
        if torn:
            events.append(Event.of("repaired", now, torn_bytes=torn))
        if opened:
            events.append(Event.of("opened", now, **self._origin, segment=self._segment))
        for call_id in self._calls:
            body = {"call_id": call_id, "outcome": "error", "reason": "process_ended", "recovered": True}
            events.append(Event.of("end", now, **body))
        for first in range(0, len(events), _GREETING):
            self._commit(events[first : first + _GREETING])
        self._calls.clear()

    # Writing

    def append(self, events: list[Event]) -> None:
        """Write the events as records, all of them or none.

        Raises:
            OSError: they are not written; the log is as it was before.
        """
        if self._head.is_closed:
            raise OSError(errno.EBADF, "the audit log is closed")
        if self._fd is None:
            self._check_head()
            self._continue()
        self._check_place(self._file)
        if self._size >= self._options.max_bytes or (
            self._chain.clock() - self._since >= self._options.max_age_s
        ):
            self._rotate()
        self._commit(events)
        for event in events:
            if event.call_id is None:
                continue
            if event.phase == "start":
                self._calls[event.call_id] = None
            else:
                self._calls.pop(event.call_id, None)

    @property
    def _file(self) -> int:
        if self._fd is None:
            raise OSError(errno.EBADF, "the audit log is closed")
        return self._fd

    def _check_place(self, fd: int) -> None:
        if self._dirty:
            os.ftruncate(fd, self._size)
            self._dirty = False
        # each of these calls gives the interpreter away and may wait long for it in a busy process
        now = time.monotonic()
        if now < self._place_known_until:
            return
        self._place_known_until = 0.0
        if os.fstat(fd).st_size != self._size:
            raise OSError(errno.EIO, "the audit log has been changed by another program")
        if not is_named(fd, self._names.path):
            raise OSError(errno.ENOENT, "the audit log is no longer where it was")
        self._check_head()
        self._place_known_until = now + PLACE_CHECK_S

    def _check_head(self) -> None:
        """Make sure that the directory is still the one in which the log was opened."""
        if not self._head.is_in_place():
            raise OSError(errno.ENOENT, "the head file of the audit log is no longer where it was")

    def _commit(self, events: list[Event], *, final: bool = False, in_use: bool = True) -> None:
        fd = self._file
        data, at = self._chain.encode(self.at, events, final=final)
        try:
            write_all(fd, data)
            if self._options.fsync == "always":
                _sync_data(fd)
            self._head.write(at, self._segment, in_use=in_use)
        except OSError:
            self._dirty = True
            with suppress(OSError):
                os.ftruncate(fd, self._size)
                self._dirty = False
            raise
        self.at = at
        self._size += len(data)

    def _rotate(self) -> None:
        fd = self._file
        if self._options.key is not None:
            self._commit([], final=True)
        self.sync()
        # What is renamed must be what was written, and not take the place of anything.
        self._place_known_until = 0.0
        self._check_place(fd)
        target = self._names.segment(self._segment)
        if os.path.lexists(target):
            raise OSError(
                errno.EEXIST, f"there is a file {target.name!r} in the place of a part of the audit log"
            )
        self._names.path.rename(target)
        os.close(fd)
        self._fd = None
        self._continue()

    def sync(self) -> None:
        """Make what was written survive a power failure.

        Raises:
            OSError: the disk did not take it.
        """
        if self._fd is not None:
            _sync_data(self._fd)
            _sync_data(self._head.fd)

    def close(self) -> None:
        """Write the last record and give the files back.

        Raises:
            OSError: the last record is not written; the files are given back all the same.
        """
        try:
            if self._fd is not None:
                self._check_place(self._fd)
                self._commit([Event.of("closed", self._chain.clock())], final=True, in_use=False)
                if self._options.fsync != "never":
                    self.sync()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Give the files back without another word."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None
        self._head.close()


def open_log(options: AuditOptions, chain: Chain, origin: Mapping[str, Any]) -> FileLog:
    """Open the log at the options' path, or the next free one beside it when another process writes there.

    Raises:
        ConfigurationError: the place is inside a root, does not exist or cannot be written.
    """
    if options.path is None:
        raise ConfigurationError("a log in a file needs a path")
    for process in range(1, MAX_PROCESSES + 1):
        names = LogName.of(options.path, options.head, process)
        refuse_inside_roots(names.path, options.roots)
        refuse_inside_roots(names.head, options.roots)
        try:
            head = HeadFile.open(names.head, options.key)
        except OSError as error:
            raise _unusable(names.head, error) from error
        if head is None:
            continue
        log = FileLog(names, options, chain, origin, head)
        try:
            if log.resume():
                return log
        except OSError as error:
            log.abandon()
            raise _unusable(names.path, error) from error
        log.abandon()
    raise ConfigurationError(f"more than {MAX_PROCESSES} processes write to {options.path.name!r}")


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"the audit file {path.name!r} cannot be used: {error.strerror or error}")
