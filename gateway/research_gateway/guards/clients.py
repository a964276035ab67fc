"""Whom a limit counts against."""

from typing import Any

from fastmcp.server.dependencies import get_access_token
from fastmcp.server.middleware import MiddlewareContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

LOCAL = "local"
"""The one client of a server that talks over pipes."""


def client_key(context: MiddlewareContext[Any]) -> str:
    """Who is asking: the authenticated principal, else the session, else the network address, else `local`.

    Since 2026-07-28 a connection lasts for one request, so a session says something on older connections only.
    """
    token = get_access_token()
    if token is not None:
        return f"principal:{token.client_id}"
    request = context.fastmcp_context.request_context if context.fastmcp_context is not None else None
    if request is None or context.fastmcp_context is None:
        return LOCAL
    if request.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return f"session:{context.fastmcp_context.session_id}"
    peer = request.request.client if request.request is not None else None
    return f"address:{peer.host}" if peer is not None else LOCAL
