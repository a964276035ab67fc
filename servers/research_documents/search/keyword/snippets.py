"""Chooses the lines of a passage that a hit shows: the window with the most search terms."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from research_documents.search.display import MAX_LINE, cut
from research_documents.search.keyword.best_line import HighlightTerms, held_by_line, match_position
from research_documents.search.outcome import Hit

SNIPPET_BYTES: Final = (1_200, 1_200, 1_200, 400, 400, 200)
"""Bytes of text per hit, by its rank in the answer; later hits use the last figure.

A passage has about 1,200 bytes: the first three hits show all of it, because most answers are there (measured by
`benchmarks/replies.py`).
"""
FULL_HITS: Final = 20
"""Hits of one answer that show more than their own line."""
MAX_NEIGHBOR_LINES: Final = 20
"""Maximum number of lines shown before a hit, and after it."""
MAX_ANALYZED: Final = 2_000
"""Characters of a long line that are analyzed for search terms."""


def snippet_bytes(position: int) -> int:
    """Return the bytes shown for the hit at this 0-based position of an answer; 0 means its line alone."""
    if position >= FULL_HITS:
        return 0
    return SNIPPET_BYTES[min(position, len(SNIPPET_BYTES) - 1)]


def best_window(
    held: Sequence[AbstractSet[object]], *, sizes: Sequence[int], best: int, most: int
) -> tuple[int, int]:
    """Return (first, last) line of the window around `best` that contains the most different terms.

    `held` are the terms and `sizes` the bytes of each line. The window takes at most `most` bytes, but always includes
    the line `best`. Ties go to the window with more occurrences, then to the one centred on `best`, then to the first.
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


def _reach(sizes: Sequence[int], *, best: int, most: int) -> tuple[int, int]:
    """Return the half-open range of lines that can be in one window with `best`."""
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


def with_neighbours(hit: Hit, *, passage: Sequence[str], terms: HighlightTerms, most: int) -> Hit:
    """Return the hit with its neighbours from `passage`, whose first line is `hit.start_line`."""
    best = hit.line_number - hit.start_line
    if most <= 0 or best >= len(passage):
        return hit
    sizes = [min(len(line.encode()), MAX_LINE) + 1 for line in passage]
    low, high = _reach(sizes, best=best, most=most)
    lines, sizes, best = passage[low:high], sizes[low:high], best - low
    first, last = 0, len(lines) - 1
    if sum(sizes) > most:
        held = held_by_line([line[:MAX_ANALYZED] for line in lines], terms)
        first, last = best_window(held, sizes=sizes, best=best, most=most)
    while first < best and not lines[first].strip():
        first += 1
    while last > best and not lines[last].strip():
        last -= 1
    shown = hit.matched_text
    if len(line := lines[best]) > MAX_LINE and most > MAX_LINE:
        # Convert the byte limit to characters: in some scripts each takes three bytes.
        room = max(most * len(line) // len(line.encode()), MAX_LINE)
        shown = cut(line, match_position(line, terms), room)
    return hit._replace(
        matched_text=shown,
        before=tuple(map(cut, lines[first:best])),
        after=tuple(map(cut, lines[best + 1 : last + 1])),
    )
