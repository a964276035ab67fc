"""Text of documents: analysis into terms, passages, quotes, token estimates, visible characters."""

from research_shared.text.passages import Passage, Span, passages, spans
from research_shared.text.quotes import QuoteFinder, QuoteMatch
from research_shared.text.tokens import Estimator, ceiling_tokens, estimate_tokens, estimator_for
from research_shared.text.visible import visible

__all__ = [
    "Estimator",
    "Passage",
    "QuoteFinder",
    "QuoteMatch",
    "Span",
    "ceiling_tokens",
    "estimate_tokens",
    "estimator_for",
    "passages",
    "spans",
    "visible",
]
