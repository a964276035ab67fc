"""Responses to requests over a limit, and who sent them."""

import json
from http import HTTPStatus
from ipaddress import AddressValueError, IPv6Address, IPv6Network
from typing import Any

from mcp_types import INVALID_REQUEST
from starlette.responses import Response
from starlette.types import Scope

from research_shared.serving.auth import principal_of


def refusal(
    status: HTTPStatus,
    message: str,
    *,
    code: int = INVALID_REQUEST,
    request_id: Any = None,
    data: Any = None,
    retry_after_s: int | None = None,
) -> Response:
    """Return a response with a JSON-RPC error. The connection of a request that was not read is closed."""
    error = {"code": code, "message": message, **({} if data is None else {"data": data})}
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    unread = {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
    if status in unread:
        headers["connection"] = "close"
    return Response(
        json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )


def caller_of_request(scope: Scope) -> str | None:
    """Return the principal of an HTTP request, else its address; None if it lacks the credentials that it needs."""
    user = scope.get("user")
    if user is not None:
        token = getattr(user, "access_token", None)
        return f"principal:{principal_of(token)}" if token is not None else None
    return address_of_request(scope)


def address_of_request(scope: Scope) -> str:
    """Return the address that an HTTP request comes from."""
    peer = scope.get("client")
    return f"address:{peer[0]}" if peer else "local"


def network_of(address: str) -> str:
    """Return the addresses that one sender has together with this one: with IPv6 usually 64 bits of them.

    >>> network_of("address:2001:db8::1"), network_of("address:192.0.2.1")
    ('2001:db8::/64', 'address:192.0.2.1')
    """
    try:
        ip = IPv6Address(address.removeprefix("address:"))
    except AddressValueError:
        return address
    return f"address:{ip.ipv4_mapped}" if ip.ipv4_mapped else str(IPv6Network((ip, 64), strict=False))
