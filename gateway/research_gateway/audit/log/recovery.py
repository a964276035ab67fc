"""Inspection of an existing log file before it is resumed."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from research_gateway.audit.log.format import RECORD_SCHEMA, Record, parse_record
from research_gateway.audit.log.head import Head

_EDGE_BYTES = 1024 * 1024
_BEGINNING = f'{{"schema":{RECORD_SCHEMA},'.encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogContents:
    """First and last record of a log file. `end` is the offset behind the last complete line, in bytes.

    `partial_line_bytes` is the length of an incomplete line behind it, as a crash leaves one.
    """

    first: Record | None
    last: Record | None
    end: int
    partial_line_bytes: int

    @property
    def damaged(self) -> bool:
        """Whether the first or the last complete line is not a valid record."""
        return self.end > 0 and (self.first is None or self.last is None)


def _parse_or_none(line: bytes) -> Record | None:
    try:
        return parse_record(line)
    except ValueError:
        return None


def inspect_tail(fd: int) -> LogContents:
    """Read the first and the last record of an open file from its first and last MiB."""
    size = os.fstat(fd).st_size
    begin = os.pread(fd, min(size, _EDGE_BYTES), 0)
    final = os.pread(fd, _EDGE_BYTES, max(0, size - _EDGE_BYTES))
    partial_line_bytes = len(final) - (final.rfind(b"\n") + 1)
    if partial_line_bytes == len(final):
        # no line break in the last MiB: the beginning of the first record, or a foreign file, which must be kept
        torn = size <= _EDGE_BYTES and final[: len(_BEGINNING)] == _BEGINNING[:size]
        return LogContents(first=None, last=None, end=0 if torn else size, partial_line_bytes=size)
    whole = final[: len(final) - partial_line_bytes - 1]
    last = whole[whole.rfind(b"\n") + 1 :]
    return LogContents(
        first=_parse_or_none(begin[: begin.find(b"\n")]),
        last=_parse_or_none(last),
        end=size - partial_line_bytes,
        partial_line_bytes=partial_line_bytes,
    )


def open_calls(lines: Iterable[bytes]) -> dict[str, None]:
    """Return the ids of calls with a start and no end, in order of their start (a dict used as an ordered set)."""
    calls: dict[str, None] = {}
    for line in lines:
        record = _parse_or_none(line.rstrip(b"\n"))
        if record is None:
            continue
        match record.event:
            case "start":
                calls[record.fields["call_id"]] = None
            case "end":
                calls.pop(record.fields["call_id"], None)
            case "continued":
                calls.update(dict.fromkeys(record.fields["open_calls"]))
    return calls


def rejection_reason(found: LogContents, head: Head | None, key: bytes | None) -> str | None:
    """Return why a log must not be resumed (a stable code), or None if it matches its head."""
    if found.damaged or found.first is None or found.last is None:
        return "damaged"
    if head is None:
        return "head_missing"
    if key is not None and not head.is_signed_by(key):
        return "head_not_signed"
    last, known = found.last.position, head.position
    if last.chain != known.chain or (last.sequence == known.sequence and last.digest != known.digest):
        return "replaced"
    if last.sequence < known.sequence:
        return "shortened"
    return "added_to" if last.sequence > head.limit else None
