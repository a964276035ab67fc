"""Verifies quotes: whether a document contains a quote word for word, and where.

Both sides are normalised: runs of white space, line and page breaks, hyphenation at line ends, ligatures, curly quotes,
invisible characters, and composed or decomposed accents. Everything else must match: letters, digits, punctuation and
case. A quote begins and ends at the border of a word or number, because "able to" in "unable to" proves nothing.
"""

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from unicodedata import category, normalize

from research_shared.documents import DocumentText
from research_shared.text.visible import visible

MIN_WEIGHT: Final = 12
"""Minimum letters and digits of a quote; a Chinese, Japanese or Korean character counts three."""

MAX_QUOTE: Final = 2_000
"""Maximum length of a quote in characters."""

MAX_PLACES: Final = 10_000
"""Candidate places that are compared before a quote counts as not found."""

MAX_COMPARED: Final = 500_000
"""Characters compared at those places, to bound the work on a hostile document."""

_SOFT: Final = "\x00"
"""Marks a hyphen at a line end in the folded text. It may belong to the word or only to the line break."""

_FOLDS: Final = str.maketrans(
    {
        "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st",
        "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'",
        "“": '"', "”": '"', "„": '"', "‟": '"',
        "\u2010": "-", "\u2011": "-", "\x00": None,
    }
)  # fmt: skip
_WIDE: Final = "\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\u3000-\u303f"
_SPACE: Final = re.compile(r"\s+")
_WIDE_SPACE: Final = re.compile(rf"(?<=[{_WIDE}]) (?=[{_WIDE}])")
_ENDS_HYPHENATED: Final = re.compile(r"\w-$")
_LINE_END_HYPHEN: Final = re.compile(r"(?<=\w)-[ \t]*[\n\r\f]\s*(?=\w)")
_SPACED_HYPHEN: Final = re.compile(r"(?<=\w)- (?=\w)")
_WEIGHTS: Final = re.compile(rf"(?P<wide>[{_WIDE}])|[^\W_]")


@dataclass(frozen=True, slots=True)
class QuoteMatch:
    """Where a quote is: lines are 1-based and inclusive, `page` is that of the first one."""

    start_line: int
    end_line: int
    page: int | None


def _folded_line(line: str) -> str:
    return _SPACE.sub(" ", _folded_characters(line)).strip()


def _folded_characters(text: str) -> str:
    return normalize("NFC", visible(text)).translate(_FOLDS)


def folded_quote(quote: str) -> str:
    """Return a quote as it is compared: one folded line without surrounding quotation marks.

    A hyphen at the end of one of its lines becomes the mark of line-end hyphens.
    """
    text = _folded_characters(quote.replace("\x00", "")).strip()
    text = _SPACE.sub(" ", _LINE_END_HYPHEN.sub(_SOFT, text))
    text = _WIDE_SPACE.sub("", text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return text


def weight(folded: str) -> int:
    """Return the letters and digits of a folded quote, wide characters counted three times."""
    return sum(3 if match["wide"] else 1 for match in _WEIGHTS.finditer(folded))


class QuoteFinder:
    """Finds quotes in one document, which is folded once."""

    def __init__(self, text: DocumentText) -> None:
        self._document = text

    @cached_property
    def _folded(self) -> tuple[str, "array[int]"]:
        """The folded text and the offset of each line in it."""
        parts: list[str] = []
        starts = array("Q")
        at = 0
        joint = ""
        for line in self._document.text.split("\n"):
            folded = _folded_line(line)
            if folded and joint:
                if joint == _SOFT and not folded[0].isalnum():
                    joint = "- "
                parts.append(joint)
                at += len(joint)
                joint = ""
            starts.append(at)
            if not folded:
                continue
            hyphenated = _ENDS_HYPHENATED.search(folded) is not None
            kept = folded[:-1] if hyphenated else folded
            parts.append(kept)
            at += len(kept)
            joint = _SOFT if hyphenated else " "
        if joint == _SOFT:
            parts.append("-")
        return self._without_wide_spaces("".join(parts), starts)

    @staticmethod
    def _without_wide_spaces(text: str, starts: "array[int]") -> tuple[str, "array[int]"]:
        removed = [match.start() for match in _WIDE_SPACE.finditer(text)]
        if not removed:
            return text, starts
        moved = array("Q", (start - bisect_right(removed, start - 1) for start in starts))
        return _WIDE_SPACE.sub("", text), moved

    @cached_property
    def _bare(self) -> tuple[str, "array[int]"]:
        """The folded text without hyphens, and the offsets of the removed ones."""
        text, _ = self._folded
        gaps = array(
            "Q", (match.start() - index for index, match in enumerate(re.finditer(f"[-{_SOFT}]", text)))
        )
        return text.replace("-", "").replace(_SOFT, ""), gaps

    def find(self, quote: str) -> QuoteMatch | None:
        """Return the first place of the quote, or None if there is none or the quote is too short or too long."""
        wanted = folded_quote(quote)
        if weight(wanted) < MIN_WEIGHT or len(wanted) > MAX_QUOTE:
            return None
        # A model that copies `exam-⏎ple` on one line writes `exam- ple`.
        return self._find(wanted) or self._find(_SPACED_HYPHEN.sub(_SOFT, wanted))

    def _find(self, wanted: str) -> QuoteMatch | None:
        bare_wanted = wanted.replace("-", "").replace(_SOFT, "")
        text, starts = self._folded
        bare, gaps = self._bare
        at = bare.find(bare_wanted)
        compared = 0
        for _ in range(MAX_PLACES):
            if at == -1 or compared > MAX_COMPARED:
                break
            begin = at + bisect_right(gaps, at) - (wanted[0] == "-")
            if begin >= 0 and _begins_on_border(text, begin):
                end = self._aligned(text, begin, wanted)
                if end is not None and _ends_on_border(text, end):
                    first, last = (bisect_right(starts, offset) for offset in (begin, end - 1))
                    return QuoteMatch(first, last, self._document.page_of(first))
                compared += len(wanted)
            at = bare.find(bare_wanted, at + 1)
        return None

    @staticmethod
    def _aligned(text: str, begin: int, wanted: str) -> int | None:
        """Return where `wanted` ends in `text` if it begins at `begin`. Hyphens must match, except at line ends."""
        at = begin
        for char in wanted:
            if at < len(text) and text[at] == _SOFT:
                at += 1
                if char in {"-", _SOFT}:
                    continue
            if at >= len(text) or text[at] != char:
                return None
            at += 1
        return at


def _begins_on_border(text: str, begin: int) -> bool:
    """Whether a word or number can begin here."""
    before, first = text[max(0, begin - 2) : begin], text[begin]
    if before and _is_joined(before[-1], first):
        return False
    if len(before) > 1 and _is_within_word(before[0], before[1], first):
        return False
    if not (first.isdigit() and before):
        return True
    decimal = before[-1] in ".," and before[0].isdigit() and len(before) > 1
    signed = before[-1] in "-\u2212" and not (len(before) > 1 and before[0].isalnum())
    return not (decimal or signed)


def _ends_on_border(text: str, end: int) -> bool:
    """Whether a word or number can end here."""
    last, after = text[end - 1], text[end : end + 2]
    if after and _is_joined(last, after[0]):
        return False
    if len(after) > 1 and _is_within_word(last, after[0], after[1]):
        return False
    return not (last.isdigit() and len(after) > 1 and after[0] in ".," and after[1].isdigit())


def _is_within_word(left: str, mark: str, right: str) -> bool:
    """Whether an apostrophe or a hyphen stands within a word, as in "can't" and "non-toxic"."""
    return mark in "'-" and left.isalpha() and right.isalpha()


def _is_joined(left: str, right: str) -> bool:
    if _SOFT in {left, right} or _is_mark(right):
        return True
    wide = re.match(f"[{_WIDE}]", left) and re.match(f"[{_WIDE}]", right)
    return not wide and _is_part_of_word(left) and _is_part_of_word(right)


def _is_part_of_word(char: str) -> bool:
    return char.isalnum() or char == "_" or _is_mark(char)


def _is_mark(char: str) -> bool:
    """Whether it is an accent or a vowel sign, which belongs to the letter before it."""
    return category(char).startswith("M")
