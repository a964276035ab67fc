"""The identity and capabilities that our servers declare."""

from base64 import b64encode
from typing import Any

import mcp_types
from fastmcp import FastMCP
from fastmcp.apps import UI_EXTENSION_ID
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

from research_shared._framework import low_level_server
from research_shared.serving.version import VERSION

TITLE = "Research Assistant"
WEBSITE = "https://github.com/research-assistant-mcp/research-assistant-mcp"
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48">'
    '<rect width="48" height="48" rx="10" fill="#1e4d8c"/>'
    '<g fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round">'
    '<path d="M12 12h19M12 20h7M12 28h5M12 36h7"/><circle cx="30" cy="27" r="8"/><path d="m36 33 4 4"/>'
    "</g></svg>"
)
"""A page and a lens. Short, because since 2026-07-28 the `_meta` of every result contains it."""


def icon() -> mcp_types.Icon:
    """Return the icon as a data URI, so that a client needs no network to show it."""
    data = b64encode(SVG.encode()).decode()
    return mcp_types.Icon(src=f"data:image/svg+xml;base64,{data}", mime_type="image/svg+xml", sizes=["any"])


class OnlyOfferedExtensions(Middleware):
    """Removes the extension that FastMCP declares for every server, MCP Apps, from the server's capabilities.

    For servers none of whose tools has a user interface. Extensions registered with the server stay declared.

    >>> from fastmcp import FastMCP
    >>> server = FastMCP("host", middleware=[OnlyOfferedExtensions()])
    """

    async def on_discover(
        self,
        context: MiddlewareContext[mcp_types.DiscoverRequest],
        call_next: CallNext[mcp_types.DiscoverRequest, mcp_types.DiscoverResult | dict[str, Any]],
    ) -> mcp_types.DiscoverResult | dict[str, Any]:
        """Answer `server/discover` without it. `initialize` declares no extensions: 2026-07-28 introduced them."""
        result = await call_next(context)
        if isinstance(result, mcp_types.DiscoverResult):
            declared = result.capabilities.extensions or {}
            offered = {name: value for name, value in declared.items() if name != UI_EXTENSION_ID}
            capabilities = result.capabilities.model_copy(update={"extensions": offered or None})
            return result.model_copy(update={"capabilities": capabilities})
        return result


def new_server(
    name: str, *, title: str = TITLE, middleware: list[Middleware], shows_apps: bool = False, **options: Any
) -> FastMCP[Any]:
    """Return a server that declares name, title, version, website and icon in both protocol eras.

    `middleware` and `options` are those of `FastMCP`. `shows_apps`: it declares MCP Apps, because a tool has one.
    """
    server: FastMCP[Any] = FastMCP(
        name,
        version=VERSION,
        website_url=WEBSITE,
        icons=[icon()],
        middleware=middleware if shows_apps else [*middleware, OnlyOfferedExtensions()],
        **options,
    )
    low_level_server(server).title = title
    return server
