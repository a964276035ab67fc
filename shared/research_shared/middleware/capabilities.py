"""Whether the client of a request can be asked for its model, also when a proxy stands between.

A proxy declares to its upstream what itself can relay, not what its client can do. Whoever knows the client says so in
the request's `_meta`. What is said there can only take away: claiming sampling for a client whose connection does not
declare it has no effect, so nothing is gained by forging it.
"""

from typing import Any

from fastmcp import Context
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext

SAMPLING_META_KEY = "research-assistant/client-sampling"


def client_samples(context: Context) -> bool:
    """Whether the request's client answers sampling requests, as far as can be known."""
    request = context.request_context
    if request is None:
        return False
    capabilities = context.session.client_capabilities
    declared = capabilities is not None and capabilities.sampling is not None
    said = (request.meta or {}).get(SAMPLING_META_KEY)
    return declared and said is not False


class TellUpstreamSampling(Middleware):
    """Tells the servers behind a proxy whether the client of each call can sample. For the server that faces the client."""

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Put the client's own declaration into the metadata that a proxy passes on."""
        current = context.fastmcp_context
        request = current.request_context if current is not None else None
        if current is not None and request is not None:
            request.meta = {**(request.meta or {}), SAMPLING_META_KEY: client_samples(current)}
        return await call_next(context)
