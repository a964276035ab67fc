"""Whether the files behind search hits are still the ones that were read."""

from collections.abc import Iterable

from research_documents.search.index.catalog import CatalogEntry
from research_shared.documents import DocumentText
from research_shared.errors import ResearchError
from research_shared.reading.library import Library


class FreshnessChecker:
    """Checks files against the versions that were read, and reads texts that are not held in memory."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def changed(self, entries: Iterable[CatalogEntry]) -> frozenset[str]:
        """Return the paths whose files differ from what was read. The check goes through the roots policy, like every access."""
        searched = [entry.info for entry in entries]
        try:
            return frozenset(self._library.roots.changed(searched))
        except ResearchError:
            return frozenset(info.path for info in searched)

    async def text(self, entry: CatalogEntry) -> DocumentText | None:
        """Read the text of a document that is not held in memory; None if it is no longer this version."""
        try:
            text = await self._library.read(entry.path)
        except ResearchError:
            return None
        return text if text.digest == entry.digest else None
