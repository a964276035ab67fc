"""Chooses the line of a passage that a hit shows, and the match position in a long line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from research_documents.search.display import MAX_LINE
from research_shared.text.analysis import EXACT, STEMMED, analyzer, exact_terms, folded, stems

_LINE_BREAK_TERM: Final = "0qzx0"
"""A term that stands for a line break, so that one analyzer call serves all lines of a passage."""


@dataclass(frozen=True)
class HighlightTerms:
    """Search terms to find in the lines of a passage: stems, word prefixes, and phrases of exact words."""

    stems: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()


def best_line(passage: str, terms: HighlightTerms) -> int:
    """Return the index of the line that contains the most search terms; the first one of a tie."""
    score = _scores(passage, terms)
    return max(score, key=lambda number: (score[number], -number), default=0)


def _scores(passage: str, terms: HighlightTerms) -> dict[int, int]:
    """Return the number of terms each line contains; each word of a phrase counts, and the phrase once more."""
    lines = folded(passage).replace("\n", f"\n{_LINE_BREAK_TERM}\n")
    score: dict[int, int] = {}
    if terms.stems:
        for number, words in _by_line(analyzer(STEMMED).analyze(lines)):
            score[number] = len(terms.stems.intersection(words))
    if terms.phrases or terms.prefixes:
        exact = analyzer(EXACT).analyze(lines)
        for number, words in _by_line(exact):
            found = sum(1 for prefix in terms.prefixes if any(word.startswith(prefix) for word in words))
            score[number] = score.get(number, 0) + found
        for phrase in terms.phrases:
            for number in _phrase_lines(exact, phrase):
                score[number] = score.get(number, 0) + len(phrase) + 1
    return score


def held_by_line(lines: Sequence[str], terms: HighlightTerms) -> list[set[object]]:
    """Return the terms each line contains; a phrase counts for the line it begins on."""
    text = folded("\n".join(lines)).replace("\n", f"\n{_LINE_BREAK_TERM}\n")
    held: list[set[object]] = [set() for _ in lines]
    if terms.stems:
        for number, words in _by_line(analyzer(STEMMED).analyze(text)):
            held[number].update(terms.stems.intersection(words))
    if terms.prefixes or terms.phrases:
        exact = analyzer(EXACT).analyze(text)
        for number, words in _by_line(exact):
            held[number].update((p, "") for p in terms.prefixes if any(w.startswith(p) for w in words))
        for phrase in terms.phrases:
            for number in _phrase_lines(exact, phrase):
                held[number].add(phrase)
    return held


def _by_line(words: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    line: list[str] = []
    number = 0
    for word in words:
        if word == _LINE_BREAK_TERM:
            yield number, line
            line, number = [], number + 1
        else:
            line.append(word)
    yield number, line


def _phrase_lines(words: Sequence[str], phrase: tuple[str, ...]) -> Iterator[int]:
    """Yield the number of each line on which a phrase begins."""
    flat: list[str] = []
    lines: list[int] = []
    for number, line in _by_line(words):
        flat += line
        lines += [number] * len(line)
    for at in range(len(flat) - len(phrase) + 1):
        if flat[at] == phrase[0] and tuple(flat[at : at + len(phrase)]) == phrase:
            yield lines[at]


def match_position(line: str, terms: HighlightTerms) -> int:
    """Return the approximate position of the densest matches in a long line, in characters."""
    if len(line) <= MAX_LINE:
        return 0
    step = MAX_LINE // 2
    starts = range(0, len(line), step)
    weights = [(_weight(line[start : start + step], terms), -start) for start in starts]
    return -max(weights)[1]


def _weight(text: str, terms: HighlightTerms) -> int:
    exact = exact_terms(text)
    return (
        len(terms.stems.intersection(stems(text)))
        + sum(1 for prefix in terms.prefixes if any(word.startswith(prefix) for word in exact))
        + sum(
            len(phrase) + 1
            for phrase in terms.phrases
            if next(_phrase_lines(exact, phrase), None) is not None
        )
    )
