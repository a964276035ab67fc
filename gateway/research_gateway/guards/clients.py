"""The client that a request counts against."""

from typing import Any

from fastmcp.server.dependencies import get_access_token
from fastmcp.server.middleware import MiddlewareContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from research_shared.serving.auth import principal_of

LOCAL = "local"
"""Key of the only client of a stdio server."""


def client_key(context: MiddlewareContext[Any]) -> str:
    """Return the key of the requesting client: its principal, else its session, else its address, else `local`.

    Sessions only identify clients before MCP 2026-07-28, and only where the server keeps them: then the client has said in
    its handshake what it can do. Otherwise a connection lasts for one request, and a session id is the client's invention.
    """
    token = get_access_token()
    if token is not None:
        return f"principal:{principal_of(token)}"
    request = context.fastmcp_context.request_context if context.fastmcp_context is not None else None
    if request is None or context.fastmcp_context is None:
        return LOCAL
    over_http = request.request is not None
    handshake = context.fastmcp_context.session.client_capabilities is not None or not over_http
    if request.protocol_version not in MODERN_PROTOCOL_VERSIONS and handshake:
        return f"session:{context.fastmcp_context.session_id}"
    peer = request.request.client if request.request is not None else None
    return f"address:{peer.host}" if peer is not None else LOCAL
