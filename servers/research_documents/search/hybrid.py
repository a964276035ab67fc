"""The part of hybrid search that is about meaning: which passages are near to a query, and why none are if so."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from research_documents.search.catalog.catalog import Catalog
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.executors import ThreadPools
from research_documents.search.index.passage_index import ScoredPassage
from research_documents.search.keyword.query import has_operators, parse_query
from research_documents.search.request import SearchRequest
from research_documents.search.semantic.embedder import EmbeddingFailed
from research_shared.text.sizes import one_or_many

if TYPE_CHECKING:
    from research_documents.search.semantic.semantic_index import QueryVector

NOT_SET_UP: Final = (
    "it is not set up here (pip install 'research-assistant-mcp[semantic]', then RESEARCH_EMBEDDING_DIR or "
    "RESEARCH_EMBEDDING_URL)"
)
BY_WORDS: Final = "ranked by words alone"


class PassageVectors(Protocol):
    """Compares a query with the vectors of passages, wherever these are; see `SemanticIndex`."""

    @property
    def problem(self) -> str | None:
        """Why passages are not embedded for now, as a clause."""

    def coverage(self, entries: Collection[CatalogEntry]) -> tuple[int, int]:
        """Return (embedded passages, all passages) of these documents."""

    async def vector_of(self, query: str, *, limit_s: float) -> "QueryVector":
        """Return the vector of a query within `limit_s` seconds, or raise `EmbeddingFailed`."""

    def nearest(
        self, vector: "QueryVector", selection: Selection, by_id: Mapping[int, CatalogEntry]
    ) -> list[ScoredPassage]:
        """Return the passages of the selected documents nearest to a vector, best first, or raise `EmbeddingFailed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPassages:
    """The passages nearest to a query, best first, and what an answer says about them.

    `embedded` is (embedded passages, all passages) of the selection; None if meaning counts for nothing, for another reason
    than that none is embedded yet. `embedding_stopped`: for now no more of them get a vector, for the reason in `warnings`.
    """

    passages: tuple[ScoredPassage, ...] = ()
    warnings: tuple[str, ...] = ()
    embedded: tuple[int, int] | None = None
    embedding_stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class MeaningSearch:
    """Finds the passages nearest to a query. Without a `semantic` index there are none, and `no_semantic` says why."""

    pools: ThreadPools
    catalog: Catalog
    semantic: PassageVectors | None
    no_semantic: str

    async def nearest(self, request: SearchRequest, selection: Selection) -> NearPassages:
        """Return the nearest passages of the selected documents. Without any, the warning says why; nothing is raised."""
        semantic = self.semantic
        if semantic is None:
            return _by_words(self.no_semantic)
        if has_operators(parse_query(request.query).group):
            return _by_words("the query has operators")
        done, total = semantic.coverage(selection.readable)
        if not total:
            return NearPassages()
        if not done:
            because = f" ({semantic.problem})" if semantic.problem else ""
            yet = _by_words(
                f"none of {total:,} {one_or_many(total, 'passage', 'passages')} is embedded yet{because}"
            )
            return replace(yet, embedded=(0, total), embedding_stopped=semantic.problem is not None)
        try:
            vector = await semantic.vector_of(request.meant, limit_s=request.time_limit_s / 2)
            found = await self.pools.run(
                "ranking", lambda: semantic.nearest(vector, selection, self.catalog.by_id)
            )
        except EmbeddingFailed as failure:
            return _by_words(str(failure))
        warnings: tuple[str, ...] = ()
        if done < total:
            because = f" ({semantic.problem})" if semantic.problem else ""
            warnings = (
                f"hybrid: {done:,} of {total:,} {one_or_many(total, 'passage', 'passages')} embedded{because}; the others are {BY_WORDS}",
            )
        return NearPassages(
            passages=tuple(found),
            warnings=warnings,
            embedded=(done, total) if found else None,
            embedding_stopped=done < total and semantic.problem is not None,
        )


def _by_words(reason: str) -> NearPassages:
    return NearPassages(warnings=(f"hybrid: {reason}; {BY_WORDS}",))
