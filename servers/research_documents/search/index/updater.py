"""Keeps catalog and index up to date with the folder: scans, changed paths, and the order they are processed in."""

import asyncio
import contextvars
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from research_documents.search.catalog.catalog import Catalog
from research_documents.search.index.diff import ListingDiff, diff_listing
from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.index.reader import Readers, ReadResult, RefreshRequest
from research_documents.search.index.store import Store
from research_documents.search.index.writer import IndexLost, IndexWriter
from research_documents.search.tuning import DEFAULT_TUNING, SearchTuning
from research_shared.errors import ResearchError
from research_shared.logs import get_logger
from research_shared.reading.library import Library, ReadBefore

log = get_logger("research.search")

MAX_REFRESH_PATHS: Final = 256
QUIET_SHARE: Final = 9
"""After a scan there is none for what watching missed during so many times what it took."""


class IndexUpdater:
    """Decides what is read and written next: one worker task, which lives only while there is work.

    `scan`, `catch_up` and `refresh_now` ask for an update and return a future. `Readers` read, `IndexWriter` writes.
    `tuning` paces the work, by `clock` in seconds. `on_change` is called when searches may find something new, and when
    the work is done.
    """

    def __init__(
        self,
        library: Library,
        catalog: Catalog,
        store: Store,
        *,
        tuning: SearchTuning = DEFAULT_TUNING,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._library = library
        self._catalog = catalog
        self._writer = IndexWriter(catalog, store, tuning=tuning, clock=clock)
        self._tuning = tuning
        self._clock = clock
        self._on_change = on_change or (lambda: None)
        self._worker: asyncio.Task[None] | None = None
        self._work_available = asyncio.Event()
        self._scans: list[asyncio.Future[None]] = []
        self._listing: list[asyncio.Future[None]] | None = None
        self._listed: dict[asyncio.Future[None], int] = {}
        self._quiet_until = 0.0
        self._refreshes: list[RefreshRequest] = []
        self._refreshing: list[RefreshRequest] = []
        self._readers = self._new_readers()

    @property
    def index(self) -> PassageIndex | None:
        """Return the index, or None before it was opened."""
        return self._writer.index

    @property
    def progress(self) -> tuple[int, int] | None:
        """Return (indexed documents, known documents) while some are missing, else None; (0, 0) before the first listing."""
        coverage = self._catalog.coverage_of_all()
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

    @property
    def quiet_s(self) -> float:
        """Return the seconds until a scan that nobody waits for should begin, so that those take a tenth of the time.

        0 if it may begin now, infinity while there is one.
        """
        if self.working and (self._scans or self._listing is not None):
            return math.inf
        return max(self._quiet_until - self._clock(), 0.0)

    def tidy(self) -> None:
        """Let the store tidy up, if there is nothing else to do."""
        self._wake()

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
            self._catalog.backlog.touched(wanted, self._catalog.new_id(), self._clock(), known)
            self._refreshes.append(RefreshRequest(future, wanted))
        else:
            future.set_result(None)
        return future

    async def stop(self) -> None:
        """Cancel the worker and save what is indexed so far."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        await self._writer.close()
        self._catalog.clear()
        self._quiet_until = 0.0

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
        self._quiet_until = 0.0
        self._refreshes, self._refreshing = [], []
        self._writer.abandon_large()
        self._readers = self._new_readers(self._readers.read_before)

    def _new_readers(self, read_before: ReadBefore | None = None) -> Readers:
        return Readers(
            self._library, self._catalog, self._work_available, read_before=read_before, tuning=self._tuning
        )

    async def _work(self) -> None:
        try:
            while not await self._worked_off():
                pass
        except BaseException as error:
            waiting = self._waiting
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

    async def _worked_off(self) -> bool:
        """Work until nothing is left to do. Return False if the index was lost meanwhile and begins again in memory."""
        try:
            if (opened := await self._writer.open()) is not None:
                self._readers.read_before = opened.read_before
                held = {entry.info.root for entry in self._catalog.entries.values()}
                self._library.roots.expect_documents(held | opened.roots)
            async with asyncio.TaskGroup() as tasks:
                while await self._step(tasks):
                    pass
        except* IndexLost as group:
            lost = _cause(group)
        else:
            return True
        assert isinstance(lost, IndexLost)  # noqa: S101  (that is what was caught)
        worker, waiting = self._worker, self._waiting
        self._reset()
        self._worker = worker
        self._readers.read_before = await self._writer.continue_in_memory(lost)
        # A scan shows whatever was waited for.
        self._scans += [future for future in waiting if not future.done()] or [
            asyncio.get_running_loop().create_future()
        ]
        return False

    @property
    def _waiting(self) -> "list[asyncio.Future[None]]":
        """Return the futures that callers wait for."""
        refreshes = [*self._refreshes, *self._refreshing]
        scans = [*self._scans, *(self._listing or ()), *self._listed]
        return [*scans, *(request.future for request in refreshes)]

    async def _step(self, tasks: asyncio.TaskGroup) -> bool:
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
            await self._writer.apply(batch)
            await self._after_writing(batch)
        elif self._writer.uncommitted and (self._writer.commit_is_due or not self._expects_results):
            await self._commit([])
        elif self._writer.has_large:
            if (complete := await self._writer.index_slice()) is not None:
                await self._after_writing([complete])
        elif (reading := self._readers.large()) is not None:
            if not await self._writer.begin_large(reading):
                await self._after_writing([reading])
        elif self._expects_results:
            await self._wait_for_work()
        else:
            return await self._finish()
        return True

    async def _finish(self) -> bool:
        """Run the idle work; return whether new work arrived meanwhile."""
        await self._writer.on_idle()
        if self._scans or self._refreshes:
            return True
        self._readers.read_before = None
        self._writer.forget_removed()
        self._resolve_listed()
        self._on_change()
        return bool(self._scans or self._refreshes)

    @property
    def _expects_results(self) -> bool:
        """Return whether reads or a listing in progress will give more to index."""
        return self._readers.busy or self._listing is not None

    async def _wait_for_work(self) -> None:
        """Wait for a result, at most until the next commit is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._writer.commit_due_in):
                await self._work_available.wait()

    async def _list(self) -> None:
        """List the folder and queue what is new in it, in reading order."""
        number, begun = self._catalog.new_id(), self._clock()
        infos, unread = await self._library.survey("*")
        self._catalog.found_unread(unread)
        known, in_progress = dict(self._catalog.entries), dict(self._readers.in_progress)
        diff = await asyncio.to_thread(
            lambda: diff_listing(infos, known, in_progress, number, now=self._clock(), tuning=self._tuning)
        )
        self._drop_already_read(diff, number)
        self._readers.queue = diff.queue
        self._readers.results += [ReadResult(id=number, path=path) for path in diff.gone]
        self._catalog.backlog.found(number, diff.waiting)
        self._writer.expect_changes()
        self._listed |= dict.fromkeys(self._listing or (), number)
        self._listing = None
        self._quiet_until = self._clock() + QUIET_SHARE * (self._clock() - begun)
        self._work_available.set()

    def _drop_already_read(self, diff: ListingDiff, number: int) -> None:
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

    async def _after_writing(self, batch: Sequence[ReadResult]) -> None:
        """Commit what callers wait for, or what has waited long enough."""
        for result in batch:
            self._readers.in_progress.pop(result.path, None)
            if result.info is None:
                self._library.forget_document(result.path)
        urgent = [(result.request, result.path) for result in batch if result.request]
        if urgent or self._writer.commit_is_due:
            await self._commit(urgent)

    async def _commit(self, urgent: Sequence[tuple[RefreshRequest, str]]) -> None:
        await self._writer.commit()
        self._resolve_listed()
        self._on_change()
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


def _resolve(futures: Iterable["asyncio.Future[None]"]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _cause(error: BaseException) -> BaseException:
    """Return the first error of a task group's exception group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
