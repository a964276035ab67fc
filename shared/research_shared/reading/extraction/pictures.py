"""Recognise the text of pages that are pictures, in a worker of its own: it takes long, and nothing else waits for it."""

import asyncio
import json
from contextlib import aclosing

from cachetools import LRUCache

from research_shared.faults import Faults
from research_shared.reading.extraction import _worker
from research_shared.reading.extraction.pool import Slot, WorkerPool
from research_shared.reading.extraction.worker import WorkerGone, WorkerLost, WorkerNotStarted
from research_shared.reading.limits import Limits
from research_shared.reading.ocr import Ocr

_MAX_RESTARTS = 3
CACHE_BYTES = 64 * 1024 * 1024

Recognised = dict[int, bytes]
"""The text of pages by their number, from 1. What could not be recognised is not there."""


class PictureReader:
    """Reads pages that are pictures with the program of `ocr`, one document at a time.

    What was recognised is kept by the content of the file, so that a copy, or a file that was moved, is not read again.
    """

    def __init__(self, ocr: Ocr, limits: Limits, *, faults: Faults | None = None) -> None:
        self.ocr = ocr
        self._limits = limits
        self._pool = WorkerPool(1, limits.worker_memory_bytes, faults=faults)
        self._kept: LRUCache[tuple[str, tuple[int, ...]], Recognised] = LRUCache(
            CACHE_BYTES, getsizeof=lambda found: 1024 + sum(map(len, found.values()))
        )

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that are alive."""
        return self._pool.pids

    async def stop(self) -> None:
        """End the worker."""
        await self._pool.stop()

    async def read(
        self, fd: int, *, media_type: str, reader: str, file_digest: str, pages: tuple[int, ...]
    ) -> Recognised:
        """Return the text of these pages of an open file (numbers from 1, ascending), as far as it could be had.

        `file_digest` stands for the bytes of the file, `reader` is the name of the one that draws its pages.

        Raises:
            WorkerNotStarted: no process could be started.
        """
        key = (f"{file_digest} {reader}", pages)
        async with self._pool.slot() as slot:
            if (kept := self._kept.get(key)) is not None:
                return kept
            found = await self._recognise(slot, fd, media_type, reader, pages)
        if len(found) == len(pages) and sum(map(len, found.values())) < CACHE_BYTES // 2:
            self._kept[key] = found
        return found

    async def _recognise(
        self, slot: Slot, fd: int, media_type: str, reader: str, pages: tuple[int, ...]
    ) -> Recognised:
        found: Recognised = {}
        left = list(pages)
        deadline = asyncio.get_running_loop().time() + self.ocr.document_timeout_s
        for _ in range(1 + _MAX_RESTARTS):
            job = _worker.Job(
                media_type=media_type,
                readers=[reader],
                first_page=left[0],
                max_pages=left[-1],
                max_text_bytes=self._limits.max_text_bytes,
                timeout_s=self.ocr.document_timeout_s,
                pictures=left,
                recogniser=self.ocr.command,
                picture_timeout_s=self.ocr.page_timeout_s,
            )
            try:
                await self._attempt(slot, fd, job, deadline, found, left)
            except WorkerNotStarted:
                raise
            except WorkerGone:
                continue
            except (TimeoutError, WorkerLost, OSError):
                del left[:1]  # the page that failed
            else:
                break
            if not left or asyncio.get_running_loop().time() >= deadline:
                break
        return found

    async def _attempt(
        self, slot: Slot, fd: int, job: _worker.Job, deadline: float, found: Recognised, left: list[int]
    ) -> None:
        """Add to `found` what the worker recognises, and take it off `left`."""
        page_timeout_s = self.ocr.page_timeout_s + self._limits.page_timeout_s
        try:
            worker = await slot.worker()
            frames = worker.run(
                job._replace(pictures=list(left)), fd, deadline=deadline, page_timeout_s=page_timeout_s
            )
            async with aclosing(frames):
                async for kind, payload in frames:
                    if kind == _worker.END:
                        break
                    if kind in {_worker.PAGE, _worker.MISSING}:
                        number = left.pop(0)
                    if kind == _worker.PAGE:
                        payload.decode("utf-8")
                        found[number] = payload
            if json.loads(payload)["retire"]:
                slot.kill()
        except (ValueError, LookupError, TypeError) as error:
            slot.kill()
            raise WorkerLost("it made no sense") from error
        except BaseException:
            slot.kill()
            raise
