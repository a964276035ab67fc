"""The names of our tools, in the order of a research task."""

OWN_TOOLS = (
    "list_research_documents",
    "search_documents",
    "read_document",
    "summarize_document",
    "synthesize_research",
)
"""No upstream's namespace may begin one of them."""
