"""An answer to look at: one HTML page for a file, and the same content in an MCP App inside a client."""

from research_reasoning.apps.answer_app import AnswerApp, answer_meta
from research_reasoning.apps.answer_page import Lines, page, wanted_lines

__all__ = ["AnswerApp", "Lines", "answer_meta", "page", "wanted_lines"]
