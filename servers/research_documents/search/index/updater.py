"""Keeps catalog and index up to date with the folder: scans, changed paths, and the order they are processed in."""

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from research_documents.search.index.backlog import PendingKind, PendingPath
from research_documents.search.index.catalog import Catalog, CatalogEntry
from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.index.reader import Readers, ReadResult, RefreshRequest, reading_order
from research_documents.search.index.store import Store
from research_shared.access.scope import EVERYTHING
from research_shared.documents import DocumentInfo, Identity
from research_shared.errors import ResearchError
from research_shared.logs import get_logger
from research_shared.reading.library import SETTLED_NS, Library
from research_shared.serving.memory import trim_memory

log = get_logger("research.search")
StepResult = TypeVar("StepResult")

FIRST_COMMIT_S: Final = 0.3
COMMIT_EVERY_S: Final = 2.0
MAX_REFRESH_PATHS: Final = 256
RETRY_UNREADABLE_S: Final = 60.0
TRIM_EVERY_BYTES: Final = 16 * 1024 * 1024
"""Memory is trimmed when the updater is idle and at least so many bytes were indexed."""


@dataclass(slots=True)
class _Large:
    """A document that is indexed slice by slice; `slices` yields the number of passages of each slice."""

    reading: ReadResult
    slices: Iterator[int]
    passages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _ListingDiff:
    """How a listing differs from the catalog.

    `queue` holds what must be read, in order; `in_progress` what is already being read in the listed version; `gone` the
    paths that no longer exist. `waiting` covers all three.
    """

    queue: dict[str, DocumentInfo]
    in_progress: dict[str, DocumentInfo]
    waiting: dict[str, PendingPath]
    gone: list[str]


class IndexUpdater:
    """Updates catalog and index from one worker task, which lives only while there is work. Nothing else writes to them."""

    def __init__(self, library: Library, catalog: Catalog, store: Store) -> None:
        self.index: PassageIndex | None = None
        self._library = library
        self._catalog = catalog
        self._store = store
        self._worker: asyncio.Task[None] | None = None
        self._work_available = asyncio.Event()
        self._scans: list[asyncio.Future[None]] = []
        self._listing: list[asyncio.Future[None]] | None = None
        self._listed: dict[asyncio.Future[None], int] = {}
        self._refreshes: list[RefreshRequest] = []
        self._refreshing: list[RefreshRequest] = []
        self._readers = Readers(library, catalog, self._work_available)
        self._removed: dict[str, int] = {}
        self._outdated: list[int] = []
        self._large: _Large | None = None
        self._abandoned: list[int] = []
        self._uncommitted = 0
        self._indexed_bytes = 0
        self._commit_at = 0.0
        self._thread: ThreadPoolExecutor | None = None

    @property
    def progress(self) -> tuple[int, int] | None:
        """Return (indexed documents, known documents) while some are missing, else None; (0, 0) before the first listing."""
        coverage = self._catalog.coverage("*", EVERYTHING, visible=True)
        if not coverage.listed:
            return (0, 0) if self.working else None
        return None if coverage.complete else (coverage.done, coverage.total)

    @property
    def working(self) -> bool:
        """Return whether the worker task is running."""
        return self._worker is not None and not self._worker.done()

    def scan(self) -> "asyncio.Future[None]":
        """Scan the whole folder; the future resolves when the index shows a state of the folder later than this call."""
        future: asyncio.Future[None] = self._wake().create_future()
        self._scans.append(future)
        return future

    def catch_up(self) -> "asyncio.Future[None]":
        """Read what is known to have changed; the future resolves when the index shows all of it."""
        if not self.working:
            return self.scan()
        future: asyncio.Future[None] = self._wake().create_future()
        self._listed[future] = self._catalog.new_id()
        return future

    def awaits(self, update: "asyncio.Future[None]", relevant: Callable[[str], bool]) -> bool:
        """Return whether `update` may still read a path that `relevant` accepts. Always true before its listing is done."""
        number = self._listed.get(update)
        if number is None:
            return not update.done()
        unread = self._catalog.backlog.unread.items()
        return any(waiting.first <= number and relevant(path) for path, waiting in unread)

    def refresh_now(self, paths: Iterable[str]) -> "asyncio.Future[None]":
        """Read these paths before anything else; the future resolves when the index shows them."""
        wanted = set(paths)
        if len(wanted) > MAX_REFRESH_PATHS:
            return self.scan()
        future: asyncio.Future[None] = self._wake().create_future()
        if wanted:
            known = self._catalog.entries
            self._catalog.backlog.touched(wanted, self._catalog.new_id(), time.monotonic(), known)
            self._refreshes.append(RefreshRequest(future, wanted))
        else:
            future.set_result(None)
        return future

    async def stop(self) -> None:
        """Cancel the worker and save what is indexed so far."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        if (index := self.index) is not None:
            await self._in_thread(lambda: self._close(index))
        self.index = None
        self._catalog.clear()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
            self._thread = None

    def _close(self, index: PassageIndex) -> None:
        self._drop_abandoned(index)
        if self._uncommitted:
            self._uncommitted = 0
            self._store.commit(index)
        self._store.close(index)

    def _drop_abandoned(self, index: PassageIndex) -> None:
        """Remove documents whose indexing was cut off."""
        while self._abandoned:
            index.remove(self._abandoned.pop())
            self._uncommitted += 1

    def _wake(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._worker is not None and self._worker.get_loop() is not loop:
            self._reset()
        if self._worker is None or self._worker.done():
            # An empty context: the index serves every scope, so it is built outside of any.
            self._worker = loop.create_task(self._work(), name="update index", context=contextvars.Context())
        self._work_available.set()
        return loop

    def _reset(self) -> None:
        """Drop work in progress: after a failure, or when the event loop changed."""
        self._worker = None
        self._work_available = asyncio.Event()
        self._scans, self._listing, self._listed = [], None, {}
        self._refreshes, self._refreshing = [], []
        if self._large is not None:
            self._abandoned.append(self._large.reading.id)
            self._large = None
        self._readers = Readers(self._library, self._catalog, self._work_available, self._readers.kept)

    async def _work(self) -> None:
        try:
            index = self.index
            if index is None:
                index = self.index = await self._in_thread(self._open)
            if self._abandoned:
                await self._in_thread(lambda: self._drop_abandoned(index))
            async with asyncio.TaskGroup() as tasks:
                while await self._step(index, tasks):
                    pass
        except BaseException as error:
            refreshes = [*self._refreshes, *self._refreshing]
            scans = [*self._scans, *(self._listing or ()), *self._listed]
            waiting = [*scans, *(request.future for request in refreshes)]
            self._reset()
            cause = _cause(error)
            for future in waiting:
                if not future.done():
                    future.set_exception(cause)
                    future.exception()  # seen, even when nobody waits for it any more
            if not isinstance(error, Exception):
                raise
            if not isinstance(cause, ResearchError):
                log.exception("updating the search index failed", exc_info=cause)

    async def _step(self, index: PassageIndex, tasks: asyncio.TaskGroup) -> bool:
        """Do the next unit of work; return whether there may be more."""
        self._work_available.clear()
        while self._refreshes:
            request = self._refreshes.pop()
            self._refreshing = [request, *(other for other in self._refreshing if not other.future.done())]
            for path in sorted(request.paths):
                self._readers.read_now(path, request, tasks)
        if self._scans and self._listing is None:
            # Concurrently: known documents are read while a large folder is still being listed.
            self._listing, self._scans = self._scans, []
            tasks.create_task(self._list())
        self._readers.start(tasks)
        if batch := self._readers.batch():
            await self._apply(index, batch)
        elif self._uncommitted and (self._commit_is_due or not self._expects_results):
            await self._commit(index, [])
        elif self._large is not None:
            await self._index_slice(index, self._large)
        elif (reading := self._readers.large()) is not None:
            await self._begin_large(index, reading)
        elif self._expects_results:
            await self._wait_for_work()
        else:
            return await self._finish(index)
        return True

    async def _finish(self, index: PassageIndex) -> bool:
        """Run the idle work; return whether new work arrived meanwhile."""
        await self._in_thread(lambda: self._on_idle(index))
        if self._scans or self._refreshes:
            return True
        self._readers.kept = {}
        self._removed.clear()
        self._resolve_listed()
        return bool(self._scans or self._refreshes)

    @property
    def _expects_results(self) -> bool:
        """Return whether reads or a listing in progress will give more to index."""
        return self._readers.busy or self._listing is not None

    @property
    def _commit_is_due(self) -> bool:
        return time.monotonic() > self._commit_at

    async def _wait_for_work(self) -> None:
        """Wait for a result, at most until the next commit is due."""
        timeout = max(self._commit_at - time.monotonic(), 0) if self._uncommitted else None
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._work_available.wait()

    def _on_idle(self, index: PassageIndex) -> None:
        self._store.on_idle(index)
        if self._indexed_bytes >= TRIM_EVERY_BYTES:
            self._indexed_bytes = 0
            trim_memory()

    def _open(self) -> PassageIndex:
        opened = self._store.open()
        self._readers.kept = opened.texts
        for entry in opened.indexed:
            self._catalog.put(entry)
            self._catalog.reserve_ids(entry.id)
        return opened.index

    async def _list(self) -> None:
        """List the folder and queue what is new in it, in reading order."""
        number = self._catalog.new_id()
        infos = await self._library.documents("*")
        known, in_progress = dict(self._catalog.entries), dict(self._readers.in_progress)
        diff = await asyncio.to_thread(lambda: _diff_listing(infos, known, in_progress, number))
        self._drop_already_read(diff, number)
        self._readers.queue = diff.queue
        self._readers.results += [ReadResult(id=number, path=path) for path in diff.gone]
        self._catalog.backlog.found(number, diff.waiting)
        if not self._uncommitted:
            self._commit_at = time.monotonic() + FIRST_COMMIT_S
        self._listed |= dict.fromkeys(self._listing or (), number)
        self._listing = None
        self._work_available.set()

    def _drop_already_read(self, diff: _ListingDiff, number: int) -> None:
        """Drop from `diff` what entered the catalog while the listing was compared with it."""
        entries, in_progress = self._catalog.entries, self._readers.in_progress
        for path in diff.queue.keys() & entries.keys():
            if entries[path].checked > number:
                del diff.queue[path], diff.waiting[path]
        for path, info in diff.in_progress.items():
            if path in in_progress:
                continue
            entry = entries.get(path)
            if entry is not None and entry.info.identity == info.identity:
                del diff.waiting[path]
            else:
                diff.queue[path] = info
                diff.waiting[path] = diff.waiting[path]._replace(latest=number)

    def _is_needed(self, reading: ReadResult) -> bool:
        """Return whether a result is the latest of its path and has a text that is not indexed."""
        known = _digest_of(self._catalog.entries.get(reading.path))
        return bool(self._latest([reading])) and reading.text is not None and reading.text.digest != known

    async def _begin_large(self, index: PassageIndex, reading: ReadResult) -> None:
        """Start indexing a large document slice by slice, unless its text is indexed already."""
        if reading.text is not None and self._is_needed(reading):
            self._large = _Large(reading, index.adding(reading.id, reading.text))
        else:
            await self._apply(index, [reading])

    async def _index_slice(self, index: PassageIndex, large: _Large) -> None:
        """Index the next slice; after the last one the document enters the catalog."""
        needed = self._is_needed(large.reading)

        def work() -> bool:
            if not needed:
                index.remove(large.reading.id)
                return False
            added = next(large.slices, None)
            large.passages += added or 0
            return added is not None

        if not await self._in_thread(work):
            await self._apply(index, [large.reading])
            self._large = None

    async def _apply(self, index: PassageIndex, batch: list[ReadResult]) -> None:
        """Apply a batch of read results to the catalog and the index."""
        current = self._catalog.entries
        fresh = self._latest(batch)
        renewed = [r for r in fresh if r.text and r.text.digest == _digest_of(current.get(r.path))]
        again = [
            replace(current[r.path], info=r.info, mtime_reliable=r.mtime_reliable, checked=r.id)
            for r in renewed
            if r.info
        ]
        unchanged = {r.id for r in renewed}
        changed = [r for r in fresh if r.id not in unchanged]
        outdated = [current[r.path].id for r in changed if r.path in current]

        def write() -> list[CatalogEntry]:
            for number in outdated:
                index.remove(number)
            entries = [self._entry(r, r.info, index) for r in changed if r.info]
            self._store.save([*entries, *again], [r.path for r in changed])
            return entries

        self._uncommitted += len(batch)
        entries: list[CatalogEntry] = await self._in_thread(write)
        for result in changed:
            self._catalog.remove(result.path)
            if result.info is None:
                self._removed[result.path] = result.id
        for entry in [*entries, *again]:
            self._catalog.put(entry)
        self._outdated += outdated
        for result in batch:
            self._readers.in_progress.pop(result.path, None)
            self._catalog.backlog.read(result.path, result.id, has_text=result.text is not None)
        urgent = [(r.request, r.path) for r in batch if r.request]
        if urgent or self._commit_is_due:
            await self._commit(index, urgent)

    def _latest(self, batch: list[ReadResult]) -> list[ReadResult]:
        """Return the results that are newer than what is known of their path."""
        latest = {
            path: entry.id for path in (r.path for r in batch) if (entry := self._catalog.entries.get(path))
        }
        for result in batch:
            newest = max(latest.get(result.path, 0), self._removed.get(result.path, 0), result.id)
            latest[result.path] = newest
        return [r for r in batch if latest[r.path] == r.id]

    def _entry(self, result: ReadResult, info: DocumentInfo, index: PassageIndex) -> CatalogEntry:
        text = result.text
        if text is None:
            return CatalogEntry(
                id=result.id,
                info=info,
                reason=result.reason,
                mtime_reliable=result.mtime_reliable,
                read_at=time.monotonic(),
            )
        self._indexed_bytes += len(text.data)
        if (large := self._large) is not None and large.reading is result:
            passages = large.passages
        else:
            passages = index.add(result.id, text)
        return CatalogEntry.of(result.id, info, text, passages, mtime_reliable=result.mtime_reliable)

    async def _commit(self, index: PassageIndex, urgent: list[tuple[RefreshRequest, str]]) -> None:
        if self._uncommitted:
            outdated, self._outdated = self._outdated, []
            await self._in_thread(lambda: self._store.commit(index))
            self._uncommitted = 0
            self._catalog.forget(outdated)
            self._catalog.backlog.committed()
        self._commit_at = time.monotonic() + COMMIT_EVERY_S
        self._resolve_listed()
        for request, path in urgent:
            request.paths.discard(path)
            if not request.paths:
                _resolve([request.future])

    def _resolve_listed(self) -> None:
        """Resolve the updates whose documents are all visible."""
        oldest = self._catalog.backlog.oldest_id() if self._listed else 0
        ready = [future for future, number in self._listed.items() if number < oldest]
        for future in ready:
            del self._listed[future]
        _resolve(ready)

    async def _in_thread(self, function: Callable[[], StepResult]) -> StepResult:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="index")
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


def _diff_listing(
    infos: list[DocumentInfo],
    known: Mapping[str, CatalogEntry],
    in_progress: Mapping[str, tuple[Identity, int]],
    number: int,
) -> _ListingDiff:
    """Compare a listing with the catalog."""
    now = time.monotonic()
    unread = [info for info in infos if _needs_reading(known.get(info.path), info, now)]
    unread.sort(key=reading_order)
    being_read = {info.path: info for info in unread if _is_being_read(info, in_progress.get(info.path))}
    present = {info.path for info in infos}
    gone = [path for path in known if path not in present]
    waiting = {
        info.path: PendingPath(
            number, 0 if info.path in being_read else number, now, _kind(known.get(info.path), info)
        )
        for info in unread
    }
    waiting |= {path: PendingPath(number, number, now, "uncounted") for path in gone}
    queue = {info.path: info for info in unread if info.path not in being_read}
    return _ListingDiff(queue=queue, in_progress=being_read, waiting=waiting, gone=gone)


def _is_being_read(info: DocumentInfo, read: tuple[Identity, int] | None) -> bool:
    """Return whether a read in progress is of the listed version, and the file old enough for its mtime to be reliable."""
    if read is None:
        return False
    identity, started_ns = read
    return identity == info.identity and started_ns - identity.ctime_ns > SETTLED_NS


def _kind(entry: CatalogEntry | None, info: DocumentInfo) -> PendingKind:
    if entry is None:
        return "new"
    tried_again = entry.reason and entry.info.identity.same_file(info.identity)
    return "uncounted" if tried_again else "changed"


def _needs_reading(entry: CatalogEntry | None, info: DocumentInfo, now: float) -> bool:
    if entry is None or not entry.mtime_reliable or not entry.info.identity.same_file(info.identity):
        return True
    return bool(entry.reason) and now - entry.read_at > RETRY_UNREADABLE_S


def _digest_of(entry: CatalogEntry | None) -> str | None:
    return entry.digest if entry is not None else None


def _resolve(futures: Iterable["asyncio.Future[None]"]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _cause(error: BaseException) -> BaseException:
    """Return the first error of a task group's exception group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
