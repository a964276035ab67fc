"""What the audit says of a request: before it runs, when it is over, and over its rounds."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_gateway.audit.request.describe import describe
    from research_gateway.audit.request.outcome import Outcome
    from research_gateway.audit.request.rounds import Rounds

__all__ = ["Outcome", "Rounds", "describe"]

_HOMES = {
    "Outcome": "outcome",
    "Rounds": "rounds",
    "describe": "describe",
}
__getattr__ = lazy_exports(__name__, _HOMES)
