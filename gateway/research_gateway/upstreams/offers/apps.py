"""The `ui://` resources that tools name as their app (MCP Apps), which a server need not list."""

from collections.abc import Mapping
from typing import Any, Final

import mcp_types
from fastmcp.tools import Tool

from research_gateway.upstreams.offers.names import can_be_namespaced, namespaced_uri

APP_SCHEME: Final = "ui://"
_FLAT_KEYS: Final = ("ui/resourceUri", "openai/outputTemplate")
"""Keys of a tool's `_meta` that name its app, too: the form of drafts, and that of ChatGPT."""


def names_app(tool: Tool, uri: str) -> bool:
    """Return whether a tool names this URI as its app."""
    meta = tool.meta or {}
    ui = meta.get("ui")
    named = [meta.get(key) for key in _FLAT_KEYS]
    return uri in [*named, ui.get("resourceUri") if isinstance(ui, Mapping) else None]


def with_namespaced_app(namespace: str, tool: mcp_types.Tool) -> mcp_types.Tool:
    """Return a foreign tool whose app is named by the URI that it has at the gateway.

    What is no `ui://` URI is left out, so that a client reads nothing else for it.
    """
    if tool.meta is None:
        return tool
    meta: dict[str, Any] = {}
    for key, value in tool.meta.items():
        if key == "ui" and isinstance(value, Mapping):
            meta[key] = _namespaced(namespace, value, ("resourceUri",))
        else:
            meta |= _namespaced(namespace, {key: value}, _FLAT_KEYS)
    return tool.model_copy(update={"meta": meta})


def _namespaced(namespace: str, values: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    changed = dict(values)
    for key in keys:
        uri = changed.pop(key, None)
        if isinstance(uri, str) and uri.lower().startswith(APP_SCHEME) and can_be_namespaced(uri):
            changed[key] = namespaced_uri(namespace, uri)
    return changed
