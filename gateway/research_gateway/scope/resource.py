"""The resource `research://scope`, which shows what the client can read."""

import json
from collections.abc import Sequence
from typing import Any

from fastmcp import FastMCP

from research_shared.access.roots import Root, Scope, current_scope
from research_shared.errors import ScopeEmpty
from research_shared.tools.names import SCOPE_URI


def describe_scope(scope: Scope, roots: Sequence[Root]) -> dict[str, Any]:
    """Describe a scope to its client, with public names only.

    What the operator's policy keeps from a caller does not exist for it, and is not spoken of.
    """
    everything = "" in scope.prefixes
    if everything:
        message = "All research folders can be read."
    elif scope.prefixes:
        message = "Only documents at or beneath these paths can be read."
    else:
        message = "Nothing can be read: " + ScopeEmpty.default_hint
    return {
        "roots": [root.name for root in roots if len(roots) == 1 or _shows(scope, root)],
        "everything": everything,
        "paths": [] if everything else list(scope.prefixes),
        "message": message,
    }


def _shows(scope: Scope, root: Root) -> bool:
    """Return whether the operator's policy shows a caller anything of a root. Client roots are no secret to the client."""
    return all(view.leads_to(root.name) for view in scope.views)


def add_scope_resource(server: FastMCP[Any], roots: Sequence[Root]) -> None:
    """Add the resource `research://scope`, which shows the effective scope of the request."""

    @server.resource(SCOPE_URI, name="scope", title="What this client can read", mime_type="application/json")
    async def scope() -> str:
        """Which part of the research folders this client can read."""
        return json.dumps(describe_scope(current_scope(), roots))
