"""Reading a log back and finding the first record that is not what was written."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from research_gateway.audit.chain import Head, Position, Record, decode_head, parse
from research_gateway.audit.files import LogName, split_name
from research_gateway.audit.walk import Bad, Expectations, Problem, Walk

MAX_LINE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Report:
    """What verifying one log found. `unfinished` counts calls with a start and no end."""

    log: str
    files: int
    records: int
    calls: int
    unfinished: int
    lost: int
    last: Position | None
    problem: Problem | None
    notes: tuple[str, ...] = ()

    @property
    def intact(self) -> bool:
        """Whether every record is what was written and none is missing."""
        return self.problem is None


@dataclass(frozen=True, slots=True)
class LogFiles:
    """The files of one log in the order in which they were written; `live` is the one without a number."""

    names: LogName
    segments: tuple[tuple[int, Path], ...]
    live: bool

    @property
    def files(self) -> list[tuple[int | None, Path]]:
        """Number and path of each file that is there."""
        found: list[tuple[int | None, Path]] = list(self.segments)
        if self.live and self.names.path.exists():
            found.append((None, self.names.path))
        return found


def collect(paths: Sequence[Path]) -> list[LogFiles]:
    """The logs that some files belong to. The file that is being written stands for the whole log.

    Raises:
        FileNotFoundError: a file is missing and nothing says that it ever was there.
    """
    given: dict[LogName, tuple[dict[int, Path], bool]] = {}
    for path in paths:
        names, number = split_name(path)
        segments, live = given.get(names, ({}, False))
        if number is None:
            if not path.exists() and not names.head.exists():
                raise FileNotFoundError(path)
            segments, live = segments | names.segments(), True
        else:
            segments[number] = path
        given[names] = (segments, live)
    return [LogFiles(names, tuple(sorted(seen.items())), live) for names, (seen, live) in given.items()]


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            yield number, line


def _read(line: bytes, sequence: int) -> Record:
    if not line.endswith(b"\n"):
        raise Bad("changed", "the line is incomplete", sequence)
    try:
        return parse(line[:-1])
    except ValueError as error:
        raise Bad("changed", str(error), sequence) from None


def _walk_file(walk: Walk, number: int | None, path: Path, *, last: bool) -> Problem | None:
    line_number = 0
    for line_number, line in _lines(path):
        if last and not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
            walk.notes.append(f"{path.name}: an incomplete last line, as a crash leaves it, was not counted")
            break
        try:
            expected = walk.at.sequence + 1 if walk.at is not None else 0
            walk.take(_read(line, expected), number, first_of_file=line_number == 1)
        except Bad as bad:
            return Problem(bad.code, bad.message, path.name, line_number, bad.sequence)
    if line_number == 0 and not last:
        return Problem("head_truncated", "the file is empty", path.name)
    return None


def verify(log: LogFiles, expected: Expectations | None = None) -> Report:
    """Check one log.

    Raises:
        OSError: a file cannot be read.
    """
    expected = expected or Expectations()
    files = log.files
    head = _head_of(log, expected)
    walk = Walk(expected, head, whole=log.live)
    problem: Problem | None = None
    before: int | None = None
    for index, (number, path) in list(enumerate(files))[_begin(files, expected) :]:
        if number is not None and before is not None and number != before + 1:
            problem = Problem("missing", f"part {before + 1} of the log is missing before it", path.name)
            break
        before = number
        problem = _walk_file(walk, number, path, last=log.live and index == len(files) - 1)
        if problem is not None:
            break
    if problem is None and log.live:
        try:
            # read again, because a log in use may have grown while it was read
            latest = _head_of(log, expected)
            walk.finish(latest.limit if latest is not None else -1)
        except Bad as bad:
            problem = Problem(bad.code, bad.message, log.names.path.name, None, bad.sequence)
    elif problem is None:
        walk.notes.append(
            "only finished files were checked; name the file in use to check the end of the log"
        )
    if expected.key is None and walk.every is not None:
        walk.notes.append("the log is signed, but the signatures were not checked: no key is set")
    return Report(
        log=log.names.path.name,
        files=len(files),
        records=walk.records,
        calls=walk.calls,
        unfinished=len(walk.underway),
        lost=walk.lost,
        last=walk.at,
        problem=problem,
        notes=tuple(walk.notes),
    )


def _begin(files: Sequence[tuple[int | None, Path]], expected: Expectations) -> int:
    """The file with which an acknowledged chain begins; what came before it has been looked into."""
    begin = 0
    for index, (_, path) in enumerate(files if expected.acknowledged else ()):
        with suppress(ValueError, StopIteration):
            record = parse(next(_lines(path))[1].rstrip(b"\n"))
            if record.event == "genesis" and record.position.chain in expected.acknowledged:
                begin = index
    return begin


def _head_of(log: LogFiles, expected: Expectations) -> Head | None:
    path = expected.head or log.names.head
    try:
        return decode_head(path.read_bytes())
    except FileNotFoundError:
        return None
