"""The tools `summarize_document` and `synthesize_research`, and what their calls share."""

from research_reasoning.tools.definitions import add_reasoning_tools
from research_reasoning.tools.service import REASONING_SERVER, ReasoningService

__all__ = ["REASONING_SERVER", "ReasoningService", "add_reasoning_tools"]
