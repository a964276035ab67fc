"""Limits of what clients may hold open over HTTP: connections, unfinished requests and sessions."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.serving.limits.bodies import RequestBodies
    from research_shared.serving.limits.connections import LimitedConnection
    from research_shared.serving.limits.released import ReleasedRequests
    from research_shared.serving.limits.sessions import SessionLimit

__all__ = ["LimitedConnection", "ReleasedRequests", "RequestBodies", "SessionLimit"]

_HOMES = {
    "LimitedConnection": "connections",
    "ReleasedRequests": "released",
    "RequestBodies": "bodies",
    "SessionLimit": "sessions",
}
__getattr__ = lazy_exports(__name__, _HOMES)
