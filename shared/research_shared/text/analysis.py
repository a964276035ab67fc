"""Turn text into terms: the same way for indexing, for queries and for finding the line of a hit.

Words are runs of letters and digits, case-folded, without accents on Latin and Greek letters, without the dots of Cyrillic yo,
without Arabic tatweel and vowel signs, and with the digits 0 to 9 for those of other scripts. In scripts without spaces
between words (Chinese, Japanese, Thai, …), each character is a term and a run of them is searched as a phrase; marks of tones and
vowels are characters too, because they distinguish words. A word that is hyphenated at a line end is one word. A number and
its unit are two words, written together or apart; `C#`, `C++` and `.NET` are words.
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
# Characters that are rare in European text and may need folding or separating; Greek letters with accents among them.
_UNCOMMON: Final = re.compile(
    "[^\0-\u00ac\u00ae-\u012f\u0131-\u02ff\u0370-\u0385\u0387\u0391-\u03a9\u03b1-\u03c1\u03c3-\u03c9\u03cf-\u03ff"
    "\u0402-\u040c\u040e-\u044f\u0452-\u045c\u045e-\u0482\u048a-\u0586\u0588-\u0590\u2010-\u2027\u2030-\u205e"
    "\u2070-\u2fff]"
)
_GREEK: Final = ((0x0370, 0x03FF), (0x1F00, 0x1FFF))
_LETTERS_FOR: Final = {
    "\u0130": "I",
    "\u0401": "\u0415", "\u0451": "\u0435",
    "\u0400": "\u0415", "\u0450": "\u0435",
    "\u040d": "\u0418", "\u045d": "\u0438",
    "\u0640": "",
    "\u200b": " ",
}  # fmt: skip
"""Turkish capital I with a dot; Cyrillic yo, and ie and i with a grave; Arabic tatweel; the space of no width."""
_MARK_STAND_INS: Final = 0x20000
"""Marks that tantivy takes for spaces are written as ideographs of a plane that is hardly used, so that they are terms."""

# A raised number is no part of the word or number before it: `grew¹²`, `10⁶`. Units keep theirs: `m²`.
_RAISED_NUMBER: Final = re.compile(
    "(?:(?<=[^\\W\\d_]{3})|(?<=\\d))([\u00b2\u00b3\u00b9\u2070\u2074-\u2079]+)"
)
_FRACTION: Final = re.compile("(?<=\\d)(?=[\u00bc-\u00be\u2150-\u215e])")
_RAISED_OR_FRACTION: Final = re.compile("[\u00b2\u00b3\u00b9\u00bc-\u00be\u2070\u2074-\u2079\u2150-\u215e]")

SHARP: Final = "0qzx1"
PLUS_PLUS: Final = "0qzx2"
DOT_NET: Final = "0qzx3net"
"""How `#`, `++` and `.NET` are written in a term: tantivy knows letters and digits only."""
# The signs come first, so that the engine scans for them; a single letter is before them, and no word behind them.
_SHARP_OR_PLUS: Final = re.compile(
    "(?:([#\u266f])(?<=(?<![^\\W_])[A-Za-z].)|\\+\\+(?<=(?<![^\\W_])[A-Za-z]..))(?![^\\W\\d_]|[#+])"
)
_DOT_NET: Final = re.compile(r"(?<![\w.])\.net(?![^\W_])", re.IGNORECASE)

_UNIT: Final = (
    "(?:[kmgtpe]?i?b|[kmgt](?:bit|bps)|[n\u03bc\u00b5mcdk]?m[23]?|in|ft|yd|mi|[\u03bc\u00b5mk]?g|k?t|lbs?|oz"
    "|[\u03bc\u00b5mcdh]?l|[n\u03bc\u00b5m]s|hr?s?|mins?|secs?|[kmgt]?hz|[mkgt]?wh?|[mk]?v|mah?|[kmg]?j|[kmg]?pa|[kmg]?ev|k?cal"
    "|k|bn|mn|mio|mrd|px|pt|dpi|rpm|fps|mph|kph|kmh|pp[mb]|dba?|m?mol"
    "|\u043a\u0433|\u0433|\u043a\u043c|\u043c|\u0441\u043c|\u043c\u043c|\u0442|\u043b)"
)
"""Units that are written right behind a number. Single letters that number or classify things (`3D`, `5a`, `90s`) are none."""
_UNIT_ALONE: Final = re.compile(rf"{_UNIT}(?![^\W_])", re.IGNORECASE)
_BEFORE_LETTER: Final = re.compile(r"[0-9](?=[^\W\d_])")
_ENDS_WITH_NUMBER: Final = re.compile(r"(?<![^\W_])[0-9]+\Z")
_MOST_DIGITS: Final = 40
_ONE_QUANTITY: Final = re.compile(rf"[0-9][0-9.,]*{_UNIT}", re.IGNORECASE)
_KINDS: Final = bytes(
    ord(
        "0" if chr(code).isdigit() and code < 128  # noqa: PLR2004  (ASCII)
        else "a" if code >= 128 or chr(code).isalpha()  # noqa: PLR2004
        else "#" if chr(code) in "#+"
        else "." if chr(code) == "."
        else " " if chr(code) in " \t\n("
        else ","
    )
    for code in range(256)
)  # fmt: skip
"""Maps UTF-8 to digits (0), letters (a), signs, full stops, spaces and the rest, to see at once which expressions can match."""
# Several times as fast as `in`, because letters are common.
_DIGIT_AND_LETTER: Final = re.compile(rb"0a")
_LETTER_AND_SIGN: Final = re.compile(rb"#(?<=a#)")
_DOT_AND_LETTER: Final = re.compile(rb"\.a(?<![0a.]\.a)")

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


def syllabic(char: str) -> bool:
    """Return whether two characters of a script without spaces can be a word, as in Chinese; in Thai they are mere letters."""
    point = ord(char)
    if _MARK_STAND_INS <= point <= _MARK_STAND_INS + _UNSPACED[-1][0] // 2:
        point -= _MARK_STAND_INS
    return point >= 0x3000 or 0x1100 <= point <= 0x11FF  # noqa: PLR2004  (kana, ideographs, Hangul)


class _Folding(dict[int, str]):
    """Translation table that computes the folding of each character once."""

    def __missing__(self, point: int) -> str:
        folded = self[point] = _folded_character(chr(point))
        return folded


def _folded_character(char: str) -> str:
    """Return what a character of text in NFKC is in a term. Tantivy puts letters into lower case and folds Latin ones."""
    if char in _LETTERS_FOR:
        return _LETTERS_FOR[char]
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if unspaced(char):
        return f" {chr(ord(char) + _MARK_STAND_INS) if category == 'Mn' else char} "
    if unicodedata.combining(char) or category == "Cf":
        return ""
    if any(first <= ord(char) <= last for first, last in _GREEK):
        letters = (each for each in unicodedata.normalize("NFD", char) if not unicodedata.combining(each))
        return "".join(letters).replace("\u03c2", "\u03c3")
    casefolded = char.casefold()
    return casefolded if len(casefolded) > 1 else char


# The analyzers make `ss` of a sharp s, here as in a text of common letters alone, which is not folded.
_FOLDING: Final = _Folding({0xDF: "\u00df", 0xAD: "", 0x0A: "\n"})


def folded(text: str) -> str:
    """Return the text in NFKC with words as the analyzers expect them: see the module. The number of lines stays the same."""
    if text.isascii():
        return _with_signs(_HYPHENATED.sub("\\1\n", text) if "-\n" in text else text)
    if "-\n" in text or "\u00ad" in text or "\u2010" in text:
        text = _HYPHENATED.sub("\\1\n", text)
    letters = beyond_ascii(text)
    # Common letters do not combine with ASCII, so they suffice to decide whether anything changes.
    if _UNCOMMON.search(letters) or not unicodedata.is_normalized("NFKC", letters):
        if _RAISED_OR_FRACTION.search(letters):
            text = _FRACTION.sub(" ", _RAISED_NUMBER.sub(r" \1", text))
        text = unicodedata.normalize("NFKC", text)
        if _UNCOMMON.search(beyond_ascii(text)):
            text = text.translate(_FOLDING)
    return _with_signs(text)


def _with_signs(text: str) -> str:
    """Return the text with `C#`, `C++` and `.NET` as words, and with numbers apart from their units."""
    kinds = text.encode("utf-8", "surrogatepass").translate(_KINDS)
    digits = _DIGIT_AND_LETTER.search(kinds)
    if _LETTER_AND_SIGN.search(kinds) or "\u266f" in text:
        text = _SHARP_OR_PLUS.sub(lambda match: f"{SHARP if match[1] else PLUS_PLUS} ", text)
    if _DOT_AND_LETTER.search(kinds):
        text = _DOT_NET.sub(f"{DOT_NET} ", text)
    return _with_units_apart(text) if digits else text


def _with_units_apart(text: str) -> str:
    parts: list[str] = []
    at = 0
    for digit in _BEFORE_LETTER.finditer(text):
        end = digit.end()
        if _UNIT_ALONE.match(text, end) and _ENDS_WITH_NUMBER.search(text[max(0, end - _MOST_DIGITS) : end]):
            parts.append(text[at:end])
            at = end
    return " ".join((*parts, text[at:])) if parts else text


def is_quantity(text: str) -> bool:
    """Return whether a text is a number with its unit in one word, such as `5TB`.

    >>> [is_quantity(text) for text in ("5TB", "1.5kg", "3D", "B12")]
    [True, True, False, False]
    """
    return _ONE_QUANTITY.fullmatch(unicodedata.normalize("NFKC", text)) is not None


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
