"""Forms of an answer besides prose: a table of documents by aspects, and a timeline of dated events."""

from research_reasoning.layouts.composing import compose

__all__ = ["compose"]
