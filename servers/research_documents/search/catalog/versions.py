"""Which documents of the catalog are copies or versions of one another, kept up to date change by change."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from research_documents.search.catalog.entry import CatalogEntry
from research_shared.access.roots import Scope
from research_shared.reading.versions import (
    Family,
    VersionedDocument,
    VersionNote,
    family_notes,
    members_of,
    name_of,
    plainest,
    telling_families,
)

_MOST_SCOPES = 8
_MOST_CHANGES = 4_096
"""All names are looked at anew after more changes than this."""


class VersionNotes:
    """What the documents of one scope are to one another, found when it is asked for. For any thread.

    It says the same as `version_notes` of all documents of the scope, until one of them changes. Those that are the first
    or newest have no note.
    """

    def __init__(
        self,
        entries: Mapping[str, CatalogEntry],
        scope: Scope,
        *,
        copies: Mapping[str, tuple[str, ...]],
        families: Mapping[Family, frozenset[str]],
    ) -> None:
        self._entries = entries
        self._scope = scope
        self._copies = copies
        self._families = families
        self._first: dict[str, str] = {}
        """The first document of a digest, as far as it was asked for."""
        self._of_family: dict[Family, dict[str, VersionNote]] = {}

    def get(self, path: str) -> VersionNote | None:
        """Return the note of a document, or None."""
        if (entry := self._shown(path)) is None:
            return None
        if (first := self._first_like(entry)) != path:
            return VersionNote(same_content_as=first)
        family = name_of(path).family
        if family not in self._families:
            return None
        if (notes := self._of_family.get(family)) is None:
            notes = self._of_family[family] = self._notes_of(family)
        return notes.get(path)

    def __contains__(self, path: object) -> bool:
        """Return whether a document has a note."""
        return isinstance(path, str) and self.get(path) is not None

    def _shown(self, path: str) -> CatalogEntry | None:
        entry = self._entries.get(path)
        return entry if entry is not None and self._scope.shows(entry.info) else None

    def _first_like(self, entry: CatalogEntry) -> str:
        """Return the path of the document that counts of those with the same content."""
        digest = _digest_of(entry)
        if (paths := self._copies.get(digest)) is None:
            return entry.path
        if (first := self._first.get(digest)) is None:
            alike = [path for path in paths if self._shown(path) is not None]
            first = self._first[digest] = plainest(alike or [entry.path])
        return first

    def _notes_of(self, family: Family) -> dict[str, VersionNote]:
        shown = [entry for path in self._families[family] if (entry := self._shown(path)) is not None]
        copies = {entry.path for entry in shown if self._first_like(entry) != entry.path}
        documents = [
            VersionedDocument(path=entry.path, modified_ns=entry.info.identity.mtime_ns) for entry in shown
        ]
        return family_notes(documents, copies=copies)


class Versions:
    """The copies and the families among the `entries` of a catalog, whatever a scope shows of them."""

    def __init__(self, entries: Mapping[str, CatalogEntry]) -> None:
        self._entries = entries
        self._changed: set[str] | None = None
        """The paths that changed since the last look; None if all may have."""
        self._copies: dict[str, tuple[str, ...]] = {}
        """The documents of each digest that two or more have."""
        self._families: dict[Family, frozenset[str]] = {}
        """The documents of each family of which a name has marks."""
        self._notes: dict[Scope, VersionNotes] = {}

    def changed(self, path: str) -> None:
        """Note that the entry of a path is another one, or gone."""
        if self._changed is not None:
            self._changed.add(path)
            if len(self._changed) > _MOST_CHANGES:
                self._changed = None

    def notes(self, scope: Scope) -> VersionNotes:
        """Return what the documents of a scope are to one another."""
        if self._changed is None or self._changed:
            self._update()
        if (notes := self._notes.get(scope)) is None:
            if len(self._notes) == _MOST_SCOPES:
                del self._notes[next(iter(self._notes))]
            notes = VersionNotes(self._entries, scope, copies=self._copies, families=self._families)
            self._notes[scope] = notes
        return notes

    def _update(self) -> None:
        changed, self._changed = self._changed, set()
        self._notes = {}
        self._copies = _copies(self._entries)
        families: dict[Family, frozenset[str]] = {}
        present: AbstractSet[str] = self._entries.keys()
        if changed is not None:
            present = changed & present
            known = members_of(self._families, changed)
            families = {
                family: members.difference(known[family]).union(present & frozenset(known[family]))
                for family, members in self._families.items()
            }
        # Of a family of names without marks nothing is known until one with marks comes.
        new = telling_families(present) - families.keys()
        families |= {family: frozenset(paths) for family, paths in members_of(new, self._entries).items()}
        self._families = {family: members for family, members in families.items() if members}


def _digest_of(entry: CatalogEntry) -> str:
    return entry.digest if entry.text_bytes else ""


def _copies(entries: Mapping[str, CatalogEntry]) -> dict[str, tuple[str, ...]]:
    counts = Counter(map(_digest_of, entries.values()))
    alike: defaultdict[str, list[str]] = defaultdict(list)
    shared = {digest for digest, count in counts.items() if count > 1 and digest}
    for path, entry in entries.items() if shared else ():
        if (digest := _digest_of(entry)) in shared:
            alike[digest].append(path)
    return {digest: tuple(paths) for digest, paths in alike.items()}
