"""Tokenizes patterns in ripgrep's dialect and translates their Unicode classes to RE2 syntax."""

import re
from functools import lru_cache
from typing import Final
from unicodedata import normalize

# Unicode's definition of \w (UTS 18): Alphabetic, marks, decimal digits, connectors and joiners.
_WORD_CLASS: Final = (
    r"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}"
    r"\x{1F170}-\x{1F189}"
)
_NOT_WORD_CLASS: Final = r"\p{Z}\p{Cc}\p{Co}\p{No}\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Po}\p{S}"
_SPACE_CLASS: Final = r"\t\n\v\f\r \x{85}\p{Z}"
_NOT_SPACE_CLASS: Final = (
    r"\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027}"
    r"\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{10FFFF}"
)
_OUTSIDE: Final = {
    "w": f"[{_WORD_CLASS}]",
    "W": f"[^{_WORD_CLASS}]",
    "d": r"\p{Nd}",
    "D": r"\P{Nd}",
    "s": f"[{_SPACE_CLASS}]",
    "S": f"[^{_SPACE_CLASS}]",
}
_INSIDE: Final = {
    "w": _WORD_CLASS,
    "W": _NOT_WORD_CLASS,
    "d": r"\p{Nd}",
    "D": r"\P{Nd}",
    "s": _SPACE_CLASS,
    "S": _NOT_SPACE_CLASS,
}
_AT_START: Final = f"(?:^|[^{_WORD_CLASS}])"
_AT_END: Final = f"(?:$|[^{_WORD_CLASS}])"

_ESCAPE_SEQUENCE: Final = r"""
    \\(?:[pP](?:\{[^}]*\}|.) | x\{[0-9A-Fa-f]+\} | x[0-9A-Fa-f]{2} | [uU]\{[0-9A-Fa-f]+\} | u[0-9A-Fa-f]{4}
        | U[0-9A-Fa-f]{8} | Q.*?(?:\\E|$) | 0[0-7]{0,2} | . )
"""
_PIECE: Final = re.compile(
    _ESCAPE_SEQUENCE + r"| \(\?P?<\w+> | \(\?[a-zA-Z-]*[:)] | \[\^?\]? | \{\d+(?:,\d*)?\} | .",
    re.VERBOSE | re.DOTALL,
)
_PIECE_OF_CLASS: Final = re.compile(_ESCAPE_SEQUENCE + r"| \[:\^?\w+:\] | .", re.VERBOSE | re.DOTALL)
_HANGUL: Final = ("\uac00", "\ud7a3")
_OPTIONAL: Final = re.compile(r"[*?]|\{0+[,}]")


def pieces_of(pattern: str) -> list[tuple[str, bool]]:
    """Split a pattern into tokens; return (token, whether it is inside a character class) for each."""
    found: list[tuple[str, bool]] = []
    inside, at = False, 0
    while match := (_PIECE_OF_CLASS if inside else _PIECE).match(pattern, at):
        piece, at = match[0], match.end()
        found.append((piece, inside))
        inside = piece != "]" if inside else piece.startswith("[")
    return found


def ignores_case(pattern: str) -> bool:
    """Return whether smart case (`rg -S`) applies: the pattern has a literal, and none in upper case."""
    literal = False
    for piece, inside in pieces_of(pattern):
        char = literal_of(piece, inside=inside)
        if char and any(c.isupper() for c in char):
            return False
        literal = literal or bool(char)
    return literal


def may_be_missing(following: str) -> bool:
    """Return whether `following` begins with a quantifier that makes the piece before it optional."""
    return _OPTIONAL.match(following) is not None


def literal_of(piece: str, *, inside: bool = False) -> str:
    """Return the characters a piece stands for; an empty string if it can match others too."""
    if piece.startswith("\\"):
        body = piece[1:]
        if not body:
            return ""
        if body.startswith("Q"):
            return body[1:].removesuffix("\\E")
        if body[0] in "xuU" and len(body) > 1:
            return chr(min(int(body[1:].strip("{}"), 16), 0x10FFFF))
        return body if not body[0].isalnum() else ""
    if len(piece) > 1:
        return ""
    return piece if piece not in ("]^-" if inside else "^$.|?*+()[]{}") else ""


def to_re2(pattern: str) -> str:
    r"""Translate a pattern to RE2 with the Unicode meaning of `\w`, `\d`, `\s`, and of `\b` where a branch begins or ends with it.

    A letter with accents also matches its other spellings, composed and decomposed, outside of brackets and within those
    that are not negated.
    """
    pieces = pieces_of(pattern)
    depths = _depths(pieces)
    out: list[str] = []
    opened, spelled = 0, list[str]()
    """Where the bracket begins in `out`, and what it matches besides single characters."""
    for index, (piece, inside) in enumerate(pieces):
        kind = piece[1:] if piece.startswith("\\") else ""
        if inside:
            out.append(_INSIDE.get(kind, escaped(piece)))
            spelled += _other_spellings(literal_of(piece, inside=True))
            if piece == "]" and spelled and not out[opened].startswith("[^"):
                out[opened:] = ["(?:", *out[opened:], "|", "|".join(spelled), ")"]
        elif kind == "b" and not depths[index]:
            out.append(_boundary(pieces, index))
        elif others := _other_spellings(literal_of(piece)):
            out.append(f"(?:{'|'.join((escaped(piece), *others))})")
        else:
            opened, spelled = len(out), []
            out.append(_OUTSIDE.get(kind, escaped(piece)))
    return "".join(out)


@lru_cache(maxsize=4096)
def _other_spellings(char: str) -> tuple[str, ...]:
    """Return the canonically equivalent spellings of a character; none for text of another length and for Hangul.

    >>> [len(spelling) for spelling in _other_spellings(chr(0x1EC5))]  # e with a circumflex and a tilde
    [3, 2]
    """
    if len(char) != 1 or char.isascii() or _HANGUL[0] <= char <= _HANGUL[1]:
        return ()
    apart = normalize("NFD", char)
    half = normalize("NFC", apart[:-1]) + apart[-1]
    return tuple(
        dict.fromkeys(spelling for spelling in (apart, half) if spelling != char and len(spelling) > 1)
    )


def escaped(piece: str) -> str:
    """Return a piece in RE2 syntax. Named groups become non-capturing, which is cheaper: captures are not used."""
    if piece.startswith(("(?P<", "(?<")):
        return "(?:"
    if piece[:2] in {"\\u", "\\U"} and piece[2:]:
        return "\\x{" + piece[2:].strip("{}") + "}"
    return piece


def _boundary(pieces: list[tuple[str, bool]], index: int) -> str:
    before = pieces[index - 1][0] if index else "|"
    following = [*(piece for piece, _ in pieces[index + 1 :]), "|", "|"]
    if following[0] == "|" and _begins_word(before):
        return _AT_END
    at = 0
    while _begins_word(following[at]) and may_be_missing(following[at + 1]):
        at += 3 if following[at + 2] == "?" else 2
    return _AT_START if before == "|" and _begins_word(following[at]) else "\\b"


def _depths(pieces: list[tuple[str, bool]]) -> list[int]:
    """Return the number of open groups at each piece, and at the end."""
    depths, depth = [], 0
    for piece, inside in pieces:
        if not inside and piece == ")":
            depth -= 1
        depths.append(depth)
        if not inside and piece.startswith("(") and not piece.endswith(")"):
            depth += 1
    return [*depths, depth]


def is_balanced(pattern: str) -> bool:
    """Return whether all parentheses are balanced."""
    depths = _depths(pieces_of(pattern))
    return min(depths) == depths[-1] == 0


def _begins_word(piece: str) -> bool:
    return piece in {"\\w", "\\d"} or (len(piece) == 1 and (piece.isalnum() or piece == "_"))
