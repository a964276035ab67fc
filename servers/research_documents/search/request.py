"""What one run of a search is asked for, and what it gives."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from research_documents.search.index.catalog import Entry
from research_documents.search.outcome import Hit
from research_shared.errors import InvalidCursor
from research_shared.tools.cursors import decode_cursor, encode_cursor, fingerprint

Mode = Literal["keyword", "regex"]
Snippet = Literal["context", "line"]
"""What a hit of a keyword search shows: the lines around it that belong to its passage, or its line alone."""
OnProgress = Callable[[int, int, str], Awaitable[None]]
"""Told how many documents are done, of how many (0 while that is unknown), and what is being done."""


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


@dataclass(frozen=True, slots=True)
class Request:
    """One search: what is looked for, where it goes on, and until which moment of the monotonic clock."""

    query: str
    mode: Mode
    limit: int
    file_pattern: str
    context_lines: int
    start: Position
    time_limit_s: float
    deadline: float
    on_progress: OnProgress | None
    snippet: Snippet = "line"


@dataclass(frozen=True, slots=True)
class Found:
    """The hits of one run, and the versions of the documents that they are from."""

    hits: list[Hit] = field(default_factory=list)
    sources: Collection[Entry] = ()
    covered: int = 0
    truncated: bool = False
    warnings: tuple[str, ...] = ()
    stale: frozenset[str] = frozenset()
    again: bool = False
