"""Reading the documents that an index is to hold: a few at a time, in the background, in the order in which they are wanted."""

import asyncio
import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from research_documents.search.index.catalog import Catalog
from research_shared.documents import DocumentInfo, DocumentText, Identity
from research_shared.errors import DocumentNotFound, ResearchError, RootUnavailable
from research_shared.reading.library import SETTLED_NS, Library

READERS: Final = 3
READ_TOGETHER: Final = 64
PLAIN: Final = frozenset({"text/markdown", "text/plain"})
"""Media types that are read in no time; all others need a worker."""
LARGE_BYTES: Final = 1024 * 1024
"""A larger text is read and indexed by itself."""
BATCH_DOCUMENTS: Final = 128
BATCH_BYTES: Final = 1024 * 1024
AHEAD_BYTES: Final = 32 * 1024 * 1024
"""With more text than this waiting to be indexed, nothing more is read."""
PASSING: Final = frozenset({"changed while being read", "not available", "not permitted"})
"""Reasons that lie outside the file: the file itself does not change when they pass."""


@dataclass(slots=True)
class Touch:
    """Paths that somebody waits for."""

    future: "asyncio.Future[None]"
    paths: set[str]


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading a path gave, as its version `id`; without `info` the path is gone."""

    id: int
    path: str
    info: DocumentInfo | None = None
    text: DocumentText | None = None
    reason: str = ""
    settled: bool = True
    touch: Touch | None = None

    @property
    def text_bytes(self) -> int:
        """The size of the text."""
        return len(self.text.data) if self.text else 0

    @property
    def is_large(self) -> bool:
        """Whether it is indexed by itself."""
        return self.text_bytes > LARGE_BYTES


def reading_order(info: DocumentInfo) -> tuple[bool, int, str]:
    """The key by which documents are read: small plain texts first, then all others, each by size and path."""
    return (not _is_quick(info), info.size_bytes, info.path)


def _is_quick(info: DocumentInfo) -> bool:
    return info.media_type in PLAIN and info.size_bytes <= LARGE_BYTES


class Readers:
    """Reads what is in its `queue`, at most so far ahead as a few batches of `results`, and sets `news` with each of them.

    `begun` holds what was taken from the queue and not fetched yet: as what it was listed, and the wall clock's time in
    nanoseconds when it was taken. `kept` are texts from before, which are taken instead where the file has not changed since.
    """

    def __init__(
        self,
        library: Library,
        catalog: Catalog,
        news: asyncio.Event,
        kept: dict[str, tuple[DocumentInfo, DocumentText]] | None = None,
    ) -> None:
        self.queue: dict[str, DocumentInfo] = {}
        self.results: list[Reading] = []
        self.begun: dict[str, tuple[Identity, int]] = {}
        self.kept = kept or {}
        self._library = library
        self._catalog = catalog
        self._news = news
        self._lanes = self._touched = 0

    @property
    def busy(self) -> bool:
        """Whether something is being read."""
        return bool(self._lanes or self._touched)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Read on, as far as that is needed now."""
        while self._lanes < READERS and self._lanes < len(self.queue) and not self._is_ahead:
            self._lanes += 1
            tasks.create_task(self._read_queue())

    def touch(self, path: str, touch: Touch, tasks: asyncio.TaskGroup) -> None:
        """Read a path beside all others; what it gives comes first among the results."""
        self._touched += 1
        tasks.create_task(self._read_touched(path, touch))

    def batch(self) -> list[Reading]:
        """The next results that are not large, not more than is indexed in about a tenth of a second."""
        size = 0
        batch: list[Reading] = []
        left: list[Reading] = []
        for result in self.results:
            if result.is_large or len(batch) == BATCH_DOCUMENTS or size > BATCH_BYTES:
                left.append(result)
            else:
                batch.append(result)
                size += result.text_bytes
        self.results = left
        return batch

    def large(self) -> Reading | None:
        """The next large result."""
        found = next((result for result in self.results if result.is_large), None)
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
                self._news.set()
        finally:
            self._lanes -= 1
            self._news.set()

    def _take_some(self) -> dict[str, DocumentInfo]:
        """The next few small plain texts of the queue, or one document of another kind."""
        first = next(iter(self.queue))
        taken = {first: self.queue.pop(first)}
        if _is_quick(taken[first]):
            size = taken[first].size_bytes
            for path in list(islice(self.queue, READ_TOGETHER - 1)):
                size += self.queue[path].size_bytes
                if size > LARGE_BYTES or not _is_quick(self.queue[path]):
                    break
                taken[path] = self.queue.pop(path)
        now = time.time_ns()
        self.begun.update({path: (info.identity, now) for path, info in taken.items()})
        return taken

    def _kept_texts(self, infos: dict[str, DocumentInfo]) -> dict[str, DocumentText]:
        """What is kept from before of documents that have not changed since."""
        kept = {path: self.kept.pop(path) for path in infos if path in self.kept}
        return {p: text for p, (info, text) in kept.items() if info.identity.same_file(infos[p].identity)}

    async def _read_some(self, infos: dict[str, DocumentInfo]) -> list[Reading]:
        numbers, started = {path: self._catalog.new_id() for path in infos}, time.time_ns()
        plain = self._kept_texts(infos)
        new = [path for path, info in infos.items() if _is_quick(info) and path not in plain]
        plain |= await self._library.read_plain(new) if new else {}
        return [
            _reading(numbers[path], infos[path], started, text)
            if (text := plain.get(path))
            else await self._read(path, infos[path])
            for path in infos
        ]

    async def _read_touched(self, path: str, touch: Touch) -> None:
        try:
            result = await self._read(path, None)
            self.results.insert(0, replace(result, touch=touch))
        finally:
            self._touched -= 1
            self._news.set()

    async def _read(self, path: str, info: DocumentInfo | None) -> Reading:
        number = self._catalog.new_id()
        try:
            info = info or await self._library.stat(path)
            started = time.time_ns()
            text = await self._library.read(path)
        except DocumentNotFound:
            return Reading(number, path)
        except RootUnavailable:
            raise  # says nothing about the document
        except ResearchError as error:
            if info is None:
                raise
            reason = getattr(error, "reason", error.code)
            passing = error.retryable or reason in PASSING
            return Reading(number, path, info, reason=reason, settled=not passing)
        return _reading(number, info, started, text)


def _reading(number: int, info: DocumentInfo, started_ns: int, text: DocumentText) -> Reading:
    settled = started_ns - text.identity.ctime_ns > SETTLED_NS
    return Reading(number, text.path, replace(info, identity=text.identity), text, settled=settled)
