"""The audit trail: one start and one end record for each request, in a log that shows when it was tampered with.

Who only checks a log needs no server: what writes one, and with it FastMCP, is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    """Import a public name from the module that it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
