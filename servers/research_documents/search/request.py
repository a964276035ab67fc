"""The request of one search and the result of one run of it."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.outcome import Hit
from research_documents.search.passages import DEFAULT_PASSAGE_TOKENS
from research_shared.access.globs import PathChoice
from research_shared.errors import InvalidCursor
from research_shared.reading.filters import EVERY_DOCUMENT, DocumentFilter
from research_shared.tools.cursors import decode_cursor, encode_cursor, fingerprint

Mode = Literal["keyword", "regex", "hybrid"]
"""By words, by expression, or by words and meaning together."""
Snippet = Literal["context", "line", "passage"]
"""What a keyword hit shows: the lines around it in its passage, its line alone, or the whole passage."""
OnProgress = Callable[[int, int, str], Awaitable[None]]
"""Progress callback: documents done, documents in total (0 while unknown), and a sentence about the step."""


MAX_RANK: Final = 10_000
"""Keyword hits beyond this rank cannot be paged to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorPosition:
    """Where a search continues: after (path, line) in regex mode, after `rank` hits in the ranked modes."""

    path: str = ""
    line: int = 0
    rank: int = 0


def seal_cursor(position: CursorPosition, *search: str) -> str:
    """Encode a position as a cursor that is valid only for the search these strings describe."""
    return encode_cursor(fingerprint(*search), [position.path, position.line, position.rank])


def open_cursor(cursor: str | None, *search: str) -> CursorPosition:
    """Decode a cursor; None gives the beginning.

    Raises:
        InvalidCursor: it was not made by `seal_cursor` for the same search.
    """
    if cursor is None:
        return CursorPosition()
    match decode_cursor(cursor, fingerprint(*search)):
        case [str(path), int(line), int(rank)] if line >= 0 and 0 <= rank <= MAX_RANK:
            return CursorPosition(path=path, line=line, rank=rank)
    raise InvalidCursor("the cursor is not one that this search gave")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """One search: the query, where it continues, and its `deadline` on the monotonic clock in seconds.

    `matches` is the test of `paths`; `wanted` chooses among the documents that it admits. Whole passages take at
    most about `max_tokens` together. `meant` is the text whose meaning hybrid mode compares.
    """

    query: str
    mode: Mode
    limit: int
    start: CursorPosition
    paths: PathChoice
    matches: Callable[[str], bool]
    context_lines: int
    snippet: Snippet
    max_tokens: int
    time_limit_s: float
    deadline: float
    on_progress: OnProgress | None
    wanted: DocumentFilter = EVERY_DOCUMENT
    meant: str = ""


def search_request(
    query: str,
    *,
    mode: Mode = "keyword",
    limit: int = 1,
    file_pattern: str | PathChoice = "*",
    context_lines: int = 0,
    snippet: Snippet = "line",
    max_tokens: int = DEFAULT_PASSAGE_TOKENS,
    cursor: str | None = None,
    on_progress: OnProgress | None = None,
    wanted: DocumentFilter = EVERY_DOCUMENT,
    meant: str = "",
    time_limit_s: float,
    now: float,
) -> SearchRequest:
    """Return the request that the arguments of a search make, at the time `now` in seconds.

    Raises:
        InvalidPattern: the file pattern is malformed.
        InvalidCursor: the cursor belongs to another search.
    """
    paths = path_choice(file_pattern)
    return SearchRequest(
        query=query,
        mode=mode,
        limit=limit,
        start=open_cursor(cursor, query, mode, paths.key, wanted.key),
        paths=paths,
        matches=paths.compiled(),
        context_lines=context_lines,
        snippet=snippet,
        max_tokens=max_tokens,
        time_limit_s=time_limit_s,
        deadline=now + time_limit_s,
        on_progress=on_progress,
        wanted=wanted,
        meant=meant or query,
    )


def path_choice(file_pattern: str | PathChoice) -> PathChoice:
    """Return the choice of paths that an argument makes."""
    return file_pattern if isinstance(file_pattern, PathChoice) else PathChoice((file_pattern,))


def cursor_after(request: SearchRequest, found: "RunResult") -> str | None:
    """Return the cursor of the next page; None without one.

    An answer that is only incomplete has no next page: the client repeats the call.
    """
    hits = found.hits
    if not found.truncated or not (hits or found.goes_on):
        return None
    if found.goes_on:
        end = found.goes_on
    elif request.mode == "regex":
        end = CursorPosition(path=hits[-1].document, line=hits[-1].line_number)
    else:
        end = CursorPosition(rank=min(request.start.rank + len(hits), MAX_RANK))
    return seal_cursor(end, request.query, request.mode, request.paths.key, request.wanted.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Hits of one run of a search.

    `sources` are the versions of the documents the hits are from, `covered` the number of documents searched, `stale`
    the paths that changed since they were read. `again` asks for another run, because the index was outdated. `embedded` is
    (passages that have a vector, all passages) of the selection, if meaning counted; `embedding_stopped` says
    that for now no more of them get a vector. `goes_on` is where the next page begins, if not behind the last hit.
    """

    hits: list[Hit] = field(default_factory=list)
    sources: Collection[CatalogEntry] = ()
    covered: int = 0
    truncated: bool = False
    warnings: tuple[str, ...] = ()
    stale: frozenset[str] = frozenset()
    again: bool = False
    embedded: tuple[int, int] | None = None
    embedding_stopped: bool = False
    goes_on: CursorPosition | None = None
