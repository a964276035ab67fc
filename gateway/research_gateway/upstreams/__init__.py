"""Servers behind the gateway that run elsewhere."""

from research_gateway.upstreams.config import ForeignServer, load_servers, remote
from research_gateway.upstreams.provider import UpstreamProvider
from research_gateway.upstreams.sessions import Upstream

__all__ = ["ForeignServer", "Upstream", "UpstreamProvider", "load_servers", "remote"]
