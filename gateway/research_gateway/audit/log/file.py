"""Append-only log file. The next process resumes it; a full file is rotated."""

import errno
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from research_gateway.audit.log.chain import MAX_LISTED_CALLS, Chain, Event, seconds_of
from research_gateway.audit.log.files import (
    LogName,
    is_named,
    lock_file,
    open_private,
    refuse_inside_roots,
    sync_directory,
    write_all,
)
from research_gateway.audit.log.format import ChainPosition
from research_gateway.audit.log.head import Head, HeadFile
from research_gateway.audit.log.recovery import LogContents, inspect_tail, open_calls, rejection_reason
from research_gateway.audit.options import AuditOptions
from research_shared.errors import ConfigurationError

STARTUP_BATCH = 100
"""Startup records written at once. The head file must not be more than `MAX_BATCH_RECORDS` behind."""
_sync_data = getattr(os, "fdatasync", os.fsync)


class FileLog:
    """A log file. Create it with `open_log`."""

    def __init__(
        self, name: LogName, options: AuditOptions, chain: Chain, origin: Mapping[str, Any], head: HeadFile
    ) -> None:
        self.at = ChainPosition.fresh()
        self.name = name.path.name
        self._names = name
        self._options = options
        self._chain = chain
        self._origin = dict(origin)
        self._head = head
        self._fd: int | None = None
        self._size = 0
        self._dirty = False
        self._file_checked_until = 0.0
        self._segment = 0
        self._since = chain.clock()
        self._calls: dict[str, None] = {}

    # Opening

    def open(self) -> bool:
        """Resume the existing log or create one. Return False if another process has locked it."""
        path = self._names.path
        head = self._head.last
        try:
            path.lstat()
        except FileNotFoundError:
            self._begin_file(head, partial_line_bytes=0)
            return True
        fd = open_private(path, os.O_RDWR | os.O_APPEND)
        if not lock_file(fd):
            os.close(fd)
            return False
        found = inspect_tail(fd)
        if found.end == 0:
            os.close(fd)
            path.unlink()
            self._begin_file(head, partial_line_bytes=found.partial_line_bytes)
        elif reason := rejection_reason(found=found, head=head, key=self._options.key):
            os.close(fd)
            self._begin_chain(head, reason, after=self._set_aside(found, head))
        else:
            self._resume(fd, found=found, head=head)
        return True

    def _resume(self, fd: int, *, found: LogContents, head: Head | None) -> None:
        first, last = found.first, found.last
        if first is None or last is None or head is None:
            raise AssertionError("only a log without a rejection reason is resumed")
        if found.partial_line_bytes:
            os.ftruncate(fd, found.end)
        self._fd, self._size, self.at = fd, found.end, last.position
        self._segment = first.fields["segment"]
        self._since = seconds_of(first.fields["time"])
        if head.in_use:
            with os.fdopen(os.dup(fd), "rb") as file:
                file.seek(0)
                self._calls = open_calls(file)
        self._write_startup_records(partial_line_bytes=found.partial_line_bytes, opened=True)

    def _begin_file(self, head: Head | None, *, partial_line_bytes: int) -> None:
        """Create the file. It is missing at the first start, after a crash during a rotation, or when it was removed."""
        newest = max(self._names.segments(), default=0)
        if head is None:
            reason = "head_missing" if newest else None
            self._begin_chain(None, reason, after=newest, partial_line_bytes=partial_line_bytes)
        elif head.position.sequence < 0:
            # A start failed before the first record of its chain. If that was to supersede another, the reason is lost.
            after = max(newest, head.segment - 1)
            reason = "not_recorded" if after else None
            self._begin_chain(None, reason, after=after, partial_line_bytes=partial_line_bytes)
        elif (number := self._rotated(head)) is not None:
            self._segment = number
            self._continue()
            self._write_startup_records(partial_line_bytes=partial_line_bytes, opened=True)
        else:
            after = max(newest, head.segment)
            self._begin_chain(head, "missing", after=after, partial_line_bytes=partial_line_bytes)

    def _set_aside(self, found: LogContents, head: Head | None) -> int:
        """Keep a file that must not be resumed as a segment. Return its number.

        That is the number which the file and the head name, also if the segments before it were archived and removed;
        or the next free one, if that is higher.
        """
        own = found.first.fields.get("segment") if found.first is not None else None
        newest = max(self._names.segments(), default=0)
        number = max(newest + 1, head.segment if head else 0, own if isinstance(own, int) else 0)
        self._names.path.rename(self._names.segment(number))
        return number

    def _rotated(self, head: Head) -> int | None:
        """Return the number of the newest segment if it ends at the head, so that no record is missing; else None."""
        segments = self._names.segments()
        number = max(segments, default=0)
        if number != head.segment:
            return None
        fd = open_private(segments[number], os.O_RDONLY)
        with os.fdopen(fd, "rb") as file:
            found = inspect_tail(fd)
            if rejection_reason(found=found, head=head, key=self._options.key) or found.last is None:
                return None
            self.at = found.last.position
            self._calls = open_calls(file)
        return number

    def _begin_chain(
        self, head: Head | None, reason: str | None, *, after: int, partial_line_bytes: int = 0
    ) -> None:
        """Begin a chain in the file that follows segment `after`. With a `reason`, it supersedes the chain of `head`."""
        self._segment = after + 1
        self.at = ChainPosition.fresh()
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
        self._write_startup_records(partial_line_bytes=partial_line_bytes, opened=False)

    def _continue(self) -> None:
        """Create the next file of the chain."""
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
            lock_file(fd)
            sync_directory(path)
            self._fd, self._size, self._since = fd, 0, self._chain.clock()
            self._commit(events)
        except OSError:
            os.close(fd)
            self._fd = None
            with suppress(OSError):
                path.unlink()
            raise

    def _write_startup_records(self, *, partial_line_bytes: int, opened: bool) -> None:
        """Write `repaired` and `opened` records, and an `end` for each call that the last process left open."""
        now = self._chain.clock()
        events = []
        if partial_line_bytes:
            events.append(Event.of("repaired", now, torn_bytes=partial_line_bytes))
        if opened:
            events.append(Event.of("opened", now, **self._origin, segment=self._segment))
        for call_id in self._calls:
            body = {"call_id": call_id, "outcome": "error", "reason": "process_ended", "recovered": True}
            events.append(Event.of("end", now, **body))
        for first in range(0, len(events), STARTUP_BATCH):
            self._commit(events[first : first + STARTUP_BATCH])
        self._calls.clear()

    # Writing

    def append(self, events: list[Event]) -> None:
        """Write the events as records, all or none.

        Raises:
            OSError: no event was written; the log is unchanged.
        """
        if self._head.is_closed:
            raise OSError(errno.EBADF, "the audit log is closed")
        if self._fd is None:
            self._check_head()
            self._continue()
        self._check_file(self._file)
        now = self._chain.clock()
        self._since = min(self._since, now)  # the clock may have been set back
        if self._size >= self._options.max_bytes or now - self._since >= self._options.max_age_s:
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

    def _check_file(self, fd: int) -> None:
        if self._dirty:
            os.ftruncate(fd, self._size)
            self._dirty = False
        # each of these system calls releases the GIL and may wait for it in a busy process
        now = time.monotonic()
        if now < self._file_checked_until:
            return
        self._file_checked_until = 0.0
        if os.fstat(fd).st_size != self._size:
            raise OSError(errno.EIO, "the audit log was modified by another program")
        if not is_named(fd, self._names.path):
            raise OSError(errno.ENOENT, "the audit log is no longer where it was")
        self._check_head()
        self._file_checked_until = now + self._options.file_check_interval_s

    def _check_head(self) -> None:
        """Check that the head file is still at its path.

        Raises:
            OSError: it was moved, removed or replaced.
        """
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
        # Rename only the file that was written, and never over another file.
        self._file_checked_until = 0.0
        self._check_file(fd)
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
        """Sync the log and its head file to disk.

        Raises:
            OSError: the sync failed.
        """
        if self._fd is not None:
            _sync_data(self._fd)
            _sync_data(self._head.fd)

    def close(self) -> None:
        """Write the `closed` record and close the files.

        Raises:
            OSError: the record was not written; the files are closed anyway.
        """
        try:
            if self._fd is not None:
                self._check_file(self._fd)
                self._commit([Event.of("closed", self._chain.clock())], final=True, in_use=False)
                if self._options.fsync != "never":
                    self.sync()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the files without a `closed` record."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None
        self._head.close()


def open_log(options: AuditOptions, chain: Chain, origin: Mapping[str, Any]) -> FileLog:
    """Open the log at `options.path`, or `…-2`, `…-3` and so on if another process has locked it.

    Raises:
        ConfigurationError: the path is inside a root, its directory is missing, or the file is not usable.
    """
    if options.path is None:
        raise ConfigurationError("a log in a file needs a path")
    for process in range(1, options.max_processes + 1):
        names = LogName.of(options.path, options.head, process)
        refuse_inside_roots(names.path, options.roots)
        refuse_inside_roots(names.head, options.roots)
        try:
            head = HeadFile.open(names.head, options.key)
        except OSError as error:
            raise _unusable(names.head, error) from error
        if head is None:
            continue
        log = FileLog(name=names, options=options, chain=chain, origin=origin, head=head)
        try:
            if log.open():
                return log
        except OSError as error:
            log.abandon()
            raise _unusable(names.path, error) from error
        log.abandon()
    raise ConfigurationError(f"more than {options.max_processes} processes write to {options.path.name!r}")


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"the audit file {path.name!r} cannot be used: {error.strerror or error}")
