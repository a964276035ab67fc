"""Replies: results as models and programs read them, with nothing in them that renders."""

from research_reasoning.replies.results import Summary, Synthesis
from research_reasoning.replies.untrusted import neutralised, quoted

__all__ = ["Summary", "Synthesis", "neutralised", "quoted"]
