"""Which line of a passage a hit is, and where in a long line."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
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
_SHORT: Final = 2
# The only words whose stems differ from them in more than the ending.
_IRREGULAR: Final = {"die": ("dy",), "lie": ("ly",), "tie": ("ty",)}


@dataclass(frozen=True)
class Needles:
    """What to look for in a passage's lines: stems, prefixes of words, and phrases of exact words."""

    stems: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()

    @cached_property
    def clues(self) -> list[tuple[str, int]]:
        """Without what a line can hold nothing that is looked for, and how much it can hold with it, each time."""
        heads = [(head, 1) for stem in self.stems for head in _heads(stem)]
        begins = [(prefix, 1) for prefix in self.prefixes]
        return heads + begins + [(phrase[0], len(phrase) + 1) for phrase in self.phrases]


def best_line(passage: str, needles: Needles) -> int:
    """The index of the line that holds the most of what was searched for; the first one of equals."""
    text = _plain(passage)
    if text is not None:
        return _best_of_plain(text.split("\n"), needles)
    score = _scores(passage, needles)
    return max(score, key=lambda number: (score[number], -number), default=0)


def _plain(passage: str) -> str | None:
    """The passage as the analyzers see it, in lower case; None when it holds what they may see otherwise."""
    text = folded(passage)
    if not text.isascii():
        if _ACCENTED.search(_beyond_ascii(text)):
            text = _MARKS.sub("", unicodedata.normalize("NFKD", text))
        if _UNCLEAR.search(_beyond_ascii(text)):
            return None
    return text.lower()


def _best_of_plain(lines: list[str], needles: Needles) -> int:
    """The same as by `_scores`, by looking closely only at lines that can be the best one."""
    most = [0] * len(lines)
    for clue, weight in needles.clues:
        for number, line in enumerate(lines):
            if clue in line:
                most[number] += weight if weight == 1 else weight * line.count(clue)
    best, best_score = 0, 0
    for number in sorted(filter(most.__getitem__, range(len(lines))), key=most.__getitem__, reverse=True):
        if most[number] < best_score:
            break
        if most[number] == best_score and number > best:
            continue
        score = _score_of_plain(lines, number, needles)
        if score > best_score or (score == best_score and number < best):
            best, best_score = number, score
    return best


def _score_of_plain(lines: list[str], number: int, needles: Needles) -> int:
    line = lines[number]
    score = sum(1 for stem in needles.stems if _has_stem(line, stem))
    score += sum(1 for prefix in needles.prefixes if _has_prefix(line, prefix))
    if needles.phrases:
        text = "\n".join(lines[number:])
        score += sum((len(phrase) + 1) * _count_phrase(text, len(line), phrase) for phrase in needles.phrases)
    return score


def _beyond_ascii(text: str) -> str:
    """The few characters that need a closer look."""
    return text.encode().translate(None, _ASCII).decode()


def _heads(stem: str) -> tuple[str, ...]:
    """How words of this stem begin: as it does, but for a final letter that the stemmer puts in place of another."""
    return stem[:-1] if len(stem) > _SHORT else stem, *_IRREGULAR.get(stem, ())


@lru_cache(maxsize=256)
def _words_like(stem: str) -> re.Pattern[str]:
    # Without a look behind: beginning with what is plain text, it is found twenty times as fast.
    return re.compile(rf"(?:{'|'.join(_heads(stem))})[^\W_]*")


def _has_stem(line: str, stem: str) -> bool:
    for match in _words_like(stem).finditer(line):
        at = match.start()
        if (at == 0 or not line[at - 1].isalnum()) and _stem(match[0]) == stem:
            return True
    return False


def _has_prefix(line: str, prefix: str) -> bool:
    at = line.find(prefix)
    while at > 0 and line[at - 1].isalnum():
        at = line.find(prefix, at + 1)
    return at >= 0


def _count_phrase(text: str, within: int, phrase: tuple[str, ...]) -> int:
    """How often a phrase begins before the offset `within`."""
    pattern = _phrase_pattern(phrase)
    found = 0
    at = text.find(phrase[0], 0, within)
    while at >= 0:
        found += (at == 0 or not text[at - 1].isalnum()) and pattern.match(text, at) is not None
        at = text.find(phrase[0], at + 1, within)
    return found


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
