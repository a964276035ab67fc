"""Evidence: what of each document a model is shown, what it found, and how the findings are combined."""

from research_reasoning.evidence.coverage import coverage_of
from research_reasoning.evidence.selection import Shown

__all__ = ["Shown", "coverage_of"]
