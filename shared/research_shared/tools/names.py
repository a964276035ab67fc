"""Names that all tools share: their own, and the word that an incomplete reply begins with."""

from typing import Final

OWN_TOOLS = (
    "list_research_documents",
    "search_documents",
    "read_document",
    "verify_quotes",
    "summarize_document",
    "synthesize_research",
)
"""In the order of a research task. No upstream's namespace may begin one of them."""
CONNECTOR_TOOLS: Final = ("search", "fetch")
"""The tools of `RESEARCH_CONNECTOR_TOOLS`."""
OWN_PROMPTS: Final = ("check_my_draft", "compare_documents", "find_evidence", "research_brief")
"""The prompts. No upstream's namespace may begin one of them either."""
SCOPE_URI: Final = "research://scope"
"""The resource that shows what the client can read."""
ANSWER_APP_URI: Final = "ui://research-assistant/answer.html"
"""The app that shows an answer."""
INCOMPLETE: Final = "INCOMPLETE"
"""How the warning begins that says that a reply rests on less than was asked for. It is always the first."""
