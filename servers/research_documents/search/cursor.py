"""Cursors: where a search goes on, bound to the search that they were made for."""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Final

from research_shared.errors import InvalidCursor

MAX_RANK: Final = 10_000
"""How deep the ranked hits of a keyword search can be paged through."""


@dataclass(frozen=True, slots=True)
class Position:
    """After which place (regex) or how many ranked hits (keyword) a search goes on."""

    path: str = ""
    line: int = 0
    rank: int = 0


def _binding(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def seal_cursor(position: Position, *search: str) -> str:
    """The cursor of a position in the search that these strings describe."""
    content = json.dumps([_binding(*search), position.path, position.line, position.rank])
    return base64.urlsafe_b64encode(content.encode()).decode("ascii").rstrip("=")


def open_cursor(cursor: str | None, *search: str) -> Position:
    """The position of a cursor, or the beginning when there is none.

    Raises:
        InvalidCursor: it was not made by `seal_cursor` for the same search.
    """
    if cursor is None:
        return Position()
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        binding, path, line, rank = json.loads(raw)
    except (ValueError, binascii.Error, TypeError, RecursionError) as error:
        raise InvalidCursor("the cursor is not one that this search gave") from error
    if binding != _binding(*search) or not (
        isinstance(path, str)
        and isinstance(line, int)
        and isinstance(rank, int)
        and 0 <= rank <= MAX_RANK
        and line >= 0
    ):
        raise InvalidCursor("the cursor belongs to another search")
    return Position(path, line, rank)
