"""What one run of a search is asked for, and what it gives."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from research_documents.search.catalog import Entry
from research_documents.search.cursor import Position
from research_documents.search.outcome import Hit

Mode = Literal["keyword", "regex"]
Snippet = Literal["context", "line"]
"""What a hit of a keyword search shows: the lines around it that belong to its passage, or its line alone."""
OnProgress = Callable[[int, int, str], Awaitable[None]]
"""Told how many documents are done, of how many (0 while that is unknown), and what is being done."""


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
