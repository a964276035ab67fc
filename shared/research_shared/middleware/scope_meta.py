"""Carry a scope from one of our servers to another in the `_meta` of a request."""

from typing import Any

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

from research_shared.access.roots import Scope, narrowed_scope

SCOPE_META_KEY = "io.github.research-assistant-mcp/scope"
"""Key of what a request may see, as `Scope.to_json` writes it. Any client may send it: it can only narrow."""


def scope_of(meta: dict[str, Any] | None) -> Scope | None:
    """Return the scope in a request's `_meta`, or None without one. A malformed scope admits nothing."""
    return None if meta is None or SCOPE_META_KEY not in meta else Scope.from_json(meta[SCOPE_META_KEY])


class ScopeFromRequest(Middleware):
    """Serves each request within the scope that it carries, within the server's own ceiling.

    For a server behind a gateway. A request that carries none sees all that the server may show.

    >>> from fastmcp import FastMCP
    >>> server = FastMCP("host")
    >>> server.add_middleware(ScopeFromRequest())
    """

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Narrow the scope before the request is served."""
        request = context.fastmcp_context.request_context if context.fastmcp_context is not None else None
        scope = scope_of(request.meta if request is not None else None)
        if scope is None:
            return await call_next(context)
        with narrowed_scope(scope):
            return await call_next(context)
