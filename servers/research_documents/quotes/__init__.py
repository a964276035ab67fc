"""Quotes of anybody's text, checked against the documents."""

from research_documents.quotes.check import QuoteChecker
from research_documents.quotes.prompts import add_quote_prompts
from research_documents.quotes.tool import add_quote_tool

__all__ = ["QuoteChecker", "add_quote_prompts", "add_quote_tool"]
