"""Middleware that works in any FastMCP server: the error boundary, the heartbeat, the scope and capabilities in `_meta`."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.middleware.boundary import ErrorBoundary
    from research_shared.middleware.capabilities import TellUpstreamSampling, client_samples
    from research_shared.middleware.heartbeat import Heartbeat
    from research_shared.middleware.scope_meta import ScopeFromRequest

__all__ = ["ErrorBoundary", "Heartbeat", "ScopeFromRequest", "TellUpstreamSampling", "client_samples"]

_HOMES = {
    "ErrorBoundary": "boundary",
    "Heartbeat": "heartbeat",
    "ScopeFromRequest": "scope_meta",
    "TellUpstreamSampling": "capabilities",
    "client_samples": "capabilities",
}
__getattr__ = lazy_exports(__name__, _HOMES)
