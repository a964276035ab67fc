"""Reads documents for the index: a few at a time, in the background, in queue order."""

import asyncio
import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from research_documents.search.catalog.catalog import Catalog
from research_documents.search.tuning import DEFAULT_TUNING, SearchTuning
from research_shared.documents import DocumentInfo, DocumentText, Identity
from research_shared.errors import DocumentNotFound, ResearchError, RootUnavailable
from research_shared.formats import format_of
from research_shared.reading.extraction.result import CHANGING, NOT_STARTED, UNAVAILABLE
from research_shared.reading.library import Library, ReadBefore

MAX_READERS: Final = 3
MAX_READERS_WITH_OCR: Final = 64
"""Most of these wait for the recognition of a scanned document, which must not keep the others waiting."""
BATCH_DOCUMENTS: Final = 128
BATCH_BYTES: Final = 1024 * 1024
AHEAD_BYTES: Final = 32 * 1024 * 1024
"""Reading pauses while more text than this waits to be indexed."""
TRANSIENT_REASONS: Final = frozenset({CHANGING, NOT_STARTED, UNAVAILABLE, "not permitted"})
"""Failures whose cause lies outside the file: its identity stays the same when they go away."""


@dataclass(slots=True)
class RefreshRequest:
    """Paths that a caller waits for; `future` resolves once the index shows all of them."""

    future: "asyncio.Future[None]"
    paths: set[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResult:
    """Result of reading a path, with `id` as its version. Without `info` the path no longer exists."""

    id: int
    path: str
    info: DocumentInfo | None = None
    text: DocumentText | None = None
    reason: str = ""
    mtime_reliable: bool = True
    request: RefreshRequest | None = None

    @property
    def text_bytes(self) -> int:
        """Return the size of the text in bytes."""
        return len(self.text.data) if self.text else 0


def reading_order(info: DocumentInfo, large_bytes: int) -> tuple[bool, int, str]:
    """Return the sort key of the queue: plain texts that are not large first, then all others, each by size and path."""
    return (not _is_quick(info, large_bytes), info.size_bytes, info.path)


def _is_quick(info: DocumentInfo, large_bytes: int) -> bool:
    return format_of(info.media_type).is_text and info.size_bytes <= large_bytes


class Readers:
    """Reads the documents of its `queue`, at most a few batches of `results` ahead of the index.

    Sets `work_available` after each result. `in_progress` maps a path that was taken from the queue and whose result is
    not indexed yet to (identity as listed, wall clock in ns when it was taken). `read_before` gives texts of an earlier
    process, used where the file has not changed since.
    """

    def __init__(
        self,
        library: Library,
        catalog: Catalog,
        work_available: asyncio.Event,
        *,
        read_before: ReadBefore | None = None,
        tuning: SearchTuning = DEFAULT_TUNING,
    ) -> None:
        self.queue: dict[str, DocumentInfo] = {}
        self.results: list[ReadResult] = []
        self.in_progress: dict[str, tuple[Identity, int]] = {}
        self.read_before = read_before
        self._library = library
        self._catalog = catalog
        self._work_available = work_available
        self._tuning = tuning
        self._most = MAX_READERS_WITH_OCR if library.limits.ocr else MAX_READERS
        self._active = self._urgent = 0

    @property
    def busy(self) -> bool:
        """Return whether a read is in progress."""
        return bool(self._active or self._urgent)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Start as many readers as the queue needs now."""
        while self._active < self._most and self._active < len(self.queue) and not self._is_ahead:
            self._active += 1
            tasks.create_task(self._read_queue())

    def read_now(self, path: str, request: RefreshRequest, tasks: asyncio.TaskGroup) -> None:
        """Read a path outside the queue; its result goes to the front of the results."""
        self._urgent += 1
        tasks.create_task(self._read_urgent(path, request))

    def batch(self) -> list[ReadResult]:
        """Return the next results that are not large, at most what is indexed in about 0.1 s."""
        size = 0
        batch: list[ReadResult] = []
        left: list[ReadResult] = []
        large_bytes = self._tuning.large_bytes
        for result in self.results:
            if result.text_bytes > large_bytes or len(batch) == BATCH_DOCUMENTS or size > BATCH_BYTES:
                left.append(result)
            else:
                batch.append(result)
                size += result.text_bytes
        self.results = left
        return batch

    def large(self) -> ReadResult | None:
        """Return the next large result, or None."""
        large_bytes = self._tuning.large_bytes
        found = next((result for result in self.results if result.text_bytes > large_bytes), None)
        if found is not None:
            self.results.remove(found)
        return found

    @property
    def _is_ahead(self) -> bool:
        return len(self.results) > 2 * BATCH_DOCUMENTS or (
            sum(result.text_bytes for result in self.results) > AHEAD_BYTES
        )

    async def _read_queue(self) -> None:
        try:
            while self.queue and not self._is_ahead:
                results = await self._read_some(self._take_some())
                self.results += results
                self._work_available.set()
        finally:
            self._active -= 1
            self._work_available.set()

    def _take_some(self) -> dict[str, DocumentInfo]:
        """Take the next few small plain texts off the queue, or one document of another kind."""
        first = next(iter(self.queue))
        taken = {first: self.queue.pop(first)}
        large_bytes = self._tuning.large_bytes
        if _is_quick(taken[first], large_bytes):
            size = taken[first].size_bytes
            for path in list(islice(self.queue, self._tuning.read_together - 1)):
                size += self.queue[path].size_bytes
                if size > large_bytes or not _is_quick(self.queue[path], large_bytes):
                    break
                taken[path] = self.queue.pop(path)
        now = time.time_ns()
        self.in_progress.update({path: (info.identity, now) for path, info in taken.items()})
        return taken

    async def _texts_read_before(self, infos: dict[str, DocumentInfo]) -> dict[str, DocumentText]:
        """Return the texts of documents that an earlier process has read and that have not changed since."""
        if (read_before := self.read_before) is None:
            return {}
        found = await asyncio.to_thread(read_before, list(infos))
        return {p: text for p, (info, text) in found.items() if info.identity.same_file(infos[p].identity)}

    async def _read_some(self, infos: dict[str, DocumentInfo]) -> list[ReadResult]:
        numbers, started = {path: self._catalog.new_id() for path in infos}, time.time_ns()
        plain = await self._texts_read_before(infos)
        large_bytes = self._tuning.large_bytes
        new = [path for path, info in infos.items() if _is_quick(info, large_bytes) and path not in plain]
        plain |= await self._library.read_plain(new) if new else {}
        return [
            self._read_result(numbers[path], info=infos[path], started_ns=started, text=text)
            if (text := plain.get(path))
            else await self._read(path, infos[path])
            for path in infos
        ]

    async def _read_urgent(self, path: str, request: RefreshRequest) -> None:
        try:
            result = await self._read(path, None)
            self.results.insert(0, replace(result, request=request))
        finally:
            self._urgent -= 1
            self._work_available.set()

    async def _read(self, path: str, info: DocumentInfo | None) -> ReadResult:
        number = self._catalog.new_id()
        try:
            info = info or await self._library.stat(path)
            started = time.time_ns()
            text = await self._library.read(path)
        except DocumentNotFound:
            return ReadResult(id=number, path=path)
        except RootUnavailable:
            raise  # says nothing about the document
        except ResearchError as error:
            if info is None:
                raise
            reason = getattr(error, "reason", error.code)
            transient = error.retryable or reason in TRANSIENT_REASONS
            return ReadResult(id=number, path=path, info=info, reason=reason, mtime_reliable=not transient)
        return self._read_result(number, info=info, started_ns=started, text=text)

    def _read_result(
        self, number: int, *, info: DocumentInfo, started_ns: int, text: DocumentText
    ) -> ReadResult:
        mtime_reliable = started_ns - text.identity.ctime_ns > self._tuning.settled_ns
        return ReadResult(
            id=number,
            path=text.path,
            info=replace(info, identity=text.identity),
            text=text,
            mtime_reliable=mtime_reliable,
        )
