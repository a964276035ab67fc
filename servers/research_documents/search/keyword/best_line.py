"""Which line of a passage a hit is, and where in a long line."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from research_documents.search.display import MAX_LINE
from research_shared.text.analysis import EXACT, STEMMED, analyzer, beyond_ascii, exact_terms, folded, stems

_LINE_BREAK_TERM: Final = "0qzx0"
"""A term that stands for a line break while a passage is searched for its best line."""

_ACCENTED: Final = re.compile("[\u00c0-\u024f\u1e00-\u1eff]")
_MARKS: Final = re.compile("[\u0300-\u036f]+")
# Characters of which it is not plain that tantivy and Python agree whether and how they belong to a word; and the capital
# sigma, which Python puts into lower case by where it stands.
_UNCLEAR: Final = re.compile(
    "[^\0-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7\u0391-\u03a2\u03a4-\u03a9\u03b1-\u03c9\u0410-\u044f"
    "\u2010-\u2027\u2030-\u205e\u20a0-\u20bf\u2190-\u245f\u2500-\u2bff]"
)
_REST_OF_WORD: Final = re.compile(r"[^\W_]*")
_SHORT: Final = 2
# The only words whose stems differ from them in more than the ending.
_IRREGULAR: Final = {"die": ("dy",), "lie": ("ly",), "tie": ("ty",)}


@dataclass(frozen=True, kw_only=True)
class HighlightTerms:
    """Search terms to find in the lines of a passage: stems, word prefixes, and phrases of exact words.

    `typed` are the words and phrases as they were typed. They decide nothing but the order of equal passages.
    """

    stems: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()
    typed: frozenset[str] = frozenset()

    @cached_property
    def only_stem(self) -> str:
        """The stem if it is the only term, otherwise empty."""
        alone = len(self.stems) == 1 and not self.prefixes and not self.phrases
        return next(iter(self.stems)) if alone else ""

    @cached_property
    def words(self) -> tuple[tuple[str, str], ...]:
        """Literal prefixes to scan for, paired with the stem to confirm (empty for prefix terms)."""
        return (
            *((head, stem) for stem in self.stems for head in _stem_prefixes(stem)),
            *((p, "") for p in self.prefixes),
        )


def best_line(passage: str, terms: HighlightTerms) -> int:
    """Return the index of the line that contains the most search terms; the first one of a tie."""
    text = _plain_ascii(passage)
    if text is not None:
        find = _best_of_plain if terms.phrases or terms.only_stem else _best_of_words
        return text.count("\n", 0, find(text, terms))
    score = _scores(passage, terms)
    return max(score, key=lambda number: (score[number], -number), default=0)


def _plain_ascii(passage: str) -> str | None:
    """Return the passage as the analyzers fold it, in lower case; None if they may fold it differently."""
    text = folded(passage)
    if text.isascii():
        return text.lower()
    letters = beyond_ascii(text)
    if _ACCENTED.search(letters):
        text = _MARKS.sub("", unicodedata.normalize("NFKD", text))
        letters = beyond_ascii(text)
    if _UNCLEAR.search(letters):
        return None
    # Most have no capital letter beyond ASCII, and bytes.lower() is several times as fast as str.lower().
    return text.lower() if letters != letters.lower() else text.encode().lower().decode()


def _best_of_plain(text: str, terms: HighlightTerms) -> int:
    """Return the offset of the best line, by scanning for words that begin like a term."""
    if terms.only_stem:
        return next(_with_stem(text, terms.only_stem), 0)
    score: dict[int, int] = {}
    for stem in terms.stems:
        for start in _with_stem(text, stem):
            score[start] = score.get(start, 0) + 1
    for prefix in terms.prefixes:
        for start in _with_words(text, prefix, ""):
            score[start] = score.get(start, 0) + 1
    for phrase in terms.phrases:
        for start in _with_phrase(text, phrase):
            score[start] = score.get(start, 0) + len(phrase) + 1
    most = max(score.values(), default=0)
    return min((start for start, held in score.items() if held == most), default=0)


def _best_of_words(text: str, terms: HighlightTerms) -> int:
    """Return the offset of the best line for terms without phrases, by scoring only lines that can be the best."""
    # First for each term, with plain searches: on which lines does its beginning stand? `most` has, for each line (as the
    # offset where it begins), how many terms it can hold at most. After a find the search goes on behind that line, because
    # a term counts once for a line.
    find, most = text.find, dict[int, int]()
    for head, _ in terms.words:
        at = find(head)
        while at >= 0:
            start = text.rfind("\n", 0, at) + 1
            most[start] = most.get(start, 0) + 1
            at = find("\n", at)
            if at >= 0:
                at = find(head, at)
    # Then the lines, those that can hold the most terms first: the words on them are stemmed, which is what takes time.
    # When a line has been found that holds more than the next one can, that is the best. Of equal ones the first counts.
    best, best_score = 0, 0
    for start in sorted(most, key=most.__getitem__, reverse=True):
        if most[start] < best_score:
            break
        if most[start] == best_score and start > best:
            continue
        end = find("\n", start)
        line = text[start:] if end < 0 else text[start:end]
        score = len(
            {(stem or head, not stem) for head, stem in terms.words if _next_word(line, head, stem) >= 0}
        )
        if score > best_score or (score == best_score and start < best):
            best, best_score = start, score
    return best


def _next_word(text: str, head: str, stem: str, at: int = 0) -> int:
    """Return the offset of the next word that begins with `head` and has this stem (any if empty); -1 without one."""
    at = text.find(head, at)
    while at >= 0:
        # A find in the middle of a word is none. Only the rest of a word that begins so is looked at, and its stem compared.
        if at == 0 or not text[at - 1].isalnum():
            rest = _REST_OF_WORD.match(text, at + len(head))
            if not stem or (rest is not None and _word_stem(head + rest[0]) == stem):
                return at
        at = text.find(head, at + 1)
    return -1


def _with_stem(text: str, stem: str) -> Iterator[int]:
    """Yield the offset of each line that contains a word of this stem."""
    heads = _stem_prefixes(stem)
    if len(heads) == 1:
        return _with_words(text, heads[0], stem)
    return iter(sorted({start for head in heads for start in _with_words(text, head, stem)}))


def _stem_prefixes(stem: str) -> tuple[str, ...]:
    """Return how words of a stem begin: like the stem, except for a last letter that the stemmer may have replaced."""
    return stem[:-1] if len(stem) > _SHORT else stem, *_IRREGULAR.get(stem, ())


def _with_words(text: str, head: str, stem: str) -> Iterator[int]:
    """Yield the offset of each line with a word that begins with `head` and has this stem (any if empty)."""
    at = _next_word(text, head, stem)
    while at >= 0:
        yield text.rfind("\n", 0, at) + 1
        at = text.find("\n", at)
        if at >= 0:
            at = _next_word(text, head, stem, at)


def _with_phrase(text: str, phrase: tuple[str, ...]) -> Iterator[int]:
    """Yield the offset of the line on which each occurrence of a phrase begins."""
    pattern = _phrase_pattern(phrase)
    at = text.find(phrase[0])
    while at >= 0:
        if (at == 0 or not text[at - 1].isalnum()) and pattern.match(text, at):
            yield text.rfind("\n", 0, at) + 1
        at = text.find(phrase[0], at + 1)


@lru_cache(maxsize=4096)
def _word_stem(word: str) -> str:
    return "".join(analyzer(STEMMED).analyze(word))


@lru_cache(maxsize=64)
def _phrase_pattern(phrase: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"[\W_]+".join(map(re.escape, phrase)) + r"(?![^\W_])")


def _scores(passage: str, terms: HighlightTerms) -> dict[int, int]:
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
    """Return the terms that each line contains. A phrase belongs to the line on which it begins."""
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


def held_as_typed(passage: str, terms: HighlightTerms) -> int:
    """Return how many of the words and phrases stand in a passage exactly as they were typed."""
    return sum(1 for typed in terms.typed if _holds_word(passage, typed))


def _holds_word(text: str, word: str) -> bool:
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        if not text[at - 1 : at].isalnum() and not text[end : end + 1].isalnum():
            return True
        at = text.find(word, at + 1)
    return False


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
    """Yield the number of the line on which each occurrence of a phrase begins."""
    # All words in a row, and beside each the number of its line: a phrase may go on in the next line.
    flat: list[str] = []
    lines: list[int] = []
    for number, line in _by_line(words):
        flat += line
        lines += [number] * len(line)
    for at in range(len(flat) - len(phrase) + 1):
        if flat[at] == phrase[0] and tuple(flat[at : at + len(phrase)]) == phrase:
            yield lines[at]


def match_position(line: str, terms: HighlightTerms) -> int:
    """About where in a long line the most of what was searched for is, in characters."""
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
