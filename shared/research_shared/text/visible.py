"""Characters that a person does not see, and those that a terminal acts on."""

import json
import unicodedata
from functools import lru_cache
from typing import Final

_KEPT_CONTROLS: Final = {"\n", "\t"}


_SELECTORS: Final = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF))


_FILLERS: Final = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0}


@lru_cache(maxsize=4096)
def _is_invisible(char: str) -> bool:
    """Return whether a character is invisible: controls, format and bidi characters, tags, variation selectors, fillers."""
    if char in _KEPT_CONTROLS:
        return False
    point = ord(char)
    return (
        unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn"}
        or any(first <= point <= last for first, last in _SELECTORS)
        or point in _FILLERS
    )


_JOINERS: Final = {"\u200c", "\u200d", "\ufe0e", "\ufe0f"}
"""Joiners and selectors of the form of the character before them: spelling in some scripts, and in emoji."""
_HARMLESS: Final = {"\u00ad", "\ufeff"}
"""Soft hyphens and byte order marks, which ordinary files contain."""


def without_hidden(text: str) -> tuple[str, int]:
    r"""Return a document's text as it is shown to a model, and the number of characters that could hide something.

    Control, tag, zero-width and bidirectional characters are left out. A single joiner or selector between other
    characters is spelling and stays, as do private-use characters, which fonts show. Soft hyphens and byte order marks are
    left out and not counted.

    >>> without_hidden("a\u202eb\U000e0041c"), without_hidden("soft\u00adhyphen")
    (('abc', 2), ('softhyphen', 0))
    """
    if text.isascii() and text.isprintable():
        return text, 0
    kept: list[str] = []
    hidden = 0
    for char in text:
        if (
            not _is_invisible(char)
            or unicodedata.category(char) == "Co"
            or (char in _JOINERS and kept and not kept[-1].isascii() and kept[-1] not in _JOINERS)
        ):
            kept.append(char)
        elif char not in _HARMLESS:
            hidden += 1
    return "".join(kept), hidden


def visible(text: str) -> str:
    """Return the text without invisible characters, which can hide instructions."""
    if text.isascii() and text.isprintable():
        return text
    hidden = {ord(char): None for char in set(text) if _is_invisible(char)}
    return text.translate(hidden) if hidden else text


def terminal_safe(value: object) -> str:
    r"""Return a text, or a value as JSON, with escapes for what is not printable, so that it cannot control a terminal.

    >>> terminal_safe("a\x1b[2Jb"), terminal_safe({"n": 1})
    ('a\\x1b[2Jb', '{"n": 1}')
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
