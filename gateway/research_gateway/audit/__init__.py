"""The audit trail: one start and one end record for each request, in a log that shows when it was tampered with."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_gateway.audit.middleware import AuditMiddleware, current_call_id
    from research_gateway.audit.options import AuditOptions
    from research_gateway.audit.trail import AuditTrail

__all__ = ["AuditMiddleware", "AuditOptions", "AuditTrail", "current_call_id"]

_HOMES = {
    "AuditMiddleware": "middleware",
    "AuditOptions": "options",
    "AuditTrail": "trail",
    "current_call_id": "middleware",
}
__getattr__ = lazy_exports(__name__, _HOMES)
