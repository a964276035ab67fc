"""Writes what was read to the catalog and the index, in batches, and makes it visible with commits."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from research_documents.search.catalog.catalog import Catalog
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.index.reader import BATCH_DOCUMENTS, ReadResult
from research_documents.search.index.store import STORE_ERRORS, Opened, Store
from research_documents.search.tuning import DEFAULT_TUNING, SearchTuning
from research_shared.documents import DocumentInfo, DocumentText
from research_shared.processors import use_all_processors
from research_shared.reading.library import ReadBefore
from research_shared.serving.memory import return_freed_memory, trim_memory

StepResult = TypeVar("StepResult")


class IndexLost(Exception):
    """The index in the directory can no longer be written: a full disk, for example."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(slots=True)
class _Large:
    """A document that is indexed slice by slice; `slices` yields the number of passages of each slice."""

    reading: ReadResult
    slices: Iterator[int]
    passages: int = 0


class IndexWriter:
    """Writes to catalog and index. One task calls it; the work on the index runs in one thread of its own.

    `index` is None until `open`. `uncommitted` counts the changes that the next commit makes visible. All that writes raises
    `IndexLost` when the directory of the index fails; `continue_in_memory` is then what is left.
    """

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        *,
        tuning: SearchTuning = DEFAULT_TUNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.index: PassageIndex | None = None
        self.uncommitted = 0
        self._catalog = catalog
        self._store = store
        self._tuning = tuning
        self._clock = clock
        self._removed: dict[str, int] = {}
        self._outdated: list[int] = []
        self._large: _Large | None = None
        self._abandoned: list[int] = []
        self._indexed_bytes = 0
        self._commit_at = 0.0
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> Opened | None:
        """Open the stored index; return what was in the store. Return None if it is open already."""
        opened = None
        if self.index is None:
            opened = await self._in_thread(self._store.open)
            self._catalog.restore(opened.indexed)
            self.index = opened.index
        if self._abandoned:
            await self._in_thread(self._drop_abandoned)
        return opened

    async def continue_in_memory(self, lost: IndexLost) -> ReadBefore:
        """Begin an empty index in memory. Return what gives the texts that are known; the catalog is empty then."""
        held = {
            path: (entry.info, entry.text)
            for path, entry in self._catalog.entries.items()
            if entry.text is not None and entry.mtime_reliable
        }

        def read_before(paths: Iterable[str]) -> dict[str, tuple[DocumentInfo, DocumentText]]:
            here = {path: held[path] for path in paths if path in held}
            return self._store.read_before([path for path in paths if path not in here]) | here

        index = self._open_index
        await self._in_thread(lambda: self._store.leave(index, lost.error))
        self.index = PassageIndex(tuning=self._tuning)
        self._catalog.clear()
        self._removed, self._outdated, self._abandoned, self._large = {}, [], [], None
        self.uncommitted = 0
        return read_before

    async def close(self) -> None:
        """Save what is indexed so far."""
        if (index := self.index) is not None:
            try:
                await self._in_thread(self._save)
            except IndexLost as lost:
                error = lost.error
                await self._in_thread(lambda: self._store.leave(index, error))
        self.index = None
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
            self._thread = None

    def _save(self) -> None:
        self._drop_abandoned()
        if self.uncommitted:
            self.uncommitted = 0
            self._store.commit(self._open_index)
        self._store.close(self._open_index)

    def abandon_large(self) -> None:
        """Give up a document that is being indexed slice by slice. What is there of it is removed by the next `open`."""
        if self._large is not None:
            self._abandoned.append(self._large.reading.id)
            self._large = None

    def _drop_abandoned(self) -> None:
        """Remove documents whose indexing was cut off."""
        while self._abandoned:
            self._open_index.remove(self._abandoned.pop())
            self.uncommitted += 1

    @property
    def _open_index(self) -> PassageIndex:
        assert self.index is not None  # noqa: S101  (`open` was called)
        return self.index

    # Commits

    @property
    def commit_is_due(self) -> bool:
        """Return whether changes have waited long enough."""
        return self._clock() > self._commit_at

    @property
    def commit_due_in(self) -> float | None:
        """Return the seconds until a commit is due, or None if nothing waits for one."""
        return max(self._commit_at - self._clock(), 0) if self.uncommitted else None

    def expect_changes(self) -> None:
        """Make the first commit of the changes to come due soon."""
        if not self.uncommitted:
            self._commit_at = self._clock() + self._tuning.first_commit_s

    async def commit(self) -> None:
        """Make all changes visible to searches."""
        if self.uncommitted:
            outdated, self._outdated = self._outdated, []
            await self._in_thread(lambda: self._store.commit(self._open_index))
            self.uncommitted = 0
            self._catalog.forget(outdated)
            self._catalog.backlog.committed()
        self._commit_at = self._clock() + self._tuning.commit_every_s

    async def on_idle(self) -> None:
        """Let the store tidy up, and trim memory, thoroughly after much was indexed."""
        self._catalog.drop_texts(await self._in_thread(self._tidy))

    def _tidy(self) -> frozenset[int]:
        stored: frozenset[int] = frozenset()
        if self._store.take_over():
            stored = self._store.save(tuple(self._catalog.entries.values()), ())
            self._store.commit(self._open_index)
        else:
            held = [entry for entry in tuple(self._catalog.entries.values()) if entry.text is not None]
            for at in range(0, len(held), BATCH_DOCUMENTS):
                stored |= self._store.kept_by_another(held[at : at + BATCH_DOCUMENTS])
        self._store.on_idle(self._open_index)
        if self._indexed_bytes >= self._tuning.trim_every_bytes:
            self._indexed_bytes = 0
            trim_memory()
        else:
            return_freed_memory()
        return stored

    # Changes

    def forget_removed(self) -> None:
        """Forget which paths were removed: no read of an older version is in progress."""
        self._removed.clear()

    async def apply(self, batch: Sequence[ReadResult]) -> None:
        """Apply a batch of read results to the catalog and the index."""
        current = self._catalog.entries
        fresh = self._latest(batch)
        renewed = [r for r in fresh if r.text and _is_indexed_as(current.get(r.path), r.text)]
        again = [
            replace(current[r.path], info=r.info, text=r.text, mtime_reliable=r.mtime_reliable, checked=r.id)
            for r in renewed
            if r.info
        ]
        unchanged = {r.id for r in renewed}
        changed = [r for r in fresh if r.id not in unchanged]
        outdated = [current[r.path].id for r in changed if r.path in current]

        def write() -> list[CatalogEntry]:
            for number in outdated:
                self._open_index.remove(number)
            entries = [*(self._entry(r, r.info) for r in changed if r.info), *again]
            stored = self._store.save(entries, [r.path for r in changed])
            return [entry.without_text() if entry.id in stored else entry for entry in entries]

        self.uncommitted += len(batch)
        entries = await self._in_thread(write)
        for result in changed:
            if result.info is None:
                self._catalog.remove(result.path)
                self._removed[result.path] = result.id
        for entry in entries:
            self._catalog.put(entry)
        self._outdated += outdated
        for result in batch:
            self._catalog.backlog.read(result.path, result.id, has_text=result.text is not None)

    def _latest(self, batch: Sequence[ReadResult]) -> list[ReadResult]:
        """Return the results that are newer than what is known of their path."""
        latest = {
            path: entry.id for path in (r.path for r in batch) if (entry := self._catalog.entries.get(path))
        }
        for result in batch:
            newest = max(latest.get(result.path, 0), self._removed.get(result.path, 0), result.id)
            latest[result.path] = newest
        return [r for r in batch if latest[r.path] == r.id]

    def _entry(self, result: ReadResult, info: DocumentInfo) -> CatalogEntry:
        text = result.text
        if text is None:
            return CatalogEntry(
                id=result.id,
                info=info,
                reason=result.reason,
                mtime_reliable=result.mtime_reliable,
                read_at=self._clock(),
            )
        self._indexed_bytes += len(text.data)
        if (large := self._large) is not None and large.reading is result:
            passages = large.passages
        else:
            passages = self._open_index.add(result.id, text)
        return CatalogEntry.of(result.id, info, text, passages, mtime_reliable=result.mtime_reliable)

    # Large documents

    @property
    def has_large(self) -> bool:
        """Return whether a large document is being indexed."""
        return self._large is not None

    async def begin_large(self, reading: ReadResult) -> bool:
        """Start indexing a large document slice by slice. Apply it at once and return False if its text is not needed."""
        if reading.text is not None and self._is_needed(reading):
            self._large = _Large(reading, self._open_index.adding(reading.id, reading.text))
            return True
        await self.apply([reading])
        return False

    async def index_slice(self) -> ReadResult | None:
        """Index the next slice of the large document. Return its result once it is complete and in the catalog."""
        large = self._large
        assert large is not None  # noqa: S101  (`has_large`)
        needed = self._is_needed(large.reading)

        def work() -> bool:
            if not needed:
                self._open_index.remove(large.reading.id)
                return False
            added = next(large.slices, None)
            large.passages += added or 0
            return added is not None

        if await self._in_thread(work):
            return None
        await self.apply([large.reading])
        self._large = None
        return large.reading

    def _is_needed(self, reading: ReadResult) -> bool:
        """Return whether a result is the latest of its path and has a text that is not indexed."""
        if reading.text is None or not self._latest([reading]):
            return False
        return not _is_indexed_as(self._catalog.entries.get(reading.path), reading.text)

    async def _in_thread(self, function: Callable[[], StepResult]) -> StepResult:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="index", initializer=use_all_processors)
        depends_on_disk = self._store.holds_index
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function)
        except STORE_ERRORS as error:
            if depends_on_disk:
                raise IndexLost(error) from error
            raise


def _is_indexed_as(entry: CatalogEntry | None, text: DocumentText) -> bool:
    """Return whether a text is the one that is in the catalog and the index, not only of the same version of the file."""
    return entry is not None and entry.is_of(text)
