"""Regex search over the texts of documents, in slices, so that it can be paused, ended and shared fairly."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from research_documents.search.catalog import Entry
from research_documents.search.excerpt import MAX_LINE, context, cut_bytes
from research_documents.search.outcome import Hit
from research_documents.search.pattern import Pattern
from research_shared.documents import DocumentText

FIRST_SLICE: Final = 16 * 1024
MIN_SLICE: Final = 512
LARGE_PROGRAM: Final = 1_000
"""Instructions from which on an expression may turn out to be costly, so that its first slices are the smallest."""
MAX_SLICE: Final = 4 * 1024 * 1024
_FAST_S: Final = 0.002
_SLOW_S: Final = 0.010


@dataclass(slots=True)
class Scan:
    """A search under way: `advance` it until `done`. `hits` come in the order of path and line.

    `wanted` hits end it; hits up to and including the (path, line) of `after` are passed over. When `missing` names a
    document whose text is not in memory, `supply` it before the next `advance`.
    """

    entries: Sequence[Entry]
    pattern: Pattern
    wanted: int
    context_lines: int = 0
    after: tuple[str, int] = ("", 0)
    deadline: float = float("inf")
    hits: list[Hit] = field(default_factory=list)
    covered: int = 0
    done: bool = False
    expired: bool = False
    missing: Entry | None = None
    _text: DocumentText | None = None
    _is_ascii: bool = False
    _offset: int = 0
    _line: int = 1
    _counted: int = 0
    _slice: int = 0

    def __post_init__(self) -> None:
        self._slice = MIN_SLICE if self.pattern.ascii.programsize > LARGE_PROGRAM else FIRST_SLICE

    def advance(self, until: float) -> None:
        """Work until the end or until that moment of the monotonic clock; at least one slice."""
        while not self.done and self.missing is None:
            if self.covered == len(self.entries):
                self.done = True
            elif self._text is None:
                self._begin(self.entries[self.covered])
            elif self._scan_slice(self._text):
                self._next()
            if (now := time.monotonic()) >= until or now >= self.deadline:
                self.expired = not self.done and now >= self.deadline
                return

    def supply(self, text: DocumentText | None) -> None:
        """Give the text of the `missing` document, or None when it is gone."""
        entry, self.missing = self.missing, None
        if text is None or entry is None:
            self._next()
        else:
            self._text, self._is_ascii = text, text.data.isascii()

    def _begin(self, entry: Entry) -> None:
        if entry.text is None:
            self.missing = entry
        else:
            self._text, self._is_ascii = entry.text, entry.is_ascii

    def _next(self) -> None:
        self.covered += 1
        self._text = None
        self._offset, self._line, self._counted = 0, 1, 0

    def _scan_slice(self, text: DocumentText) -> bool:
        """Scan the next slice of a document, which ends at a line's end; whether the document is finished."""
        data = text.data
        end = size = len(data)
        if size - self._offset > self._slice:
            end = data.find(b"\n", self._offset + self._slice)
            end = size if end < 0 else end
        program = self.pattern.ascii if self._is_ascii else self.pattern.unicode or self.pattern.ascii
        started = time.perf_counter()
        # What runs once a hit: with a hundred thousand of them, every call and every attribute counts.
        passed = self.after[1] if text.path == self.after[0] else 0
        line, counted, line_end = self._line, self._counted, -1
        room = self.wanted - len(self.hits)
        for match in program.finditer(data, self._offset, end):
            start, stop = match.span()
            # A match takes the rest of its line; only an empty one can still follow on the same line.
            if start <= line_end:
                continue
            line_end = stop
            begin = data.rfind(b"\n", 0, start) + 1
            line += data.count(b"\n", counted, begin)
            counted = begin
            # Behind the last line break there is no other line.
            if begin == size or line <= passed:
                continue
            self.hits.append(self._hit(text, line, begin, stop, start))
            room -= 1
            if room <= 0:
                self.done = True
                return False
        self._line, self._counted = line, counted
        self._offset = end + 1
        took = time.perf_counter() - started
        if took < _FAST_S:
            self._slice = min(self._slice * 2, MAX_SLICE)
        elif took > _SLOW_S:
            self._slice = max(self._slice // 2, MIN_SLICE)
        return self._offset >= size

    def _hit(self, text: DocumentText, line: int, begin: int, end: int, start: int) -> Hit:
        """The hit of a match at `start` in the line at the bytes `begin:end`."""
        data = text.data
        shown = data[begin:end].decode() if end - begin <= MAX_LINE else cut_bytes(data, begin, end, start)
        if not self.context_lines and not text.page_starts:
            return Hit(text.path, line, shown, None, None, (), (), line, line)
        before, after = context(data, begin, end, self.context_lines) if self.context_lines else ((), ())
        page = text.page_of(line) if text.page_starts else None
        return Hit(text.path, line, shown, page, None, before, after, line, line)
