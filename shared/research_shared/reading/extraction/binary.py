"""Read binary formats in workers. A document that kills its worker keeps the pages read before."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from research_shared.formats import (
    DAMAGED,
    EMPTY,
    ENCRYPTED,
    NO_TEXT,
    TOO_LARGE,
    UNDECODABLE,
    Format,
    Reader,
    format_of,
)
from research_shared.reading.extraction import _worker
from research_shared.reading.extraction.pool import Slot, WorkerPool
from research_shared.reading.extraction.result import (
    NOT_INSTALLED,
    TIMED_OUT,
    UNAVAILABLE,
    Extracted,
    Unreadable,
)
from research_shared.reading.extraction.worker import WorkerGone, WorkerLost
from research_shared.reading.limits import Limits

MAX_RESTARTS = 3
"""How often reading continues after a page that hung or crashed the worker."""
_REASONS = frozenset({ENCRYPTED, DAMAGED, EMPTY, NO_TEXT, TOO_LARGE, UNDECODABLE.value})
_MAX_NOTES = 20
_MAX_NOTE_CHARS = 500


@dataclass(slots=True)
class _Progress:
    """The pages so far of one reader; None stands for a page that could not be read, or is `undecodable` (from 1)."""

    reader: Reader
    total: int
    file_digest: str
    pages: list[bytes | None] = field(default_factory=list)
    undecodable: list[int] = field(default_factory=list)
    cut: bool = False

    @property
    def has_text(self) -> bool:
        return any(self.pages)


async def read_binary(pool: WorkerPool, fd: int, media_type: str, limits: Limits) -> Extracted:
    """Return the text of an open file of a format that has readers. Time counts from when a worker is free.

    Raises:
        Unreadable: there is no text in it, none could be had within the limits, or no reader is installed.
    """
    document_format = format_of(media_type)
    if not any(reader.installed for reader in document_format.readers):
        raise Unreadable(NOT_INSTALLED)
    async with pool.slot() as slot:
        extraction = _Extraction(slot, fd, document_format, media_type, limits)
        await extraction.run()
    # In a thread, because joining the largest allowed text takes long.
    return await asyncio.to_thread(extraction.result)


class _Extraction:
    def __init__(self, slot: Slot, fd: int, document_format: Format, media_type: str, limits: Limits) -> None:
        self._slot = slot
        self._fd = fd
        self._format = document_format
        self._media_type = media_type
        self._reasons = _REASONS | {document_format.mismatch}
        self._limits = limits
        self._progress: _Progress | None = None
        self._reason: str | None = None
        self._reader_notes: tuple[str, ...] = ()

    async def run(self) -> None:
        """Read until the end, the limits, or the last restart."""
        try:
            await self._slot.worker()
        except (WorkerLost, OSError) as error:
            raise Unreadable(UNAVAILABLE) from error
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._limits.document_timeout_s
        readers = tuple(reader.name for reader in self._format.readers if reader.installed)
        for _ in range(1 + MAX_RESTARTS):
            try:
                self._reason = await self._attempt(readers, deadline)
            except WorkerGone:
                self._reason = UNAVAILABLE
                continue
            except TimeoutError:
                self._reason = TIMED_OUT
            except (WorkerLost, OSError) as error:
                out_of_memory = isinstance(error, WorkerLost) and error.out_of_memory
                self._reason = TOO_LARGE if out_of_memory else DAMAGED
            else:
                return
            if clock() >= deadline:
                return
            if self._progress is not None:
                # Continue after the page that failed.
                self._progress.pages.append(None)
                if len(self._progress.pages) >= self._wanted(self._progress):
                    return
                readers = (self._progress.reader.name,)
            elif self._reason != TIMED_OUT and len(readers) > 1:
                readers = readers[1:]
            else:
                return

    async def _attempt(self, readers: tuple[str, ...], deadline: float) -> str | None:
        job = _worker.Job(
            media_type=self._media_type,
            readers=list(readers),
            first_page=len(self._progress.pages) + 1 if self._progress else 1,
            max_pages=self._limits.max_pages,
            max_text_bytes=self._limits.max_text_bytes,
            timeout_s=self._limits.document_timeout_s,
        )
        try:
            worker = await self._slot.worker()
            frames = worker.run(job, self._fd, deadline=deadline, page_timeout_s=self._limits.page_timeout_s)
            async with aclosing(frames):
                async for kind, payload in frames:
                    if kind == _worker.END:
                        break
                    self._take(kind, payload)
            answer = json.loads(payload)
            self._reader_notes = _checked_notes(answer["notes"])
            if answer["retire"]:
                self._slot.kill()
        except (ValueError, KeyError, TypeError) as error:
            self._slot.kill()
            raise WorkerLost("it made no sense") from error
        except BaseException:
            self._slot.kill()
            raise
        return answer["reason"] if answer["reason"] in self._reasons else None

    def _wanted(self, progress: _Progress) -> int:
        return min(progress.total, self._limits.max_pages)

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == _worker.START:
            header = json.loads(payload)
            reader = self._format.reader(header["reader"])
            if self._progress is None or self._progress.reader != reader:
                self._progress = _Progress(reader, int(header["pages"]), str(header["digest"]))
            return
        if self._progress is None or len(self._progress.pages) >= self._wanted(self._progress):
            raise WorkerLost("it sent a page out of turn")
        if kind == _worker.PAGE:
            payload.decode("utf-8")
            self._progress.pages.append(payload)
        elif kind == _worker.MISSING:
            self._progress.pages.append(None)
            if payload == UNDECODABLE.value.encode():
                self._progress.undecodable.append(len(self._progress.pages))
        else:
            self._progress.cut = True

    def result(self) -> Extracted:
        """Return the text of the pages.

        Raises:
            Unreadable: there is none.
        """
        progress = self._progress
        if progress is None or not progress.has_text:
            raise Unreadable(self._reason or NO_TEXT)
        pages = progress.pages
        if not progress.cut:
            wanted = self._wanted(progress)
            pages = (pages + [None] * (wanted - len(pages)))[:wanted]
        starts: list[int] = []
        line = 1
        for page in pages:
            starts.append(line)
            line += page.count(b"\n") + 1 if page else 0
        missing = tuple(number for number, page in enumerate(pages, start=1) if page is None)
        return Extracted(
            engine=progress.reader.identity,
            file_digest=progress.file_digest,
            data=b"\n".join(filter(None, pages)),
            page_starts=tuple(starts) if self._format.part is not None else (),
            missing_pages=missing if self._format.part is not None else (),
            notes=tuple(self._notes(progress, pages, missing)),
        )

    def _notes(
        self, progress: _Progress, pages: list[bytes | None], missing: tuple[int, ...]
    ) -> Iterator[str]:
        part = self._format.part or "part"
        undecodable = tuple(progress.undecodable)
        missing = tuple(number for number in missing if number not in set(undecodable))
        gaps: list[str] = []
        if undecodable:
            verb = "are" if len(undecodable) > 1 else "is"
            gaps.append(f"{in_words(undecodable, part)} {verb} undecodable: the fonts have no Unicode table")
        if missing:
            verb = "are" if len(missing) > 1 else "is"
            gaps.append(f"{in_words(missing, part)} could not be read and {verb} missing")
        if gaps:
            yield "; ".join(gaps)
        empty = tuple(number for number, page in enumerate(pages, start=1) if page == b"")
        if empty:
            yield f"{in_words(empty, part)} {'have' if len(empty) > 1 else 'has'} no text (scanned or blank)"
        if self._reason == TIMED_OUT:
            yield "reading took longer than is allowed and was stopped"
        if progress.cut:
            where = f", on {part} {len(pages)} of {progress.total}" if progress.total > 1 else ""
            yield f"the text was cut after {self._limits.max_text_bytes} bytes{where}"
        elif progress.total > len(pages):
            yield f"only the first {len(pages)} of {progress.total} {part}s were read"
        yield from self._reader_notes


def _checked_notes(notes: object) -> tuple[str, ...]:
    """Return the notes of a worker, which may have been taken over: a few short sentences.

    Raises:
        TypeError: they are something else.
    """
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise TypeError("notes")
    return tuple(note[:_MAX_NOTE_CHARS] for note in notes[:_MAX_NOTES])


def in_words(pages: Sequence[int], part: str = "page", most: int = 10) -> str:
    """Return the numbers of pages, or of other parts, for people, runs put together.

    >>> in_words((2, 4, 5, 6), "slide")
    'slides 2, 4-6'
    """
    runs: list[tuple[int, int]] = []
    for page in pages:
        if runs and runs[-1][1] == page - 1:
            runs[-1] = (runs[-1][0], page)
        else:
            runs.append((page, page))
    words = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:most]]
    more = sum(last - first + 1 for first, last in runs[most:])
    return f"{part}{'s' if len(pages) > 1 else ''} {', '.join(words)}{f' and {more} more' if more else ''}"
