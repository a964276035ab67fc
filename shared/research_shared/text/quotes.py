"""Verifies quotes: whether a document says a quote word for word, and where.

Words, digits, negation and their order must match, and so must marks within the quote; how it is set need not (see
`wording`). An ellipsis in a quote stands for words of the document between two parts, each long enough to be a quote. The
case of the first letter, marks at the edges and running heads of pages do not matter. A quote begins and ends at the border
of a word or number, because "able to" in "unable to" proves nothing.
"""

import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Final

from research_shared.documents import DocumentText
from research_shared.text.negation import negates, only_negates
from research_shared.text.visible import visible
from research_shared.text.wording import ELLIPSIS, WIDE, Token, optional_spans, skeleton, tokens

MIN_WEIGHT: Final = 12
"""Minimum letters and digits of a quote, and of each part between ellipses; a wide character counts three."""

MAX_QUOTE: Final = 2_000
"""Maximum length of a quote in characters."""

MAX_GAP: Final = 600
"""Letters and digits of the document that an ellipsis may stand for."""

MAX_SENTENCE: Final = 600
"""Characters before and after a quote in which its sentence begins and ends."""

MAX_PLACES: Final = 200
"""Candidate places that are compared before a quote counts as not found."""

MAX_COMPARED: Final = 100_000
"""Characters read and tokens compared at those places, to bound the work on a hostile document."""

_MARGIN: Final = 200
_LOOK_BACK: Final = 12
_LOOK_AHEAD: Final = 8
_EDGE_LINES: Final = 2
_MAX_HEAD: Final = 120
_LEADING: Final = frozenset("',;:.-)]}" + ELLIPSIS)
_TRAILING: Final = frozenset("',;:.-([{)]}" + ELLIPSIS)
_WEIGHTS: Final = re.compile(rf"(?P<wide>[{WIDE}])|[^\W_]")
_LIST_MARK: Final = re.compile(
    r"^[ \t]*(?:(?:[-*+>\u2022\u2023\u25e6\u25aa\u00b7]|#{1,6})[ \t]+)+", re.MULTILINE
)
_LINE_END_HYPHEN: Final = re.compile(r"(?<=\w)[-\u00ad\u2010][ \t]*\n\s*(?=\w)")
_WIDE_SPACE: Final = re.compile(rf"(?<=[{WIDE}])\s+(?=[{WIDE}])")
_BOUNDARY: Final = re.compile(
    r"""(?P<stop>(?<=\w)[.!?]|(?<=[)\]"'\u201d\u2019%`*])[.!?])["'\u201d\u2019)\]\u00bb]*(?=\s+(?P<next>\S))
      | [\u3002\uff01\uff1f]["'\u201d\u2019)\]\u300d\u300f]*
      | \n[ \t]*\n
      | \n(?=[ \t]*(?:[-*+\u2022]|\d{1,3}[.)]|\#{1,6})[ \t])
      | ^[ \t]*(?P<heading>\#{1,6})[ \t][^\n]*\n
    """,
    re.VERBOSE | re.MULTILINE,
)
_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:\w|al|approx|bzw|ca|cf|Dr|ed|eds|e\.g|etc|Fig|fig|i\.e|Mr|Mrs|Ms|No|no|Nr|Prof|Sec|St|vgl|vol|vs|z\.B))\.\Z"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteMatch:
    """Where a quote is. Lines are 1-based and inclusive, `page` is that of the first one.

    `text` is what the document says there: the quote, or its whole sentence from `text_lines` if the quote leaves out the
    sentence's beginning or a negation.
    """

    start_line: int
    end_line: int
    page: int | None
    text: str
    text_lines: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a quote, or a part of it, is: offsets in the document, and hyphens at line ends that the quote keeps."""

    begin: int
    end: int
    hyphens: frozenset[int]
    stopped: bool
    """Whether the quote ends with a full stop that the document does not have there."""
    raised: bool
    """Whether the quote begins with a capital that the document does not have there."""


def weight(text: str) -> int:
    """Return the letters and digits of a text, wide characters counted three times."""
    return sum(3 if match["wide"] else 1 for match in _WEIGHTS.finditer(text))


class QuoteFinder:
    """Finds quotes in one document, which is read once."""

    def __init__(self, text: DocumentText) -> None:
        self._document = text
        self._work = 0
        """Tokens compared for the quote that is looked for."""

    def find(self, quote: str) -> QuoteMatch | None:
        """Return the first place of the quote, or None if there is none or the quote is too short or too long."""
        quote = visible(quote).strip()
        if weight(quote) < MIN_WEIGHT or len(" ".join(quote.split())) > MAX_QUOTE:
            return None
        self._work = 0
        for wording in dict.fromkeys((quote, _LIST_MARK.sub("", quote))):
            places = self._places(wording)
            if places:
                return self._match(places)
        return None

    def _places(self, quote: str) -> list[_Place]:
        """Return the place of a quote, or those of its parts between ellipses."""
        asked = tokens(quote)
        for place in self._candidates(quote, asked):
            if self._keeps_negation([place]):
                return [place]
        parts = _parts(quote, asked)
        if len(parts) < 2 or any(weight(part) < MIN_WEIGHT for part in parts):  # noqa: PLR2004
            return []
        for first in self._candidates(parts[0], tokens(parts[0])):
            places = self._followed([first], parts[1:])
            if places and self._keeps_negation(places):
                return places
        return []

    def _followed(self, places: list[_Place], parts: Sequence[str]) -> list[_Place]:
        for part in parts:
            after = places[-1].end
            following = next(self._candidates(part, tokens(part), after=after), None)
            if following is None:
                return []
            places = [*places, following]
        return places

    # ---- where a quote may be

    @cached_property
    def _text(self) -> str:
        """The text, with a line break where a long line is continued: offsets in it and numbers of lines belong together."""
        document = self._document
        return "\n".join(document.lines(1, document.total_lines)) if document.continued else document.text

    @cached_property
    def _line_starts(self) -> "array[int]":
        """The offset of each line."""
        lengths = (len(line) + 1 for line in self._text.split("\n"))
        return array("Q", accumulate(lengths, initial=0))

    @cached_property
    def _heads(self) -> frozenset[int]:
        """The lines (0-based) that are heads or feet of pages: they are repeated there but for their numbers."""
        found: list[tuple[str, int]] = []
        for page in range(1, (self._document.pages or 0) + 1):
            first, last = self._document.page_lines(page)
            lines = range(first, last + 1)
            shown = [
                number for number in (*lines[:8], *lines[8:][-8:]) if self._document.line(number).strip()
            ]
            for number in {*shown[:_EDGE_LINES], *shown[-_EDGE_LINES:]}:
                line = " ".join(self._document.line(number).split()).lower()
                if len(line) <= _MAX_HEAD:
                    found.append((re.sub(r"\d+", "#", line), number - 1))
        times = Counter(line for line, _ in found)
        return frozenset(
            number
            for line, number in found
            if times[line] > 1 and (line.count("#") <= 1 or any(map(str.isalpha, line)))
        )

    @cached_property
    def _reduced(self) -> tuple[bytes, "array[int]"]:
        """The skeleton without what a quotation may leave out, and where each line begins in it."""
        lines = skeleton(self._text).split(b"\n")
        for number in self._heads:
            lines[number] = b""
        return _joined(lines)

    @cached_property
    def _whole(self) -> tuple[bytes, "array[int]"]:
        return _joined(skeleton(self._text, all_of_it=True).split(b"\n"))

    def _candidates(self, quote: str, asked: Sequence[Token], after: int = 0) -> Iterator[_Place]:
        """Yield the places of a quote in order, found by its letters and digits and compared token by token."""
        for whole in (False, True):
            wanted = skeleton(quote, all_of_it=whole).replace(b"\n", b"")
            if not wanted:
                return
            for window in self._windows(wanted, self._whole if whole else self._reduced, after):
                place = self._compared(asked, window, after)
                if place is not None:
                    yield place

    def _windows(
        self, wanted: bytes, folded: tuple[bytes, "array[int]"], after: int
    ) -> Iterator[tuple[int, int, int, int]]:
        """Yield lines that hold the letters and digits, with what is around: outer begin, begin, limit of the begin, outer end."""
        letters, starts = folded
        at = stop = 0
        if after:
            line = bisect_right(self._line_starts, after) - 1
            at = starts[line]
            # The line has no more letters before the offset than characters; UTF-8 has up to four bytes for each.
            stop = at + 4 * (after - self._line_starts[line] + MAX_GAP) + len(wanted)
        compared = 0
        for _ in range(MAX_PLACES):
            at = letters.find(wanted, at, stop or len(letters))
            if at == -1 or max(compared, self._work) > MAX_COMPARED:
                return
            first, last = bisect_right(starts, at) - 1, bisect_right(starts, at + len(wanted) - 1) - 1
            begin, limit, end = (self._line_starts[line] for line in (first, first + 1, last + 1))
            outer = max(0, begin - _MARGIN), min(len(self._text), end + _MARGIN)
            compared += outer[1] - outer[0]
            yield outer[0], begin, limit, outer[1]
            # Every place that begins in this line has been compared.
            at = starts[first + 1]

    # ---- what is there

    def _compared(
        self, asked: Sequence[Token], window: tuple[int, int, int, int], after: int
    ) -> _Place | None:
        outer, begin, limit, end = window
        raw = self._text[outer:end]
        found = tokens(raw, self._optional(outer, raw))
        core = _core(asked)
        for index, token in enumerate(found):
            offset = outer + token.begin
            if offset >= limit:
                return None
            if offset < max(begin, after) or not _may_begin(core[0].text, token.text):
                continue
            self._work += len(core)
            if self._work > MAX_COMPARED:
                return None
            aligned = _aligned(core, found, index)
            if aligned is None or not _on_borders(found, index, aligned[0]):
                continue
            last = _with_edge(asked, core, found, aligned[0])
            stop = next((token.text for token in reversed(asked) if token.text != "'"), "") == "."
            return _Place(
                offset,
                outer + found[last - 1].end,
                frozenset(outer + at for at in aligned[1]),
                stopped=stop and found[last - 1].text != ".",
                raised=core[0].text[:1].isupper() and token.text[:1].islower(),
            )
        return None

    def _optional(self, outer: int, raw: str) -> list[tuple[int, int]]:
        """Return what of a stretch a quotation may leave out: see `optional_spans`, and the heads of pages."""
        spans = optional_spans(raw)
        if not self._heads:
            return spans
        first = bisect_right(self._line_starts, outer) - 1
        last = bisect_right(self._line_starts, outer + len(raw)) - 1
        heads = [
            (self._line_starts[line] - outer, self._line_starts[line + 1] - 1 - outer)
            for line in range(first, last + 1)
            if line in self._heads
        ]
        kept = [span for span in spans if not any(begin <= span[0] < end for begin, end in heads)]
        return sorted([*kept, *heads])

    # ---- the sentence around it

    def _keeps_negation(self, places: Sequence[_Place]) -> bool:
        """Whether the quote does not turn its sentence into the opposite by what it leaves out."""
        first, last = places[0], places[-1]
        before = self._text[self._sentence_begin(first.begin) : first.begin]
        after = self._text[last.end : self._sentence_end(last.end)]
        if only_negates(before) or (first.raised and negates(before)):
            return False
        if only_negates(after) or (last.stopped and negates(after)):
            return False
        for left, right in pairwise(places):
            gap = self._text[left.end : right.begin]
            ends = [match.end() for match in sentence_boundaries(gap)]
            if negates(gap[: ends[0]] if ends else gap) or (ends and negates(gap[ends[-1] :])):
                return False
        return True

    def _sentence_begin(self, offset: int) -> int:
        earliest = max(0, offset - MAX_SENTENCE)
        begin = earliest
        # A quote may begin with the mark by which a break of lines ends a sentence.
        for match in sentence_boundaries(self._text[earliest : offset + _LOOK_AHEAD]):
            if earliest + match.end() <= offset:
                begin = earliest + match.end()
        return begin + len(self._text[begin:offset]) - len(self._text[begin:offset].lstrip())

    def _sentence_end(self, offset: int) -> int:
        latest = min(len(self._text), offset + MAX_SENTENCE)
        # What is before the offset tells an abbreviation from the end of a sentence.
        begin = max(0, offset - _LOOK_BACK)
        for match in sentence_boundaries(self._text[begin:latest]):
            # A heading in which the quote ends goes on behind it.
            if begin + match.end() >= offset and not match["heading"]:
                # A break of lines is no part of the sentence.
                return begin + match.end() if match["stop"] else max(offset, begin + match.start())
        return latest

    def _match(self, places: Sequence[_Place]) -> QuoteMatch:
        first, last = places[0], places[-1]
        begin, end = self._sentence_begin(first.begin), self._sentence_end(last.end)
        before, after = self._text[begin : first.begin], self._text[last.end : end]
        whole = any(map(str.isalnum, before)) or negates(after)
        if not whole:
            begin, end = first.begin, last.end
        hyphens = frozenset(offset for place in places for offset in place.hyphens)
        lines = self._lines(first.begin, last.end)
        return QuoteMatch(
            start_line=lines[0],
            end_line=lines[1],
            page=self._document.page_of(lines[0]),
            text=self._shown(begin, end, hyphens),
            text_lines=self._lines(begin, end),
        )

    def _lines(self, begin: int, end: int) -> tuple[int, int]:
        return bisect_right(self._line_starts, begin), bisect_right(self._line_starts, max(begin, end - 1))

    def _shown(self, begin: int, end: int, hyphens: frozenset[int]) -> str:
        """Return a stretch of the text on one line, without heads of pages and without hyphens that only lines have."""
        raw = self._text[begin:end]
        first, last = self._lines(begin, end)
        for line in range(last - 1, first - 2, -1):
            if line in self._heads:
                head = self._line_starts[line] - begin, self._line_starts[line + 1] - 1 - begin
                raw = (
                    raw[: max(0, head[0])] + " " * (min(len(raw), head[1]) - max(0, head[0])) + raw[head[1] :]
                )
        raw = _LINE_END_HYPHEN.sub(lambda match: "-" if begin + match.start() in hyphens else "", raw)
        return " ".join(_WIDE_SPACE.sub("", visible(raw)).split())


def _joined(lines: Sequence[bytes]) -> tuple[bytes, "array[int]"]:
    return b"".join(lines), array("Q", accumulate(map(len, lines), initial=0))


def _parts(quote: str, asked: Sequence[Token]) -> list[str]:
    """Return what is between the ellipses of a quote."""
    parts: list[str] = []
    at = 0
    for token in asked:
        if token.text == ELLIPSIS:
            parts.append(quote[at : token.begin])
            at = token.end
    return [part for part in [*parts, quote[at:]] if weight(part)]


def _core(asked: Sequence[Token]) -> list[Token]:
    """Return the tokens of a quote without marks at its edges that prove nothing. At least one is a word."""
    core = list(asked)
    while core[0].text in _LEADING | _TRAILING:
        core.pop(0)
    while core[-1].text in _TRAILING:
        core.pop()
    return core


def _with_edge(asked: Sequence[Token], core: Sequence[Token], found: Sequence[Token], end: int) -> int:
    """Return where the match ends with those marks at the quote's end that the document has too."""
    rest = asked[asked.index(core[-1]) + 1 :]
    for token in rest:
        if end >= len(found) or found[end].text != token.text:
            break
        end += 1
    return end


def _aligned(asked: Sequence[Token], found: Sequence[Token], begin: int) -> tuple[int, list[int]] | None:
    """Return where the quote's tokens end in `found` if they begin at an index, and offsets of hyphens at line ends it keeps."""
    at = begin
    index = 0
    hyphens: list[int] = []
    while index < len(asked):
        group = found[at].group if at < len(found) else 0
        # A quote that begins within what may be left out holds the rest of it.
        if group and found[at - 1].group != group:
            size = next((n for n, token in enumerate(found[at:]) if token.group != group), len(found) - at)
            same = [token.text for token in asked[index : index + size]]
            if same == [token.text for token in found[at : at + len(same)]]:
                # The quote holds it, or ends within it.
                index += len(same)
                size = len(same)
            at += size
            continue
        if at >= len(found):
            return None
        taken = _taken(asked[index], found, at, first=index == 0)
        if not taken:
            return None
        if found[at].kind == "soft":
            hyphens.append(found[at].begin)
        at += taken
        index += 1
    return at, hyphens


def _taken(asked: Token, found: Sequence[Token], at: int, *, first: bool) -> int:
    """Return how many tokens of the document are one of the quote: several if lines end within the word, 0 if none."""
    word = found[at].text
    following = at + 1
    while not _same(asked.text, word, first=first):
        if len(word) >= len(asked.text) or following >= len(found) or found[following].kind != "soft":
            return 0
        word += found[following + 1].text  # a word follows a hyphen at the end of a line
        following += 2
    return following - at


def _may_begin(asked: str, word: str) -> bool:
    """Whether a token of the document may be the first of a quote, or its part before the end of a line."""
    return asked[: len(word)].lower() == word.lower()


def _same(asked: str, word: str, *, first: bool) -> bool:
    return asked == word or (first and asked[1:] == word[1:] and asked[:1].lower() == word[:1].lower())


def _on_borders(found: Sequence[Token], begin: int, end: int) -> bool:
    """Whether a quote does not begin or end within a word that a hyphen joins."""
    before, after = found[max(0, begin - 2) : begin], found[end : end + 2]
    if before and before[-1].kind == "soft":
        return False
    if len(before) > 1 and _joins(before[0], before[1], found[begin]):
        return False
    if after and after[0].kind == "soft":
        return False
    return not (len(after) > 1 and _joins(found[end - 1], after[0], after[1]))


def _joins(left: Token, mark: Token, right: Token) -> bool:
    together = mark.kind == "hyphen" and not mark.spaced and not right.spaced
    return together and left.text[-1:].isalpha() and right.text[:1].isalpha()


def sentence_boundaries(text: str) -> Iterator[re.Match[str]]:
    """Yield where sentences of a text end, at the end of each match. After an abbreviation, or before a small letter, none does."""
    for match in _BOUNDARY.finditer(text):
        if match["stop"] == "." and _ABBREVIATION.search(
            text, max(0, match.start() - _LOOK_BACK), match.start() + 1
        ):
            continue
        if match["stop"] and match["next"].islower():
            continue
        yield match
