"""Verifies the files of a log and finds the first bad record."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from research_gateway.audit.check.chain_verifier import (
    ChainVerifier,
    Expectations,
    Problem,
    VerificationError,
)
from research_gateway.audit.log.files import LogName, split_name
from research_gateway.audit.log.format import ChainPosition, Record, parse_record
from research_gateway.audit.log.head import Head, decode_head

MAX_LINE_BYTES = 1024 * 1024
REPORT_BYTES = 4 * 1024 * 1024
OnVerified = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Result of verifying one log. `unfinished` counts calls with a start and no end."""

    log: str
    files: int
    records: int
    calls: int
    unfinished: int
    lost: int
    last: ChainPosition | None
    problem: Problem | None
    notes: tuple[str, ...] = ()

    @property
    def intact(self) -> bool:
        """Whether no record was changed, added or removed."""
        return self.problem is None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFiles:
    """The selected files of one log: `segments`, and if `live`, also all its other files."""

    names: LogName
    segments: Mapping[int, Path]
    live: bool

    @property
    def files(self) -> list[Path]:
        """The existing files, in the order in which they were written."""
        with self.opened() as parts:
            return [part.path for part in parts]

    @contextmanager
    def opened(self) -> Iterator[list["Part"]]:
        """Yield a consistent snapshot of the files, even if the log is rotated meanwhile.

        Raises:
            OSError: a file cannot be opened, or was removed meanwhile.
        """
        if not self.live:
            yield [Part(number=number, path=path) for number, path in sorted(self.segments.items())]
            return
        # Opened before the listing, so that nothing that was written until now is missed.
        current = _open(self.names.path)
        segments = {**self.segments, **self.names.segments()}
        if current is None and (current := _open(self.names.path)) is not None:  # between two files
            segments = {**self.segments, **self.names.segments()}
        if current is None:
            yield [Part(number=number, path=path) for number, path in sorted(segments.items())]
            return
        with current:
            if _is_same(self.names.path, current):
                last, end = None, self.names.path
            else:
                # Rotated meanwhile: it has a number by now, and what came after it is left for the next time.
                segments = {**self.segments, **self.names.segments()}
                last = next((number for number, path in segments.items() if _is_same(path, current)), None)
                if last is None:
                    raise OSError(
                        errno.ESTALE,
                        "the log was rotated and removed while it was read",
                        str(self.names.path),
                    )
                end = segments[last]
            before = sorted(
                (number, path) for number, path in segments.items() if last is None or number < last
            )
            parts = [Part(number=number, path=path) for number, path in before]
            yield [*parts, Part(number=last, path=end, file=current)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of a log. The file in use has no number and is already open."""

    number: int | None
    path: Path
    file: BinaryIO | None = None

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.status.st_size

    @property
    def status(self) -> os.stat_result:
        """Status of the file; of the open one, if it is open."""
        return self.path.stat() if self.file is None else os.fstat(self.file.fileno())

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield `(line number, line)`. Longer lines than any record are split."""
        with self.path.open("rb") if self.file is None else nullcontext(self.file) as file:
            file.seek(0)
            number = 0
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                yield number, line


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _is_same(path: Path, file: BinaryIO) -> bool:
    """Return whether an open file is still the file with this name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def collect(paths: Sequence[Path]) -> list[LogFiles]:
    """Group files by log. The file in use selects the whole log.

    Raises:
        FileNotFoundError: neither the file nor its head file exists.
    """
    given: dict[LogName, tuple[dict[int, Path], bool]] = {}
    for path in paths:
        names, number = split_name(path)
        segments, live = given.get(names, ({}, False))
        if number is None:
            if not path.exists() and not names.head.exists():
                raise FileNotFoundError(path)
            live = True
        else:
            segments[number] = path
        given[names] = (segments, live)
    return [LogFiles(names=names, segments=segments, live=live) for names, (segments, live) in given.items()]


class _Meter:
    """Counts the bytes that are read, and reports them every `REPORT_BYTES`."""

    def __init__(self, report: OnVerified | None, total: int) -> None:
        self._report = report
        self._total = total
        self._read = 0
        self._reported = 0

    def add(self, count: int) -> None:
        """Count more bytes."""
        self._read += count
        if self._report is not None and self._read - self._reported >= REPORT_BYTES:
            self._reported = self._read
            self._report(self._read, self._total)


def _parse_line(line: bytes, sequence: int) -> Record:
    if not line.endswith(b"\n"):
        raise VerificationError("changed", "the line is incomplete", sequence=sequence)
    try:
        return parse_record(line[:-1])
    except ValueError as error:
        raise VerificationError("changed", str(error), sequence=sequence) from None


def _verify_part(verifier: ChainVerifier, part: Part, meter: "_Meter", *, last: bool) -> Problem | None:
    line_number = 0
    for line_number, line in part.lines():
        meter.add(len(line))
        if last and not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
            verifier.notes.append(
                f"{part.path.name}: an incomplete last line, as a crash leaves it, was not counted"
            )
            break
        try:
            expected = verifier.at.sequence + 1 if verifier.at is not None else 0
            verifier.check(_parse_line(line, expected), part.number, first_of_file=line_number == 1)
        except VerificationError as error:
            return Problem(
                code=error.code,
                message=error.message,
                file=part.path.name,
                line=line_number,
                sequence=error.sequence,
            )
    if line_number == 0 and not last:
        return Problem(code="head_truncated", message="the file is empty", file=part.path.name)
    return None


def verify(
    log: LogFiles, expected: Expectations | None = None, *, on_progress: OnVerified | None = None
) -> Report:
    """Verify one log. `on_progress` is called with the bytes that are read and those there are, every few megabytes.

    Raises:
        OSError: a file cannot be read.
    """
    expected = expected or Expectations()
    head, earlier = _heads_of(log, expected)
    verifier = ChainVerifier(expected, head, whole=log.live, earlier=earlier)
    with log.opened() as parts:
        problem = _verify_parts(
            verifier, parts[_begin(parts, expected) :], live=log.live, on_progress=on_progress
        )
    if problem is None and log.live:
        try:
            # read again: a log in use may have grown meanwhile
            latest, _ = _heads_of(log, expected)
            verifier.finish(latest.limit if latest is not None else -1)
        except VerificationError as error:
            problem = Problem(
                code=error.code,
                message=error.message,
                file=log.names.path.name,
                line=None,
                sequence=error.sequence,
            )
    elif problem is None:
        verifier.notes.append(
            "only finished files were checked; name the file in use to check the end of the log"
        )
    if verifier.first_set_back is not None:
        record, seconds = verifier.first_set_back
        times = "once" if verifier.set_backs == 1 else f"{verifier.set_backs} times, first"
        verifier.notes.append(
            f"the clock was set back {times} at record {record}, by {seconds:.0f} s: "
            "records stand in the order in which they were written"
        )
    if expected.key is None and verifier.every is not None:
        verifier.notes.append("the log is signed, but the signatures were not checked: no key is set")
    return Report(
        log=log.names.path.name,
        files=len(parts),
        records=verifier.records,
        calls=verifier.calls,
        unfinished=len(verifier.open_calls),
        lost=verifier.lost,
        last=verifier.at,
        problem=problem,
        notes=tuple(verifier.notes),
    )


def _verify_parts(
    verifier: ChainVerifier, parts: Sequence[Part], *, live: bool, on_progress: OnVerified | None
) -> Problem | None:
    before: int | None = None
    meter = _Meter(on_progress, sum(part.size for part in parts))
    for part in parts:
        if part.number is not None and before is not None and part.number != before + 1:
            return Problem(
                code="missing",
                message=f"part {before + 1} of the log is missing before it",
                file=part.path.name,
            )
        before = part.number
        if problem := _verify_part(verifier, part, meter, last=live and part is parts[-1]):
            return problem
    return None


def _begin(parts: Sequence[Part], expected: Expectations) -> int:
    """Return the index of the file that starts the last acknowledged chain, 0 if there is none."""
    begin = 0
    for index, part in enumerate(parts if expected.acknowledged else ()):
        with suppress(ValueError, StopIteration):
            record = parse_record(next(part.lines())[1].rstrip(b"\n"))
            if record.event == "genesis" and record.position.chain in expected.acknowledged:
                begin = index
    return begin


def _heads_of(log: LogFiles, expected: Expectations) -> tuple[Head | None, Head | None]:
    """Return the head of a log and an earlier one. Without the first, the second takes its place.

    Raises:
        OSError: the copy of the head file that was named cannot be read, or is none.
    """
    earlier = None
    if (copied := expected.copied_head) is not None:
        earlier = decode_head(copied.read_bytes())
        if earlier is None:
            raise OSError(errno.EINVAL, "it is not a head file, or damaged", str(copied))
    try:
        head = decode_head((expected.head or log.names.head).read_bytes())
    except FileNotFoundError:
        head = None
    return (earlier, None) if head is None else (head, earlier)
