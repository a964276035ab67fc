"""Selections of the catalog: which documents of chosen paths a scope shows, kept up to date change by change."""

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.outcome import IN_PART
from research_shared.access.globs import EVERY_PATH, PathChoice
from research_shared.access.scope import EVERYTHING, Scope
from research_shared.reading.filters import EVERY_DOCUMENT, DocumentFilter

MOST_SELECTIONS: Final = 32
MOST_CHANGES: Final = 1_024
MOST_OUTDATED_BYTES: Final = 8 * 1024 * 1024
"""Selections are made anew after more changes than this, or when they may hold more text that is not the present one.

A document that is read again is two changes if its text is kept elsewhere: without its text it is another entry.
"""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The documents of chosen paths and one scope, sorted by path.

    `unreadable` holds (path, reason): of documents without text, and of readable ones of which pages are missing. `everything` says that no known document is left out.
    """

    readable: tuple[CatalogEntry, ...]
    unreadable: tuple[tuple[str, str], ...]
    everything: bool

    @cached_property
    def ids(self) -> frozenset[int]:
        """Return the ids of the readable documents."""
        return frozenset(entry.id for entry in self.readable)


_Key = tuple[PathChoice, Scope, DocumentFilter]
_EVERYTHING: Final[_Key] = (EVERY_PATH, EVERYTHING, EVERY_DOCUMENT)
"""What most searches ask for. Of this nothing has to be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptSelection:
    """A selection, how many changes it knows of, and how many of its documents have no text."""

    selection: Selection
    changes: int
    without_text: int


class Selections:
    """The latest selections of the `entries` of a catalog, which may be many while each change is of one.

    After a change the next search copies a list. To compare each document again takes a hundred times as long.
    """

    def __init__(self) -> None:
        self._kept: dict[_Key, _KeptSelection] = {}
        self._changed: list[str] = []
        """The paths that changed since all selections were forgotten, in order."""
        self._outdated_bytes = 0

    def clear(self) -> None:
        """Forget all selections: so much has changed."""
        self._kept.clear()
        self._changed.clear()
        self._outdated_bytes = 0

    def changed(self, path: str, before: CatalogEntry | None) -> None:
        """Note that the entry of a path is another one, or gone, and what it was `before`."""
        if self._kept:
            self._changed.append(path)
            if before is not None and before.text is not None:
                self._outdated_bytes += len(before.text.data)
            if len(self._changed) > MOST_CHANGES or self._outdated_bytes > MOST_OUTDATED_BYTES:
                self.clear()

    def of(self, entries: Mapping[str, CatalogEntry], key: _Key) -> Selection:
        """Return the selection of chosen paths, a scope and a filter.

        Raises:
            InvalidPattern: a pattern is malformed.
        """
        kept = self._kept.pop(key, None)
        if kept is None:
            kept = _made(entries, _test(*key), len(self._changed))
        elif kept.changes < len(self._changed):
            kept = _renewed(kept, entries, _test(*key), self._changed)
        if len(self._kept) == MOST_SELECTIONS:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = kept
        return kept.selection


def _test(paths: PathChoice, scope: Scope, wanted: DocumentFilter) -> Callable[[CatalogEntry], bool]:
    matches = paths.compiled()
    if (paths, scope, wanted) == _EVERYTHING:
        return lambda _entry: True
    if wanted.admits_everything:
        return lambda entry: scope.shows(entry.info) and matches(entry.path)

    def chosen(entry: CatalogEntry) -> bool:
        return (
            scope.shows(entry.info)
            and matches(entry.path)
            and (
                wanted.admits_info(entry.info) if entry.reason else wanted.admits(entry.info, entry.metadata)
            )
        )

    return chosen


def _path_of(entry: CatalogEntry) -> str:
    return entry.path


def _made(
    entries: Mapping[str, CatalogEntry], test: Callable[[CatalogEntry], bool], changes: int
) -> _KeptSelection:
    chosen = sorted(filter(test, entries.values()), key=_path_of)
    readable = tuple(entry for entry in chosen if not entry.reason)
    return _KeptSelection(
        selection=Selection(
            readable=readable,
            unreadable=tuple(row for entry in chosen if (row := _unreadable(entry)) is not None),
            everything=len(chosen) == len(entries),
        ),
        changes=changes,
        without_text=len(chosen) - len(readable),
    )


def _renewed(
    kept: _KeptSelection,
    entries: Mapping[str, CatalogEntry],
    test: Callable[[CatalogEntry], bool],
    changed: list[str],
) -> _KeptSelection:
    """Return a selection with the present entries of what changed since it was made."""
    readable, unreadable = list(kept.selection.readable), list(kept.selection.unreadable)
    without_text = kept.without_text
    for path in dict.fromkeys(changed[kept.changes :]):
        at = bisect_left(readable, path, key=_path_of)
        had_text = at < len(readable) and readable[at].path == path
        if had_text:
            del readable[at]
        row = bisect_left(unreadable, (path, ""))
        if row < len(unreadable) and unreadable[row][0] == path:
            del unreadable[row]
            without_text -= not had_text
        if (entry := entries.get(path)) is not None and test(entry):
            if entry.reason:
                without_text += 1
            else:
                readable.insert(at, entry)
            if (added := _unreadable(entry)) is not None:
                insort(unreadable, added)
    return _KeptSelection(
        selection=Selection(
            readable=tuple(readable),
            unreadable=tuple(unreadable),
            everything=len(readable) + without_text == len(entries),
        ),
        changes=len(changed),
        without_text=without_text,
    )


def _unreadable(entry: CatalogEntry) -> tuple[str, str] | None:
    """Return (path, reason) of a document without text, or of which pages are missing; None for any other."""
    return (entry.path, entry.reason or IN_PART + entry.gap) if entry.reason or entry.gap else None
