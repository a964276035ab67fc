"""Characters that a person does not see."""

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


def visible(text: str) -> str:
    """Return the text without invisible characters, which can hide instructions."""
    if text.isascii() and text.isprintable():
        return text
    hidden = {ord(char): None for char in set(text) if _is_invisible(char)}
    return text.translate(hidden) if hidden else text
