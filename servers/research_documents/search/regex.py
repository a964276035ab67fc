"""Regex search over the texts of documents, in slices, so that it can be paused, ended and shared fairly."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from research_documents.search.excerpt import context, cut_bytes
from research_documents.search.outcome import Hit
from research_documents.search.pattern import Pattern
from research_shared.documents import DocumentText

FIRST_SLICE: Final = 16 * 1024
MIN_SLICE: Final = 4 * 1024
MAX_SLICE: Final = 4 * 1024 * 1024
_FAST_S: Final = 0.002
_SLOW_S: Final = 0.010


@dataclass(frozen=True, slots=True)
class Source:
    """A document's text as the scan needs it."""

    path: str
    text: DocumentText
    is_ascii: bool


@dataclass(slots=True)
class Scan:
    """A search under way: `advance` it until `done`. `hits` come in the order of path and line.

    `wanted` hits end it; `after` skips hits up to and including that (path, line).
    """

    sources: Sequence[Source]
    pattern: Pattern
    wanted: int
    context_lines: int = 0
    after: tuple[str, int] = ("", 0)
    hits: list[Hit] = field(default_factory=list)
    done: bool = False
    covered: int = 0
    _offset: int = 0
    _line: int = 1
    _counted: int = 0
    _slice: int = FIRST_SLICE

    def advance(self, until: float) -> None:
        """Work until the end or until that moment of the monotonic clock; at least one slice."""
        while not self.done:
            if self.covered == len(self.sources):
                self.done = True
                return
            source = self.sources[self.covered]
            if self._scan_slice(source):
                self.covered += 1
                self._offset, self._line, self._counted = 0, 1, 0
            if time.monotonic() >= until:
                return

    def _scan_slice(self, source: Source) -> bool:
        """Scan the next slice of a document; whether the document is finished."""
        data = source.text.data
        size = len(data)
        end = size
        if size - self._offset > self._slice:
            end = data.find(b"\n", self._offset + self._slice)
            end = size if end < 0 else end
        started = time.perf_counter()
        search = (self.pattern.ascii if source.is_ascii else self.pattern.unicode).search
        while self._offset < size:
            match = search(data, self._offset, end)
            if match is None:
                self._offset = end + 1
                break
            if self._take(source, match):
                return False
            if self._offset > end:
                break
        self._adapt(time.perf_counter() - started)
        return self._offset >= size

    def _take(self, source: Source, match: Any) -> bool:
        """Keep a match as a hit and step over its line; whether this was the last one wanted."""
        data, (start, end) = source.text.data, match.span()
        begin = data.rfind(b"\n", 0, start) + 1
        stop = data.find(b"\n", end)
        stop = len(data) if stop < 0 else stop
        self._offset = stop + 1
        self._line += data.count(b"\n", self._counted, begin)
        self._counted = begin
        if begin == len(data) or (source.path, self._line) <= self.after:
            return False
        before, after = context(data, begin, stop, self.context_lines) if self.context_lines else ((), ())
        line, page = self._line, source.text.page_of(self._line)
        shown = cut_bytes(data, begin, stop, start)
        self.hits.append(Hit(source.path, line, shown, page, None, before, after, line, line))
        self.done = len(self.hits) >= self.wanted
        return self.done

    def _adapt(self, took: float) -> None:
        if took < _FAST_S:
            self._slice = min(self._slice * 2, MAX_SLICE)
        elif took > _SLOW_S:
            self._slice = max(self._slice // 2, MIN_SLICE)
