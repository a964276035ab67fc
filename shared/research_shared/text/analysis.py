"""Turn text into terms: the same way for indexing, for queries and for finding the line of a hit.

Words are runs of letters and digits, lower-cased, without accents on Latin letters. In scripts without spaces between
words (Chinese, Japanese, Thai, …), each character is a term and a run of them is searched as a phrase. A word that is
hyphenated at a line end is one word.
"""

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tantivy import Index, TextAnalyzer

EXACT: Final = "exact_words"
STEMMED: Final = "english_stems"
MAX_TERM_BYTES: Final = 65_000
"""Longer terms are dropped: the index cannot hold them."""

# Where words are not separated by spaces: Thai to Myanmar, Khmer, Kana, Han, Hangul and their extensions.
_UNSPACED: Final = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1100, 0x11FF),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x3130, 0x318F),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
# The hyphen comes first, so that the engine scans for a single character.
_HYPHENATED: Final = re.compile("[-\u00ad\u2010](?<=[^\\W\\d_].)\n[ \t]*([^\\W\\d_]+)")
ASCII: Final = bytes(range(128))
# Characters that are rare in European text and may need folding or separating.
_UNCOMMON: Final = re.compile(
    "[^\0-\u00ac\u00ae-\u02ff\u0370-\u0482\u048a-\u0590\u2010-\u2027\u2030-\u205e\u2070-\u2fff]"
)

STOP_WORDS: Final = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "if",
        "in",
        "into",
        "is",
        "it",
        "no",
        "not",
        "of",
        "on",
        "or",
        "such",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "will",
        "with",
    ]
)
"""English words that do not count for ranking (Lucene's list). Phrases and required words still match them."""


def unspaced(char: str) -> bool:
    """Return whether a character belongs to a script without spaces between words."""
    point = ord(char)
    return point >= _UNSPACED[0][0] and any(low <= point <= high for low, high in _UNSPACED)


class _Folding(dict[int, str]):
    """Translation table that computes the folding of each character once."""

    def __missing__(self, point: int) -> str:
        char = chr(point)
        if unicodedata.combining(char) or (unicodedata.category(char) == "Cf" and char != "\u00ad"):
            folded = ""
        elif unspaced(char):
            folded = f" {char} "
        else:
            folded = char
        self[point] = folded
        return folded


_FOLDING: Final = _Folding({0xAD: "", 0x0A: "\n"})


def folded(text: str) -> str:
    """Return the text in NFKC, with words joined at line-end hyphens and spaces around unspaced characters.

    The number of lines stays the same.
    """
    if text.isascii():
        return _HYPHENATED.sub("\\1\n", text) if "-\n" in text else text
    if "-\n" in text or "\u00ad" in text or "\u2010" in text:
        text = _HYPHENATED.sub("\\1\n", text)
    letters = beyond_ascii(text)
    # Common letters do not combine with ASCII, so they suffice to decide whether anything changes.
    if _UNCOMMON.search(letters) or not unicodedata.is_normalized("NFKC", letters):
        text = unicodedata.normalize("NFKC", text)
        if _UNCOMMON.search(beyond_ascii(text)):
            text = text.translate(_FOLDING)
    return text


def beyond_ascii(text: str) -> str:
    """Return the characters that are not ASCII. They are few, so scanning them is faster than scanning the text."""
    return text.encode("utf-8", "ignore").translate(None, ASCII).decode()


def line_end_hyphens(text: str) -> str:
    """Return the words that `folded` joins, as separate words, so that `well-` / `known` also matches `well known`."""
    if "-\n" not in text and "\u2010\n" not in text:
        return ""
    return " . ".join(
        text[max(match.start() - 60, 0) : match.end() + 60].replace("-\n", " ").replace("\u2010\n", " ")
        for match in _HYPHENATED.finditer(text)
        if match[0][0] != "\u00ad"
    )


@cache
def analyzer(name: str) -> "TextAnalyzer":
    """Return the analyzer of this name (`EXACT` or `STEMMED`). It expects folded text."""
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    builder = TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.remove_long(MAX_TERM_BYTES))
    builder = builder.filter(Filter.lowercase()).filter(Filter.ascii_fold())
    return (builder.filter(Filter.stemmer("english")) if name == STEMMED else builder).build()


def register(index: "Index") -> None:
    """Register both analyzers with an index."""
    for name in (EXACT, STEMMED):
        index.register_tokenizer(name, analyzer(name))


def exact_terms(text: str) -> list[str]:
    """Return the words of a text, unstemmed."""
    return list(analyzer(EXACT).analyze(folded(text)))


def stems(text: str) -> list[str]:
    """Return the words of a text, reduced to their English stems."""
    return list(analyzer(STEMMED).analyze(folded(text)))
