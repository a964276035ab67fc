"""Keyword search: parse a query, build it for the index, rank passages, choose the line and the snippet of each hit."""

from research_documents.search.keyword.search import KeywordSearch, SearchedIndex, embedded

__all__ = ["KeywordSearch", "SearchedIndex", "embedded"]
