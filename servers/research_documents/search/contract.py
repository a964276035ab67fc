"""What the servers use of a search engine, what all engines do alike, and which engine the settings choose."""

from abc import abstractmethod
from collections.abc import Callable, Collection
from typing import Final

from research_documents.search.catalog.catalog import Catalog
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.catalog.versions import VersionNotes
from research_documents.search.outcome import EngineStats, SearchOutcome
from research_documents.search.passages import DEFAULT_PASSAGE_TOKENS
from research_documents.search.request import (
    Mode,
    OnProgress,
    SearchRequest,
    Snippet,
    path_choice,
    search_request,
)
from research_shared.access.globs import PathChoice
from research_shared.access.scope import current_scope
from research_shared.lifespan import SharedLifespan
from research_shared.reading.filters import EVERY_DOCUMENT, DocumentFilter
from research_shared.reading.library import Library
from research_shared.settings import Settings
from research_shared.telemetry.spans import span
from research_shared.text.sizes import counted

MAX_ATTEMPTS: Final = 3
"""Runs of one search while documents keep changing under it."""
MAX_REPORTED_UNREADABLE: Final = 100
MAX_SEARCH_BYTES: Final = 256 * 1024
ORDER_MAY_CHANGE: Final = "the order may still change: other documents are not indexed yet"


class DocumentSearch(SharedLifespan):
    """Searches the documents of one library, wherever the index is. Each user enters it for as long as it serves.

    `SearchEngine` keeps the index in the process or on its disk, `OpenSearchEngine` searches one on a cluster. All methods
    answer within the current scope. `catalog` has what is known of the documents. `deadline_s` limits the time of a search, by `clock` in
    seconds.
    """

    def __init__(self, catalog: Catalog, *, deadline_s: float, clock: Callable[[], float]) -> None:
        self._catalog = catalog
        self._deadline_s = deadline_s
        self._clock = clock

    @property
    @abstractmethod
    def indexing(self) -> tuple[int, int] | None:
        """Return (documents done, documents known) while the index is not complete, else None; (0, 0) while unknown."""

    @property
    @abstractmethod
    def problem(self) -> str:
        """Why searches cannot be answered at the moment, in words for the operator; empty if they can."""

    @abstractmethod
    async def read_wanted(
        self, file_pattern: str, wanted: DocumentFilter, *, on_progress: OnProgress | None = None
    ) -> str | None:
        """Wait until the documents that may be wanted are read; return the warning of an answer on a part, or None."""

    @abstractmethod
    async def _search(self, request: SearchRequest) -> SearchOutcome:
        """Answer a request. Raises what `search` raises."""

    @property
    @abstractmethod
    def _watching(self) -> bool:
        """Whether changes of the folder are reported."""

    @abstractmethod
    def _embedded(self, entries: Collection[CatalogEntry]) -> tuple[int, int] | None:
        """Return (passages that have a vector, all passages) of documents; None without hybrid search."""

    def _embedded_of_all(self) -> tuple[int, int] | None:
        return self._embedded(self._catalog.entries.values())

    @property
    def ranks_by_meaning(self) -> bool:
        """Whether hybrid search has vectors to compare, of at least some passages."""
        embedded = self._embedded_of_all()
        return embedded is not None and embedded[0] > 0

    @property
    def stats(self) -> EngineStats:
        """Return what the index holds at the moment, as far as it is known here."""
        entries = list(self._catalog.entries.values())
        readable = [entry for entry in entries if not entry.reason]
        indexing = self.indexing
        return EngineStats(
            documents=len(readable),
            passages=sum(entry.passages for entry in readable),
            text_bytes=self._catalog.text_bytes,
            unreadable=len(entries) - len(readable),
            missing=indexing[1] - indexing[0] if indexing else 0,
            building=indexing is not None,
            watching=self._watching,
            embedded=self._embedded_of_all(),
        )

    async def search(
        self,
        query: str,
        *,
        mode: Mode = "keyword",
        limit: int = 10,
        file_pattern: str | PathChoice = "*",
        context_lines: int = 0,
        snippet: Snippet = "line",
        max_tokens: int = DEFAULT_PASSAGE_TOKENS,
        cursor: str | None = None,
        on_progress: OnProgress | None = None,
        wanted: DocumentFilter = EVERY_DOCUMENT,
        meant: str = "",
    ) -> SearchOutcome:
        """Search the documents of the current scope whose path matches `file_pattern` and that are `wanted`.

        With `snippet="context"`, a keyword hit shows its neighbours in its passage, unless `context_lines` sets a number
        of lines. With `snippet="passage"` it shows its whole passage, as many hits as fit into `max_tokens`, and the query
        may be a question in words.

        Hybrid mode ranks by words and by meaning together: that of `meant`, or of the query itself. It ranks by words
        alone, with a warning that says why, if there is nothing to compare, or if the query has operators.

        Hits are sorted by score, path and line in keyword and hybrid mode, by path and line in regex mode. An invalid expression
        gives no hits and a warning that names the problem. An answer that does not cover all documents, because some are
        not indexed yet, is `truncated`, and its first warning begins with `INCOMPLETE:`.

        Raises:
            InvalidPattern: the file pattern is malformed.
            InvalidCursor: the cursor belongs to another search.
            RootUnavailable: the research folder is gone.
            BackendUnavailable: the index is elsewhere, and does not answer.
        """
        request = search_request(
            query,
            mode=mode,
            limit=limit,
            file_pattern=file_pattern,
            context_lines=context_lines,
            snippet=snippet,
            max_tokens=max_tokens,
            cursor=cursor,
            on_progress=on_progress,
            wanted=wanted,
            meant=meant,
            time_limit_s=self._deadline_s,
            now=self._clock(),
        )
        with span("search", mode=mode) as current:
            outcome = await self._search(request)
            current.set_attribute("research.hits", len(outcome.hits))
            return outcome

    def entry(self, path: str) -> CatalogEntry | None:
        """Return what is known at the moment of a document within the current scope, or None."""
        entry = self._catalog.entries.get(path)
        return entry if entry is not None and current_scope().shows(entry.info) else None

    def entries(self, file_pattern: str = "*") -> list[CatalogEntry]:
        """Return what is known at the moment of the documents within the current scope, sorted by path."""
        selection = self._catalog.select(path_choice(file_pattern), current_scope())
        unreadable = (self._catalog.entries.get(path) for path, _ in selection.unreadable)
        found = {entry.path: entry for entry in (*selection.readable, *unreadable) if entry is not None}
        return [found[path] for path in sorted(found)]

    def version_notes(self) -> VersionNotes:
        """Return which known documents of the current scope are copies or older versions of others."""
        return self._catalog.version_notes(current_scope())


def named_unreadable(selection: Selection) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return (path, reason) of the unreadable documents that an answer names, and the warning that there are more, if so."""
    named = selection.unreadable[:MAX_REPORTED_UNREADABLE]
    if len(named) == len(selection.unreadable):
        return named, ()
    count = counted(len(selection.unreadable), "document gives", "documents give")
    return named, (f"{count} no text, or not all of it; the first {MAX_REPORTED_UNREADABLE} are named",)


def engine_from_settings(library: Library, settings: Settings) -> DocumentSearch:
    """Build the engine that the settings choose. The other one is not imported.

    Raises:
        ConfigurationError: the directory of the index lies inside a research folder.
    """
    if settings.search_url is None:
        from research_documents.search.engine import SearchEngine

        return SearchEngine.from_settings(library, settings)
    from research_documents.opensearch.engine import OpenSearchEngine

    return OpenSearchEngine.from_settings(library, settings)
