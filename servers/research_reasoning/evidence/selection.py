"""Selects the lines of a document that a model is shown, with their exact ranges."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from research_reasoning.evidence.ranking import rank
from research_shared.documents import DocumentText
from research_shared.text.passages import Passage, passages
from research_shared.text.tokens import Estimator

MARK_TOKENS = 10
"""Tokens of the line above each shown block."""

HEAD_FRACTION = 0.2
OUTLINE_FRACTION = 0.08
_OUTLINE_LIMIT = 60
_THINNER = 0.97
"""Largest factor of one thinning step of a document over its ceiling."""
_MAX_BYTES_PER_TOKEN = 8
"""Lower bound of the estimate: a text counts at least one token per this many bytes."""
_CLIP_SLACK = 8
"""Precision of `clip` in characters."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The part of a document that a model is shown: line ranges (1-based, inclusive, in order) and their text.

    `clipped` counts overlong lines of which only the beginning is shown.
    """

    ranges: tuple[tuple[int, int], ...]
    text: str
    tokens: int
    clipped: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage, or the part of it that fits."""

    start_line: int
    end_line: int
    page: int | None
    text: str
    tokens: int
    heading: str = ""
    clipped: bool = False


def passage_sizes(found: Iterable[Passage], estimate: Estimator) -> list[int]:
    """Return the tokens of each passage."""
    return [_size(passage.text, estimate) for passage in found]


def pieces(
    found: Sequence[Passage], limit: int, estimate: Estimator, sizes: Sequence[int] | None = None
) -> list[Piece]:
    """Return the passages with their sizes, if known `sizes`. One over the limit is cut, if need be within its first line."""
    sizes = passage_sizes(found, estimate) if sizes is None else sizes
    return [_piece(passage, tokens, limit, estimate) for passage, tokens in zip(found, sizes, strict=True)]


def _piece(passage: Passage, tokens: int, limit: int, estimate: Estimator) -> Piece:
    if tokens <= limit:
        return Piece(
            passage.start_line, passage.end_line, passage.page, passage.text, tokens, passage.heading
        )
    kept: list[str] = []
    used = 0
    for line in passage.text.split("\n"):
        size = _size(line, estimate) + 1
        if used + size > limit:
            break
        kept.append(line)
        used += size
    clipped = not kept
    if clipped:
        kept = [clip(passage.text.split("\n", 1)[0], limit, estimate)]
    text = "\n".join(kept)
    last = passage.start_line + len(kept) - 1
    return Piece(
        passage.start_line, last, passage.page, text, _size(text, estimate), passage.heading, clipped=clipped
    )


def _size(text: str, estimate: Estimator) -> int:
    return max(estimate(text), len(text.encode("utf-8", "surrogatepass")) // _MAX_BYTES_PER_TOKEN)


def clip(text: str, limit: int, estimate: Estimator) -> str:
    """Return the longest prefix of a text within the limit, to within a few characters."""
    if estimate(text[: limit * 8]) <= limit and len(text) <= limit * 8:
        return text
    low, high = 0, min(len(text), limit * 8)
    while high - low > _CLIP_SLACK:
        middle = (low + high) // 2
        low, high = (middle, high) if estimate(text[:middle]) <= limit else (low, middle)
    return text[:low]


def merged(chosen: Sequence[Piece]) -> Shown:
    """Join pieces in document order, neighbours into one block, each block under a line with its range."""
    ranges: list[tuple[int, int]] = []
    blocks: list[tuple[Piece, list[str]]] = []
    for piece in sorted(chosen, key=lambda piece: piece.start_line):
        if ranges and piece.start_line <= ranges[-1][1]:
            continue
        # Blank lines between passages carry nothing, so passages a blank apart still join.
        if blocks and piece.start_line <= ranges[-1][1] + 2 and piece.page == blocks[-1][0].page:
            blocks[-1][1].extend([""] * (piece.start_line - ranges[-1][1] - 1) + [piece.text])
            ranges[-1] = (ranges[-1][0], piece.end_line)
        else:
            ranges.append((piece.start_line, piece.end_line))
            blocks.append((piece, [piece.text]))
    texts = []
    for (first, last), (piece, block) in zip(ranges, blocks, strict=True):
        where = f"lines {first}-{last}" if piece.page is None else f"page {piece.page}, lines {first}-{last}"
        texts.append(f"[{where}]\n" + "\n".join(block))
    clipped = sum(piece.clipped for piece in chosen)
    tokens = sum(piece.tokens for piece in chosen) + MARK_TOKENS * len(ranges)
    return Shown(tuple(ranges), "\n\n".join(texts), tokens, clipped)


def outline(found: Sequence[Passage], limit: int, estimate: Estimator) -> str:
    """Return the headings of a document in order, as far as they fit."""
    kept: list[str] = []
    used = 0
    for heading in dict.fromkeys(passage.heading for passage in found if passage.heading):
        used += estimate(heading) + 1
        if used > limit or len(kept) == _OUTLINE_LIMIT:
            break
        kept.append(heading)
    return " · ".join(kept)


def select(
    text: DocumentText,
    question: str,
    per_document_tokens: int,
    estimate: Estimator,
    *,
    sizes: Sequence[int] | None = None,
) -> tuple[Shown, str]:
    """Return what to show of a document within `per_document_tokens`, and the outline if it is not shown whole.

    A document that fits is shown whole. Otherwise its beginning (title, abstract) comes first, then the passages that
    rank highest for the question, then, while there is room, the document from its beginning. `sizes` are the tokens of
    its passages, if they are known.
    """
    found = passages(text)
    every = pieces(found, per_document_tokens, estimate, sizes)
    marks = MARK_TOKENS * (1 if text.pages is None else text.pages)
    if sum(piece.tokens for piece in every) + marks <= per_document_tokens:
        return merged(every), ""
    headings = outline(found, int(per_document_tokens * OUTLINE_FRACTION), estimate)
    room = per_document_tokens - estimate(headings)
    by_line = {piece.start_line: piece for piece in every}
    chosen: dict[int, Piece] = {}

    def take(starts: Iterable[int], limit: float) -> None:
        used = sum(piece.tokens + MARK_TOKENS for piece in chosen.values())
        for start in starts:
            piece = by_line[start]
            if start in chosen or used + piece.tokens + MARK_TOKENS > limit:
                continue
            chosen[start] = piece
            used += piece.tokens + MARK_TOKENS

    in_order = [piece.start_line for piece in every]
    ranked = [passage.start_line for passage in rank(text, question, len(found))]
    take(in_order[:3], room * HEAD_FRACTION)
    take(ranked, room)
    take(in_order, room)
    if not chosen and every:
        small = pieces(found[:1], max(1, room - MARK_TOKENS), estimate)[0]
        chosen[small.start_line] = small
    return merged(list(chosen.values())), headings


def split_document(
    text: DocumentText,
    size: int,
    ceiling: int,
    estimate: Estimator,
    overhead_for: Callable[[int], int] = lambda _: 0,
    *,
    sizes: Sequence[int] | None = None,
) -> list[Shown]:
    """Split a document along headings and pages into parts of at most `size` tokens, at most `ceiling` in all.

    `overhead_for(count)` is the cost of that many parts besides their text. A document over the ceiling is thinned evenly.
    `sizes` are the tokens of its passages, if they are known.
    """
    groups = sections = _sections(pieces(passages(text), size - MARK_TOKENS, estimate, sizes), size)
    fraction = 1.0
    while groups and (cost := sum(map(_cost, groups)) + overhead_for(len(groups))) > ceiling:
        fraction *= min(_THINNER, ceiling / cost)
        groups = _filled(_thinned(sections, fraction), size)
    return [merged(group) for group in groups]


def _sections(every: Sequence[Piece], size: int) -> list[list[Piece]]:
    groups: list[list[Piece]] = []
    used = 0
    for piece in every:
        cost = piece.tokens + MARK_TOKENS
        opens = bool(groups) and _opens_section(groups[-1][-1], piece) and used > size * 0.6
        if not groups or used + cost > size or opens:
            groups.append([])
            used = 0
        groups[-1].append(piece)
        used += cost
    return groups


def _opens_section(before: Piece, piece: Piece) -> bool:
    return piece.heading != before.heading or piece.page != before.page


def _cost(every: Iterable[Piece]) -> int:
    return sum(piece.tokens + MARK_TOKENS for piece in every)


def _thinned(groups: Sequence[Sequence[Piece]], fraction: float) -> list[Piece]:
    """The beginnings of the groups; room that one group leaves unused goes to the next."""
    kept: list[Piece] = []
    room = 0.0
    for group in groups:
        room += _cost(group) * fraction
        for piece in group:
            cost = piece.tokens + MARK_TOKENS
            if cost > room:
                break
            room -= cost
            kept.append(piece)
    return kept


def _filled(every: Sequence[Piece], size: int) -> list[list[Piece]]:
    """Pack pieces into as few groups as their order allows."""
    groups: list[list[Piece]] = []
    used = 0
    for piece in every:
        cost = piece.tokens + MARK_TOKENS
        if not groups or used + cost > size:
            groups.append([])
            used = 0
        groups[-1].append(piece)
        used += cost
    return groups
