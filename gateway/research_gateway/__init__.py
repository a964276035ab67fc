"""The gateway: both servers behind one endpoint, under one policy and with one audit trail."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_gateway.app import build_gateway, create_server
    from research_gateway.audit import AuditMiddleware, AuditOptions, AuditTrail
    from research_gateway.guards import ConcurrencyLimit, RateLimit, SizeLimit, TimeLimit
    from research_gateway.retry import RetryUpstream
    from research_gateway.scope import ScopeFromClientRoots

__all__ = [
    "AuditMiddleware",
    "AuditOptions",
    "AuditTrail",
    "ConcurrencyLimit",
    "RateLimit",
    "RetryUpstream",
    "ScopeFromClientRoots",
    "SizeLimit",
    "TimeLimit",
    "build_gateway",
    "create_server",
]

_HOMES = {
    "AuditMiddleware": "audit",
    "AuditOptions": "audit",
    "AuditTrail": "audit",
    "ConcurrencyLimit": "guards",
    "RateLimit": "guards",
    "RetryUpstream": "retry",
    "ScopeFromClientRoots": "scope",
    "SizeLimit": "guards",
    "TimeLimit": "guards",
    "build_gateway": "app",
    "create_server": "app",
}
__getattr__ = lazy_exports(__name__, _HOMES)
