"""The reasoning server: summarize and synthesize with a language model, with evidence that is checked."""

from research_reasoning.server import build_reasoning_server, create_server

__all__ = ["build_reasoning_server", "create_server"]
