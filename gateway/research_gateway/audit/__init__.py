"""The audit trail: a start and an end record for each request, in a log that reveals tampering."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_gateway.audit.log.writer import TrailStatus
    from research_gateway.audit.middleware import UNAUDITED_METHODS, AuditMiddleware, current_call_id
    from research_gateway.audit.options import AuditOptions
    from research_gateway.audit.record import AuditRecord
    from research_gateway.audit.request.describe import capped, params_of
    from research_gateway.audit.request.outcome import CallOutcome, outcome_of_exception, outcome_of_result
    from research_gateway.audit.trail import AuditTrail

__all__ = [
    "UNAUDITED_METHODS",
    "AuditMiddleware",
    "AuditOptions",
    "AuditRecord",
    "AuditTrail",
    "CallOutcome",
    "TrailStatus",
    "capped",
    "current_call_id",
    "outcome_of_exception",
    "outcome_of_result",
    "params_of",
]

_HOMES = {
    "AuditMiddleware": "middleware",
    "AuditOptions": "options",
    "AuditRecord": "record",
    "AuditTrail": "trail",
    "CallOutcome": "request.outcome",
    "TrailStatus": "log.writer",
    "UNAUDITED_METHODS": "middleware",
    "capped": "request.describe",
    "current_call_id": "middleware",
    "outcome_of_exception": "request.outcome",
    "outcome_of_result": "request.outcome",
    "params_of": "request.describe",
}
__getattr__ = lazy_exports(__name__, _HOMES)
