"""Determine what a request's client supports: forms, MCP Apps, and sampling even behind a proxy.

A proxy declares to its upstream what the proxy can relay, not what its client supports. The server that faces the client
therefore puts the client's own declaration into the request's `_meta`. That can only withdraw sampling: claiming it for a
client whose connection does not declare it has no effect, so forging it gains nothing.
"""

from collections.abc import Mapping
from typing import Any

from fastmcp import Context
from fastmcp.apps import UI_EXTENSION_ID, UI_MIME_TYPE
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

SAMPLING_META_KEY = "research-assistant/client-sampling"


def client_samples(context: Context) -> bool:
    """Return whether the request's client declares that it answers sampling requests."""
    request = context.request_context
    if request is None:
        return False
    capabilities = context.session.client_capabilities
    declared = capabilities is not None and capabilities.sampling is not None
    forwarded = (request.meta or {}).get(SAMPLING_META_KEY)
    return declared and forwarded is not False


def client_elicits(context: Context) -> bool:
    """Return whether the request's client declares that it shows forms to its user."""
    if context.request_context is None:
        return False
    capabilities = context.session.client_capabilities
    declared = capabilities.elicitation if capabilities is not None else None
    # Before 2025-11-25 there were only forms, and nothing was said of them.
    return declared is not None and (declared.form is not None or declared.url is None)


def client_shows_apps(context: Context) -> bool:
    """Return whether the request's client declares that it shows MCP Apps (`text/html;profile=mcp-app`)."""
    if context.request_context is None:
        return False
    capabilities = context.session.client_capabilities
    extensions = capabilities.extensions if capabilities is not None else None
    settings = (extensions or {}).get(UI_EXTENSION_ID)
    types = settings.get("mimeTypes") if isinstance(settings, Mapping) else None
    return isinstance(types, list) and UI_MIME_TYPE in types


class TellUpstreamSampling(Middleware):
    """Forwards to the servers behind a proxy whether the client of each call supports sampling.

    For the server that faces the client.

    >>> from fastmcp.server import create_proxy
    >>> proxy = create_proxy("http://documents.internal:8000/mcp")
    >>> proxy.add_middleware(TellUpstreamSampling())
    """

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Put the client's own declaration into the `_meta` that a proxy passes on."""
        current = context.fastmcp_context
        request = current.request_context if current is not None else None
        if current is not None and request is not None:
            request.meta = {**(request.meta or {}), SAMPLING_META_KEY: client_samples(current)}
        return await call_next(context)
