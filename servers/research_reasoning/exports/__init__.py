"""Answers as files for people: Markdown with footnotes, and their sources as BibTeX and CSL-JSON. No model takes part."""

from research_reasoning.exports.exporting import exported

__all__ = ["exported"]
