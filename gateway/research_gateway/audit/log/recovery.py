"""What a log file that is there already holds, and whether it may be continued."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from research_gateway.audit.log.format import Record, parse
from research_gateway.audit.log.head import Head

_EDGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Contents:
    """The first and the last record of a file, where the last one ends, and what is torn behind it."""

    first: Record | None
    last: Record | None
    end: int
    torn: int

    @property
    def damaged(self) -> bool:
        """Whether there are lines, but the first or the last one is no record."""
        return self.end > 0 and (self.first is None or self.last is None)


def _record(line: bytes) -> Record | None:
    try:
        return parse(line)
    except ValueError:
        return None


def look_into(fd: int) -> Contents:
    """What an open file holds, from its first and its last MiB."""
    size = os.fstat(fd).st_size
    begin = os.pread(fd, min(size, _EDGE_BYTES), 0)
    final = os.pread(fd, _EDGE_BYTES, max(0, size - _EDGE_BYTES))
    torn = len(final) - (final.rfind(b"\n") + 1)
    if torn == len(final):
        # no line break in the last MiB: a single torn line, or no log of ours, which must not be cut off
        return Contents(None, None, 0 if size <= _EDGE_BYTES else size, size)
    whole = final[: len(final) - torn - 1]
    last = whole[whole.rfind(b"\n") + 1 :]
    return Contents(_record(begin[: begin.find(b"\n")]), _record(last), size - torn, torn)


def open_calls(lines: Iterable[bytes]) -> dict[str, None]:
    """The calls that some lines begin and do not end, in order."""
    calls: dict[str, None] = {}
    for line in lines:
        record = _record(line.rstrip(b"\n"))
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


def objection(found: Contents, head: Head | None, key: bytes | None) -> str | None:
    """Why a log must not be continued as if nothing had happened; None when it is the one that the head knows."""
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
