"""What of the folder must be pushed: how a listing differs from the records, and the texts of what is new."""

import asyncio
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from research_documents.opensearch.layout import DocumentRecord
from research_documents.search.index.reader import TRANSIENT_REASONS
from research_shared.documents import DocumentInfo, DocumentText
from research_shared.errors import DocumentNotFound, ResearchError, RootUnavailable
from research_shared.formats import format_of
from research_shared.reading.extraction import engines
from research_shared.reading.first_page import IDENTITY
from research_shared.reading.library import SETTLED_NS, Library
from research_shared.reading.limits import Limits

BATCH_FILES: Final = 64
BATCH_FILE_BYTES: Final = 4 * 1024 * 1024
"""Documents and bytes of files that are read, and pushed, together."""
TOGETHER: Final = 3
"""Documents that are no plain text and are read at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What reading a document gave: its text, or the `reason` why there is none; neither if the document is gone.

    `lasting` says whether the same file will give the same again.
    """

    info: DocumentInfo
    text: DocumentText | None = None
    reason: str = ""
    lasting: bool = True


@dataclass(slots=True, kw_only=True)
class PassageCount:
    """How many passages of a document were pushed, how many of them with all their vectors, and with how many the model fails."""

    passages: int = 0
    embedded: int = 0
    unembeddable: int = 0


def readers_key(limits: Limits) -> str:
    """Return what is the same for all that read the same text from the same file: readers, their versions and limits."""
    made_with = json.dumps([*engines(), IDENTITY, *limits.of_text])
    return hashlib.sha256(made_with.encode()).hexdigest()[:16]


def is_pushed(record: DocumentRecord | None, info: DocumentInfo, readers: str) -> bool:
    """Return whether the cluster has this state of a file, by its size and time of change, as these readers read it."""
    return (
        record is not None
        and record.complete
        and record.waits is None
        and not record.hidden
        and record.readers == readers
        and record.info.media_type == info.media_type
        and record.info.target == info.target
        and record.info.identity.size == info.identity.size
        and record.info.identity.mtime_ns == info.identity.mtime_ns
    )


def batches(
    infos: Iterable[DocumentInfo], *, files: int = BATCH_FILES, file_bytes: int = BATCH_FILE_BYTES
) -> Iterator[list[DocumentInfo]]:
    """Yield documents in batches of a bounded number and size of files; a larger file is a batch of its own."""
    batch: list[DocumentInfo] = []
    size = 0
    for info in infos:
        if batch and (len(batch) == files or size + info.size_bytes > file_bytes):
            yield batch
            batch, size = [], 0
        batch.append(info)
        size += info.size_bytes
    if batch:
        yield batch


async def read_batch(library: Library, infos: Sequence[DocumentInfo]) -> list[Reading]:
    """Return what reading each document gives, in order.

    Raises:
        RootUnavailable: a folder is gone.
    """
    started = time.time_ns()
    quick = [info.path for info in infos if format_of(info.media_type).is_text]
    plain = await library.read_plain(quick) if quick else {}
    slots = asyncio.Semaphore(TOGETHER)

    async def read(info: DocumentInfo) -> Reading:
        async with slots:
            return await _read_one(library, info, plain.get(info.path), started)

    found = await asyncio.gather(*map(read, infos), return_exceptions=True)
    readings: list[Reading] = []
    for each in found:
        if isinstance(each, BaseException):
            raise each
        readings.append(each)
    return readings


async def _read_one(
    library: Library, info: DocumentInfo, plain: DocumentText | None, started_ns: int
) -> Reading:
    try:
        if plain is None:
            started_ns = time.time_ns()
        text = plain or await library.read(info.path)
    except DocumentNotFound:
        return Reading(info=info)
    except RootUnavailable:
        raise  # says nothing about the document
    except ResearchError as error:
        reason = getattr(error, "reason", error.code)
        return Reading(info=info, reason=reason, lasting=not (error.retryable or reason in TRANSIENT_REASONS))
    # A file so young may change again without its time of change showing it.
    settled = started_ns - text.identity.ctime_ns > SETTLED_NS
    return Reading(info=replace(info, identity=text.identity), text=text, lasting=settled)


def gone_paths(known: Mapping[str, DocumentRecord], listed: Iterable[str]) -> list[str]:
    """Return the paths of records whose documents are not listed any more, sorted."""
    return sorted({path for path, record in known.items() if not record.gone}.difference(listed))
