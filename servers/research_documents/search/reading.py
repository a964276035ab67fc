"""Reading the documents that an index is to hold: a few at a time, in the background, in the order in which they are wanted."""

import asyncio
import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from research_documents.search.catalog import Catalog
from research_shared.documents import DocumentInfo, DocumentText
from research_shared.errors import DocumentNotFound, ResearchError, RootUnavailable
from research_shared.library import SETTLED_NS, Library

READERS: Final = 3
READ_TOGETHER: Final = 64
PDF: Final = "application/pdf"
BATCH_DOCUMENTS: Final = 128
BATCH_BYTES: Final = 1024 * 1024
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


class Readers:
    """Reads what is in its `queue`, at most so far ahead as a few batches of `results`, and sets `news` with each of them.

    `kept` are texts from before, which are taken instead where the file has not changed since.
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
        self.kept = kept or {}
        self._library = library
        self._catalog = catalog
        self._news = news
        self._lanes = self._taken = self._touched = 0

    @property
    def busy(self) -> bool:
        """Whether something is being read."""
        return bool(self._lanes or self._touched)

    @property
    def left(self) -> int:
        """How many documents are to be read, are being read or are read and not fetched yet."""
        return len(self.queue) + self._taken + len(self.results)

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
        """The next results, not more than is indexed in about a tenth of a second."""
        size = count = 0
        for result in self.results:
            count += 1
            size += len(result.text.data) if result.text else 0
            if count == BATCH_DOCUMENTS or size > BATCH_BYTES:
                break
        batch, self.results = self.results[:count], self.results[count:]
        return batch

    @property
    def _is_ahead(self) -> bool:
        return len(self.results) > 2 * BATCH_DOCUMENTS

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
        """The next few plain texts of the queue, or one document of another kind."""
        first = next(iter(self.queue))
        taken = {first: self.queue.pop(first)}
        if taken[first].media_type != PDF:
            for path in list(islice(self.queue, READ_TOGETHER - 1)):
                if self.queue[path].media_type == PDF:
                    break
                taken[path] = self.queue.pop(path)
        self._taken += len(taken)
        return taken

    def _kept_texts(self, infos: dict[str, DocumentInfo]) -> dict[str, DocumentText]:
        """What is kept from before of documents that have not changed since."""
        kept = {path: self.kept.pop(path) for path in infos if path in self.kept}
        return {p: text for p, (info, text) in kept.items() if info.identity.same_file(infos[p].identity)}

    async def _read_some(self, infos: dict[str, DocumentInfo]) -> list[Reading]:
        try:
            numbers, started = {path: self._catalog.new_id() for path in infos}, time.time_ns()
            plain = self._kept_texts(infos)
            new = [path for path, info in infos.items() if info.media_type != PDF and path not in plain]
            plain |= await self._library.read_plain(new) if new else {}
            return [
                _reading(numbers[path], infos[path], started, text)
                if (text := plain.get(path))
                else await self._read(path, infos[path])
                for path in infos
            ]
        finally:
            self._taken -= len(infos)

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
