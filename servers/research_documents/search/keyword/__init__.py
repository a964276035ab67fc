"""Keyword search: parse a query, build it for the index, rank passages, choose the line and the snippet of each hit."""

from research_documents.search.keyword.search import KeywordSearch

__all__ = ["KeywordSearch"]
