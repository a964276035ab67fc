"""The files that the searched texts are from."""

from collections.abc import Iterable

from research_documents.search.index.catalog import Entry
from research_shared.documents import DocumentText
from research_shared.errors import ResearchError
from research_shared.reading.library import Library


class Originals:
    """Looks whether files are still those that were read, and reads again what is not held in memory."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def changed(self, entries: Iterable[Entry]) -> frozenset[str]:
        """Those whose files, seen through the one door, are not any more what was read."""
        searched = [entry.info for entry in entries]
        try:
            return frozenset(self._library.roots.changed(searched))
        except ResearchError:
            return frozenset(info.path for info in searched)

    async def text(self, entry: Entry) -> DocumentText | None:
        """The text of a document that is not held in memory; None when it is no longer that version."""
        try:
            text = await self._library.read(entry.path)
        except ResearchError:
            return None
        return text if text.digest == entry.digest else None
