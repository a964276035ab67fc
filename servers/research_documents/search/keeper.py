"""Keeps catalog and index equal to the folder: scans, changed paths, and the order in which they are worked on."""

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, TypeVar

from research_documents.search.catalog import Catalog, Entry
from research_documents.search.index import PassageIndex
from research_documents.search.reading import PDF, Readers, Reading, Touch
from research_documents.search.store import Store
from research_shared.documents import DocumentInfo
from research_shared.errors import ResearchError
from research_shared.library import Library
from research_shared.logs import get_logger
from research_shared.memory import tidy

log = get_logger("research.search")
T = TypeVar("T")

FIRST_COMMIT_S: Final = 0.3
COMMIT_EVERY_S: Final = 2.0
MANY_TOUCHES: Final = 256
RETRY_UNREADABLE_S: Final = 60.0
MUCH_TEXT: Final = 16 * 1024 * 1024
"""After indexing so many bytes, memory is put in order."""


class Keeper:
    """One worker task, alive only while there is something to do, is the only one that changes catalog and index."""

    def __init__(self, library: Library, catalog: Catalog, store: Store) -> None:
        self.index: PassageIndex | None = None
        self._library = library
        self._catalog = catalog
        self._store = store
        self._worker: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._scans: list[asyncio.Future[None]] = []
        self._listed: list[asyncio.Future[None]] = []
        self._touches: list[Touch] = []
        self._touching: list[Touch] = []
        self._readers = Readers(library, catalog, self._news)
        self._total = 0
        self._removed: dict[str, int] = {}
        self._outdated: list[int] = []
        self._uncommitted = 0
        self._indexed_bytes = 0
        self._commit_at = 0.0
        self._thread: ThreadPoolExecutor | None = None

    @property
    def progress(self) -> tuple[int, int] | None:
        """(documents that are indexed, all of them) while some are not yet, otherwise None."""
        if not self.working:
            return None
        # A document may be counted twice, when the folder was looked at again while it was being read.
        left = min(self._readers.left + self._uncommitted, self._total)
        return (self._total - left, self._total) if left or self.index is None else None

    @property
    def working(self) -> bool:
        """Whether the worker is at work."""
        return self._worker is not None and not self._worker.done()

    def scan(self) -> "asyncio.Future[None]":
        """Look at the whole folder; the future is done when the index shows what it held at a time after this call."""
        future: asyncio.Future[None] = self._wake().create_future()
        self._scans.append(future)
        return future

    def touch(self, paths: Iterable[str]) -> "asyncio.Future[None]":
        """Look at these paths, before anything else; the future is done when the index shows them."""
        wanted = set(paths)
        if len(wanted) > MANY_TOUCHES:
            return self.scan()
        future: asyncio.Future[None] = self._wake().create_future()
        if wanted:
            self._touches.append(Touch(future, wanted))
        else:
            future.set_result(None)
        return future

    async def stop(self) -> None:
        """End the work, wherever it is, and save what there is."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        if (index := self.index) is not None:
            await self._in_thread(lambda: self._store.close(index))
        self.index = None
        self._catalog.clear()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
            self._thread = None

    def _wake(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._worker is not None and self._worker.get_loop() is not loop:
            self._reset()
        if self._worker is None or self._worker.done():
            # An empty context: the index serves every scope, so it is built outside of any.
            self._worker = loop.create_task(self._work(), name="keep index", context=contextvars.Context())
        self._news.set()
        return loop

    def _reset(self) -> None:
        """Forget work that was under way, as in another event loop or after a failure."""
        self._worker = None
        self._news = asyncio.Event()
        self._scans, self._listed, self._touches, self._touching = [], [], [], []
        self._readers = Readers(self._library, self._catalog, self._news, self._readers.kept)

    async def _work(self) -> None:
        try:
            index = self.index
            if index is None:
                index = self.index = await self._in_thread(self._open)
            async with asyncio.TaskGroup() as tasks:
                while await self._step(index, tasks):
                    pass
        except BaseException as error:
            touches = [*self._touches, *self._touching]
            waiting = [*self._scans, *self._listed, *(touch.future for touch in touches)]
            self._reset()
            cause = _cause(error)
            for future in waiting:
                if not future.done():
                    future.set_exception(cause)
                    future.exception()  # seen, even when nobody waits for it any more
            if not isinstance(error, Exception):
                raise
            if not isinstance(cause, ResearchError):
                log.exception("keeping the search index failed", exc_info=cause)

    async def _step(self, index: PassageIndex, tasks: asyncio.TaskGroup) -> bool:
        """Do the next thing; whether there may be more."""
        self._news.clear()
        while self._touches:
            touch = self._touches.pop()
            self._touching = [touch, *(other for other in self._touching if not other.future.done())]
            for path in sorted(touch.paths):
                self._readers.touch(path, touch, tasks)
        if self._scans:
            self._listed += self._scans
            self._scans = []
            await self._list()
        self._readers.start(tasks)
        if self._readers.results:
            await self._apply(index)
        elif self._readers.busy:
            await self._news.wait()
        elif self._uncommitted:
            await self._commit(index, [])
        else:
            await self._in_thread(lambda: self._rest(index))
            if self._scans or self._touches:
                return True
            listed, self._listed = self._listed, []
            self._readers.kept = {}
            self._removed.clear()
            _settle(listed)
            return bool(self._scans or self._touches)
        return True

    def _rest(self, index: PassageIndex) -> None:
        self._store.rest(index)
        if self._indexed_bytes >= MUCH_TEXT:
            self._indexed_bytes = 0
            tidy()

    def _open(self) -> PassageIndex:
        opened = self._store.open()
        self._readers.kept = opened.texts
        for entry in opened.indexed:
            self._catalog.put(entry)
            self._catalog.reserve_ids(entry.id)
        return opened.index

    async def _list(self) -> None:
        """Queue what is new in the folder, documents that are quick to read first."""
        number = self._catalog.new_id()
        infos = await self._library.documents("*")
        known = dict(self._catalog.entries)
        now = time.monotonic()

        def compared() -> tuple[dict[str, DocumentInfo], list[str]]:
            news = [info for info in infos if _is_news(known.get(info.path), info, now)]
            news.sort(key=lambda info: (info.media_type == PDF, info.path))
            present = {info.path for info in infos}
            return {info.path: info for info in news}, [path for path in known if path not in present]

        self._readers.queue, gone = await asyncio.to_thread(compared)
        self._readers.results += [Reading(number, path) for path in gone]
        self._total = len(infos)
        self._commit_at = now + FIRST_COMMIT_S

    async def _apply(self, index: PassageIndex) -> None:
        """Bring a batch of what was read into the catalog and the index."""
        batch = self._readers.batch()
        current = self._catalog.entries
        fresh = self._latest(batch)
        renewed = [r for r in fresh if r.text and r.text.digest == _digest(current.get(r.path))]
        again = [
            replace(current[r.path], info=r.info, settled=r.settled, checked=r.id) for r in renewed if r.info
        ]
        unchanged = {r.id for r in renewed}
        changed = [r for r in fresh if r.id not in unchanged]
        outdated = [current[r.path].id for r in changed if r.path in current]

        def write() -> list[Entry]:
            for number in outdated:
                index.remove(number)
            entries = [self._entry(r, r.info, index) for r in changed if r.info]
            self._store.save([*entries, *again], [r.path for r in changed])
            return entries

        self._uncommitted += len(batch)
        entries: list[Entry] = await self._in_thread(write)
        for result in changed:
            self._catalog.remove(result.path)
            if result.info is None:
                self._removed[result.path] = result.id
        for entry in [*entries, *again]:
            self._catalog.put(entry)
        self._outdated += outdated
        urgent = [(r.touch, r.path) for r in batch if r.touch]
        if urgent or time.monotonic() > self._commit_at:
            await self._commit(index, urgent)
            self._commit_at = time.monotonic() + COMMIT_EVERY_S

    def _latest(self, batch: list[Reading]) -> list[Reading]:
        """Those that are newer than what is known of their path."""
        latest = {
            path: entry.id for path in (r.path for r in batch) if (entry := self._catalog.entries.get(path))
        }
        for result in batch:
            newest = max(latest.get(result.path, 0), self._removed.get(result.path, 0), result.id)
            latest[result.path] = newest
        return [r for r in batch if latest[r.path] == r.id]

    def _entry(self, result: Reading, info: DocumentInfo, index: PassageIndex) -> Entry:
        text = result.text
        if text is None:
            return Entry(
                result.id, info, reason=result.reason, settled=result.settled, read_at=time.monotonic()
            )
        self._indexed_bytes += len(text.data)
        return Entry.of(result.id, info, text, index.add(result.id, text), settled=result.settled)

    async def _commit(self, index: PassageIndex, urgent: list[tuple[Touch, str]]) -> None:
        if self._uncommitted:
            outdated, self._outdated = self._outdated, []
            await self._in_thread(lambda: self._store.commit(index))
            self._uncommitted = 0
            self._catalog.forget(outdated)
        for touch, path in urgent:
            touch.paths.discard(path)
            if not touch.paths:
                _settle([touch.future])

    async def _in_thread(self, function: Callable[[], T]) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="index")
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


def _is_news(entry: Entry | None, info: DocumentInfo, now: float) -> bool:
    if entry is None or not entry.settled or not entry.info.identity.same_file(info.identity):
        return True
    return bool(entry.reason) and now - entry.read_at > RETRY_UNREADABLE_S


def _digest(entry: Entry | None) -> str | None:
    return entry.digest if entry is not None else None


def _settle(futures: Iterable["asyncio.Future[None]"]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _cause(error: BaseException) -> BaseException:
    """The first of the failures that a task group gathered."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
