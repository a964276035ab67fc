"""Joins two rankings into one: by words (BM25) and by meaning (cosine)."""

import math
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from research_documents.search.index.passage_index import ScoredPassage

KEYWORD_WEIGHT: Final = 0.6
VECTOR_WEIGHT: Final = 0.4
"""Measured by `benchmarks/retrieval.py`; the two add up to 1."""
FUSED: Final = 100
"""Passages of each ranking that are fused."""


class FusedPassages(NamedTuple):
    """The passages of both rankings, in no order, and the score of a tie of which only a part is here (else infinite)."""

    passages: list[ScoredPassage]
    open_tie: float


def fused(
    by_words: Sequence[ScoredPassage], by_meaning: Sequence[ScoredPassage], *, open_tie: float = math.inf
) -> FusedPassages:
    """Fuse the first `FUSED` passages of each ranking, which are sorted best first.

    The scores of each are brought to 0 for its last and 1 for its first passage (min-max), and summed by weight; where a
    ranking lacks a passage, it counts 0. What comes later by words keeps its order below: its score is 0 or less.
    """
    words = _scaled([passage.score for passage in by_words[:FUSED]], KEYWORD_WEIGHT)
    meaning = _scaled([passage.score for passage in by_meaning[:FUSED]], VECTOR_WEIGHT)
    scores: dict[tuple[int, int], float] = {}
    passages: dict[tuple[int, int], ScoredPassage] = {}
    for passage in by_words:
        place = (passage.document, passage.begin)
        passages[place], scores[place] = passage, words(passage.score)
    for position, passage in enumerate(by_words):
        if position >= FUSED:
            place = (passage.document, passage.begin)
            scores[place] = min(scores[place], 0.0)
    for passage in by_meaning[:FUSED]:
        place = (passage.document, passage.begin)
        found = passages.setdefault(place, passage)
        passages[place] = found._replace(near_begin=passage.near_begin, near_end=passage.near_end)
        scores[place] = max(scores.get(place, 0.0), 0.0) + meaning(passage.score)
    return FusedPassages(
        [passage._replace(score=scores[place]) for place, passage in passages.items()],
        open_tie if math.isinf(open_tie) else words(open_tie),
    )


def _scaled(scores: Sequence[float], weight: float) -> Callable[[float], float]:
    """Return what brings the last of these scores to 0 and the first to `weight`; equal ones all to `weight`."""
    if not scores or scores[0] == scores[-1]:
        return lambda score: weight if scores and score >= scores[0] else 0.0
    least, reach = scores[-1], scores[0] - scores[-1]
    return lambda score: weight * (score - least) / reach
