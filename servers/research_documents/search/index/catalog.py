"""Catalog of known documents: identity, text and passages of each."""

import json
import zlib
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Final, Self

from research_documents.search.index.backlog import Backlog
from research_documents.search.outcome import IN_PART
from research_shared.access.globs import PathChoice
from research_shared.access.roots import Scope
from research_shared.access.unread import count_of_unread
from research_shared.documents import DocumentInfo, DocumentText
from research_shared.formats import NO_METADATA, Metadata
from research_shared.reading.filters import EVERY_DOCUMENT, DocumentFilter
from research_shared.reading.versions import VersionedDocument, VersionNote, version_notes

BLOCK: Final = 256
"""Bytes of text per entry of `breaks`: the line number of a hit is counted from the start of its block."""


_NO_BREAKS: Final = array("I")


def breaks_of(data: bytes) -> "array[int]":
    """Return the number of line breaks before each block of a text."""
    count = data.count
    return array(
        "I", accumulate((count(b"\n", at, at + BLOCK) for at in range(0, len(data), BLOCK)), initial=0)
    )


def checksum_of(text: DocumentText, data_sum: int) -> int:
    """Return a checksum of a text, its pages and its notes. `data_sum` is the CRC-32 of its bytes."""
    rest = json.dumps([text.page_starts, text.missing_pages, text.ocr_pages, text.notes])
    return zlib.crc32(rest.encode(), data_sum)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One version of a document, identified by `id`.

    `gap` names the pages that are not in the text. `text` is None when it gives none (then `reason` says why), when it is kept on disk, and when texts take more memory
    than they may: then it is read when it is needed. `breaks` may be missing then. `mtime_reliable` is False for a file so young when it was read that a
    later change may not show in its time stamps (git calls such an entry racily clean). `read_at` is a time of the monotonic clock, `checked` the id of the last reading.

    `digest` tells the version of the file. Two readings of one version can give different texts: a page that took too long
    is in one of them only. `checksum` tells the text.
    """

    id: int
    info: DocumentInfo
    text: DocumentText | None = None
    reason: str = ""
    gap: str = ""
    digest: str = ""
    metadata: Metadata = NO_METADATA
    pages: int | None = None
    text_bytes: int = 0
    checksum: int = 0
    is_ascii: bool = True
    breaks: "array[int]" = field(default_factory=lambda: _NO_BREAKS, repr=False)
    passages: int = 0
    mtime_reliable: bool = True
    read_at: float = 0.0
    checked: int = 0

    @classmethod
    def of(
        cls,
        number: int,
        info: DocumentInfo,
        text: DocumentText,
        passages: int,
        *,
        mtime_reliable: bool = True,
        holds_text: bool = True,
    ) -> Self:
        """Build the entry of a document that has text, without it unless it `holds_text`."""
        return cls(
            id=number,
            info=info,
            text=text if holds_text else None,
            gap=text.gap,
            digest=text.digest,
            metadata=text.metadata,
            pages=text.pages,
            text_bytes=len(text.data),
            checksum=checksum_of(text, zlib.crc32(text.data)),
            is_ascii=text.data.isascii(),
            breaks=breaks_of(text.data) if holds_text else _NO_BREAKS,
            passages=passages,
            mtime_reliable=mtime_reliable,
            checked=number,
        )

    @property
    def path(self) -> str:
        """Return the public path."""
        return self.info.path

    def is_of(self, text: DocumentText, data_sum: int | None = None) -> bool:
        """Return whether this is the text that the entry was made of. `data_sum` is the CRC-32 of its bytes, if it is known."""
        if self.reason or text.digest != self.digest or len(text.data) != self.text_bytes:
            return False
        return self.checksum == checksum_of(text, zlib.crc32(text.data) if data_sum is None else data_sum)

    def without_text(self) -> Self:
        """Return the entry of a document whose text is kept elsewhere."""
        return replace(self, text=None, breaks=_NO_BREAKS)


StoredTexts = Callable[[Sequence[CatalogEntry]], Mapping[int, DocumentText]]
"""Returns the texts of those of these documents that are in the store of the index, by the id of the entry. For any thread."""


def none_stored(_entries: Sequence[CatalogEntry]) -> Mapping[int, DocumentText]:
    """Return no text: there is no store."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The documents of chosen paths and one scope, sorted by path.

    `unreadable` holds (path, reason): of documents without text, and of readable ones of which pages are missing; `everything` says that no known document is left out.
    """

    readable: tuple[CatalogEntry, ...]
    unreadable: tuple[tuple[str, str], ...]
    everything: bool

    @cached_property
    def ids(self) -> frozenset[int]:
        """Return the ids of the readable documents."""
        return frozenset(entry.id for entry in self.readable)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexCoverage:
    """How much of a selection a search covers: `done` of `total` known documents with text.

    `listed` says whether the folder was listed completely; before that, `total` is unknown.
    """

    done: int
    total: int
    listed: bool

    @property
    def complete(self) -> bool:
        """Return whether nothing is known to be missing."""
        return self.listed and self.done == self.total


class Catalog:
    """All known documents. Written by one task, read by many."""

    def __init__(self, text_budget: int) -> None:
        self.backlog = Backlog()
        """Documents that are not in the catalog in their present version."""
        self.entries: dict[str, CatalogEntry] = {}
        self.by_id: dict[int, CatalogEntry] = {}
        self.text_bytes = 0
        self.version = 0
        """Incremented by each change of the entries."""
        self._budget = text_budget
        self._held_bytes = 0
        self._readable = 0
        self._last_id = 0
        self._select = lru_cache(maxsize=32)(self._selection)
        self._unread: tuple[str, ...] = ()
        self.count_unread = lru_cache(maxsize=32)(self._count_unread)
        """Return how many files of which types are not read, in words, for the chosen paths and a scope; or None."""
        self.version_notes = lru_cache(maxsize=8)(self._version_notes)
        """Return what the documents of a scope are to one another, by path; the newest and the only ones have no note."""

    def found_unread(self, paths: Sequence[str]) -> None:
        """Keep the paths of the files of types that are not read."""
        self._unread = tuple(paths)
        self.count_unread.cache_clear()

    def _count_unread(self, paths: PathChoice, scope: Scope) -> str | None:
        matches = paths.compiled()
        unreadable = self.select(paths, scope).unreadable
        return count_of_unread(
            (path for path in self._unread if scope.admits(path) and matches(path)),
            (each for each in unreadable if not each[1].startswith(IN_PART)),
        )

    def _version_notes(self, scope: Scope) -> Mapping[str, VersionNote]:
        return version_notes(
            VersionedDocument(
                path=path,
                modified_ns=entry.info.identity.mtime_ns,
                digest=entry.digest if entry.text_bytes else "",
            )
            for path, entry in self.entries.items()
            if scope.shows(entry.info)
        )

    def info_of(self, path: str) -> DocumentInfo | None:
        """Return the listing entry of a known document, or None. For any thread."""
        entry = self.entries.get(path)
        return None if entry is None else entry.info

    def new_id(self) -> int:
        """Return an unused id."""
        self._last_id += 1
        return self._last_id

    def restore(self, entries: Iterable[CatalogEntry]) -> None:
        """Add documents that an earlier process indexed, with their ids."""
        for entry in entries:
            self._count(entry)
            self._last_id = max(self._last_id, entry.id)
        self._changed()

    def clear(self) -> None:
        """Remove everything. Ids are not reused."""
        self.entries, self.by_id = {}, {}
        self.backlog.clear()
        self.text_bytes = self._held_bytes = self._readable = 0
        self._changed()

    def put(self, entry: CatalogEntry) -> None:
        """Make this the current version of its document. The previous one stays in `by_id` until `forget`."""
        self._uncount(self.entries.get(entry.path))
        self._count(entry)
        self._changed()

    def drop_texts(self, ids: Collection[int]) -> None:
        """Hold the texts of these documents no longer: they are kept elsewhere. To a search this is no change."""
        for number in ids:
            entry = self.by_id.get(number)
            if entry is not None and entry.text is not None and self.entries.get(entry.path) is entry:
                self._held_bytes -= len(entry.text.data)
                self.entries[entry.path] = self.by_id[number] = entry.without_text()
        self._select.cache_clear()

    def remove(self, path: str) -> None:
        """Remove a document. It stays in `by_id` until `forget`."""
        self._uncount(self.entries.pop(path, None))
        self._changed()

    def forget(self, ids: Iterable[int]) -> None:
        """Drop versions that the index no longer holds."""
        for number in ids:
            self.by_id.pop(number, None)

    def _changed(self) -> None:
        self.version += 1
        self._select.cache_clear()
        self.count_unread.cache_clear()
        self.version_notes.cache_clear()

    def _count(self, entry: CatalogEntry) -> None:
        if entry.text is not None and self._held_bytes + entry.text_bytes > self._budget:
            entry = replace(entry, text=None)
        self.entries[entry.path] = self.by_id[entry.id] = entry
        self.text_bytes += entry.text_bytes
        self._readable += not entry.reason
        self._held_bytes += len(entry.text.data) if entry.text else 0

    def _uncount(self, entry: CatalogEntry | None) -> None:
        if entry is not None:
            self.text_bytes -= entry.text_bytes
            self._readable -= not entry.reason
            self._held_bytes -= len(entry.text.data) if entry.text else 0

    def select(self, paths: PathChoice, scope: Scope, wanted: DocumentFilter = EVERY_DOCUMENT) -> Selection:
        """Return the documents within a scope whose path is chosen and that are wanted.

        A document without text is among the unreadable ones when it could be wanted: nobody can tell what it says.

        Raises:
            InvalidPattern: the pattern is malformed.
        """
        return self._select(paths, scope, wanted)

    def _selection(self, paths: PathChoice, scope: Scope, wanted: DocumentFilter) -> Selection:
        matches = paths.compiled()
        chosen = [
            entry
            for path, entry in self.entries.items()
            if scope.shows(entry.info)
            and matches(path)
            and (
                wanted.admits_info(entry.info) if entry.reason else wanted.admits(entry.info, entry.metadata)
            )
        ]
        chosen.sort(key=lambda entry: entry.path)
        return Selection(
            readable=tuple(entry for entry in chosen if not entry.reason),
            unreadable=tuple(
                (entry.path, entry.reason or IN_PART + entry.gap)
                for entry in chosen
                if entry.reason or entry.gap
            ),
            everything=len(chosen) == len(self.entries),
        )

    def coverage(
        self,
        paths: PathChoice,
        scope: Scope,
        *,
        visible: bool,
        before: float = float("inf"),
        wanted: DocumentFilter = EVERY_DOCUMENT,
    ) -> IndexCoverage:
        """Return how much of the chosen paths within a scope is in the catalog; with `visible`, in the last commit of the index.

        A path that is pending only since `before` (monotonic clock, seconds) or later does not count as missing. Of a
        filter, only the types count: the rest cannot be told of a document that was not read.
        """
        selection = self.select(paths, scope, wanted.of_types)
        matches = paths.compiled()
        waiting = self.backlog.all() if visible else self.backlog.unread.items()
        missing = {
            path
            for path, (_, _, since, kind) in waiting
            if kind != "uncounted"
            and since < before
            and scope.admits(path)
            and matches(path)
            and wanted.admits_path(path)
        }
        return self._coverage(len(selection.readable), missing)

    def coverage_of_all(self) -> IndexCoverage:
        """Return the coverage of every path for everybody, as the last commit of the index shows it.

        That takes time for what is missing only: probes ask for it again and again while a large folder is read.
        """
        missing = {path for path, waiting in self.backlog.all() if waiting.kind != "uncounted"}
        return self._coverage(self._readable, missing)

    def _coverage(self, readable: int, missing: Collection[str]) -> IndexCoverage:
        """Return the coverage of so many documents with text, of which those that are missing may be earlier versions."""
        done = readable - sum(
            (entry := self.entries.get(path)) is not None and not entry.reason for path in missing
        )
        return IndexCoverage(done=done, total=done + len(missing), listed=self.backlog.listed)
