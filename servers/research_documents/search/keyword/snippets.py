"""Which lines of a passage are shown with a hit: the stretch that holds the most of what was searched for."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from research_documents.search.display import MAX_LINE, cut
from research_documents.search.keyword.best_line import HighlightTerms, held_by_line, match_position
from research_documents.search.outcome import Hit

SNIPPET_BYTES: Final = (1_200, 1_200, 1_200, 400, 400, 200)
"""Bytes of text that the hits of an answer show, the best one first; those after the last figure show as much as it.

A passage has about 1,200: the first three show all of it, because most answers are there. Measured by
`benchmarks/replies.py`.
"""
FULL_HITS: Final = 20
"""Hits of one answer that show more than their line."""
MAX_NEIGHBOR_LINES: Final = 20
"""Lines that are shown before a hit's line, and after it, at the most."""
MAX_ANALYZED: Final = 2_000
"""Characters of a long line that are looked at to see what it holds."""


def snippet_bytes(position: int) -> int:
    """How many bytes the hit at this position of an answer shows, counted from 0; 0 for its line alone."""
    if position >= FULL_HITS:
        return 0
    return SNIPPET_BYTES[min(position, len(SNIPPET_BYTES) - 1)]


def best_stretch(
    held: Sequence[AbstractSet[object]], sizes: Sequence[int], best: int, most: int
) -> tuple[int, int]:
    """The first and the last line of the stretch around `best` that holds the most different things.

    `held` is what each line holds and `sizes` how many bytes it takes, of which the stretch takes at most `most`; the
    line `best` is in it whatever its size. Of equal ones it is the one with more of the things, then the one in whose
    middle `best` is, then the first.
    """
    found = (best, best)
    top: tuple[int, int, float] | None = None
    for first in range(best, -1, -1):
        last, size = best, sum(sizes[first : best + 1])
        if first < best and size > most:
            break
        while last + 1 < len(sizes) and size + sizes[last + 1] <= most:
            last += 1
            size += sizes[last]
        lines = held[first : last + 1]
        value = (
            len(frozenset[object]().union(*lines)),
            sum(map(len, lines)),
            -abs((first + last) / 2 - best),
        )
        if top is None or value >= top:
            found, top = (first, last), value
    return found


def _reach(sizes: Sequence[int], best: int, most: int) -> tuple[int, int]:
    """The range of lines that can be in a stretch with `best`: as far as the bytes reach in one direction."""
    low = high = best
    room = most - sizes[best]
    while low > max(best - MAX_NEIGHBOR_LINES, 0) and sizes[low - 1] <= room:
        low -= 1
        room -= sizes[low]
    room = most - sizes[best]
    while high + 1 < min(best + MAX_NEIGHBOR_LINES + 1, len(sizes)) and sizes[high + 1] <= room:
        high += 1
        room -= sizes[high]
    return low, high + 1


def with_neighbours(hit: Hit, passage: Sequence[str], terms: HighlightTerms, most: int) -> Hit:
    """The hit with those lines around it that belong to its stretch of the passage, which begins at `hit.start_line`."""
    best = hit.line_number - hit.start_line
    if most <= 0 or best >= len(passage):
        return hit
    sizes = [min(len(line.encode()), MAX_LINE) + 1 for line in passage]
    low, high = _reach(sizes, best, most)
    lines, sizes, best = passage[low:high], sizes[low:high], best - low
    first, last = 0, len(lines) - 1
    if sum(sizes) > most:
        held = held_by_line([line[:MAX_ANALYZED] for line in lines], terms)
        first, last = best_stretch(held, sizes, best, most)
    while first < best and not lines[first].strip():
        first += 1
    while last > best and not lines[last].strip():
        last -= 1
    shown = hit.matched_text
    if len(line := lines[best]) > MAX_LINE and most > MAX_LINE:
        # As many characters as take so many bytes: in some scripts each takes three.
        room = max(most * len(line) // len(line.encode()), MAX_LINE)
        shown = cut(line, match_position(line, terms), room)
    return hit._replace(
        matched_text=shown,
        before=tuple(map(cut, lines[first:best])),
        after=tuple(map(cut, lines[best + 1 : last + 1])),
    )
