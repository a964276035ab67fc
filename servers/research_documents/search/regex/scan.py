"""Scans the texts of documents for a regular expression in slices, so that a search can pause, end and share a thread."""

import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from research_documents.search.catalog.entry import BLOCK, CatalogEntry, StoredTexts, breaks_of, none_stored
from research_documents.search.display import (
    HIT_OVERHEAD_BYTES,
    MAX_LINE,
    context,
    cut_bytes,
    hit_bytes,
    lines_around,
)
from research_documents.search.outcome import Hit
from research_documents.search.regex.pattern import Find, Pattern
from research_shared.documents import DocumentText

FIRST_SLICE: Final = 16 * 1024
MIN_SLICE: Final = 512
LARGE_PROGRAM: Final = 1_000
"""Program size in instructions above which the first slice is the smallest, because the expression may be costly."""
MAX_SLICE: Final = 4 * 1024 * 1024
MOST_TOGETHER: Final = 256 * 1024
"""Bytes of documents that are joined and searched as one text; more would not fit the CPU cache."""
_FAST_S: Final = 0.002
_SLOW_S: Final = 0.010
_LONG_LINE: Final = 256 * 1024
"""Line length in bytes above which the search time of the line is estimated first."""


@dataclass(slots=True, kw_only=True)
class _Searched:
    """The document in which matches are being found: the bytes from `first` on of what is searched.

    The byte `counted` is in line `line`. Lines up to `passed` are not wanted. `plain`: a hit is its line and no more;
    `overhead` is then what it takes in the answer besides, in bytes. `breaks` are the line breaks before each block, if
    they are known.
    """

    place: int
    entry: CatalogEntry
    text: DocumentText
    first: int
    counted: int
    passed: int
    plain: bool
    overhead: int
    breaks: "array[int]"
    line: int = 1

    def line_at(self, data: bytes, begin: int) -> int:
        """Return the number of the line that begins at byte `begin`, which is not before that of the call before.

        Of a line that is continued, each part has a number.

        For a large document it is known how many line breaks precede each block of `BLOCK` bytes. Breaks are counted from there or from
        the hit before, whichever is nearer, so that a hit far into a large document costs no more than one near its start.
        """
        if self.text.continued:
            return self.text.line_at(begin - self.first)
        block = (begin - self.first) // BLOCK
        if self.breaks and self.first + block * BLOCK > self.counted:
            self.counted, self.line = self.first + block * BLOCK, self.breaks[block] + 1
        self.line += data.count(b"\n", self.counted, begin)
        self.counted = begin
        return self.line

    def part(self, begin: int, end: int, match: tuple[int, int]) -> tuple[int, int]:
        """Return the bytes of the part of a line in which a match begins, and up to its end if it goes on behind that.

        A line that is not continued is its only part.
        """
        if not self.text.continued:
            return begin, end
        first, last = self.text.offsets(*2 * (self.text.line_at(match[0] - self.first),))
        return max(begin, first + self.first), min(end, max(last + self.first, match[1]))


@dataclass(slots=True)
class Scan:
    """A resumable scan: call `advance` until `done`. `hits` are in the order of path and line.

    The scan ends after `wanted` hits, or at the first hit that does not fit the `room` left, in bytes. It skips hits up to
    and including the (path, line) of `after`, and all documents whose id is not in `only`, if given. `sources` are the
    documents of the hits. `skipped` holds the (path, line) of lines so long that searching them would pass the deadline.
    `stored` returns texts that are not held in memory, by the id of the entry; they are fetched a few at a time. When `missing` is set, the text of
    that document is in neither place: call `supply` before the next `advance`.
    `clock` gives the time in seconds.
    """

    entries: Sequence[CatalogEntry]
    pattern: Pattern
    wanted: int
    context_lines: int = 0
    after: tuple[str, int] = ("", 0)
    deadline: float = float("inf")
    room: int = 1 << 60
    clock: Callable[[], float] = time.monotonic
    only: set[int] | None = None
    hits: list[Hit] = field(default_factory=list)
    skipped: list[tuple[str, int]] = field(default_factory=list)
    sources: list[CatalogEntry] = field(default_factory=list)
    covered: int = 0
    full: bool = False
    expired: bool = False
    stored: StoredTexts = none_stored
    missing: CatalogEntry | None = None
    _fetched: Mapping[int, DocumentText] = field(default_factory=dict)
    """The texts among the next documents that are not held in memory."""
    _breaks: "tuple[int, array[int]]" = (0, array("I"))
    """The line breaks of the last large text that was fetched, with the id of its entry."""
    _offset: int = 0
    _slice: int = 0

    def __post_init__(self) -> None:
        self._slice = MIN_SLICE if self.pattern.size > LARGE_PROGRAM else FIRST_SLICE

    def advance(self, until: float) -> None:
        """Scan until the end or until `until` (in seconds, by `clock`), but at least one slice."""
        now = self.clock()
        while not self._is_paused():
            started = now
            self._scan_slice()
            now = self.clock()
            if now - started < _FAST_S:
                self._slice = min(self._slice * 2, MAX_SLICE)
            elif now - started > _SLOW_S:
                self._slice = max(self._slice // 2, MIN_SLICE)
            if now >= until or now >= self.deadline:
                self.expired = not self.done and now >= self.deadline
                return

    def _is_paused(self) -> bool:
        return self.done or self.missing is not None

    @property
    def done(self) -> bool:
        """Whether no more hits are wanted or fit, or all documents were searched."""
        return self.covered == len(self.entries) or self._has_enough

    @property
    def _has_enough(self) -> bool:
        return self.full or len(self.hits) == self.wanted

    @property
    def ended_early(self) -> bool:
        """Return whether the scan ended before the last document, so that there may be more hits."""
        return self.expired or self._has_enough

    def supply(self, text: DocumentText | None) -> None:
        """Pass the text of the `missing` document, or None if it is gone."""
        if text is None:
            self.covered += 1
            self.expired = self.expired and not self.done
        elif self.missing is not None:
            self._fetched = {**self._fetched, self.missing.id: text}
        self.missing = None

    def text_of(self, entry: CatalogEntry) -> DocumentText | None:
        """Return the text of a document, if it is in memory now."""
        return entry.text or self._fetched.get(entry.id)

    def _fetch(self) -> None:
        """Fetch the texts that are needed next: of the first document without one, and of those behind it up to a size."""
        wanted: list[CatalogEntry] = []
        size, most = 0, min(self._slice, MOST_TOGETHER)
        for place in range(self.covered, len(self.entries)):
            entry = self.entries[place]
            if entry.text is not None or (self.only is not None and entry.id not in self.only):
                continue
            size += entry.text_bytes
            if wanted and size > most:
                break
            wanted.append(entry)
        self._fetched = self.stored(wanted)

    def _scan_slice(self) -> None:
        """Scan one slice: a part of a document up to a line end, or several documents."""
        if not self._offset and (passed := self._passed(self.covered)):
            self.covered += passed
        if self.done:
            return
        entry = self.entries[self.covered]
        if self.text_of(entry) is None:
            self._fetch()
        text = self.text_of(entry)
        if text is None:
            self.missing = entry
        elif self._offset or len(text.data) >= self._slice or self.pattern.looks_around:
            self._scan_part(entry, text)
        else:
            self._scan_several()

    def _passed(self, at: int) -> int:
        """Return how many documents from `at` on are not in `only`."""
        if self.only is None:
            return 0
        places = range(at, len(self.entries))
        return next((n - at for n in places if self.entries[n].id in self.only), len(places))

    def _scan_part(self, entry: CatalogEntry, text: DocumentText) -> None:
        """Scan a slice of one document, or all of it."""
        data, offset = text.data, self._offset
        end = size = len(data)
        if size - offset > self._slice:
            end = data.find(b"\n", offset + self._slice)
            end = size if end < 0 else end
        is_long = end - offset > max(_LONG_LINE, 2 * self._slice)
        if is_long and (before := data.rfind(b"\n", offset, offset + self._slice)) >= 0:
            end, is_long = before, False  # the long line gets a slice of its own
        if is_long and not self._in_time(entry, data=data, begin=offset, end=end):
            self.skipped.append((text.path, text.line_at(offset)))
        elif not self._find(data, offset, end, [self.covered], [0]):
            return
        self._offset = end + 1
        if end >= size - 1:
            self.covered += 1
            self._offset = 0

    def _in_time(self, entry: CatalogEntry, *, data: bytes, begin: int, end: int) -> bool:
        """Estimate whether searching a long line, which cannot be interrupted, ends before the deadline."""
        find = self._finder([entry])
        length = self._slice
        while True:
            took = float("inf")
            for _ in range(2):  # a slow search is slow twice; a delay of the machine is not
                started = self.clock()
                find(data, begin, min(begin + length, end))
                now = self.clock()
                took = min(took, now - started)
            if took > _FAST_S or 2 * length > end - begin:
                return now + took * (end - begin) / length <= self.deadline
            length *= 2

    def _scan_several(self) -> None:
        """Scan consecutive small documents as one text: a call for each would take longer than the search itself."""
        places: list[int] = []
        parts: list[bytes] = []
        starts: list[int] = []
        size, most = 0, min(self._slice, MOST_TOGETHER)
        entries, only = self.entries, self.only
        for place in range(self.covered, len(entries)):
            entry = entries[place]
            if only is not None and entry.id not in only:
                continue
            if (text := self.text_of(entry)) is None or (places and size + len(text.data) > most):
                break
            places.append(place)
            parts.append(text.data)
            starts.append(size)
            size += len(text.data)
            if text.data and not text.data.endswith(b"\n"):
                parts.append(b"\n")
                size += 1
        if self._find(b"".join(parts), 0, size, places, starts):
            self.covered = places[-1] + 1

    def _find(
        self,
        data: bytes,
        at: int,
        end: int,
        places: Sequence[int],
        starts: Sequence[int],
    ) -> bool:
        """Add the hits in the bytes `at:end` of `data`, which begin and end at line borders. Return whether that was all of them.

        `data` holds the documents `entries[place]` for each of `places`; each begins at the offset in `starts`. In
        `data`, document n takes the bytes from `starts[n]` up to `starts[n + 1]`:

            starts   0            120                 300
            data     first.md ... second.txt ........ third.md ...
                                      ^ match: the last start that is not behind it is 120, so it is in second.txt
        """
        if not data:
            return True
        find = self._finder([self.entries[place] for place in places])
        last = len(data) - data.endswith(b"\n")  # no line follows the last line break
        following = 0  # where the document behind the current one begins
        while at <= end and (match := find(data, at, end)) is not None:
            start, stop = match
            if start > last:
                break
            if start >= following:
                # The first match in another document. Documents without a match are passed over by this search.
                number = bisect_right(starts, start) - 1
                following = starts[number + 1] if number + 1 < len(starts) else last + 1
                document = self._document(places[number], starts[number])
            # A match may begin anywhere in its line and may span several: the hit is from the beginning of its first
            # line to the end of its last. The search goes on behind that, so that a line is one hit.
            begin = data.rfind(b"\n", document.first, start) + 1 or document.first
            stop = data.find(b"\n", stop, end)
            if stop < 0:
                stop = end
            # Of a line that is continued, each part can be a hit.
            begin, stop = document.part(begin, stop, match)
            in_line = stop < end and data[stop : stop + 1] != b"\n"
            at = stop if in_line else stop + 1
            line = document.line_at(data, begin)
            if line > document.passed and not self._take(document, data, line, (begin, stop, start)):
                return False
            if in_line and self.clock() >= self.deadline:
                return False  # a long line can have many hits, each found by a search to its end
        return True

    def _document(self, place: int, first: int) -> "_Searched":
        """Return the state of the document at `place`, which begins at byte `first` of what is searched."""
        entry = self.entries[place]
        text = cast("DocumentText", self.text_of(entry))  # it was searched, so it is there
        return _Searched(
            place=place,
            entry=entry,
            text=text,
            first=first,
            counted=first,
            passed=self.after[1] if text.path == self.after[0] else 0,
            plain=not self.context_lines and not text.page_starts,
            overhead=HIT_OVERHEAD_BYTES + len(text.path.encode()),
            breaks=self._breaks_in(entry, text),
        )

    def _breaks_in(self, entry: CatalogEntry, text: DocumentText) -> "array[int]":
        """Return the number of line breaks before each block; none of a small text of which they are not known."""
        if entry.breaks or len(text.data) <= MOST_TOGETHER:
            return entry.breaks
        if self._breaks[0] != entry.id:
            self._breaks = entry.id, breaks_of(text.data)
        return self._breaks[1]

    def _take(self, document: "_Searched", data: bytes, line: int, found: tuple[int, int, int]) -> bool:
        """Add the hit on a line, `found` being where in `data` the line begins and ends and the match begins.

        Return False when it is the last one: no more are wanted, or it does not fit in the room that is left. The first
        hit is always taken.
        """
        begin, end, start = found
        if document.plain and end - begin <= MAX_LINE:
            # Most hits: a whole line without neighbours and page. Its size is known without making it into JSON.
            size = end - begin + document.overhead
            hit = Hit(document.text.path, line, data[begin:end].decode(), start_line=line, end_line=line)
        else:
            first = document.first
            hit = self._hit(document.text, line, begin - first, end - first, start - first)
            size = hit_bytes(hit)
        self.room -= size
        self.full = self.room < 0 and bool(self.hits)
        if not self.full:
            self.hits.append(hit)
            if not self.sources or self.sources[-1] is not document.entry:
                self.sources.append(document.entry)
        if self._has_enough:
            self.covered = document.place
            return False
        return True

    def _finder(self, entries: Iterable[CatalogEntry]) -> Find:
        """Return the search for these documents: that for ASCII is faster than that for any text."""
        return self.pattern.find_ascii if all(entry.is_ascii for entry in entries) else self.pattern.find

    def _hit(self, text: DocumentText, line: int, begin: int, end: int, start: int) -> Hit:
        """Build the hit of a match at byte `start` in the line at the bytes `begin:end`."""
        data = text.data
        before: tuple[str, ...] = ()
        after: tuple[str, ...] = ()
        if self.context_lines and text.continued:
            before, after = lines_around(text, line, self.context_lines)
        elif self.context_lines:
            before, after = context(data, begin=begin, end=end, lines=self.context_lines)
        page = text.page_of(line) if text.page_starts else None
        return Hit(
            document=text.path,
            line_number=line,
            matched_text=cut_bytes(data, begin=begin, end=end, at=start),
            page=page,
            before=before,
            after=after,
            start_line=line,
            end_line=line,
            ocr=text.is_ocr(page),
        )
