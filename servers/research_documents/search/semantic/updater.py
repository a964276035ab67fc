"""Embeds the passages of the index in the background, once it is ready, and keeps their vectors in step with it."""

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from research_documents.search.catalog.catalog import Catalog
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.semantic.embedder import Embedder, EmbeddingFailed, embed_passages
from research_documents.search.semantic.passage_table import DocumentPassages, PassageTable, parts_of
from research_documents.search.semantic.vectors import NO_ROW, VectorRows, VectorStore, keys_of
from research_shared.documents import DocumentText
from research_shared.faults import Faults
from research_shared.logs import get_logger
from research_shared.text.passages import spans

log = get_logger("research.search")

DOCUMENTS_AT_A_TIME: Final = 32
FORGOTTEN: Final = 1024
"""Vectors of passages that no longer exist are kept, in case that these come back, until they are so many and outnumber the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingPace:
    """Times of the background work in seconds.

    Between writes while passages are embedded, between looks at what another process wrote, and the first and the longest
    wait after a failure. Documents that could not be read are tried again after the longest wait, and a
    directory that vectors cannot be written to after `retry_disk_s`.
    """

    save_every_s: float = 60.0
    look_every_s: float = 5.0
    first_wait_s: float = 2.0
    longest_wait_s: float = 300.0
    retry_disk_s: float = 60.0


DEFAULT_PACE = EmbeddingPace()
_FAILS_WITH_OTHERS: Final = "the model fails with the others"


class EmbeddingUpdater:
    """One task that embeds what has no vector yet: in the process that writes the vectors, while others map them.

    `text_of` reads the text of a document that is not in memory. `is_ready` says whether the keyword index is complete:
    before that, nothing is embedded. `table` is what searches use; `problem` says why embedding does not go on.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        directory: Path | None,
        catalog: Catalog,
        text_of: Callable[[CatalogEntry], Awaitable[DocumentText | None]],
        is_ready: Callable[[], bool],
        pace: EmbeddingPace = DEFAULT_PACE,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._faults = faults
        self.table = PassageTable(documents={}, vectors=VectorRows())
        self.problem: str | None = None
        self._embedder = embedder
        self._directory = directory
        self._catalog = catalog
        self._text_of = text_of
        self._is_ready = is_ready
        self._pace = pace
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._work = asyncio.Event()
        self._reset()

    def _reset(self) -> None:
        self._store: VectorStore | None = None
        self._documents: dict[int, DocumentPassages] = {}
        self._incomplete: dict[int, None] = {}
        """Documents with parts of passages that have no vector yet, in the order of their turn."""
        self._postponed: set[int] = set()
        """Documents whose text could not be read: they get another turn after the next wait."""
        self._given_up: set[bytes] = set()
        """Keys of parts that the model fails with."""
        self._only_failing = False
        """Whether the parts that have no vector are those that the model fails with."""
        self._seen = -1
        self._ready = False
        self._saved_at = self._clock()
        self._texts: tuple[int, list[str]] = (-1, [])
        """Id and parts of the document that is being embedded."""

    def start(self) -> None:
        """Begin to work, outside of any request's scope."""
        self._work = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name="embed passages", context=contextvars.Context()
        )

    def wake(self) -> None:
        """Say that the index may have changed."""
        self._work.set()

    async def stop(self) -> None:
        """Stop working, and keep what is embedded so far."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        if self._store is not None:
            await asyncio.to_thread(self._store.save, at_once=True)
            self._store.close()
        self.table = PassageTable(documents={}, vectors=VectorRows())
        self._reset()

    async def _run(self) -> None:
        failures = 0
        try:
            while True:
                wait_s: float | None
                try:
                    self._work.clear()
                    wait_s = await self._step()
                    failures = 0
                    self.problem = _FAILS_WITH_OTHERS if self._only_failing else None
                except EmbeddingFailed as failure:
                    failures += 1
                    wait_s = failure.retry_after_s or min(
                        self._pace.first_wait_s * 2.0 ** (failures - 1), self._pace.longest_wait_s
                    )
                    self.problem = str(failure)
                    log.warning("passages are not embedded for now", error=str(failure), wait_s=wait_s)
                self._publish()
                if wait_s != 0:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            # After a failure, a change of the folder is no reason to try again.
                            await (asyncio.Event() if failures else self._work).wait()
                    self._put_back()
        except Exception:
            self.problem = "embedding ended with an internal error"
            log.exception("embedding passages failed")

    def _put_back(self) -> None:
        """Give the documents whose text could not be read another turn. Those that are gone are not taken up again."""
        for number in self._postponed:
            if number in self._documents:
                self._incomplete[number] = None
            else:
                self._seen = -1
        self._postponed.clear()

    def _publish(self) -> None:
        if self._store is not None:
            vectors = self._store.rows
            if vectors.blocks != self.table.vectors.blocks or self._documents != self.table.documents:
                self.table = PassageTable(documents=dict(self._documents), vectors=vectors)

    async def _step(self) -> float | None:
        """Do the next piece of work. Return the seconds to wait then, None for until something changes.

        Raises:
            EmbeddingFailed: the model does not answer, or not as expected.
        """
        self._only_failing = False
        self._ready = self._ready or self._is_ready()
        if not self._ready:
            return None
        if self._store is None:
            store = VectorStore(
                self._directory,
                await self._embedder.identity(),
                faults=self._faults,
                retry_s=self._pace.retry_disk_s,
                clock=self._clock,
            )
            await asyncio.to_thread(store.open)
            self._store = store
        store = self._store
        if not store.writes and await self._look(store):
            self._look_up_all(store)
        await self._follow_catalog(store)
        if not store.writes:
            return self._pace.look_every_s
        if await self._embed_some(store):
            if self._clock() - self._saved_at >= self._pace.save_every_s:
                await self._save(store)
            return 0
        self._only_failing = not self._postponed and not all(
            document.complete for document in self._documents.values()
        )
        await self._save(store)
        await self._forget(store)
        waits = [self._pace.longest_wait_s] if self._postponed else []
        waits += [self._pace.retry_disk_s] if store.failed else []
        return min(waits, default=None)

    async def _look(self, store: VectorStore) -> bool:
        try:
            return await asyncio.to_thread(store.look)
        except OSError as error:
            log.warning("the kept vectors cannot be read", error=str(error))
            raise EmbeddingFailed("the kept vectors cannot be read") from error

    async def _follow_catalog(self, store: VectorStore) -> None:
        """Take up the passages of new documents, and drop those that are gone."""
        while self._seen != self._catalog.version:
            version = self._catalog.version
            current = {entry.id: entry for entry in self._catalog.entries.values() if not entry.reason}
            for number in self._documents.keys() - current.keys():
                del self._documents[number]
                self._incomplete.pop(number, None)
            added = [entry for number, entry in current.items() if number not in self._documents]
            for at in range(0, len(added), DOCUMENTS_AT_A_TIME):
                some = added[at : at + DOCUMENTS_AT_A_TIME]
                texts = [(entry.id, entry.text or await self._text_of(entry)) for entry in some]
                await asyncio.to_thread(self._take_up, texts, store)
            self._seen = version

    def _take_up(self, texts: Sequence[tuple[int, DocumentText | None]], store: VectorStore) -> None:
        for number, text in texts:
            if text is None:  # it has changed, and a new version comes; or it cannot be read for now
                self._postponed.add(number)
            else:
                self._documents[number] = document = DocumentPassages.of(number, text, store)
                if not document.complete:
                    self._incomplete[number] = None

    def _look_up_all(self, store: VectorStore) -> None:
        for number, document in self._documents.items():
            self._documents[number] = document.looked_up(store)
        self._incomplete = {
            number: None for number, document in self._documents.items() if not document.complete
        }

    async def _embed_some(self, store: VectorStore) -> bool:
        """Embed the next batch of parts; return False if all are embedded."""
        batch: dict[bytes, str] = {}
        touched: list[int] = []
        for number in list(self._incomplete):
            if len(batch) >= self._embedder.batch:
                break
            document = self._documents[number] = self._documents[number].looked_up(store)
            wanted = [
                (int(at), key)
                for at in np.flatnonzero(document.rows == NO_ROW)
                if (key := document.keys[at].tobytes()) not in self._given_up
            ]
            texts = await self._texts_of(number) if wanted else None
            if texts is None:
                del self._incomplete[number]
                if wanted:
                    self._postponed.add(number)
                continue
            touched.append(number)
            for at, key in wanted:
                if len(batch) < self._embedder.batch:
                    batch[key] = texts[at]
        if not batch:
            return False
        await self._embed(list(batch.values()), store)
        for number in touched:
            self._documents[number] = self._documents[number].looked_up(store)
        return True

    async def _texts_of(self, number: int) -> list[str] | None:
        """Return what is embedded of a document, part by part; None if it has changed or cannot be read now."""
        if self._texts[0] != number:
            entry = self._catalog.by_id.get(number)
            text = None if entry is None else entry.text or await self._text_of(entry)
            if text is None:
                return None
            self._texts = (number, await asyncio.to_thread(_part_texts, text))
        return self._texts[1]

    async def _embed(self, texts: Sequence[str], store: VectorStore) -> None:
        """Embed these texts. If they are the cause of a failure, find out which, and leave those out.

        Raises:
            EmbeddingFailed: the cause is another one.
        """
        await embed_passages(
            self._embedder,
            texts,
            take=lambda some, vectors: store.add(keys_of(some), vectors),
            give_up=lambda text: self._given_up.add(keys_of([text])[0].tobytes()),
        )

    async def _save(self, store: VectorStore) -> None:
        if store.unsaved and await asyncio.to_thread(store.save):
            done, total = self.table.coverage(list(self._catalog.entries.values()))
            log.info("passages are embedded", done=done, total=total)
        self._saved_at = self._clock()

    async def _forget(self, store: VectorStore) -> None:
        """Drop the vectors of passages that no longer exist, once they are many."""
        used = [document.rows for document in self._documents.values()]
        rows = np.unique(np.concatenate(used)) if used else np.zeros(0, dtype=np.int32)
        rows = rows[rows != NO_ROW]
        if len(store.rows) - len(rows) > max(FORGOTTEN, len(rows)):
            await asyncio.to_thread(store.keep_only, rows)
            self._look_up_all(store)


def _part_texts(text: DocumentText) -> list[str]:
    return [part.text for span in spans(text) for part in parts_of(text, span)]
