"""What a text says, apart from how it is set: its words, numbers and marks, and where each of them is.

Two texts say the same if their tokens are equal. White space, invisible characters, ligatures, composed and decomposed
accents, kinds of quotation marks and of dashes, Markdown's emphasis and back quotes are no part of them. Spans of a
document that a quotation may leave out (references such as `[12]`, targets of links, marks of lists and tables) are marked.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal
from unicodedata import category, is_normalized, normalize

from research_shared.text.visible import visible

Kind = Literal["word", "mark", "hyphen", "dash", "soft"]

WIDE: Final = "\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\u3000-\u303f"
ELLIPSIS: Final = "\u2026"

_LIGATURES: Final = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
_QUOTE_FORMS: Final = "\"'\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a"
_HYPHENS: Final = "-\u2010\u2011"
_DASHES: Final = "\u2012\u2013\u2014\u2015\u2212"
_FOLDS: Final = (
    _LIGATURES
    | dict.fromkeys(_QUOTE_FORMS, "'")
    | dict.fromkeys(_HYPHENS, "-")
    | dict.fromkeys(_DASHES, "\u2013")
)
_WIDE: Final = re.compile(f"[{WIDE}]")
_OPENING: Final = frozenset("([{'")

# ---- what a quotation may leave out

_REFERENCE: Final = r"\\?\[\^?\d{1,4}(?:\s?[,;\u2013-]\s?\d{1,4}){0,20}\\?\]"
_TARGET: Final = r"\]\((?:[^()\s]|\([^()\s]{0,200}\))*+(?:\s\"[^\"\n]{0,200}\")?\)|\]\[[^\[\]\n]{0,200}\]"
_MARKUP_TAG: Final = r"</?(?:a|b|br|code|div|em|i|mark|p|small|span|strong|sub|sup|u)\b[^<>\n]{0,200}>"
_NUMERAL: Final = r"^[ \t>]*+\d{1,3}[.)](?=[ \t])"
_OPTIONAL_MARKS: Final = re.compile(
    rf"""{_REFERENCE} | {_TARGET} | {_MARKUP_TAG}
      | !?\[(?=[^\[\]]{{1,300}}\](?:\(|\[))
      | ^[ \t]*[-=_*|:+][-=_*|:+ \t]{{2,}}$
      | ^[ \t]*(?:>[ \t]?)*(?:[-*+\u2022\u2023\u25e6\u25aa\u00b7](?=[ \t])|\#{{1,6}}(?=[ \t])|>|(?P<numeral>\d{{1,3}}[.)](?=[ \t])))
      | \|
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
_BEFORE_NUMERAL: Final = re.compile(
    r"(?:\A|\n[ \t]*|:[ \t]*|(?:\A|\n)[ \t>]*(?:\d{1,3}[.)]|[-*+\u2022])[ \t][^\n]*)\n\Z|\A\Z"
)
_LEFT_OUT: Final = re.compile(
    rf"{_REFERENCE}|{_TARGET}|{_MARKUP_TAG}|{_NUMERAL}", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number or a mark. `begin` and `end` are offsets in the text; `group` numbers what may be left out."""

    text: str
    begin: int
    end: int
    kind: Kind
    spaced: bool
    """Whether white space stands before it."""
    group: int = 0


def optional_spans(text: str) -> list[tuple[int, int]]:
    """Return the spans of a document's text that a quotation may leave out, in order."""
    return [
        match.span()
        for match in _OPTIONAL_MARKS.finditer(text)
        # A number at the beginning of a line is that of a list item only in a list.
        if match["numeral"] is None
        or _BEFORE_NUMERAL.search(text, max(0, match.start() - 400), match.start())
    ]


def tokens(text: str, optional: Sequence[tuple[int, int]] = ()) -> list[Token]:
    """Return the tokens of a text. Those within the `optional` spans (in order) get a group."""
    chars = _characters(text)
    found: list[Token] = []
    at = span = 0
    spaced = True
    while at < len(chars):
        char = chars[at][0]
        if char.isspace():
            spaced = True
            at += 1
            continue
        value, kind, following = _token(chars, at)
        begin, end = chars[at][1], chars[following - 1][2]
        while span < len(optional) and optional[span][1] <= begin:
            span += 1
        group = span + 1 if span < len(optional) and optional[span][0] <= begin else 0
        if value:
            found.append(Token(value, begin, end, kind, spaced, group))
        spaced = False
        at = following
    return found


_Char = tuple[str, int, int]
"""A character, and where it begins and ends in the text: what is composed of several may be longer than one."""


def _characters(text: str) -> list[_Char]:
    """Return the characters that count, each with its place."""
    chars: list[_Char] = []
    for offset, raw in enumerate(text):
        if raw == "\u00ad" and text[offset + 1 : offset + 2] == "\n":
            chars.append(("-", offset, offset + 1))
            continue
        char = raw if raw.isascii() and raw.isprintable() else _folded(raw)
        if char in _FOLDS:
            char = _FOLDS[char]
        if chars and not char.isascii():
            composed = normalize("NFC", chars[-1][0] + char)
            if len(composed) == 1:
                chars[-1] = (composed, chars[-1][1], offset + 1)
                continue
        if not _is_markup(text, offset, char):
            chars.extend((part, offset, offset + 1) for part in char)
    return chars


@lru_cache(maxsize=4096)
def _folded(char: str) -> str:
    if char.isspace():
        return "\n" if char == "\n" else " "
    return normalize("NFC", visible(char))


def _is_markup(text: str, offset: int, char: str) -> bool:
    """Whether it is a mark of Markdown that says nothing: of emphasis, of code, or before a mark that means itself."""
    before, after = text[offset - 1 : offset] if offset else "", text[offset + 1 : offset + 2]
    if char == "*":
        alone = not before.strip() and not after.strip()
        return not alone and not (before.isdigit() and after.isdigit())
    if char == "~":
        return "~" in {before, after}
    if char == "\\":
        return after.isascii() and bool(after.strip()) and not after.isalnum()
    return char == "`"


def _token(chars: Sequence[_Char], at: int) -> tuple[str, Kind, int]:
    """Return the token that begins at a character, its kind, and where the next one begins."""
    char = chars[at][0]
    if is_part_of_word(char):
        end = _word_end(chars, at)
        return "".join(part for part, *_ in chars[at:end]).strip("_"), "word", end
    if char in "-\u2013":
        return _dash(chars, at)
    end = at + 1
    if char == "." and len(chars) > at + 2 and chars[at + 1][0] == chars[at + 2][0] == ".":
        while end < len(chars) and chars[end][0] == ".":
            end += 1
        return ELLIPSIS, "mark", end
    while char == "'" and end < len(chars) and chars[end][0] == "'":
        end += 1
    return char, "mark", end


def _dash(chars: Sequence[_Char], at: int) -> tuple[str, Kind, int]:
    end = at + 1
    while end < len(chars) and chars[end][0] in "-\u2013":
        end += 1
    before = chars[at - 1][0] if at else " "
    after = chars[end][0] if end < len(chars) else " "
    if end == at + 1 and after.isdigit() and (before.isspace() or before in _OPENING):
        end = _word_end(chars, at + 1)
        return "-" + "".join(part for part, *_ in chars[at + 1 : end]), "word", end
    if end > at + 1 or chars[at][0] != "-":
        return "-", "dash", end
    if is_part_of_word(before) and after == "\n":
        following = end
        while following < len(chars) and chars[following][0].isspace():
            following += 1
        if following < len(chars) and chars[following][0].isalnum():
            return "-", "soft", end
    return "-", "hyphen", end


def _word_end(chars: Sequence[_Char], at: int) -> int:
    """Return where a word or a number ends. Apostrophes within words, points and commas within numbers are parts of it."""
    if _WIDE.match(chars[at][0]):
        return at + 1
    end = at + 1
    while end < len(chars):
        char = chars[end][0]
        if is_part_of_word(char):
            if _WIDE.match(char):
                break
            end += 1
            continue
        before = chars[end - 1][0]
        after = chars[end + 1][0] if end + 1 < len(chars) else " "
        if (char == "'" and before.isalnum() and after.isalnum()) or (
            char in ".," and before.isdigit() and after.isdigit()
        ):
            end += 2
            continue
        break
    return end


def is_part_of_word(char: str) -> bool:
    """Whether it is a letter, a digit, an underscore, or an accent or vowel sign of the letter before it."""
    return char.isalnum() or char == "_" or is_mark(char)


def is_mark(char: str) -> bool:
    """Whether it is an accent or a vowel sign, which belongs to the letter before it."""
    return not char.isascii() and category(char[0]).startswith("M")


# ---- letters and digits alone, to find candidates quickly

_LOWER: Final = bytes(range(256)).lower()
_NOT_ALPHANUMERIC: Final = bytes(code for code in range(128) if not chr(code).isalnum() and code != ord("\n"))
_MANY: Final = 200


def skeleton(text: str, *, all_of_it: bool = False) -> bytes:
    """Return the letters and digits of each line of a text in small letters, in time in proportion to it.

    Without `all_of_it`, what a quotation may leave out is left out. Texts that say the same have equal skeletons.
    """
    if not all_of_it:
        # A reference may go on in the next line, and lines keep their numbers.
        text = _LEFT_OUT.sub(lambda match: "\n" * match[0].count("\n"), text)
    if not text.isascii():
        if not is_normalized("NFC", text):
            text = normalize("NFC", text)
        text = _without_special(text.lower())
    return text.encode("utf-8", "surrogatepass").translate(_LOWER, _NOT_ALPHANUMERIC)


def _without_special(text: str) -> str:
    """Remove what is beyond ASCII and no letter or digit; write ligatures as letters."""
    special = {ord(char): _LIGATURES.get(char, "") for char in set(text) if not char.isascii()}
    special = {code: value for code, value in special.items() if value or not chr(code).isalnum()}
    if len(special) > _MANY:
        return text.translate(special)
    for code, value in special.items():
        text = text.replace(chr(code), value)
    return text
