"""The document library: what is there, and the text of each document, cached by the file's identity."""

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from research_shared.access.globs import compile_pattern
from research_shared.access.opener import OUT_OF_RESOURCES
from research_shared.access.roots import OpenDocument, RootsPolicy, current_scope, identity_of
from research_shared.documents import (
    DocumentInfo,
    DocumentText,
    Identity,
    renumbered,
)
from research_shared.errors import DocumentUnreadable, ResearchError
from research_shared.faults import Faults
from research_shared.formats import TOO_LARGE, format_of, media_type_of
from research_shared.lifespan import SharedLifespan
from research_shared.logs import get_logger
from research_shared.reading.extraction import (
    Extracted,
    PictureReader,
    Unreadable,
    WorkerPool,
    explanation,
    read_binary,
    read_text,
)
from research_shared.reading.extraction.result import CHANGING, NOT_STARTED, TIMED_OUT, UNAVAILABLE
from research_shared.reading.first_page import with_first_page
from research_shared.reading.limits import Limits
from research_shared.reading.threads import in_thread
from research_shared.reading.version_cache import VersionCache, VersionKey
from research_shared.telemetry.spans import span

if TYPE_CHECKING:
    from research_shared.settings import Settings

__all__ = ["Library", "Limits", "Stats"]

log = get_logger("research.library")

READ_ATTEMPTS = 3
"""How often a file that changes while it is read is read again."""
TIMED_OUT_RETRY_S = 300.0
"""How long a document that timed out is not read again."""
SETTLED_NS = 20_000_000
"""A file changed more recently than this may change again without its time stamps showing it: kernels stamp files
with the time of the last clock tick, up to 10 ms ago."""
MAX_FAILURES = 100_000
LARGE_TEXT_BYTES = 1024 * 1024
"""A larger text is searched for long lines in a thread."""
_ENTRY_BYTES = 1024
"""What an entry of the cache takes besides its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Metrics of a library. Sizes are bytes.

    `workers` are processes that read documents and pictures; of those for documents, `busy` read one now, and `started`
    counts all so far.
    """

    documents: int
    cached_bytes: int
    hits: int
    misses: int
    workers: int
    busy: int
    started: int


@dataclass(slots=True)
class _Flight:
    """An extraction in flight and the number of its waiters."""

    task: "asyncio.Task[DocumentText]"
    waiting: int = 0


ReadBefore = Callable[[Iterable[str]], dict[str, tuple[DocumentInfo, DocumentText]]]
"""Returns what was read at paths before, with the listing entry of then. Called from any thread."""


class Library(SharedLifespan):
    """Documents beneath the roots. One instance serves all requests of a process.

    Use it as an async context manager: each server that shares it enters it, and the last one to leave closes it.
    Outside of that it works too; its worker processes then end with this process. `clock` and `wall_ns` are for tests.
    """

    def __init__(
        self,
        roots: RootsPolicy,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
        max_failures: int = MAX_FAILURES,
    ) -> None:
        self.roots = roots
        self.limits = limits
        self._pool = WorkerPool(limits.workers, limits.worker_memory_bytes, faults=roots.faults)
        self._pictures = (
            PictureReader(limits.ocr, limits, faults=roots.faults)
            if limits.ocr and not limits.ocr.problem
            else None
        )
        self._texts = VersionCache[DocumentText](limits.cache_bytes, getsizeof=_size_in_cache)
        self._failures = VersionCache[tuple[str, float]](max_failures)
        self._flights: dict[VersionKey, _Flight] = {}
        self._clock = clock
        self._wall_ns = wall_ns
        self._hits = 0
        self._misses = 0
        self.read_before: ReadBefore | None = None
        """Gives texts that are kept on disk, for documents whose text takes a process to read."""
        self.held_info: Callable[[str], DocumentInfo | None] = lambda _path: None
        """Gives the entry that is held of a document, if one is. A listing takes that of an unchanged document: called from any thread."""

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Create a library with the roots and limits of the settings. Log when pages cannot be read as they say."""
        limits = Limits.from_settings(settings)
        if limits.ocr is not None and limits.ocr.problem:
            log.warning("RESEARCH_OCR is on, but scanned pages are not read", problem=limits.ocr.problem)
        return cls(RootsPolicy.from_settings(settings), limits)

    async def _open(self) -> None:
        """Do nothing: worker processes start on first use."""

    async def _close(self) -> None:
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pool.stop()
        if self._pictures is not None:
            await self._pictures.stop()
        self.forget()

    def forget(self) -> None:
        """Clear the cached texts and the cached reasons of unreadable documents."""
        self._texts.clear()
        self._failures.clear()

    def forget_document(self, path: str) -> None:
        """Clear what is cached of one document, which is gone."""
        self._texts.forget(path)
        self._failures.forget(path)

    @property
    def faults(self) -> Faults:
        """The faults of the server that serves these documents."""
        return self.roots.faults

    def fault_warnings(self) -> tuple[str, ...]:
        """Return what answers to the current request have to say about current faults."""
        scope, alone = current_scope(), len(self.roots.roots) == 1
        return tuple(
            kind.warning.format(about=about)
            for kind, about in self.faults.current
            if kind.warning and (alone or not about or scope.leads_to(about))
        )

    @property
    def stats(self) -> Stats:
        """Return the current metrics."""
        return Stats(
            documents=len(self._texts),
            cached_bytes=self._texts.size,
            hits=self._hits,
            misses=self._misses,
            workers=len(self._pool.pids) + len(self._pictures.pids if self._pictures else ()),
            busy=self._pool.busy,
            started=self._pool.started,
        )

    async def documents(self, pattern: str = "*") -> list[DocumentInfo]:
        """Return the documents within the current scope whose path matches, sorted by path. Raises what `survey` raises."""
        documents, _ = await self.survey(pattern)
        return documents

    async def survey(self, pattern: str = "*") -> tuple[list[DocumentInfo], list[str]]:
        """Return the documents within the current scope whose path matches, and the files of types that are not read.

        Both are sorted by path.

        Raises:
            InvalidPattern: the pattern is too long or malformed.
            RootUnavailable: a root is gone, or is not the directory it was at start.
        """
        matches = compile_pattern(pattern)
        stop = threading.Event()

        def found() -> tuple[list[DocumentInfo], list[str]]:
            unread: list[str] = []
            walked = self.roots.walk(stop.is_set, unread.append)
            infos = [self._held_once(info) for info in walked if matches(info.path)]
            infos.sort(key=lambda info: info.path)
            return infos, sorted(filter(matches, unread))

        try:
            return await asyncio.to_thread(found)
        except asyncio.CancelledError:
            stop.set()
            raise

    def _held_once(self, info: DocumentInfo) -> DocumentInfo:
        """Return the entry that is held of an unchanged document, else `info`. A listing of many documents takes little memory so."""
        held = self.held_info(info.path)
        return info if held is None or held != info else held

    def known_reasons(self, infos: Iterable[DocumentInfo]) -> list[tuple[str, str]]:
        """Return (path, reason) of those of the documents that are known to give no text. Nothing is read for it."""
        found = ((info.path, self._failures.get((info.identity, info.media_type))) for info in infos)
        return [(path, failure[0]) for path, failure in found if failure is not None]

    async def documents_after(self, path: str, limit: int) -> list[DocumentInfo]:
        """Return the first `limit` documents within the current scope after a path, sorted by path.

        Raises:
            RootUnavailable: a root is gone, or is not the directory it was at start.
        """
        stop = threading.Event()
        try:
            return await asyncio.to_thread(self.roots.documents_after, path, limit, stop.is_set)
        except asyncio.CancelledError:
            stop.set()
            raise

    async def stat(self, path: str) -> DocumentInfo:
        """Return the current metadata of a document without reading its text. Raises what `read` raises."""
        return await asyncio.to_thread(self.roots.stat, path)

    async def read(self, path: str) -> DocumentText:
        """Return the text of one document.

        Raises:
            DocumentNotFound: no such document within the current scope.
            DocumentUnreadable: it is there, but gives no text.
            RootUnavailable: its root is gone, or is not the directory it was at start.
            Overloaded: the process cannot open more files now.
        """
        document = await in_thread(lambda: self.roots.open(path), abandon=lambda opened: os.close(opened.fd))
        owned = True
        try:
            info = document.info
            key = (info.identity, info.media_type)
            if (text := self._texts.get(key)) is not None:
                self._hits += 1
                return text if text.path == path else replace(text, path=path)
            self._raise_known_failure(key, path)
            if (text := await self._text_read_before(info)) is not None:
                self._hits += 1
                return text
            flight = self._flights.get(key)
            if flight is None:
                self._misses += 1
                flight = self._start(key, document)
                owned = False
        finally:
            if owned:
                os.close(document.fd)
        flight.waiting += 1
        try:
            text = await asyncio.shield(flight.task)
        except Unreadable as failure:
            raise self._unreadable(path, failure.reason) from None
        except asyncio.CancelledError:
            if flight.task.cancelled() and not _being_cancelled():
                raise self._unreadable(path, UNAVAILABLE) from None  # the library was closed meanwhile
            raise
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.task.done():
                self._flights.pop(key, None)
                flight.task.cancel()
        return text if text.path == path else replace(text, path=path)

    async def _text_read_before(self, info: DocumentInfo) -> DocumentText | None:
        """Return the text of this version of a document from where texts are kept, if it takes a process to read."""
        if self.read_before is None or format_of(info.media_type).is_text:
            return None
        found = (await asyncio.to_thread(self.read_before, [info.path])).get(info.path)
        if found is None or found[0].target != info.target or not found[0].identity.same_file(info.identity):
            return None
        text = replace(found[1], identity=info.identity)
        self._keep(text)
        return text

    def _start(self, key: VersionKey, document: OpenDocument) -> _Flight:
        flight = _Flight(asyncio.create_task(self._extract(document), name=f"read {document.info.path}"))
        self._flights[key] = flight

        def finish(task: "asyncio.Task[DocumentText]") -> None:
            os.close(document.fd)
            if self._flights.get(key) is flight:
                del self._flights[key]
            if not task.cancelled():
                task.exception()  # mark it as retrieved: every waiter may have left

        flight.task.add_done_callback(finish)
        return flight

    async def _extract(self, document: OpenDocument) -> DocumentText:
        info, fd = document.info, document.fd
        for _ in range(READ_ATTEMPTS):
            try:
                with span("read text", media_type=info.media_type, size_bytes=info.size_bytes):
                    extracted = await self._extract_once(info, fd)
            except Unreadable as failure:
                problem: Unreadable | None = failure
            else:
                problem = None
            now = identity_of(os.fstat(fd))
            if now == info.identity:
                break
            info = replace(info, identity=now)
        else:
            raise Unreadable(CHANGING)
        if problem is not None:
            if problem.reason not in {UNAVAILABLE, NOT_STARTED} and self._settled(info.identity):
                self._remember_failure(info, problem.reason)
            raise problem
        large = len(extracted.data) > LARGE_TEXT_BYTES
        text = await asyncio.to_thread(_document, info, extracted) if large else _document(info, extracted)
        self._keep(text)
        return text

    async def _extract_once(self, info: DocumentInfo, fd: int) -> Extracted:
        if info.size_bytes > self.limits.max_file_bytes:
            raise Unreadable(TOO_LARGE)
        if not format_of(info.media_type).is_text:
            return await read_binary(self._pool, fd, info.media_type, self.limits, self._pictures)
        try:
            return await _read_text_in_thread(fd, info.size_bytes, self.limits)
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                raise self.roots.overloaded(error) from error
            raise Unreadable(UNAVAILABLE) from error

    async def read_plain(self, paths: Sequence[str]) -> dict[str, DocumentText]:
        """Read many plain-text documents in one thread, many times faster than `read` for small files.

        Other documents and unreadable ones are missing from the result; `read` reports the reason.
        """
        stop = threading.Event()

        def work() -> dict[str, DocumentText]:
            found: dict[str, DocumentText] = {}
            for path in paths:
                if stop.is_set():
                    break
                with suppress(ResearchError, Unreadable, OSError):
                    if (text := self._read_plain(path, stop.is_set)) is not None:
                        found[path] = text
            return found

        try:
            found = await asyncio.to_thread(work)
        except asyncio.CancelledError:
            stop.set()
            raise
        for text in found.values():
            if self.read_before is None:
                self._keep(text)
            else:
                # They are for the index, which keeps them on disk and asks once.
                self.forget_document(text.path)
        return found

    def _read_plain(self, path: str, stopped: Callable[[], bool]) -> DocumentText | None:
        document = self.roots.open(path)
        try:
            info = document.info
            if not format_of(info.media_type).is_text:
                return None
            extracted = read_text(document.fd, info.size_bytes, self.limits, stopped)
            return _document(info, extracted) if identity_of(os.fstat(document.fd)) == info.identity else None
        finally:
            os.close(document.fd)

    def _settled(self, identity: Identity) -> bool:
        return abs(self._wall_ns() - identity.ctime_ns) > SETTLED_NS

    def _keep(self, text: DocumentText) -> None:
        self.forget_document(text.path)
        if self._settled(text.identity):
            self._texts.keep(text.path, (text.identity, text.media_type), text)

    def _remember_failure(self, info: DocumentInfo, reason: str) -> None:
        self.forget_document(info.path)
        self._failures.keep(info.path, (info.identity, info.media_type), (reason, self._clock()))

    def _raise_known_failure(self, key: VersionKey, path: str) -> None:
        reason, since = self._failures.get(key) or ("", 0.0)
        if not reason or (reason == TIMED_OUT and self._clock() - since > TIMED_OUT_RETRY_S):
            return
        raise self._unreadable(path, reason)

    def _unreadable(self, path: str, reason: str) -> DocumentUnreadable:
        media_type = media_type_of(path)
        assert media_type is not None  # noqa: S101  (only documents are opened)
        why = explanation(reason, format_of(media_type), self.limits.ocr)
        error = DocumentUnreadable(f"{path} gives no text: {why}", reason=reason)
        if reason == NOT_STARTED:
            error.retryable = True
            error.hint = (
                "Call again later, or tell the operator; documents of plain text can be read meanwhile."
            )
        return error


def _size_in_cache(text: DocumentText) -> int:
    """Return the bytes of a text, with the array of line starts that it makes for itself."""
    return len(text.data) + 8 * text.data.count(b"\n") + 8 * len(text.page_starts) + _ENTRY_BYTES


def _document(info: DocumentInfo, extracted: Extracted) -> DocumentText:
    return DocumentText(
        path=info.path,
        media_type=info.media_type,
        identity=info.identity,
        digest=hashlib.sha256(f"{extracted.file_digest} {extracted.engine}".encode()).hexdigest(),
        engine=extracted.engine,
        data=extracted.data,
        page_starts=renumbered(extracted.data, extracted.page_starts),
        missing_pages=extracted.missing_pages,
        ocr_pages=extracted.ocr_pages,
        notes=(*extracted.notes, *format_of(info.media_type).notes),
        metadata=with_first_page(info, extracted.metadata, extracted.data),
    )


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _read_text_in_thread(fd: int, size: int, limits: Limits) -> Extracted:
    stop = threading.Event()
    own = os.dup(fd)  # the thread may outlast this task, and with it the descriptor

    def work() -> Extracted:
        try:
            return read_text(own, size, limits, stop.is_set)
        finally:
            os.close(own)

    try:
        return await in_thread(work, abandon=lambda _: None)
    except asyncio.CancelledError:
        stop.set()
        raise
