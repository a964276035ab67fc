"""The catalog: what is known of each document, which of them a request means, and what is not in the index yet."""

from research_documents.search.catalog.catalog import Catalog
from research_documents.search.catalog.selection import Selection

__all__ = ["Catalog", "Selection"]
