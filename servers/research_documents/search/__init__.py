"""Keyword and regex search over the texts of the library."""

from research_documents.search.contract import DocumentSearch, engine_from_settings
from research_documents.search.engine import SearchEngine
from research_documents.search.outcome import IN_PART, EngineStats, Hit, SearchOutcome

__all__ = [
    "IN_PART",
    "DocumentSearch",
    "EngineStats",
    "Hit",
    "SearchEngine",
    "SearchOutcome",
    "engine_from_settings",
]
