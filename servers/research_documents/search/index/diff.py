"""How a listing of the folder differs from the catalog: what must be read, what is being read, and what is gone."""

from collections.abc import Mapping
from dataclasses import dataclass

from research_documents.search.catalog.backlog import PendingKind, PendingPath
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.index.reader import reading_order
from research_documents.search.tuning import DEFAULT_TUNING, SearchTuning
from research_shared.documents import DocumentInfo, Identity


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
    *,
    now: float,
    tuning: SearchTuning = DEFAULT_TUNING,
) -> ListingDiff:
    """Compare a listing with the catalog. `now` is the time in seconds, by the clock of the entries."""
    retry_before = now - tuning.retry_unreadable_s
    unread = [info for info in infos if _needs_reading(known.get(info.path), info, retry_before)]
    unread.sort(key=lambda info: reading_order(info, tuning.large_bytes))
    being_read = {
        info.path: info
        for info in unread
        if _is_being_read(info, in_progress.get(info.path), tuning.settled_ns)
    }
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


def _is_being_read(info: DocumentInfo, read: tuple[Identity, int] | None, settled_ns: int) -> bool:
    """Return whether a read in progress is of the listed version, and the file old enough for its mtime to be reliable."""
    if read is None:
        return False
    identity, started_ns = read
    return identity == info.identity and started_ns - identity.ctime_ns > settled_ns


def _kind(entry: CatalogEntry | None, info: DocumentInfo) -> PendingKind:
    if entry is None:
        return "new"
    tried_again = entry.reason and entry.info.identity.same_file(info.identity)
    return "uncounted" if tried_again else "changed"


def _needs_reading(entry: CatalogEntry | None, info: DocumentInfo, retry_before: float) -> bool:
    if entry is None or not entry.mtime_reliable or entry.info.target != info.target:
        return True
    if not entry.info.identity.same_file(info.identity):
        return True
    return bool(entry.reason) and entry.read_at < retry_before
