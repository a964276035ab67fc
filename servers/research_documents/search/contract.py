"""What the servers use of a search engine, and which engine the settings choose."""

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from research_documents.search.engine import SearchEngine
from research_documents.search.index.catalog import CatalogEntry
from research_documents.search.outcome import EngineStats, SearchOutcome
from research_documents.search.passages import DEFAULT_PASSAGE_TOKENS
from research_documents.search.request import Mode, OnProgress, Snippet
from research_shared.access.globs import PathChoice
from research_shared.reading.filters import EVERY_DOCUMENT, DocumentFilter
from research_shared.reading.library import Library
from research_shared.reading.versions import VersionNote
from research_shared.settings import Settings


class DocumentSearch(Protocol):
    """Searches the documents of one library, wherever the index is. Each user enters it for as long as it serves.

    `SearchEngine` keeps the index in the process or on its disk, `OpenSearchEngine` searches one on a cluster. All methods answer within the current scope, and mean
    what they mean there.
    """

    async def __aenter__(self) -> Self:
        """Open the engine for the first user."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the engine after the last user."""

    @property
    def indexing(self) -> tuple[int, int] | None:
        """Return (documents done, documents known) while the index is not complete, else None; (0, 0) while unknown."""

    @property
    def problem(self) -> str:
        """Why searches cannot be answered at the moment, in words for the operator; empty if they can."""

    @property
    def ranks_by_meaning(self) -> bool:
        """Whether hybrid search has vectors to compare, of at least some passages."""

    @property
    def stats(self) -> EngineStats:
        """Return what the index holds at the moment."""

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
        """Search the documents whose path matches `file_pattern` and that are `wanted`; see `SearchEngine.search`."""

    async def read_wanted(
        self, file_pattern: str, wanted: DocumentFilter, *, on_progress: OnProgress | None = None
    ) -> str | None:
        """Wait until the documents that may be wanted are read; return the warning of an answer on a part, or None."""

    def entry(self, path: str) -> CatalogEntry | None:
        """Return what is known at the moment of a document, or None."""

    def entries(self, file_pattern: str = "*") -> list[CatalogEntry]:
        """Return what is known at the moment of the documents, sorted by path."""

    def version_notes(self) -> Mapping[str, VersionNote]:
        """Return which known documents are copies or older versions of others, by path."""


def engine_from_settings(library: Library, settings: Settings) -> DocumentSearch:
    """Build the engine that the settings choose.

    Raises:
        ConfigurationError: the directory of the index lies inside a research folder.
    """
    if settings.search_url is None:
        return SearchEngine.from_settings(library, settings)
    from research_documents.opensearch.engine import OpenSearchEngine

    return OpenSearchEngine.from_settings(library, settings)
