"""Where the lines of a printed page belong: which order people read them in, and which letters are no letters.

Plain functions over plain values. Lengths are points (1/72 inch), x to the right and y upwards, as in PDF.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import NamedTuple

MIN_GAP_EM = 0.1
"""A gap that people read as a space, in sizes of the font."""
_TRACKING_EM = 0.05
"""Letters that stand apart by more than this are spaced on purpose: their gaps are no spaces."""
MIN_COLUMN_ROWS = 3
"""Fewer rows side by side are no columns."""
_MIN_COLUMN_WORDS = 3
_GUTTER_EM = 1.0
_PROSE_LOWERCASE = 0.4
_MAX_PROSE_DIGITS = 0.2
_OVERLAP = 0.5
_SMALL, _HIGHER = 0.9, 0.15

_SUSPICIOUS = 0.02
_UNMAPPED = 0.5
_MANY_CONTROLS = 0.05
_MANY_PLACEHOLDERS = 0.5
_MIN_VOWELS, _MAX_VOWELS = 0.25, 0.6
_MIN_LATIN = 0.6
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_NO_LETTER = re.compile("[\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]")
_VOWEL = re.compile("[aeiouAEIOU]")
_LATIN = re.compile("[A-Za-z]")
CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff]")


class Box(NamedTuple):
    """A rectangle on a page."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def width(self) -> float:
        """Return the extent from left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Return the extent from bottom to top."""
        return self.top - self.bottom

    def around(self, other: "Box") -> "Box":
        """Return the smallest box that holds both."""
        return Box(
            min(self.left, other.left),
            min(self.bottom, other.bottom),
            max(self.right, other.right),
            max(self.top, other.top),
        )

    def touches(self, other: "Box") -> bool:
        """Return whether the two have a point in common."""
        return (
            self.left <= other.right
            and other.left <= self.right
            and self.bottom <= other.top
            and other.bottom <= self.top
        )

    def beside(self, other: "Box") -> bool:
        """Return whether the two are at the same height, for more than half of the lower one."""
        shared = min(self.top, other.top) - max(self.bottom, other.bottom)
        return shared > _OVERLAP * max(min(self.height, other.height), 0.001)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLine:
    """One line of a page. `box` reaches from its first to its last letter; None where it has none.

    `start` is the position of its first character in the text of the page. `upright` says that its letters are not
    turned.
    """

    text: str
    start: int = 0
    box: Box | None = None
    upright: bool = True

    @property
    def is_vertical(self) -> bool:
        """Return whether the line is written from top to bottom, as Japanese may be."""
        box = self.box
        return (
            box is not None
            and self.upright
            and box.height > 2 * box.width
            and CJK.search(self.text) is not None
        )


class Segment(NamedTuple):
    """A part of a line that stands apart from the parts beside it. `start` as in `PageLine`."""

    start: int
    box: Box


def vertical_lines_from_the_right(lines: Sequence[PageLine]) -> list[PageLine]:
    """Return the lines with each group of vertical ones in the order of reading: the rightmost one first."""
    ordered: list[PageLine] = []
    group: list[PageLine] = []

    def flush() -> None:
        group.sort(key=lambda line: -line.box.left if line.box else 0.0)
        ordered.extend(group)
        group.clear()

    for line in lines:
        if not line.is_vertical or (
            group and group[-1].box and line.box and not group[-1].box.beside(line.box)
        ):
            flush()
        (group if line.is_vertical else ordered).append(line)
    flush()
    return ordered


def rows_of(boxes: Iterable[Box]) -> Iterator[list[Box]]:
    """Yield rows of boxes that stand apart, from the boxes of runs of letters in the order of the text.

    A run that goes on to the right of the one before, at its height, belongs to the same row; behind a gap of the
    size of a letter and more it stands apart.
    """
    row: list[Box] = []
    for box in boxes:
        if row and row[-1].beside(box) and box.left > row[-1].left:
            last = row[-1]
            if box.left - last.right < _GUTTER_EM * max(last.height, box.height):
                row[-1] = last.around(box)
            else:
                row.append(box)
            continue
        if row:
            yield row
        row = [box]
    if row:
        yield row


def stand_apart(runs: Iterable[tuple[float, float, float, float]]) -> bool:
    """Return whether two runs of letters of one line (left, bottom, right, top) have a gap of the size of a letter between them.

    As `rows_of`, for a quick look.
    """
    end = tallest = math.inf
    for left, bottom, right, top in runs:
        if left - end >= _GUTTER_EM * max(top - bottom, tallest):
            return True
        end, tallest = right, top - bottom
    return False


def columns_first(lines: Sequence[PageLine], blocks: Iterable[Sequence[Sequence[Segment]]]) -> list[PageLine]:
    """Return the lines with columns of prose, which the file holds row by row, read one column after the other.

    Tables stay as they are: their rows belong together. Prose goes on in the next row with a small letter.
    """
    by_start = {line.start: number for number, line in enumerate(lines)}
    ordered: list[PageLine] = []
    done = 0
    for block in blocks:
        numbers = [by_start.get(row[0].start, -1) for row in block]
        first, last = numbers[0], numbers[-1]
        if first < done or numbers != list(range(first, last + 1)):
            continue
        rows = [_cells(lines[number], row) for number, row in zip(numbers, block, strict=True)]
        columns = list(zip(*rows, strict=True))
        if not all(_reads_on([cell.text for cell in column]) for column in columns):
            continue
        ordered += lines[done:first]
        ordered += [cell for column in columns for cell in column]
        done = last + 1
    return [*ordered, *lines[done:]]


def blocks_of(rows: Iterable[Sequence[Box]]) -> Iterator[list[Sequence[Box]]]:
    """Yield runs of rows, downwards, that have the same gutters."""
    block: list[Sequence[Box]] = []
    gutters: list[tuple[float, float]] = []
    for row in chain(rows, [()]):
        gaps = [(one.right, other.left) for one, other in pairwise(row)]
        if gaps and len(gaps) == len(gutters) and block[-1][0].top > row[0].top:
            shared = [(max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(gaps, gutters, strict=True)]
            least = row[0].height * _GUTTER_EM / 2
            if all(right - left > least for left, right in shared):
                block.append(row)
                gutters = shared
                continue
        if len(block) >= MIN_COLUMN_ROWS:
            yield block
        block, gutters = ([row], gaps) if gaps else ([], [])


def _cells(line: PageLine, row: Sequence[Segment]) -> list[PageLine]:
    ends = [segment.start - line.start for segment in row[1:]]
    cuts = [0, *ends, len(line.text)]
    return [
        PageLine(
            text=line.text[begin:end].strip(), start=segment.start, box=segment.box, upright=line.upright
        )
        for segment, (begin, end) in zip(row, pairwise(cuts), strict=True)
    ]


def _reads_on(texts: Sequence[str]) -> bool:
    words = [len(text.split()) for text in texts]
    small = sum(text[:1].islower() for text in texts[1:])
    letters = "".join(texts)
    digits = sum(map(str.isdigit, letters))
    return (
        sum(words) >= _MIN_COLUMN_WORDS * len(words)
        and small >= _PROSE_LOWERCASE * (len(texts) - 1)
        and digits <= _MAX_PROSE_DIGITS * len(letters)
    )


def word_ends(boxes: Sequence[Box], em: float) -> list[int]:
    """Return the positions in a word before which there is a space to see. `boxes` are those of its letters."""
    gaps = [after.left - before.right for before, after in pairwise(boxes)]
    if not gaps or em <= 0:
        return []
    if sorted(gaps)[len(gaps) // 2] > _TRACKING_EM * em:
        return []
    return [number for number, gap in enumerate(gaps, start=1) if gap >= MIN_GAP_EM * em * 0.99]


def is_raised(digit: Box, letter: Box) -> bool:
    """Return whether a digit is smaller than the letter before it, and stands higher. The boxes are those of their fonts."""
    return digit.height < _SMALL * letter.height and digit.bottom > letter.bottom + _HIGHER * letter.height


def with_fields(lines: Sequence[PageLine], fields: Sequence[PageLine]) -> list[PageLine]:
    """Return the lines of a page with what its fields hold: behind the text at their height, or below the text above."""
    placed = list(lines)
    for field in fields:
        number = _place_of(field, placed)
        if number is None:
            placed.append(field)
            continue
        line = placed[number]
        if line.box and field.box and line.box.beside(field.box):
            placed[number] = replace(line, text=f"{line.text} {field.text}", box=line.box.around(field.box))
        else:
            placed.insert(number + 1, field)
    return placed


def _place_of(field: PageLine, lines: Sequence[PageLine]) -> int | None:
    """Return the number of the line that a field belongs to."""
    best: tuple[float, int] | None = None
    if field.box is None:
        return None
    for number, line in enumerate(lines):
        if line.box is None:
            continue
        if line.box.beside(field.box) and line.box.left < field.box.left:
            distance = 0.0
        else:
            distance = line.box.bottom - field.box.top
            if distance < 0 or line.box.left > field.box.right:
                continue
        if best is None or distance < best[0]:
            best = (distance, number)
    return best[1] if best else None


def is_suspect(text: str) -> bool:
    """Return whether so many characters are none that the fonts of the text deserve a look."""
    if _CONTROL.search(text) is None and text.isascii():
        return False
    few = _SUSPICIOUS * len(text)
    return len(_CONTROL.findall(text)) > few or (not text.isascii() and len(_NO_LETTER.findall(text)) > few)


def is_undecodable(text: str, unmapped: float) -> bool:
    """Return whether the characters of a page are numbers of glyphs, or placeholders, instead of letters.

    `unmapped` is the share of characters of which the font does not say what they mean (0 to 1). Such a font may still
    use the numbers of letters: then there are words.
    """
    seen = "".join(text.split())
    if not seen:
        return False
    if len(_NO_LETTER.findall(seen)) > _MANY_PLACEHOLDERS * len(seen):
        return True
    if unmapped < _UNMAPPED:
        return False
    if len(_CONTROL.findall(seen)) > _MANY_CONTROLS * len(seen):
        return True
    latin = len(_LATIN.findall(seen))
    if latin < _MIN_LATIN * len(seen):
        return True
    return not _MIN_VOWELS <= len(_VOWEL.findall(seen)) / latin <= _MAX_VOWELS
