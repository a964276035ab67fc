"""What a document is: an entry of the listing, and its text as pages of lines.

One locator everywhere: a place is `(path, page?, line range)`. Lines are 1-based and inclusive and are those that
`read_document` shows; they count through the whole document, its pages are 1-based. A line that is too long to show has
several numbers, one for each of its parts (see `continued_at`). Slides, sheets and chapters are pages too, under the name that
their format gives them (`DocumentText.part`).
"""

import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Final, NamedTuple, Self

from research_shared.formats import NO_METADATA, Metadata, PartName, format_of

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999 in Unix time. File systems store times beyond them, `datetime` does not."""

LONGEST_LINE_BYTES: Final = 4_000
"""A longer line is continued. Most paragraphs that are written in one line are shorter, and keep their one number."""
MAX_PART_BYTES: Final = 2_000
"""A part of a continued line has at least half of this, except the last."""

# Where a part may end, best first: behind a sentence, a space, a mark between words.
_ENDS: Final = tuple(
    tuple(end.encode() for end in ends)
    for ends in (
        (". ", "! ", "? ", '." ', ".) ", "\u3002", "\uff01", "\uff1f"),
        (" ", "\t", "\u3000"),
        (*",;:|/&)]}>-", "\u3001", "\uff0c"),
    )
)


_ELSEWHERE: Final = -1


class Identity(NamedTuple):
    """Identity of one version of a file. Equal identities mean equal content.

    Of a file that was read on another machine, only size and time of change can be compared: see `elsewhere`.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def elsewhere(cls, *, size: int, mtime_ns: int) -> Self:
        """Return the identity of a file as another machine has read it: its numbers of inodes mean nothing here."""
        return cls(device=_ELSEWHERE, inode=_ELSEWHERE, size=size, mtime_ns=mtime_ns, ctime_ns=_ELSEWHERE)

    def is_of(self, status: os.stat_result) -> bool:
        """Return whether a stat result is of this version. The device is ignored, because mounting renumbers devices."""
        return (
            status.st_mtime_ns == self.mtime_ns
            and status.st_size == self.size
            and (
                (status.st_ino == self.inode and status.st_ctime_ns == self.ctime_ns)
                or self.inode == _ELSEWHERE
            )
        )

    def same_file(self, other: "Identity") -> bool:
        """Return whether two identities are equal, ignoring the device."""
        return self[1:] == other[1:] or (
            _ELSEWHERE in (self.inode, other.inode)
            and (self.size, self.mtime_ns) == (other.size, other.mtime_ns)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentInfo:
    """One document of the listing.

    `path` is the name that every tool takes and gives: relative to its root, with `/`, and led by the root's name
    when there is more than one root. `target` is the path of the file that a link leads to, empty for a file itself.
    """

    path: str
    root: str
    media_type: str
    identity: Identity
    target: str = ""

    @property
    def filename(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]

    @property
    def size_bytes(self) -> int:
        """The size of the file in bytes."""
        return self.identity.size

    @property
    def modified(self) -> datetime:
        """The time of the last change, UTC, to the second; the nearest that can be written for one far off."""
        seconds = self.identity.mtime_ns // 1_000_000_000
        return datetime.fromtimestamp(min(max(seconds, _FIRST_SECOND), _LAST_SECOND), tz=UTC)


@dataclass(frozen=True, kw_only=True)
class DocumentText:
    r"""The text of one document.

    `data` is UTF-8 in which `\n` alone separates lines (no `\r`); a long line is continued under the next number, without
    a line break in `data`. `page_starts` holds the 1-based first line of each page and is empty for documents without pages. `digest` is the SHA-256 of the file's bytes and the engine's name,
    because engines differ in where they break lines. `notes` are sentences for people: what was repaired or is missing. When there are
    `missing_pages`, the first one names them and says why. `ocr_pages` were read by OCR: their letters may be wrong.
    `metadata` is what the document says about itself.
    """

    path: str
    media_type: str
    identity: Identity
    digest: str
    engine: str
    data: bytes = field(repr=False)
    page_starts: tuple[int, ...] = ()
    missing_pages: tuple[int, ...] = ()
    ocr_pages: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    metadata: Metadata = NO_METADATA

    @cached_property
    def continued(self) -> "array[int]":
        """The offsets at which long lines go on under a new number, in order; empty for most documents."""
        return continued_at(self.data)

    @cached_property
    def _line_starts(self) -> "array[int]":
        starts = array("Q", [0]) if self.data else array("Q")
        find, at = self.data.find, 0
        last = len(self.data) - 1
        while (at := find(b"\n", at)) != -1 and at < last:
            at += 1
            starts.append(at)
        return array("Q", sorted((*starts, *self.continued))) if self.continued else starts

    @property
    def total_lines(self) -> int:
        """How many lines the text has, parts of long ones counted each; a final line break does not open another one."""
        return len(self._line_starts)

    @property
    def pages(self) -> int | None:
        """How many pages the document has, or None for a document without pages."""
        return len(self.page_starts) or None

    @property
    def gap(self) -> str:
        """Which pages have text that is not in here, and why, for people; empty when there are none."""
        return self.notes[0] if self.missing_pages and self.notes else ""

    def is_ocr(self, page: int | None) -> bool:
        """Return whether a page was read by OCR."""
        return page is not None and page in self.ocr_pages

    @property
    def part(self) -> PartName | None:
        """What the pages of this document are called, or None for a document without pages."""
        return format_of(self.media_type).part if self.page_starts else None

    @property
    def text(self) -> str:
        """The whole text as a string, decoded each time, so that a cached document is not kept twice."""
        return self.data.decode("utf-8")

    def offsets(self, start: int, stop: int) -> tuple[int, int]:
        """Return the byte range of the lines `start` to `stop` (1-based, inclusive), without the last line break."""
        starts = self._line_starts
        begin = starts[start - 1]
        end = starts[stop] if stop < len(starts) else len(self.data)
        return begin, end - self.data.endswith(b"\n", 0, end)

    def line(self, number: int) -> str:
        """Return the line with this 1-based number, without its line break."""
        begin, end = self.offsets(number, number)
        return self.data[begin:end].decode("utf-8")

    def lines(self, start: int, stop: int) -> list[str]:
        """Return the lines `start` to `stop` (1-based, inclusive) that exist."""
        start, stop = max(start, 1), min(stop, self.total_lines)
        if start > stop:
            return []
        if self.continued:
            return [self.line(number) for number in range(start, stop + 1)]
        begin, end = self.offsets(start, stop)
        return self.data[begin:end].decode("utf-8").split("\n")

    def line_at(self, offset: int) -> int:
        """Return the 1-based number of the line that contains the byte at `offset`."""
        return bisect_right(self._line_starts, offset)

    def is_continuation(self, line: int) -> bool:
        """Return whether the line with this number goes on with what the line before it begins."""
        begin, _ = self.offsets(line, line)
        return begin > 0 and not self.data.endswith(b"\n", 0, begin)

    def continues_after(self, offset: int) -> int | None:
        """Return the first offset from `offset` on at which a long line goes on under a new number."""
        at = bisect_left(self.continued, offset)
        return self.continued[at] if at < len(self.continued) else None

    def page_of(self, line: int) -> int | None:
        """Return the 1-based page of a line, or None for a document without pages."""
        return bisect_right(self.page_starts, line) or None

    def page_lines(self, page: int) -> tuple[int, int]:
        """Return the first and last line of a page (1-based). For a page without text, the last precedes the first."""
        first = self.page_starts[page - 1]
        last = self.page_starts[page] - 1 if page < len(self.page_starts) else self.total_lines
        return first, last


def continued_at(data: bytes) -> "array[int]":
    r"""Return the offsets of UTF-8 text at which long lines go on under a new number, in order; none in most documents.

    A part never ends within a character, and within a word only if the word is longer than half a part.
    """
    found = array("Q")
    begin, size = 0, len(data)
    while size - begin > LONGEST_LINE_BYTES:
        last = data.rfind(b"\n", begin, begin + LONGEST_LINE_BYTES + 1)
        if last >= 0:
            begin = last + 1
            continue
        end = data.find(b"\n", begin)
        end = size if end < 0 else end
        while end - begin > MAX_PART_BYTES:
            begin = _part_end(data, begin)
            found.append(begin)
        begin = end + 1
    return found


def _part_end(data: bytes, begin: int) -> int:
    """Return where a part that begins at an offset ends best."""
    least, most = begin + MAX_PART_BYTES // 2, begin + MAX_PART_BYTES
    for ends in _ENDS:
        found = max((at + len(end) for end in ends if (at := data.rfind(end, least, most)) >= 0), default=0)
        if found:
            return found
    while data[most] & 0b1100_0000 == 0b1000_0000:  # noqa: PLR2004  (within a character)
        most -= 1
    return most


def renumbered(data: bytes, lines: Sequence[int]) -> tuple[int, ...]:
    r"""Return the numbers that lines (1-based, in order, counted by `\n`) have when long lines are continued."""
    continued = continued_at(data) if lines else ()
    if not continued:
        return tuple(lines)
    numbers: list[int] = []
    at, line = 0, 1
    for wanted in lines:
        while line < wanted and (following := data.find(b"\n", at) + 1):
            at, line = following, line + 1
        numbers.append(wanted + bisect_right(continued, at if line == wanted else len(data)))
    return tuple(numbers)
