"""Keeps catalog and index equal to the folder: scans, changed paths, and the order in which they are worked on."""

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from research_documents.search.index.backlog import Kind, Waiting
from research_documents.search.index.catalog import Catalog, Entry
from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.index.reader import Readers, Reading, Touch, reading_order
from research_documents.search.index.store import Store
from research_shared.access.scope import EVERYTHING
from research_shared.documents import DocumentInfo, Identity
from research_shared.errors import ResearchError
from research_shared.logs import get_logger
from research_shared.reading.library import SETTLED_NS, Library
from research_shared.serving.memory import tidy

log = get_logger("research.search")
T = TypeVar("T")

FIRST_COMMIT_S: Final = 0.3
COMMIT_EVERY_S: Final = 2.0
MANY_TOUCHES: Final = 256
RETRY_UNREADABLE_S: Final = 60.0
MUCH_TEXT: Final = 16 * 1024 * 1024
"""After indexing so many bytes, memory is put in order."""


@dataclass(slots=True)
class _Large:
    """A document that is being indexed slice by slice; `slices` give the number of passages of each."""

    reading: Reading
    slices: Iterator[int]
    passages: int = 0


@dataclass(frozen=True, slots=True)
class _News:
    """What a listing found: what is to be read, in that order, what is being read as it was listed, and what is gone.

    All of it is `waiting`.
    """

    queue: dict[str, DocumentInfo]
    under_way: dict[str, DocumentInfo]
    waiting: dict[str, Waiting]
    gone: list[str]


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
        self._listing: list[asyncio.Future[None]] | None = None
        self._listed: dict[asyncio.Future[None], int] = {}
        self._touches: list[Touch] = []
        self._touching: list[Touch] = []
        self._readers = Readers(library, catalog, self._news)
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
        """(documents that are indexed, all of them) while some are not, otherwise None; (0, 0) before they were counted."""
        coverage = self._catalog.coverage("*", EVERYTHING, visible=True)
        if not coverage.listed:
            return (0, 0) if self.working else None
        return None if coverage.complete else (coverage.done, coverage.total)

    @property
    def working(self) -> bool:
        """Whether the worker is at work."""
        return self._worker is not None and not self._worker.done()

    def scan(self) -> "asyncio.Future[None]":
        """Look at the whole folder; the future is done when the index shows what it held at a time after this call."""
        future: asyncio.Future[None] = self._wake().create_future()
        self._scans.append(future)
        return future

    def catch_up(self) -> "asyncio.Future[None]":
        """Read what is known to have changed; the future is done when the index shows all of it."""
        if not self.working:
            return self.scan()
        future: asyncio.Future[None] = self._wake().create_future()
        self._listed[future] = self._catalog.new_id()
        return future

    def awaits(self, update: "asyncio.Future[None]", relevant: Callable[[str], bool]) -> bool:
        """Whether a relevant path is unread that an update waits for, or may be: before the folder was listed for it."""
        number = self._listed.get(update)
        if number is None:
            return not update.done()
        unread = self._catalog.backlog.unread.items()
        return any(waiting.first <= number and relevant(path) for path, waiting in unread)

    def touch(self, paths: Iterable[str]) -> "asyncio.Future[None]":
        """Look at these paths, before anything else; the future is done when the index shows them."""
        wanted = set(paths)
        if len(wanted) > MANY_TOUCHES:
            return self.scan()
        future: asyncio.Future[None] = self._wake().create_future()
        if wanted:
            known = self._catalog.entries
            self._catalog.backlog.touched(wanted, self._catalog.new_id(), time.monotonic(), known)
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
        """Take out what was indexed in part when its work ended."""
        while self._abandoned:
            index.remove(self._abandoned.pop())
            self._uncommitted += 1

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
        self._scans, self._listing, self._listed = [], None, {}
        self._touches, self._touching = [], []
        if self._large is not None:
            self._abandoned.append(self._large.reading.id)
            self._large = None
        self._readers = Readers(self._library, self._catalog, self._news, self._readers.kept)

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
            touches = [*self._touches, *self._touching]
            scans = [*self._scans, *(self._listing or ()), *self._listed]
            waiting = [*scans, *(touch.future for touch in touches)]
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
        if self._scans and self._listing is None:
            # Beside everything else: of a folder that takes long to list, what is known is read meanwhile.
            self._listing, self._scans = self._scans, []
            tasks.create_task(self._list())
        self._readers.start(tasks)
        if batch := self._readers.batch():
            await self._apply(index, batch)
        elif self._uncommitted and (self._commit_is_due or not self._is_fed):
            await self._commit(index, [])
        elif self._large is not None:
            await self._index_slice(index, self._large)
        elif (reading := self._readers.large()) is not None:
            await self._begin_large(index, reading)
        elif self._is_fed:
            await self._wait_for_news()
        else:
            return await self._finish(index)
        return True

    async def _finish(self, index: PassageIndex) -> bool:
        """Everything is indexed: whether there is more to do all the same."""
        await self._in_thread(lambda: self._rest(index))
        if self._scans or self._touches:
            return True
        self._readers.kept = {}
        self._removed.clear()
        self._settle_listed()
        return bool(self._scans or self._touches)

    @property
    def _is_fed(self) -> bool:
        """Whether there will be more to index without anything new happening."""
        return self._readers.busy or self._listing is not None

    @property
    def _commit_is_due(self) -> bool:
        return time.monotonic() > self._commit_at

    async def _wait_for_news(self) -> None:
        """Wait for another result, at the most until what is indexed is to become visible."""
        timeout = max(self._commit_at - time.monotonic(), 0) if self._uncommitted else None
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._news.wait()

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
        """List the folder, and queue what is new in it, in the order in which it is to be read."""
        number = self._catalog.new_id()
        infos = await self._library.documents("*")
        known, begun = dict(self._catalog.entries), dict(self._readers.begun)
        news = await asyncio.to_thread(lambda: _compared(infos, known, begun, number))
        self._leave_out_what_came(news, number)
        self._readers.queue = news.queue
        self._readers.results += [Reading(number, path) for path in news.gone]
        self._catalog.backlog.found(number, news.waiting)
        if not self._uncommitted:
            self._commit_at = time.monotonic() + FIRST_COMMIT_S
        self._listed |= dict.fromkeys(self._listing or (), number)
        self._listing = None
        self._news.set()

    def _leave_out_what_came(self, news: _News, number: int) -> None:
        """Take out what came into the catalog while a listing was compared with it."""
        entries, begun = self._catalog.entries, self._readers.begun
        for path in news.queue.keys() & entries.keys():
            if entries[path].checked > number:
                del news.queue[path], news.waiting[path]
        for path, info in news.under_way.items():
            if path in begun:
                continue
            entry = entries.get(path)
            if entry is not None and entry.info.identity == info.identity:
                del news.waiting[path]
            else:
                news.queue[path] = info
                news.waiting[path] = news.waiting[path]._replace(latest=number)

    def _is_needed(self, reading: Reading) -> bool:
        """Whether a reading is the latest of its path and gives another text than is indexed."""
        known = _digest(self._catalog.entries.get(reading.path))
        return bool(self._latest([reading])) and reading.text is not None and reading.text.digest != known

    async def _begin_large(self, index: PassageIndex, reading: Reading) -> None:
        """Begin to index a large document, slice by slice, unless there is nothing new to index."""
        if reading.text is not None and self._is_needed(reading):
            self._large = _Large(reading, index.adding(reading.id, reading.text))
        else:
            await self._apply(index, [reading])

    async def _index_slice(self, index: PassageIndex, large: _Large) -> None:
        """Index another slice; after the last one the document comes into the catalog."""
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

    async def _apply(self, index: PassageIndex, batch: list[Reading]) -> None:
        """Bring a batch of what was read into the catalog and the index."""
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
        for result in batch:
            self._readers.begun.pop(result.path, None)
            self._catalog.backlog.read(result.path, result.id, has_text=result.text is not None)
        urgent = [(r.touch, r.path) for r in batch if r.touch]
        if urgent or self._commit_is_due:
            await self._commit(index, urgent)

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
        if (large := self._large) is not None and large.reading is result:
            passages = large.passages
        else:
            passages = index.add(result.id, text)
        return Entry.of(result.id, info, text, passages, settled=result.settled)

    async def _commit(self, index: PassageIndex, urgent: list[tuple[Touch, str]]) -> None:
        if self._uncommitted:
            outdated, self._outdated = self._outdated, []
            await self._in_thread(lambda: self._store.commit(index))
            self._uncommitted = 0
            self._catalog.forget(outdated)
            self._catalog.backlog.committed()
        self._commit_at = time.monotonic() + COMMIT_EVERY_S
        self._settle_listed()
        for touch, path in urgent:
            touch.paths.discard(path)
            if not touch.paths:
                _settle([touch.future])

    def _settle_listed(self) -> None:
        """Tell those whose documents are all there."""
        begins = self._catalog.backlog.begins() if self._listed else 0
        ready = [future for future, number in self._listed.items() if number < begins]
        for future in ready:
            del self._listed[future]
        _settle(ready)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="index")
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


def _compared(
    infos: list[DocumentInfo],
    known: Mapping[str, Entry],
    begun: Mapping[str, tuple[Identity, int]],
    number: int,
) -> _News:
    """How a listing differs from what is known."""
    now = time.monotonic()
    news = [info for info in infos if _is_news(known.get(info.path), info, now)]
    news.sort(key=reading_order)
    under_way = {info.path: info for info in news if _is_being_read(info, begun.get(info.path))}
    present = {info.path for info in infos}
    gone = [path for path in known if path not in present]
    waiting = {
        info.path: Waiting(
            number, 0 if info.path in under_way else number, now, _kind(known.get(info.path), info)
        )
        for info in news
    }
    waiting |= {path: Waiting(number, number, now, "uncounted") for path in gone}
    queue = {info.path: info for info in news if info.path not in under_way}
    return _News(queue, under_way, waiting, gone)


def _is_being_read(info: DocumentInfo, begun: tuple[Identity, int] | None) -> bool:
    """Whether what was begun to be read is the file that was listed, and old enough for its time stamps to tell."""
    if begun is None:
        return False
    identity, begun_ns = begun
    return identity == info.identity and begun_ns - identity.ctime_ns > SETTLED_NS


def _kind(entry: Entry | None, info: DocumentInfo) -> Kind:
    if entry is None:
        return "new"
    tried_again = entry.reason and entry.info.identity.same_file(info.identity)
    return "uncounted" if tried_again else "changed"


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
