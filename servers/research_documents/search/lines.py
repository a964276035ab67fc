"""Which line of a passage a hit is, and where in a long line."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from research_documents.search.excerpt import MAX_LINE
from research_shared.analysis import EXACT, STEMMED, analyzer, exact_terms, folded, stems

_BREAK: Final = "0qzx0"
"""A term that stands for a line break while a passage is searched for its best line."""

_ACCENTED: Final = re.compile("[\u00c0-\u024f\u1e00-\u1eff]")
_MARKS: Final = re.compile("[\u0300-\u036f]+")
# Characters of which it is not plain that tantivy and Python agree whether and how they belong to a word.
_UNCLEAR: Final = re.compile(
    "[^\0-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7\u0391-\u03a9\u03b1-\u03c9\u0410-\u044f"
    "\u2010-\u2027\u2030-\u205e\u20a0-\u20bf\u2190-\u245f\u2500-\u2bff]"
)
_ASCII: Final = bytes(range(128))
_WORD: Final = re.compile(r"[^\W_]+")
_SHORT: Final = 2
# The only words whose stems differ from them in more than the ending.
_IRREGULAR: Final = {"die": ("dy",), "lie": ("ly",), "tie": ("ty",)}


@dataclass(frozen=True, slots=True)
class Needles:
    """What to look for in a passage's lines: stems, prefixes of words, and phrases of exact words."""

    stems: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()


def best_line(passage: str, needles: Needles) -> int:
    """The index of the line that holds the most of what was searched for; the first one of equals."""
    score = _plain_scores(passage, needles) or _scores(passage, needles)
    return max(score, key=lambda number: (score[number], -number), default=0)


def _plain_scores(passage: str, needles: Needles) -> dict[int, int] | None:
    """The same as `_scores` without the lines that hold nothing, by looking only at what may be a needle.

    None when the passage or the needles are not plain enough for that.
    """
    text = folded(passage)
    if not text.isascii():
        if _ACCENTED.search(_beyond_ascii(text)):
            text = _MARKS.sub("", unicodedata.normalize("NFKD", text))
        if _UNCLEAR.search(_beyond_ascii(text)):
            return None
    text = text.lower()
    found: list[tuple[int, int]] = []
    for stem in needles.stems:
        # A stem is how its words begin, but for a final letter that the stemmer puts in place of another.
        heads = [stem[:-1] if len(stem) > _SHORT else stem, *_IRREGULAR.get(stem, ())]
        found += [(line, 1) for line in {line for head in heads for line in _lines_with(text, head, stem)}]
    for prefix in needles.prefixes:
        found += [(line, 1) for line in _lines_with(text, prefix)]
    for phrase in needles.phrases:
        found += [(line, len(phrase) + 1) for line in _lines_of_phrase(text, phrase)]
    score: dict[int, int] = {}
    for line, weight in found:
        score[line] = score.get(line, 0) + weight
    return score


def _beyond_ascii(text: str) -> str:
    """The few characters that need a closer look."""
    return text.encode().translate(None, _ASCII).decode()


def _lines_with(text: str, head: str, stem: str | None = None) -> Iterator[int]:
    """The lines with a word that begins with `head` and, if given, has this stem."""
    line = counted = 0
    at = text.find(head)
    while at >= 0:
        following = at + 1
        if (at == 0 or not text[at - 1].isalnum()) and (stem is None or _stem(_word_at(text, at)) == stem):
            line += text.count("\n", counted, at)
            counted = at
            yield line
            following = text.find("\n", at)
            if following < 0:
                return
        at = text.find(head, following)


def _lines_of_phrase(text: str, phrase: tuple[str, ...]) -> Iterator[int]:
    """The lines on which a phrase begins, as often as it does."""
    pattern = _phrase_pattern(phrase)
    line = counted = 0
    at = text.find(phrase[0])
    while at >= 0:
        if (at == 0 or not text[at - 1].isalnum()) and pattern.match(text, at):
            line += text.count("\n", counted, at)
            counted = at
            yield line
        at = text.find(phrase[0], at + 1)


def _word_at(text: str, at: int) -> str:
    match = _WORD.match(text, at)
    return match[0] if match else ""


@lru_cache(maxsize=4096)
def _stem(word: str) -> str:
    return "".join(analyzer(STEMMED).analyze(word))


@lru_cache(maxsize=64)
def _phrase_pattern(phrase: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"[\W_]+".join(map(re.escape, phrase)) + r"(?![^\W_])")


def _scores(passage: str, needles: Needles) -> dict[int, int]:
    lines = folded(passage).replace("\n", f"\n{_BREAK}\n")
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
