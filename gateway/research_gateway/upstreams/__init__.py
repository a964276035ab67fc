"""Upstream servers: remote servers of ours and the servers of an `mcpServers` file."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_gateway.upstreams.config import ForeignServer, load_servers, remote
    from research_gateway.upstreams.errors import UpstreamFailure
    from research_gateway.upstreams.offers.pins import ToolPins
    from research_gateway.upstreams.provider import UpstreamProvider
    from research_gateway.upstreams.sessions import Upstream
    from research_gateway.upstreams.timings import UpstreamTimings

__all__ = [
    "ForeignServer",
    "ToolPins",
    "Upstream",
    "UpstreamFailure",
    "UpstreamProvider",
    "UpstreamTimings",
    "load_servers",
    "remote",
]

_HOMES = {
    "ForeignServer": "config",
    "ToolPins": "offers.pins",
    "Upstream": "sessions",
    "UpstreamFailure": "errors",
    "UpstreamProvider": "provider",
    "UpstreamTimings": "timings",
    "load_servers": "config",
    "remote": "config",
}
__getattr__ = lazy_exports(__name__, _HOMES)
