"""Copies a log that is being written, so that the copy verifies."""

import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from research_gateway.audit.check.verify import LogFiles, Part
from research_gateway.audit.log.files import (
    LogName,
    is_named,
    lock_file,
    open_private,
    sync_directory,
    takes_no_locks,
)
from research_gateway.audit.log.format import RECORD_SCHEMA, ChainPosition, parse_record
from research_gateway.audit.log.head import Head, decode_head

COPIED_AT_ONCE_BYTES = 1024 * 1024
_ATTEMPTS_TO_COPY = 20
_PAUSE_S = 0.05
"""After an attempt that a rotation between two looks at the log made useless; a log is not rotated that often."""


class CopyError(Exception):
    """The log cannot be copied, or not there. The message says why, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a copy has now. `files` counts those that were written, `last` is the last record of the copy.

    `locked` says whether another copying into the directory was kept off.
    """

    log: str
    files: int
    last: ChainPosition
    locked: bool = True


def copy_log(log: LogFiles, directory: Path, head: Path | None = None) -> Copied:
    """Bring the copy of a log in a directory up to date. Files that it has and the log no longer has stay.

    The copy ends with the record that the head file named when the copying began, and has that head. A directory of a file
    system without locks is copied into as well. Two at a time then leave whole files, but perhaps not of one time: the next
    copying mends that.

    Args:
        log: A log, selected by its file in use.
        directory: An existing directory, other than that of the log.
        head: Where the head file is; beside the log when not given.

    Raises:
        CopyError: the log has no head or does not reach it, the copy has records that the log does not have, it would
            replace a file of the log, or another process is copying the same log there. Nothing of the copy has been
            replaced then.
        OSError: a file cannot be read or written.
    """
    if not log.live:
        raise CopyError("name the file in use, which stands for the whole log")
    names = LogName.of(directory / log.names.path.name)
    if directory.samefile(log.names.path.parent):
        raise CopyError("a copy cannot be in the directory of the log")
    with _replacing(names.head) as (new_head, locked):  # first, so that it locks the copy
        data, known, files = _copy_up_to_head(log, names, head or log.names.head)
        new_head.write(data)
    return Copied(log=log.names.path.name, files=files + 1, last=known.position, locked=locked)


def _copy_up_to_head(log: LogFiles, copy: LogName, source: Path) -> tuple[bytes, Head, int]:
    """Copy the files of a log up to what its head file `source` names. Return its bytes, the head and the files written."""
    for _ in range(_ATTEMPTS_TO_COPY):
        data = source.read_bytes()
        known = decode_head(data)
        if known is None:
            raise CopyError("the head file of the log is damaged")
        with log.opened() as parts:
            if not parts or parts[-1].size == 0 or _segment_of(parts[-1]) != known.segment:
                time.sleep(_PAUSE_S)  # rotated after the head was read, or just now
                continue
            _refuse_own_files(copy, [source.stat(), *(part.status for part in parts)])
            return data, known, _copy_files(parts, known, copy)
    raise CopyError("the log does not agree with its head file: verify it")


def _refuse_own_files(copy: LogName, files: Iterable[os.stat_result]) -> None:
    """Check that no file of a log, its head file included, is in the place of a file of the copy."""
    taken = {(status.st_dev, status.st_ino) for status in files}
    for target in (copy.path, copy.head):
        with suppress(FileNotFoundError):
            status = target.stat()
            if (status.st_dev, status.st_ino) in taken:
                raise CopyError(f"a copy there would replace {target.name}, which is in use by the log")


def _copy_files(parts: list[Part], head: Head, copy: LogName) -> int:
    """Copy the rotated files that are missing, and the last file up to its head. Return how many were written."""
    before = _segment_of(Part(number=None, path=copy.path)) if copy.path.exists() else None
    files_of_log = {_segment_of(part): part for part in parts}
    if len(files_of_log) < len(parts):
        raise CopyError("two files of the log have the same number: verify it")
    _refuse_older(head, copy, before)
    _refuse_changed(files_of_log, copy, before)
    if before is not None and before not in files_of_log:
        _number_file_in_use(copy, before)
    files = 0
    for number, part in files_of_log.items():
        target = copy.segment(number)
        if part is parts[-1] or target.exists():
            continue
        with _replacing(target) as (file, _), part.path.open("rb") as source:
            while block := source.read(COPIED_AT_ONCE_BYTES):
                file.write(block)
        files += 1
    with _replacing(copy.path) as (file, _):
        _copy_to_head(parts[-1], head, file)
    return files + 1


def _refuse_older(head: Head, copy: LogName, before: int | None) -> None:
    """Check that the copy has nothing that is newer than the head of the log. A log numbers its files upwards.

    `before` is the number of the file that is in use in the copy, if it has one.
    """
    numbers = [number + 1 for number in copy.segments()]  # a later one was in use when it was copied
    if before is not None:
        numbers.append(before)
    ahead = False
    if copy.head.exists():
        copied = decode_head(copy.head.read_bytes())
        if copied is None:
            raise CopyError(f"{copy.head.name} of the copy is damaged: investigate")
        numbers.append(copied.segment)
        known, now = copied.position, head.position
        ahead = known.chain == now.chain and known.sequence > now.sequence
    if ahead or max(numbers, default=0) > head.segment:
        raise CopyError(
            "the copy has records that the log does not have, whose head file is older: investigate"
        )


def _refuse_changed(files_of_log: Mapping[int, Part], copy: LogName, before: int | None) -> None:
    """Check that the log still has what was copied of the files that it has. They are given by their numbers."""
    same = None if before is None else files_of_log.get(before)
    if same is not None and not _begins_with(same, copy.path):
        raise CopyError(f"{copy.path.name} of the copy has records that the log does not have: investigate")
    for number, part in files_of_log.items():
        target = copy.segment(number)
        if target.exists() and target.stat().st_size != part.size:
            raise CopyError(f"{target.name} differs from that of the log: investigate")


def _number_file_in_use(copy: LogName, number: int) -> None:
    """Keep the file in use of the copy under its number: the log no longer has that file."""
    target = copy.segment(number)
    if not target.exists():
        copy.path.rename(target)
    elif _begins_with(Part(number=number, path=target), copy.path):
        copy.path.unlink()  # the copying ended early after it had copied the whole file
    else:
        raise CopyError(f"{copy.path.name} and {target.name} of the copy differ: investigate")
    sync_directory(target)


def _copy_to_head(part: Part, head: Head, file: BinaryIO) -> None:
    at = head.position
    wanted = f'{{"schema":{RECORD_SCHEMA},"chain":"{at.chain}","seq":{at.sequence},'.encode("ascii")
    for _, line in part.lines():
        file.write(line)
        if line.startswith(wanted):
            if parse_record(line.rstrip(b"\n")).position != at:
                break
            return
    raise CopyError("the log does not reach its head file: verify it")


def _segment_of(part: Part) -> int:
    """Return the number of a file of a log, which its first record holds."""
    if part.number is not None:
        return part.number
    try:
        number: int = parse_record(next(part.lines())[1].rstrip(b"\n")).fields["segment"]
    except (StopIteration, ValueError, KeyError) as error:
        raise CopyError(f"{part.path.name} does not begin as a log does: verify it") from error
    return number


def _begins_with(part: Part, copy: Path) -> bool:
    """Return whether a file of the log begins with all of what was copied of it before."""
    with part.path.open("rb") as source, copy.open("rb") as copied:
        while block := copied.read(COPIED_AT_ONCE_BYTES):
            if source.read(len(block)) != block:
                return False
    return True


@contextmanager
def _replacing(path: Path) -> Iterator[tuple[BinaryIO, bool]]:
    """Yield a file that takes the place of `path` once it is complete and on the disk, and whether it is locked.

    Raises:
        CopyError: another process is making the same file.
    """
    fd, new, locked = _open_new(path)
    with os.fdopen(fd, "wb") as file:
        try:
            file.truncate()
            yield file, locked
            file.flush()
            os.fsync(file.fileno())
            new.rename(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    sync_directory(path)


def _open_new(path: Path) -> tuple[int, Path, bool]:
    """Open the file that is to take the place of `path`. Return it, its path, and whether it is locked.

    Without locks it has a name of its own, because nothing else would keep two processes from writing into one file.
    """
    new = path.with_name(path.name + ".new")
    made = not new.exists()
    with ExitStack() as closing:
        fd = open_private(new, os.O_WRONLY)
        closing.callback(os.close, fd)
        try:
            mine = lock_file(fd)
        except OSError as error:
            if not takes_no_locks(error):
                raise
            if made:  # else it may be that of a process elsewhere, for which the file system has locks
                new.unlink(missing_ok=True)
            own = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
            return open_private(own, os.O_WRONLY | os.O_EXCL), own, False
        # A file that has lost its name meanwhile was finished by another process. Only a locked one may be emptied.
        if not mine or not is_named(fd, new):
            raise CopyError(f"another process is writing {path.name} there: copy again when it has ended")
        closing.pop_all()
    return fd, new, True
