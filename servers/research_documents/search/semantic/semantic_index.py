"""Search by meaning over the documents of an engine: the vectors of their passages, and those of queries."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from research_documents.search.catalog.catalog import Catalog
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.index.passage_index import ScoredPassage
from research_documents.search.semantic.embedder import Embedder, EmbeddingFailed
from research_documents.search.semantic.fusion import FUSED
from research_documents.search.semantic.updater import DEFAULT_PACE, EmbeddingPace, EmbeddingUpdater
from research_shared.documents import DocumentText
from research_shared.faults import Faults

MAX_REMEMBERED_QUERIES: Final = 256
MAX_QUERY_CHARACTERS: Final = 4_000
QUERIES_LEFT_ALONE_S: Final = 10.0
"""Time for which queries are not embedded after that failed, so that not every search waits for it.

Short, because people who search meanwhile have answers by words alone."""

QueryVector = NDArray[np.float32]


class QueryVectors:
    """The vectors of queries, of which the last ones are remembered. `clock` is in seconds."""

    def __init__(self, embedder: Embedder, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._embedder = embedder
        self._clock = clock
        self._remembered: OrderedDict[str, QueryVector] = OrderedDict()
        self._asked: dict[str, asyncio.Task[QueryVector]] = {}
        self._failed: tuple[float, str] = (-QUERIES_LEFT_ALONE_S, "")

    async def close(self) -> None:
        """End what is being embedded."""
        for task in self._asked.values():
            task.cancel()
        if self._asked:
            await asyncio.wait(self._asked.values())
        self._asked = {}

    async def vector_of(self, query: str, *, limit_s: float) -> QueryVector:
        """Return the vector of a query within `limit_s` seconds. What comes later is remembered for the next time.

        Raises:
            EmbeddingFailed: the model did not give one.
        """
        query = query[:MAX_QUERY_CHARACTERS]
        if (known := self._remembered.get(query)) is not None:
            self._remembered.move_to_end(query)
            return known
        failed_at, reason = self._failed
        if self._clock() < failed_at + QUERIES_LEFT_ALONE_S:
            raise EmbeddingFailed(reason)
        task = self._asked.get(query)
        if task is None:
            task = self._asked[query] = asyncio.create_task(self._ask(query), name="embed query")
            task.add_done_callback(lambda _: self._asked.pop(query, None))
        done, _ = await asyncio.wait([task], timeout=limit_s)
        if not done:
            raise EmbeddingFailed("the embedding model does not answer in time")
        return task.result()

    async def _ask(self, query: str) -> QueryVector:
        try:
            vector: QueryVector = (await self._embedder.embed([query], query=True))[0]
        except EmbeddingFailed as failure:
            if not failure.about_texts:
                self._failed = (self._clock(), str(failure))
            raise
        self._remembered[query] = vector
        if len(self._remembered) > MAX_REMEMBERED_QUERIES:
            self._remembered.popitem(last=False)
        return vector


class SemanticIndex:
    """Vectors of the passages of one engine. `open` begins to embed in the background, `close` ends that.

    `directory` keeps the vectors across restarts.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        directory: Path | None = None,
        pace: EmbeddingPace = DEFAULT_PACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._embedder = embedder
        self._directory = directory
        self._pace = pace
        self._clock = clock
        self._updater: EmbeddingUpdater | None = None
        self._queries = QueryVectors(embedder, clock=clock)

    def open(
        self,
        catalog: Catalog,
        *,
        text_of: Callable[[CatalogEntry], Awaitable[DocumentText | None]],
        is_ready: Callable[[], bool],
        faults: Faults | None = None,
    ) -> None:
        """Begin to embed the passages of a catalog's documents, once `is_ready`."""
        self._updater = EmbeddingUpdater(
            self._embedder,
            directory=self._directory,
            catalog=catalog,
            text_of=text_of,
            is_ready=is_ready,
            pace=self._pace,
            faults=faults,
            clock=self._clock,
        )
        self._updater.start()

    def wake(self) -> None:
        """Say that the index may have changed."""
        if self._updater is not None:
            self._updater.wake()

    async def close(self) -> None:
        """Keep what is embedded so far, and release processes, connections and files."""
        await self._queries.close()
        updater, self._updater = self._updater, None
        if updater is not None:
            await updater.stop()
        await self._embedder.close()

    @property
    def problem(self) -> str | None:
        """Why passages are not embedded for now, as a clause."""
        return self._updater.problem if self._updater is not None else None

    def coverage(self, entries: Collection[CatalogEntry]) -> tuple[int, int]:
        """Return (embedded passages, all passages) of these documents."""
        if self._updater is None:
            return 0, sum(entry.passages for entry in entries)
        return self._updater.table.coverage(entries)

    async def vector_of(self, query: str, *, limit_s: float) -> QueryVector:
        """Return the vector of a query, see `QueryVectors.vector_of`.

        Raises:
            EmbeddingFailed: the model did not give one.
        """
        return await self._queries.vector_of(query, limit_s=limit_s)

    def nearest(
        self, vector: QueryVector, selection: Selection, by_id: Mapping[int, CatalogEntry]
    ) -> list[ScoredPassage]:
        """Return the passages of the selected documents nearest to a vector, best first. Callable in any thread.

        Raises:
            EmbeddingFailed: the vector has another size than those of the passages.
        """
        updater = self._updater
        return [] if updater is None else updater.table.nearest(vector, selection, by_id=by_id, limit=FUSED)
