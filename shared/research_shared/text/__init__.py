"""Text of documents: analysis into terms, passages, quotes, token estimates, visible characters."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

# These two functions have the names of their modules, which would hide them here if they were not imported at once.
from research_shared.text.passages import passages
from research_shared.text.visible import visible

if TYPE_CHECKING:
    from research_shared.text.passages import Passage, Span, spans
    from research_shared.text.quotes import QuoteFinder, QuoteMatch
    from research_shared.text.tokens import Estimator, ceiling_tokens, estimate_tokens, estimator_for

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

_HOMES = {
    "Estimator": "tokens",
    "Passage": "passages",
    "QuoteFinder": "quotes",
    "QuoteMatch": "quotes",
    "Span": "passages",
    "ceiling_tokens": "tokens",
    "estimate_tokens": "tokens",
    "estimator_for": "tokens",
    "spans": "passages",
}
__getattr__ = lazy_exports(__name__, _HOMES)
