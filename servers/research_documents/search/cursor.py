"""Cursors: where a search goes on, bound to the search that they were made for."""

from dataclasses import dataclass
from typing import Final

from research_shared.cursors import decode_cursor, encode_cursor, fingerprint
from research_shared.errors import InvalidCursor

MAX_RANK: Final = 10_000
"""How deep the ranked hits of a keyword search can be paged through."""


@dataclass(frozen=True, slots=True)
class Position:
    """After which place (regex) or how many ranked hits (keyword) a search goes on."""

    path: str = ""
    line: int = 0
    rank: int = 0


def seal_cursor(position: Position, *search: str) -> str:
    """The cursor of a position in the search that these strings describe."""
    return encode_cursor(fingerprint(*search), [position.path, position.line, position.rank])


def open_cursor(cursor: str | None, *search: str) -> Position:
    """The position of a cursor, or the beginning when there is none.

    Raises:
        InvalidCursor: it was not made by `seal_cursor` for the same search.
    """
    if cursor is None:
        return Position()
    match decode_cursor(cursor, fingerprint(*search)):
        case [str(path), int(line), int(rank)] if line >= 0 and 0 <= rank <= MAX_RANK:
            return Position(path, line, rank)
    raise InvalidCursor("the cursor is not one that this search gave")
