"""Transports to upstream servers: HTTP with one connection pool for each upstream, or stdio with bounded lines."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_gateway.upstreams.transports.choice import transport_of
    from research_gateway.upstreams.transports.http import PooledHttpTransport
    from research_gateway.upstreams.transports.stdio import BoundedStdioTransport

__all__ = ["BoundedStdioTransport", "PooledHttpTransport", "transport_of"]

_HOMES = {
    "BoundedStdioTransport": "stdio",
    "PooledHttpTransport": "http",
    "transport_of": "choice",
}
__getattr__ = lazy_exports(__name__, _HOMES)
