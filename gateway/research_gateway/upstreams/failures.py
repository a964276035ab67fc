"""What goes wrong between the gateway and an upstream, in our own terms."""

import httpx2
from mcp import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    REQUEST_TIMEOUT,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from pydantic import ValidationError

from research_gateway.upstreams.errors import UpstreamFailure, causes, transport_failures
from research_gateway.upstreams.transport import OVERLOADED
from research_shared.errors import BackendRefused, ResearchError
from research_shared.retry import retry_after

_SESSION_GONE = frozenset({"Session terminated", "Session not found"})
"""What the SDK's transport and its servers say when a session is not known any more: the request was not served."""


_CLOSED = "Connection closed"
_LOST = frozenset({CONNECTION_CLOSED, REQUEST_TIMEOUT})
"""Codes that the client's side makes for a request that got no answer."""


def is_session_gone(error: BaseException) -> bool:
    """Whether the upstream has forgotten the session, so that a new one is all that is needed."""
    return any(
        isinstance(cause, MCPError) and cause.code == INVALID_REQUEST and cause.error.message in _SESSION_GONE
        for cause in causes(error)
    )


def is_unserved(error: BaseException) -> bool:
    """Whether a request was turned away for its session or its version alone, so that it can be sent anew."""
    return is_session_gone(error) or any(
        isinstance(cause, MCPError) and cause.code == UNSUPPORTED_PROTOCOL_VERSION for cause in causes(error)
    )


def is_closed(error: BaseException | None) -> bool:
    """Whether a request only saw that its session had ended."""
    return isinstance(error, MCPError) and error.code == CONNECTION_CLOSED and error.error.message == _CLOSED


def is_changed(error: BaseException) -> bool:
    """Whether what answers at the upstream's address may be another version of it, or nothing at all."""
    return any(
        isinstance(cause, httpx2.ConnectError | ConnectionRefusedError)
        or (isinstance(cause, MCPError) and cause.code in {METHOD_NOT_FOUND, UNSUPPORTED_PROTOCOL_VERSION})
        for cause in causes(error)
    )


def translated(error: Exception, upstream: str, *, partial: bool) -> Exception:
    """The error that a relayed call ends with: a failure to reach the upstream, its refusal, or what it was."""
    chain = list(causes(error))
    if any(isinstance(cause, ResearchError) for cause in chain):
        return error
    status = next((c for c in chain if isinstance(c, httpx2.HTTPStatusError)), None)
    if status is not None:
        return UpstreamFailure(
            f"the server {upstream!r} is not available",
            upstream=upstream,
            transient=status.response.status_code in OVERLOADED,
            partial=partial,
            retry_after_s=retry_after(status.response.headers),
        )
    refusal = next((c for c in chain if isinstance(c, MCPError)), None)
    lost = refusal is not None and (refusal.code in _LOST or is_session_gone(refusal))
    if not lost:
        refused = _refused(chain, refusal, upstream)
        if refused is not None:
            return refused
    broken = any(isinstance(cause, transport_failures()) for cause in chain)
    if (
        not lost
        and not any(isinstance(c, RuntimeError | OSError | httpx2.HTTPError) for c in chain)
        and not broken
    ):
        return error
    return UpstreamFailure(
        f"the server {upstream!r} does not answer",
        upstream=upstream,
        transient=broken or (refusal is not None and refusal.code != REQUEST_TIMEOUT),
        partial=partial,
    )


def _refused(chain: list[BaseException], refusal: MCPError | None, upstream: str) -> Exception | None:
    """What the upstream said against the request, or that it said nothing that the protocol knows.

    A client that lacks a capability must be told so by the protocol's own error, which is let through.
    """
    if refusal is not None:
        if refusal.code == MISSING_REQUIRED_CLIENT_CAPABILITY:
            return refusal
        return BackendRefused(refusal.error.message, upstream=upstream, protocol_code=refusal.code)
    if any(isinstance(cause, ValidationError) for cause in chain):
        return BackendRefused("its answer is not what the protocol says", upstream=upstream)
    return None
