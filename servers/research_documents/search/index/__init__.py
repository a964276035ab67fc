"""The passage index: the reading and indexing of documents, and where both are kept."""

from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.index.store import DiskStore, MemoryStore
from research_documents.search.index.updater import IndexUpdater

__all__ = ["DiskStore", "IndexUpdater", "MemoryStore", "PassageIndex"]
