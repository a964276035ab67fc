"""The passage index: the catalog of documents, their reading and indexing, and where both are kept."""

from research_documents.search.index.catalog import Catalog, Selection
from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.index.store import DiskStore, MemoryStore
from research_documents.search.index.updater import IndexUpdater

__all__ = ["Catalog", "DiskStore", "IndexUpdater", "MemoryStore", "PassageIndex", "Selection"]
