"""Maps transport and protocol failures of upstream calls to the gateway's error codes."""

from collections.abc import Mapping

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
from pydantic_core import to_json

from research_gateway.upstreams.errors import UpstreamFailure, causes, transport_failures
from research_gateway.upstreams.offers.attribution import attributed
from research_gateway.upstreams.transports.http import UNAVAILABLE_STATUSES
from research_shared.errors import BackendRefused, ResearchError
from research_shared.retry import retry_after

_SESSION_GONE = frozenset({"Session terminated", "Session not found"})
"""Messages of the SDK's transport and servers for an unknown session. The request was not served."""


MAX_CAPABILITIES = 4_096
"""Bytes of the capabilities that an upstream says it needs."""
_CLOSED = "Connection closed"
_LOST = frozenset({CONNECTION_CLOSED, REQUEST_TIMEOUT})
"""Codes that the SDK client sets for a request without an answer."""


def is_session_gone(error: BaseException) -> bool:
    """Return whether the upstream no longer knows the session, so that a new session suffices."""
    return any(
        isinstance(cause, MCPError) and cause.code == INVALID_REQUEST and cause.error.message in _SESSION_GONE
        for cause in causes(error)
    )


def is_unserved(error: BaseException) -> bool:
    """Return whether a request was rejected for its session or protocol version only, so that it can be repeated."""
    return is_session_gone(error) or any(
        isinstance(cause, MCPError) and cause.code == UNSUPPORTED_PROTOCOL_VERSION for cause in causes(error)
    )


def is_closed(error: BaseException | None) -> bool:
    """Return whether the error only says that the session was closed, not why."""
    return isinstance(error, MCPError) and error.code == CONNECTION_CLOSED and error.error.message == _CLOSED


def is_changed(error: BaseException) -> bool:
    """Return whether the upstream may have been replaced by another version or stopped."""
    return any(
        isinstance(cause, httpx2.ConnectError | ConnectionRefusedError)
        or (isinstance(cause, MCPError) and cause.code in {METHOD_NOT_FOUND, UNSUPPORTED_PROTOCOL_VERSION})
        for cause in causes(error)
    )


def to_gateway_error(error: Exception, upstream: str, *, partial: bool, foreign: bool = False) -> Exception:
    """Map an error to `UpstreamFailure` or `BackendRefused`. Return unknown errors unchanged.

    The message of a `foreign` server begins with its name.
    """
    chain = list(causes(error))
    if any(isinstance(cause, ResearchError) for cause in chain):
        return error
    status = next((c for c in chain if isinstance(c, httpx2.HTTPStatusError)), None)
    if status is not None:
        return UpstreamFailure(
            f"the server {upstream!r} is not available",
            upstream=upstream,
            transient=status.response.status_code in UNAVAILABLE_STATUSES,
            partial=partial,
            retry_after_s=retry_after(status.response.headers),
        )
    refusal = next((c for c in chain if isinstance(c, MCPError)), None)
    lost = refusal is not None and (refusal.code in _LOST or is_session_gone(refusal))
    if not lost:
        refused = _refused(chain=chain, refusal=refusal, upstream=upstream, foreign=foreign)
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


def _refused(
    chain: list[BaseException], refusal: MCPError | None, upstream: str, *, foreign: bool
) -> Exception | None:
    """Map a protocol error or an invalid response to `BackendRefused`; None if `chain` holds neither.

    A missing client capability keeps its own protocol error, as the specification requires.
    """
    if refusal is not None:
        if refusal.code == MISSING_REQUIRED_CLIENT_CAPABILITY:
            return _without_more_than_the_capability(refusal)
        message = refusal.error.message
        return BackendRefused(
            attributed(upstream, message) if foreign else message,
            upstream=upstream,
            protocol_code=refusal.code,
        )
    if any(isinstance(cause, ValidationError) for cause in chain):
        return BackendRefused("the response is not valid MCP", upstream=upstream)
    return None


def _without_more_than_the_capability(refusal: MCPError) -> MCPError:
    """Return the protocol error for a missing capability, with nothing of the upstream but the capability's name."""
    data = refusal.error.data
    required = data.get("requiredCapabilities") if isinstance(data, Mapping) else None
    if not isinstance(required, Mapping) or len(to_json(required, fallback=str)) > MAX_CAPABILITIES:
        required = {}
    return MCPError(
        code=refusal.code,
        message="the server needs a capability that the client does not declare",
        data={"requiredCapabilities": required},
    )
