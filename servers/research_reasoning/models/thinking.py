"""Removes what a model thought from what it answered, where the server leaves both in one text."""

import re
from typing import Final

_NAMES: Final = r"(?:think|thinking|thought|reasoning)"
_OPENS: Final = re.compile(rf"\s*(?:<{_NAMES}>|\[THINK\])", re.IGNORECASE)
_ANY_OPENS: Final = re.compile(rf"<{_NAMES}>|\[THINK\]", re.IGNORECASE)
_CLOSES: Final = re.compile(rf"(?:</{_NAMES}>|\[/THINK\])", re.IGNORECASE)
_CLOSES_ALONE: Final = re.compile(rf"(?:</{_NAMES}>|\[/THINK\])(?=[ \t]*(?:\n|\Z|\{{|\[))", re.IGNORECASE)


def without_thinking(text: str) -> tuple[str, bool]:
    """Return an answer without the thinking before it, and whether the thinking was never closed.

    The template of a model may have opened the thinking already, so that only its end is in the answer. A tag within
    the answer, as in a text about models, is left alone.
    """
    alone = _CLOSES_ALONE.search(text)
    if alone is not None and _ANY_OPENS.search(text, 0, alone.start()) is None:
        text = text[alone.end() :].lstrip()
    while (opened := _OPENS.match(text)) is not None:
        closed = _CLOSES.search(text, opened.end())
        if closed is None:
            return "", True
        text = text[closed.end() :].lstrip()
    return text, False
