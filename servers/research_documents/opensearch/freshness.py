"""Whether the files behind hits are those that were pushed: on this machine, which is not the one that read them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.freshness import FreshnessChecker
from research_shared.documents import DocumentText, Identity
from research_shared.errors import Overloaded, ResearchError, RootUnavailable
from research_shared.reading.library import Library


class PushedFreshness(FreshnessChecker):
    """Compares files with what was pushed: by size and time of change, and by their content where these differ.

    `outdated` holds the paths of which the content differs, each with the id of the entry that it differs from. Hits in them
    are not shown, until their new content is pushed.
    """

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self.outdated: dict[str, int] = {}
        self._library = library
        self._same_content: dict[str, tuple[int, Identity]] = {}

    def changed(self, entries: Iterable[CatalogEntry]) -> frozenset[str]:
        """Return the paths whose files differ in size or time of change from those that were pushed, and are not known to say the same."""
        suspects: list[CatalogEntry] = []
        found = super().changed(asked := list(entries))
        for entry in asked:
            number, identity = self._same_content.get(entry.path, (0, None))
            if entry.path in found and number == entry.id and identity is not None:
                suspects.append(replace(entry, info=replace(entry.info, identity=identity)))
        if not suspects:
            return found
        return (found - {entry.path for entry in suspects}) | super().changed(suspects)

    async def text(self, entry: CatalogEntry) -> DocumentText | None:
        """Return the text of a document as this machine reads it; None if it is not the one that was pushed.

        Raises:
            RootUnavailable, Overloaded: no file can be read now.
        """
        try:
            text = await self._library.read(entry.path)
        except (RootUnavailable, Overloaded):
            raise
        except ResearchError:
            text = None
        # The same file may give less text here, for example when reading a page took too long.
        if text is None or (text.digest, len(text.data)) != (entry.digest, entry.text_bytes):
            self.outdated[entry.path] = entry.id
            return None
        self._same_content[entry.path] = entry.id, text.identity
        return text

    def as_pushed(self, entries: Iterable[CatalogEntry], outdated: Mapping[str, int]) -> set[str]:
        """Return which of `outdated` documents were pushed again, or are as they were pushed. May be called in a thread."""
        known = {entry.path: entry for entry in entries}
        still = [
            known[path] for path, number in outdated.items() if path in known and known[path].id == number
        ]
        return outdated.keys() - self.changed(still)

    def forget(self, paths: Iterable[str], outdated: Mapping[str, int]) -> None:
        """Forget that documents were outdated, in the versions of `outdated`."""
        for path in paths:
            if self.outdated.get(path) == outdated[path]:
                del self.outdated[path]
