"""The texts that are in memory while hits are made of them: a few at a time."""

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Final

from research_documents.search.catalog.entry import CatalogEntry, StoredTexts
from research_shared.documents import DocumentText

FETCHED_BYTES: Final = 16 * 1024 * 1024
"""Bytes of texts that one search fetches together, and holds; a larger text is fetched alone."""


def fetched_together(entries: Iterable[CatalogEntry], most: int) -> list[CatalogEntry]:
    """Return the first of these documents whose texts have at most `most` bytes together, but at least one if there is one."""
    found: list[CatalogEntry] = []
    size = 0
    for entry in entries:
        size += entry.text_bytes
        if found and size > most:
            break
        found.append(entry)
    return found


@dataclass(slots=True)
class FetchedTexts:
    """Texts of documents that are not in the catalog: those `given`, and those that `stored` returns.

    Of the stored ones, those of one request are held, until the next: of at most `most` documents, or `most_bytes`.
    """

    stored: StoredTexts
    given: Mapping[int, DocumentText]
    most: int
    most_bytes: int = FETCHED_BYTES
    _held: Mapping[int, DocumentText] = field(default_factory=dict)
    _absent: set[int] = field(default_factory=set)

    def of(self, entry: CatalogEntry, following: Iterable[CatalogEntry] = ()) -> DocumentText | None:
        """Return the text of a document, or None if there is none. If it is fetched, those `following` are fetched with it, up to a size."""
        if entry.text is not None:
            return entry.text
        text = self.given.get(entry.id) or self._held.get(entry.id)
        if text is None and entry.id not in self._absent:
            self._held = {}  # before the others come
            self._held = self._fetched({entry.id: entry}, following)
            text = self._held.get(entry.id)
        return text

    def _fetched(
        self, wanted: MutableMapping[int, CatalogEntry], following: Iterable[CatalogEntry]
    ) -> Mapping[int, DocumentText]:
        for entry in following:
            if len(wanted) >= self.most:
                break
            if entry.text is None and entry.id not in self.given and entry.id not in self._absent:
                wanted[entry.id] = entry
        asked = fetched_together(wanted.values(), self.most_bytes)
        found = self.stored(asked)
        self._absent.update(entry.id for entry in asked if entry.id not in found)
        return found
