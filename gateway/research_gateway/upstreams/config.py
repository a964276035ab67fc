"""Configured upstreams: our own remote servers, and the servers of an `mcpServers` file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastmcp.client.transports import StreamableHttpTransport
from fastmcp.mcp_config import MCPConfig
from pydantic import ValidationError

from research_gateway.upstreams.offers.names import namespace_problem
from research_gateway.upstreams.sessions import Upstream
from research_gateway.upstreams.timings import DEFAULT_TIMINGS, UpstreamTimings
from research_gateway.upstreams.transports import PooledHttpTransport, transport_of
from research_shared.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ForeignServer:
    """A server of an `mcpServers` file. `namespace` prefixes the names of its tools."""

    namespace: str
    upstream: Upstream


def remote(
    name: str, url: str, token: str | None = None, *, timings: UpstreamTimings = DEFAULT_TIMINGS
) -> Upstream:
    """Return a remote server of ours. `token` is its bearer token."""
    transport = PooledHttpTransport(StreamableHttpTransport(url, auth=token))
    return Upstream(name, transport, ours=True, timings=timings)


def load_servers(path: Path, *, timings: UpstreamTimings = DEFAULT_TIMINGS) -> Sequence[ForeignServer]:
    """Load the servers of an `mcpServers` file, in file order.

    Raises:
        ConfigurationError: the file is unreadable or invalid, or a server name is not a valid namespace.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        config = MCPConfig.model_validate(raw if isinstance(raw, dict) else {})
    except (OSError, ValueError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigurationError(f"RESEARCH_MCP_CONFIG={str(path)!r}: {problem}") from error
    if not config.mcpServers:
        raise ConfigurationError(f"RESEARCH_MCP_CONFIG={str(path)!r}: no server under 'mcpServers'")
    for name in config.mcpServers:
        if (reason := namespace_problem(name, config.mcpServers)) is not None:
            raise ConfigurationError(f"RESEARCH_MCP_CONFIG={str(path)!r}: server {name!r}: {reason}")
    return [
        ForeignServer(name, Upstream(name, transport_of(server, name=name), timings=timings))
        for name, server in config.mcpServers.items()
    ]
