"""Chooses the transport to a server of an `mcpServers` file."""

from collections.abc import Callable

from fastmcp.client.transports import ClientTransport, StdioTransport, StreamableHttpTransport
from fastmcp.mcp_config import MCPServerTypes

from research_gateway.upstreams.transports.http import PooledHttpTransport
from research_gateway.upstreams.transports.stdio import BoundedStdioTransport


def transport_of(server: MCPServerTypes, *, name: str) -> ClientTransport | Callable[[], ClientTransport]:
    """Return the shared transport of a Streamable HTTP server, else a factory of one transport for each session.

    `name` is what log lines call the server.
    """
    transport = server.to_transport()
    if type(transport) is StreamableHttpTransport:
        return PooledHttpTransport(transport)
    if isinstance(transport, StdioTransport):
        # It holds no connection that could not be opened again.
        return lambda: BoundedStdioTransport(transport, upstream=name)
    return server.to_transport
