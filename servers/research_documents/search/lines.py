"""Which line of a passage a hit is, and where in a long line."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from research_documents.search.excerpt import MAX_LINE
from research_shared.analysis import EXACT, STEMMED, analyzer, exact_terms, folded, stems

_BREAK: Final = "0qzx0"
"""A term that stands for a line break while a passage is searched for its best line."""


_ACCENTED: Final = re.compile("[\u00c0-\u024f\u1e00-\u1eff]")
_MARKS: Final = re.compile("[\u0300-\u036f]+")
_SHORT: Final = 2


@dataclass(frozen=True, slots=True)
class Needles:
    """What to look for in a passage's lines: stems, prefixes of words, and phrases of exact words."""

    stems: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()


def best_line(passage: Sequence[str], needles: Needles) -> int:
    """The index of the line that holds the most of what was searched for; the first one of equals."""
    if (
        not needles.phrases
        and not needles.prefixes
        and (found := _best_by_stems(passage, needles.stems)) is not None
    ):
        return found
    score = _scores(passage, needles)
    return max(score, key=lambda number: (score[number], -number), default=0)


def _best_by_stems(passage: Sequence[str], wanted: frozenset[str]) -> int | None:
    """The same for stems alone, looking closely at few lines; None when none of these shows a word."""
    text = folded("\n".join(passage))
    lines = text.split("\n")
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text)) if _ACCENTED.search(text) else text
    # A stem is how its words begin, but for a final letter that the stemmer puts in place of another.
    heads = [stem[:-1] if len(stem) > _SHORT else stem for stem in wanted]
    most = [(-sum([head in line for head in heads]), at) for at, line in enumerate(plain.lower().split("\n"))]
    best, found = 0, None
    for negative, at in sorted(most):
        if -negative < max(best, 1):
            break
        score = len(wanted.intersection(analyzer(STEMMED).analyze(lines[at])))
        if score > best or (score == best and found is not None and at < found):
            best, found = score, at
    return found


def _scores(passage: Sequence[str], needles: Needles) -> dict[int, int]:
    lines = folded("\n".join(passage)).replace("\n", f"\n{_BREAK}\n")
    score: dict[int, int] = {}
    if needles.stems:
        for number, words in _by_line(analyzer(STEMMED).analyze(lines)):
            score[number] = len(needles.stems.intersection(words))
    if needles.phrases or needles.prefixes:
        exact = analyzer(EXACT).analyze(lines)
        for number, words in _by_line(exact):
            found = sum(1 for prefix in needles.prefixes if any(word.startswith(prefix) for word in words))
            score[number] = score.get(number, 0) + found
        for phrase in needles.phrases:
            for number in _phrase_lines(exact, phrase):
                score[number] = score.get(number, 0) + len(phrase) + 1
    return score


def _by_line(words: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    line: list[str] = []
    number = 0
    for word in words:
        if word == _BREAK:
            yield number, line
            line, number = [], number + 1
        else:
            line.append(word)
    yield number, line


def _phrase_lines(words: Sequence[str], phrase: tuple[str, ...]) -> Iterator[int]:
    """The lines on which a phrase begins."""
    flat: list[str] = []
    lines: list[int] = []
    for number, line in _by_line(words):
        flat += line
        lines += [number] * len(line)
    for at in range(len(flat) - len(phrase) + 1):
        if flat[at] == phrase[0] and tuple(flat[at : at + len(phrase)]) == phrase:
            yield lines[at]


def match_position(line: str, needles: Needles) -> int:
    """About where in a long line the most of what was searched for is, in characters."""
    if len(line) <= MAX_LINE:
        return 0
    step = MAX_LINE // 2
    starts = range(0, len(line), step)
    weights = [(_weight(line[start : start + step], needles), -start) for start in starts]
    return -max(weights)[1]


def _weight(text: str, needles: Needles) -> int:
    exact = exact_terms(text)
    return (
        len(needles.stems.intersection(stems(text)))
        + sum(1 for prefix in needles.prefixes if any(word.startswith(prefix) for word in exact))
        + sum(
            len(phrase) + 1
            for phrase in needles.phrases
            if next(_phrase_lines(exact, phrase), None) is not None
        )
    )
