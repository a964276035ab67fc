"""Regular expression search over the texts of documents, in the dialect of ripgrep."""

from research_documents.search.regex.search import RegexSearch

__all__ = ["RegexSearch"]
