"""Whether the files behind search hits are still the ones that were read."""

import asyncio
from collections.abc import Iterable

from research_documents.search.catalog.entry import CatalogEntry, StoredTexts, none_stored
from research_shared.documents import DocumentText
from research_shared.errors import ResearchError
from research_shared.reading.library import Library


class FreshnessChecker:
    """Checks files against the versions that were read, and reads texts that are not held in memory.

    `stored` returns those of them that are in the store of the index, by the id of the entry, in any thread.
    """

    def __init__(self, library: Library, stored: StoredTexts = none_stored) -> None:
        self._library = library
        self.stored = stored

    def changed(self, entries: Iterable[CatalogEntry]) -> frozenset[str]:
        """Return the paths whose files differ from what was read. The check goes through the roots policy, like every access."""
        searched = [entry.info for entry in entries]
        try:
            return frozenset(self._library.roots.changed(searched))
        except ResearchError:
            return frozenset(info.path for info in searched)

    async def text(self, entry: CatalogEntry) -> DocumentText | None:
        """Read the text of a document that is not held in memory; None if it is no longer the one that was indexed."""
        if (text := (await asyncio.to_thread(self.stored, [entry])).get(entry.id)) is not None:
            return text
        try:
            text = await self._library.read(entry.path)
        except ResearchError:
            return None
        return text if entry.is_of(text) else None
