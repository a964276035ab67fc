"""What is recorded about a request: its description, its outcome, and the rounds of a call."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_gateway.audit.request.describe import describe_request
    from research_gateway.audit.request.outcome import CallOutcome
    from research_gateway.audit.request.waiting_calls import WaitingCalls

__all__ = ["CallOutcome", "WaitingCalls", "describe_request"]

_HOMES = {
    "CallOutcome": "outcome",
    "WaitingCalls": "waiting_calls",
    "describe_request": "describe",
}
__getattr__ = lazy_exports(__name__, _HOMES)
