"""Finds the passages on a cluster that are nearest to a query by meaning."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import numpy as np

from research_documents.opensearch.client import ClusterFailed
from research_documents.opensearch.mirror import DocumentMirror
from research_documents.opensearch.passages import ClusterPassages
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.index.passage_index import ScoredPassage
from research_documents.search.semantic.embedder import Embedder, EmbeddingFailed
from research_documents.search.semantic.fusion import FUSED
from research_documents.search.semantic.semantic_index import QueryVector, QueryVectors
from research_documents.search.semantic.vector_file import quantized
from research_documents.search.semantic.vectors import check_vectors, keys_of
from research_shared.logs import get_logger

log = get_logger("research.opensearch")

NO_VECTORS: Final = (
    "the index on the search cluster has no vectors: with the settings of this server, research-assistant index push --full "
    "makes them, where the cluster has the k-NN plugin"
)
OTHER_MODEL: Final = (
    "the index on the search cluster has the vectors of another embedding model: set the one that pushed it, or run "
    "research-assistant index push --full with this one"
)
_DOES_NOT_COMPARE: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR})


class ClusterMeaning:
    """The model of a server, and what the index on the cluster has of the same model. `clock` is in seconds."""

    def __init__(
        self, embedder: Embedder, mirror: DocumentMirror, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._embedder = embedder
        self._mirror = mirror
        self._clock = clock
        self._queries = QueryVectors(embedder, clock=clock)
        self._identity: str | None = None
        self._why_not = NO_VECTORS

    async def open(self) -> None:
        """Find out which model it is. If that fails, `absent` says so, and it may be called again."""
        if self._identity is not None:
            return
        try:
            self._identity = await self._embedder.identity()
        except EmbeddingFailed as failure:
            self._why_not = str(failure)
            log.warning("searches are ranked by words alone", error=str(failure))

    async def close(self) -> None:
        """Release processes and connections."""
        await self._queries.close()
        await self._embedder.close()

    @property
    def absent(self) -> str:
        """Why nothing can be compared, as a clause; empty if it can."""
        model = self._mirror.model
        if self._identity is None:
            return self._why_not
        if model is None:
            return NO_VECTORS
        return "" if model.identity == self._identity else OTHER_MODEL

    @property
    def problem(self) -> str | None:
        """Why some passages have no vector, as the last push said; None if it did not say so."""
        state = self._mirror.state
        return (state and state.embedding_problem) or None

    def coverage(self, entries: Collection[CatalogEntry]) -> tuple[int, int]:
        """Return (embedded passages, all passages) of these documents."""
        embedded, passages = self._mirror.passages_of(entries)
        return 0 if self.absent else embedded, passages

    @property
    def coverage_of_all(self) -> tuple[int, int]:
        """Return (embedded passages, all passages) of the index."""
        embedded, passages = self._mirror.passages
        return 0 if self.absent else embedded, passages

    def of(self, index: ClusterPassages) -> "PassagesByMeaning":
        """Return what compares the passages of one search."""
        return PassagesByMeaning(meaning=self, queries=self._queries, index=index, mirror=self._mirror)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassagesByMeaning:
    """Compares a query with the passages of one search, see `PassageVectors`."""

    meaning: ClusterMeaning
    queries: QueryVectors
    index: ClusterPassages
    mirror: DocumentMirror

    @property
    def problem(self) -> str | None:
        """Why some passages have no vector, as a clause; None if nobody said so."""
        return self.meaning.problem

    def coverage(self, entries: Collection[CatalogEntry]) -> tuple[int, int]:
        """Return (embedded passages, all passages) of these documents."""
        return self.meaning.coverage(entries)

    async def vector_of(self, query: str, *, limit_s: float) -> QueryVector:
        """Return the vector of a query, see `QueryVectors.vector_of`.

        Raises:
            EmbeddingFailed: the model did not give one.
        """
        return await self.queries.vector_of(query, limit_s=limit_s)

    def nearest(
        self,
        vector: QueryVector,
        selection: Selection,  # noqa: ARG002  (the index is asked for the documents of one selection)
        by_id: Mapping[int, CatalogEntry],  # noqa: ARG002  (and knows which ones count)
    ) -> list[ScoredPassage]:
        """Return the passages nearest to a vector, best first.

        Raises:
            EmbeddingFailed: the vector has another size than those of the passages, or the cluster refuses to compare them.
            ClusterFailed: it does not answer.
        """
        model = self.mirror.model
        check_vectors(vector[np.newaxis], None if model is None else model.dimension)
        codes = quantized(keys_of([""]), vector[np.newaxis]).codes[0]
        if not codes.any():
            return []
        try:
            return self.index.nearest(codes.tolist(), FUSED)
        except ClusterFailed as failure:
            if failure.status not in _DOES_NOT_COMPARE:
                raise
            log.warning(
                "the search cluster does not compare vectors", kind=failure.kind, reason=failure.reason
            )
            raise EmbeddingFailed("the search cluster refuses to compare vectors") from failure
