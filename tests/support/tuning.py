"""Search engines that are paced for a test."""

from research_documents.search.tuning import SearchTuning

TRUSTING = SearchTuning(settled_ns=-1_000_000_000)
"""Every file counts as old enough for its time stamps to be reliable, also one that was just written."""
