"""Catalog of known documents: identity, text and passages of each."""

from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import lru_cache

from research_documents.search.catalog.backlog import Backlog
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection, Selections
from research_documents.search.catalog.versions import VersionNotes, Versions
from research_documents.search.outcome import IN_PART
from research_shared.access.globs import PathChoice
from research_shared.access.roots import Scope
from research_shared.access.unread import count_of_unread
from research_shared.documents import DocumentInfo
from research_shared.reading.filters import EVERY_DOCUMENT, DocumentFilter


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
        self._selections = Selections()
        self._versions = Versions(self.entries)
        self._unread: tuple[str, ...] = ()
        self.count_unread = lru_cache(maxsize=32)(self._count_unread)
        """Return how many files of which types are not read, in words, for the chosen paths and a scope; or None."""

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

    def version_notes(self, scope: Scope) -> VersionNotes:
        """Return what the documents of a scope are to one another; the newest and the only ones have no note."""
        return self._versions.notes(scope)

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
        self._all_changed()

    def clear(self) -> None:
        """Remove everything. Ids are not reused."""
        self.entries, self.by_id = {}, {}
        self.backlog.clear()
        self.text_bytes = self._held_bytes = self._readable = 0
        self._all_changed()

    def put(self, entry: CatalogEntry) -> None:
        """Make this the current version of its document. The previous one stays in `by_id` until `forget`."""
        before = self.entries.get(entry.path)
        self._uncount(before)
        self._count(entry)
        self._changed(entry.path, before)

    def drop_texts(self, ids: Collection[int]) -> None:
        """Hold the texts of these documents no longer: they are kept elsewhere. To a search this is no change."""
        for number in ids:
            entry = self.by_id.get(number)
            if entry is not None and entry.text is not None and self.entries.get(entry.path) is entry:
                self._held_bytes -= len(entry.text.data)
                self.entries[entry.path] = self.by_id[number] = entry.without_text()
                self._selections.changed(entry.path, entry)

    def remove(self, path: str) -> None:
        """Remove a document. It stays in `by_id` until `forget`."""
        before = self.entries.pop(path, None)
        self._uncount(before)
        self._changed(path, before)

    def forget(self, ids: Iterable[int]) -> None:
        """Drop versions that the index no longer holds."""
        for number in ids:
            self.by_id.pop(number, None)

    def _all_changed(self) -> None:
        self.version += 1
        self._selections.clear()
        self._versions = Versions(self.entries)
        self.count_unread.cache_clear()

    def _changed(self, path: str, before: CatalogEntry | None) -> None:
        self.version += 1
        self._selections.changed(path, before)
        self._versions.changed(path)
        self.count_unread.cache_clear()

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
        return self._selections.of(self.entries, (paths, scope, wanted))

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

        That takes some milliseconds where a hundred thousand are missing: probes ask for it again and again while a large folder is read.
        """
        return self._coverage(self._readable, self.backlog.missing)

    def _coverage(self, readable: int, missing: AbstractSet[str]) -> IndexCoverage:
        """Return the coverage of so many documents with text, of which those that are missing may be earlier versions."""
        done = readable - sum(not self.entries[path].reason for path in self.entries.keys() & missing)
        return IndexCoverage(done=done, total=done + len(missing), listed=self.backlog.listed)
