"""Chooses evidence over a whole folder: pieces of all documents compete for one budget of tokens.

Pieces of about 500 bytes are ranked by the score of the passage they stand in and by how much of the queries they hold. A
document's further pieces count less and less, so that several documents are heard; a text that stands twice is shown once.
What is left of the budget shows the surroundings of the chosen pieces. Pure functions.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from research_reasoning.evidence.selection import MARK_TOKENS, Piece, Shown, clip, merged
from research_shared.documents import DocumentText
from research_shared.reading.passage_search import FoundPassage, FoundPassages
from research_shared.text.analysis import stems
from research_shared.text.questions import asked_words, common_stems
from research_shared.text.tokens import Estimator

PIECE_BYTES: Final = 500
MAX_PIECE_TOKENS: Final = 500
"""A longer piece is one long line; its beginning is shown."""
CANDIDATE_PASSAGES: Final = 80
PIECES_SHARE: Final = 0.75
"""Share of the budget that is for the pieces themselves; the rest is for their surroundings."""
SOURCE_TOKENS: Final = 20
"""Tokens of the line that names a document."""
_FURTHER: Final = 0.98
"""What each further piece of a document counts, of what it would count as the first."""
_SURROUNDING_BYTES: Final = 400
_OTHER_QUERY: Final = 0.8
"""What a query that a model wrote counts, of what the question counts."""
_SAME: Final = 0.8
"""Share of its runs of words that a piece has in common with a chosen one if it says the same."""
_WORDS_IN_RUN: Final = 4
_BASE: Final = 0.3
"""What the score of a passage counts for each of its pieces, whatever of the queries the piece itself holds."""
_MAX_NAMED_TERMS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What is shown of one document: line ranges (1-based, inclusive, in order) and the words it was chosen for."""

    path: str
    ranges: tuple[tuple[int, int], ...]
    words: tuple[str, ...] = ()
    reused: int = 0
    """How many of the ranges are shown because an earlier answer rests on them."""


@dataclass(slots=True)
class _Candidate:
    path: str
    start_line: int
    end_line: int
    text: str
    tokens: int
    terms: frozenset[str]
    score: float = 0.0
    is_nearest: bool = False
    """Whether it is the piece of its passage that is nearest to a query by meaning."""


def ranked_passages(found: FoundPassages) -> list[FoundPassage]:
    """Return the passages of all queries, each once, best first. A passage that several queries find counts for each."""
    scores: dict[tuple[str, int], float] = {}
    passages: dict[tuple[str, int], FoundPassage] = {}
    for number, some in enumerate(found.by_query):
        for passage in some:
            key = (passage.path, passage.start_line)
            known = passages.setdefault(key, passage)
            passages[key] = replace(known, near=known.near or passage.near)
            scores[key] = scores.get(key, 0.0) + passage.score * (_OTHER_QUERY if number else 1.0)
    order = sorted(passages, key=lambda key: (-scores[key], key))
    return [replace(passages[key], score=scores[key]) for key in order]


def candidates_of(found: FoundPassages, *, documents: int) -> list[FoundPassage]:
    """Return the passages to choose from: the best of all, and the best of each query, of at most so many documents."""
    first = [some[0] for some in found.by_query if some]
    ranked = ranked_passages(found)
    best = {(each.path, each.start_line): each for each in ranked}
    order = dict.fromkeys([*((each.path, each.start_line) for each in first), *best])
    paths = list(dict.fromkeys(path for path, _ in order))[:documents]
    kept = [best[key] for key in order if key[0] in paths]
    return kept[:CANDIDATE_PASSAGES]


def choose(
    passages: Sequence[FoundPassage],
    texts: Mapping[str, DocumentText],
    queries: Sequence[str],
    *,
    budget: int,
    estimate: Estimator,
) -> list[Chosen]:
    """Return what to show of which documents within `budget` tokens, the documents in the order of their best pieces."""
    asked = [frozenset(term for word in asked_words(query) for term in stems(word)) for query in queries]
    candidates = _candidates(passages, texts, frozenset[str]().union(*asked), estimate)
    _score(candidates, asked)
    taken = _winning(candidates, asked, int(budget * PIECES_SHARE))
    left = budget - _cost_of_pieces(taken)
    ranges = _with_surroundings(taken, texts, left, estimate)
    words = {word: frozenset(stems(word)) for query in queries for word in asked_words(query)}
    chosen: list[Chosen] = []
    for path in dict.fromkeys(piece.path for piece in taken):
        held = frozenset[str]().union(*(piece.terms for piece in taken if piece.path == path))
        named = [word for word, terms in words.items() if terms and terms <= held]
        chosen.append(Chosen(path=path, ranges=tuple(ranges[path]), words=tuple(named[:_MAX_NAMED_TERMS])))
    return chosen


def with_reused(chosen: Sequence[Chosen], reused: Sequence[Chosen]) -> list[Chosen]:
    """Return what was chosen together with what is shown again, which comes first; touching ranges are joined."""
    by_path = {each.path: each for each in chosen}
    first = [
        replace(
            each,
            ranges=tuple(_joined_ranges([*each.ranges, *by_path[each.path].ranges])),
            words=by_path[each.path].words,
        )
        if each.path in by_path
        else each
        for each in reused
    ]
    again = {each.path for each in reused}
    return [*first, *(each for each in chosen if each.path not in again)]


def with_surroundings(text: DocumentText, ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return line ranges of a document with what stands around them, as far as the document has them."""
    there = [(first, min(last, text.total_lines)) for first, last in ranges if first <= text.total_lines]
    wider = [(_before(text, first)[0], _after(text, last)[1]) for first, last in there]
    return tuple(_joined_ranges(wider))


def open_words(question: str, shown: Sequence[str]) -> list[str]:
    """Return the telling words of a question that none of the shown texts holds."""
    held = frozenset(term for text in shown for term in stems(text))
    return [
        word
        for word in asked_words(question)
        if (terms := frozenset(stems(word))) and not terms <= held and not terms <= common_stems()
    ]


def shown_of(text: DocumentText, ranges: Sequence[tuple[int, int]], estimate: Estimator) -> Shown:
    """Return the lines of a document in these ranges, as far as the document still has them."""
    pieces: list[Piece] = []
    for first, last in ranges:
        until = min(last, text.total_lines)
        if first > until:
            continue
        body = "\n".join(text.lines(first, until))
        tokens = estimate(body)
        clipped = first == until and tokens > MAX_PIECE_TOKENS
        if clipped:
            body = clip(body, MAX_PIECE_TOKENS, estimate)
            tokens = estimate(body)
        pieces.append(Piece(first, until, text.page_of(first), body, tokens, clipped=clipped))
    return merged(pieces)


# ---- pieces


def _candidates(
    passages: Sequence[FoundPassage],
    texts: Mapping[str, DocumentText],
    wanted: frozenset[str],
    estimate: Estimator,
) -> list[_Candidate]:
    found: dict[tuple[str, int], _Candidate] = {}
    for passage in passages:
        text = texts.get(passage.path)
        if text is None:
            continue
        pieces = list(_piece_lines(text, passage.start_line, min(passage.end_line, text.total_lines)))
        nearest = max(pieces, key=lambda piece: _common_lines(piece, passage.near), default=None)
        for first, last in pieces:
            body = "\n".join(text.lines(first, last))
            terms = frozenset(stems(body)) & wanted
            tokens = min(estimate(body), MAX_PIECE_TOKENS)
            found.setdefault(
                (passage.path, first),
                _Candidate(
                    passage.path,
                    first,
                    last,
                    body,
                    tokens,
                    terms,
                    passage.score,
                    passage.near is not None and (first, last) == nearest,
                ),
            )
    return list(found.values())


def _common_lines(piece: tuple[int, int], near: tuple[int, int] | None) -> int:
    return 0 if near is None else min(piece[1], near[1]) - max(piece[0], near[0]) + 1


def _piece_lines(text: DocumentText, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the lines of a passage in pieces of about `PIECE_BYTES`, broken at blank lines where they are near."""
    begin, size = first, 0
    for number in range(first, last + 1):
        line = text.line(number)
        size += len(line.encode("utf-8", "surrogatepass")) + 1
        enough = size >= PIECE_BYTES or (not line.strip() and size >= PIECE_BYTES // 2)
        if enough or number == last:
            while begin < number and not text.line(begin).strip():
                begin += 1
            if any(text.line(each).strip() for each in range(begin, number + 1)):
                yield begin, number
            begin, size = number + 1, 0


def _score(candidates: Sequence[_Candidate], asked: Sequence[frozenset[str]]) -> None:
    """Set the score of each piece: that of its passage, times how much of the best-fitting query it holds.

    The piece that made its passage near by meaning holds all of it, in other words.
    """
    spread = Counter(term for piece in candidates for term in piece.terms)
    weight = {term: math.log1p(len(candidates) / count) for term, count in spread.items()}
    for piece in candidates:
        held = max((_share_held(piece.terms, terms, weight) for terms in asked), default=0.0)
        piece.score *= _BASE + (1 - _BASE) * (1.0 if piece.is_nearest else held)


def _share_held(terms: AbstractSet[str], asked: AbstractSet[str], weight: Mapping[str, float]) -> float:
    whole = sum(weight.get(term, 0.0) for term in sorted(asked))
    return sum(weight[term] for term in sorted(terms & asked)) / whole if whole else 0.0


def _winning(
    candidates: Sequence[_Candidate], asked: Sequence[frozenset[str]], budget: int
) -> list[_Candidate]:
    """Return the pieces that win the budget: the best of each query first, then by score, in the order they were taken."""
    taken: list[_Candidate] = []
    runs: list[frozenset[tuple[str, ...]]] = []
    used = 0
    of_document: Counter[str] = Counter()
    open_ = sorted(candidates, key=lambda piece: (-piece.score, piece.path, piece.start_line))
    leading = [_best_for(open_, terms) for terms in asked]

    def value(piece: _Candidate) -> float:
        first = any(piece is each for each in leading) and not of_document[piece.path]
        return (math.inf if first else piece.score) * _FURTHER ** of_document[piece.path]

    while open_:
        piece = max(open_, key=value)
        open_.remove(piece)
        cost = piece.tokens + MARK_TOKENS + (0 if of_document[piece.path] else SOURCE_TOKENS)
        mine = _word_runs(piece.text)
        if used + cost > budget or any(_says_the_same(mine, other) for other in runs):
            continue
        taken.append(piece)
        runs.append(mine)
        used += cost
        of_document[piece.path] += 1
    return taken


def _best_for(candidates: Sequence[_Candidate], asked: frozenset[str]) -> _Candidate | None:
    fitting = [piece for piece in candidates if piece.terms & asked]
    return max(fitting, key=lambda piece: (len(piece.terms & asked), piece.score), default=None)


def _word_runs(text: str) -> frozenset[tuple[str, ...]]:
    words = stems(text)
    return frozenset(
        tuple(words[at : at + _WORDS_IN_RUN]) for at in range(max(1, len(words) - _WORDS_IN_RUN + 1))
    )


def _says_the_same(mine: AbstractSet[tuple[str, ...]], other: AbstractSet[tuple[str, ...]]) -> bool:
    """Return whether two pieces have most runs of words in common, and all of their numbers: another version may differ."""
    if len(mine & other) < _SAME * min(len(mine), len(other)):
        return False
    return not any(any(word.isdigit() for word in run) for run in mine ^ other)


def _cost_of_pieces(taken: Sequence[_Candidate]) -> int:
    documents = len({piece.path for piece in taken})
    return sum(piece.tokens + MARK_TOKENS for piece in taken) + SOURCE_TOKENS * documents


# ---- surroundings


def _with_surroundings(
    taken: Sequence[_Candidate], texts: Mapping[str, DocumentText], left: int, estimate: Estimator
) -> dict[str, list[tuple[int, int]]]:
    """Return the ranges of the pieces by document, widened in the order they were taken as far as the tokens reach."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for piece in taken:
        ranges.setdefault(piece.path, []).append((piece.start_line, piece.end_line))
    for piece in taken:
        text = texts[piece.path]
        for first, last in (
            _before(text, piece.start_line),
            _after(text, piece.end_line),
        ):
            missing = [
                number
                for number in range(first, last + 1)
                if not any(begin <= number <= end for begin, end in ranges[piece.path])
            ]
            cost = estimate("\n".join(map(text.line, missing))) if missing else 0
            if not missing or cost > left:
                continue
            left -= cost
            ranges[piece.path].append((first, last))
    return {path: _joined_ranges(some) for path, some in ranges.items()}


def _before(text: DocumentText, line: int) -> tuple[int, int]:
    """Return the lines before one that belong to its surroundings: on the same page, some hundred bytes."""
    first, size = line, 0
    while first > 1 and size < _SURROUNDING_BYTES and text.page_of(first - 1) == text.page_of(line):
        size += len(text.line(first - 1)) + 1
        if size > 2 * _SURROUNDING_BYTES:
            break
        first -= 1
    return first, line - 1


def _after(text: DocumentText, line: int) -> tuple[int, int]:
    last, size = line, 0
    while (
        last < text.total_lines and size < _SURROUNDING_BYTES and text.page_of(last + 1) == text.page_of(line)
    ):
        size += len(text.line(last + 1)) + 1
        if size > 2 * _SURROUNDING_BYTES:
            break
        last += 1
    return line + 1, last


def _joined_ranges(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges in order, those that touch joined."""
    ordered = sorted(each for each in ranges if each[0] <= each[1])
    joined = ordered[:1]
    for _, (first, last) in pairwise(ordered):
        if first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined
