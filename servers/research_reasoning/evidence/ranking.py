"""Passages of one document ranked by how well they answer a question."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from research_shared.documents import DocumentText
from research_shared.text.analysis import STOP_WORDS, stems
from research_shared.text.passages import Passage, passages

K1: Final = 1.2


B: Final = 0.75
"""The usual constants of BM25 (Robertson and Zaragoza, 2009): how soon repetition saturates, how much length counts."""


def rank(text: DocumentText, question: str, limit: int) -> list[Passage]:
    """The passages of one document that answer a question best (BM25 over English stems), best first.

    Passages that share no term with the question are left out, and equal ones keep the document's order. Scored here
    and not in an index of its own: for the few hundred passages of one document building an index takes longer.
    """
    words = set(stems(question))
    words = {word for word in words if word not in STOP_WORDS} or words
    found = passages(text)
    if not words or not found or limit < 1:
        return []
    counts: list[Counter[str]] = []
    sizes: list[int] = []
    for passage in found:
        terms = stems(f"{passage.heading}\n{passage.text}")
        counts.append(Counter(term for term in terms if term in words))
        sizes.append(len(terms))
    scores = bm25(counts, sizes)
    matching = [ordinal for ordinal, count in enumerate(counts) if count]
    return [found[ordinal] for ordinal in sorted(matching, key=lambda at: (-scores[at], at))[:limit]]


def bm25(counts: Sequence[Counter[str]], sizes: Sequence[int]) -> list[float]:
    """Return the score of each passage from its counts of the terms asked for and its number of terms."""
    if not counts:
        return []
    average = sum(sizes) / len(sizes) or 1.0
    spread = Counter(term for count in counts for term in count)
    weights = {term: math.log1p((len(counts) - n + 0.5) / (n + 0.5)) for term, n in spread.items()}

    def score(count: Counter[str], size: int) -> float:
        norm = K1 * (1 - B + B * size / average)
        return sum(weights[term] * n * (K1 + 1) / (n + norm) for term, n in sorted(count.items()))

    return [score(count, size) for count, size in zip(counts, sizes, strict=True)]
