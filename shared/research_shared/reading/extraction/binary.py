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
    Metadata,
    Reader,
    format_of,
)
from research_shared.reading.extraction import _worker
from research_shared.reading.extraction.pictures import PictureReader
from research_shared.reading.extraction.pool import Slot, WorkerPool
from research_shared.reading.extraction.result import (
    NOT_INSTALLED,
    NOT_STARTED,
    READ_BY_OCR,
    TIMED_OUT,
    UNAVAILABLE,
    Extracted,
    Unreadable,
    ocr_remedy,
)
from research_shared.reading.extraction.worker import WorkerGone, WorkerLost, WorkerNotStarted
from research_shared.reading.limits import Limits

MAX_RESTARTS = 3
"""How often reading continues after a page that hung or crashed the worker."""
_REASONS = frozenset({ENCRYPTED, DAMAGED, EMPTY, NO_TEXT, TOO_LARGE, UNDECODABLE.value})
_MAX_NOTES = 20
_MAX_NOTE_CHARS = 500


@dataclass(slots=True)
class _Progress:
    """The pages so far of one reader; None stands for a page that could not be read, or is `undecodable` (from 1).

    `pictures` have no text and can be looked at; `recognised` are those of them that were read so.
    """

    reader: Reader
    total: int
    file_digest: str
    metadata: Metadata
    pages: list[bytes | None] = field(default_factory=list)
    undecodable: list[int] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    recognised: list[int] = field(default_factory=list)
    cut: bool = False

    @property
    def has_text(self) -> bool:
        return any(self.pages)


async def read_binary(
    pool: WorkerPool, fd: int, media_type: str, limits: Limits, pictures: PictureReader | None = None
) -> Extracted:
    """Return the text of an open file of a format that has readers. Time counts from when a worker is free.

    `pictures` reads pages without text; they stay without it otherwise.

    Raises:
        Unreadable: there is no text in it, none could be had within the limits, or no reader is installed.
    """
    document_format = format_of(media_type)
    if not any(reader.installed for reader in document_format.readers):
        raise Unreadable(NOT_INSTALLED)
    async with pool.slot() as slot:
        extraction = _Extraction(slot, fd, document_format, media_type, limits)
        await extraction.run()
    if pictures is not None:
        try:
            await extraction.look(pictures)
        except WorkerNotStarted as error:
            raise Unreadable(NOT_STARTED) from error
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
        self._seen: _Progress | None = None
        """The progress of a reader that found pictures and no text, while another one tries."""
        self._reason: str | None = None
        self._reader_notes: tuple[str, ...] = ()

    async def run(self) -> None:
        """Read until the end, the limits, or the last restart."""
        try:
            await self._slot.worker()
        except WorkerNotStarted as error:
            raise Unreadable(NOT_STARTED) from error
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._limits.document_timeout_s
        readers = tuple(reader.name for reader in self._format.readers if reader.installed)
        for _ in range(1 + MAX_RESTARTS):
            try:
                self._reason = await self._attempt(readers, deadline)
            except WorkerNotStarted as error:
                # All of it is read again later, rather than a part kept.
                raise Unreadable(NOT_STARTED) from error
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

    async def look(self, reader: PictureReader) -> None:
        """Read the pages that are pictures."""
        progress = self._progress
        if (progress is None or not progress.has_text) and self._seen is not None:
            progress = self._progress = self._seen
        if progress is None or not progress.pictures or progress.cut:
            return
        found = await reader.read(
            self._fd,
            media_type=self._media_type,
            reader=progress.reader.name,
            file_digest=progress.file_digest,
            pages=tuple(progress.pictures),
        )
        for number, text in found.items():
            progress.pages[number - 1] = text
        progress.pictures = [number for number in progress.pictures if number not in found]
        progress.undecodable = [number for number in progress.undecodable if number not in found]
        progress.recognised = [number for number, text in found.items() if text]

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
                if self._progress is not None and self._progress.pictures:
                    self._seen = self._progress
                self._progress = _Progress(
                    reader,
                    int(header["pages"]),
                    str(header["digest"]),
                    Metadata.unpacked(header.get("metadata", {})),
                )
            return
        if self._progress is None or len(self._progress.pages) >= self._wanted(self._progress):
            raise WorkerLost("it sent a page out of turn")
        if kind == _worker.PAGE:
            payload.decode("utf-8")
            self._progress.pages.append(payload)
        elif kind == _worker.PICTURE and not payload:
            self._progress.pages.append(b"")
            self._progress.pictures.append(len(self._progress.pages))
        elif kind in {_worker.MISSING, _worker.PICTURE}:
            self._progress.pages.append(None)
            if kind == _worker.PICTURE:
                self._progress.pictures.append(len(self._progress.pages))
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
        scanned = set(progress.pictures)
        missing = tuple(
            number for number, page in enumerate(pages, start=1) if page is None or number in scanned
        )
        engine = progress.reader.identity
        if progress.recognised and self._limits.ocr:
            engine = f"{engine}, {self._limits.ocr.identity}"
        return Extracted(
            engine=engine,
            file_digest=progress.file_digest,
            data=b"\n".join(filter(None, pages)),
            page_starts=tuple(starts) if self._format.part is not None else (),
            missing_pages=missing if self._format.part is not None else (),
            ocr_pages=tuple(progress.recognised),
            notes=tuple(self._notes(progress, pages, missing)),
            metadata=progress.metadata,
        )

    def _notes(
        self, progress: _Progress, pages: list[bytes | None], missing: tuple[int, ...]
    ) -> Iterator[str]:
        part = self._format.part or "part"
        undecodable = tuple(progress.undecodable)
        scanned = tuple(number for number in progress.pictures if number not in set(undecodable))
        missing = tuple(number for number in missing if number not in {*undecodable, *scanned})
        gaps: list[str] = []
        if undecodable:
            verb = "are" if len(undecodable) > 1 else "is"
            gaps.append(f"{in_words(undecodable, part)} {verb} undecodable: the fonts have no Unicode table")
        if missing:
            verb = "are" if len(missing) > 1 else "is"
            gaps.append(f"{in_words(missing, part)} could not be read and {verb} missing")
        if scanned:
            verb = "have" if len(scanned) > 1 else "has"
            gaps.append(f"{in_words(scanned, part)} {verb} no text (scanned?)")
        if gaps:
            remedy = ocr_remedy(self._limits.ocr) if scanned else ""
            yield "; ".join([*gaps, *filter(None, [remedy])])
        if progress.recognised:
            verb = "were" if len(progress.recognised) > 1 else "was"
            yield f"{in_words(progress.recognised, part)} {verb} {READ_BY_OCR}: letters and digits may be wrong"
        skip = set(scanned)
        empty = tuple(
            number for number, page in enumerate(pages, start=1) if page == b"" and number not in skip
        )
        if empty:
            yield f"{in_words(empty, part)} {'have' if len(empty) > 1 else 'has'} no text (blank)"
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
