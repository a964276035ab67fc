"""How a listing of the folder differs from the catalog: what must be read, what is being read, and what is gone."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from research_documents.search.index.backlog import PendingKind, PendingPath
from research_documents.search.index.catalog import CatalogEntry
from research_documents.search.index.reader import reading_order
from research_shared.documents import DocumentInfo, Identity
from research_shared.reading.library import SETTLED_NS

RETRY_UNREADABLE_S: Final = 60.0
"""How long a document that gave no text is not read again, as long as it does not change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingDiff:
    """How a listing differs from the catalog.

    `queue` holds what must be read, in order; `in_progress` what is already being read in the listed version; `gone` the
    paths that no longer exist. `waiting` covers all three.
    """

    queue: dict[str, DocumentInfo]
    in_progress: dict[str, DocumentInfo]
    waiting: dict[str, PendingPath]
    gone: list[str]


def diff_listing(
    infos: list[DocumentInfo],
    known: Mapping[str, CatalogEntry],
    in_progress: Mapping[str, tuple[Identity, int]],
    number: int,
) -> ListingDiff:
    """Compare a listing with the catalog."""
    now = time.monotonic()
    unread = [info for info in infos if _needs_reading(known.get(info.path), info, now)]
    unread.sort(key=reading_order)
    being_read = {info.path: info for info in unread if _is_being_read(info, in_progress.get(info.path))}
    present = {info.path for info in infos}
    gone = [path for path in known if path not in present]
    waiting = {
        info.path: PendingPath(
            number, 0 if info.path in being_read else number, now, _kind(known.get(info.path), info)
        )
        for info in unread
    }
    waiting |= {path: PendingPath(number, number, now, "uncounted") for path in gone}
    queue = {info.path: info for info in unread if info.path not in being_read}
    return ListingDiff(queue=queue, in_progress=being_read, waiting=waiting, gone=gone)


def _is_being_read(info: DocumentInfo, read: tuple[Identity, int] | None) -> bool:
    """Return whether a read in progress is of the listed version, and the file old enough for its mtime to be reliable."""
    if read is None:
        return False
    identity, started_ns = read
    return identity == info.identity and started_ns - identity.ctime_ns > SETTLED_NS


def _kind(entry: CatalogEntry | None, info: DocumentInfo) -> PendingKind:
    if entry is None:
        return "new"
    tried_again = entry.reason and entry.info.identity.same_file(info.identity)
    return "uncounted" if tried_again else "changed"


def _needs_reading(entry: CatalogEntry | None, info: DocumentInfo, now: float) -> bool:
    if entry is None or not entry.mtime_reliable or not entry.info.identity.same_file(info.identity):
        return True
    return bool(entry.reason) and now - entry.read_at > RETRY_UNREADABLE_S
