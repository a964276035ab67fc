"""Where text and index live: in memory."""

from collections.abc import Iterable
from typing import Protocol

from research_documents.search.catalog import Entry
from research_documents.search.index import PassageIndex


class Store(Protocol):
    """What keeps an index and the texts that it is made of. Used from one thread."""

    def open(self) -> tuple[PassageIndex, list[Entry]]:
        """The index as it was kept, and the documents that are in it."""

    def save(self, entries: Iterable[Entry], outdated: Iterable[str]) -> None:
        """Keep these documents in place of what there was under these paths; lasting after `commit`."""

    def commit(self, index: PassageIndex) -> None:
        """Make the index's changes visible, and lasting if they are kept."""

    def close(self) -> None:
        """Let go of everything."""


class MemoryStore:
    """Keeps nothing."""

    def open(self) -> tuple[PassageIndex, list[Entry]]:
        """An empty index."""
        return PassageIndex(), []

    def save(self, entries: Iterable[Entry], outdated: Iterable[str]) -> None:
        """Nothing to keep."""

    def commit(self, index: PassageIndex) -> None:
        """Make the index's changes visible."""
        index.commit()

    def close(self) -> None:
        """Nothing to let go of."""
