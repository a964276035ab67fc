"""ASGI middleware for browsers and lenient URLs: CORS headers, and `/mcp/` as an alias of `/mcp`."""

import fnmatch
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS = ("GET", "POST", "DELETE")
EXPOSED_HEADERS = ("Mcp-Session-Id", "WWW-Authenticate", "Retry-After")
"""Response headers that a page may read: the session id of older protocol versions, and why a request was refused."""
_DEFAULT_PORT = re.compile(r"^(http://.*):80$|^(https://.*):443$")


class TrailingSlash:
    """Serves `path` under `path/` too. The router would redirect, and clients do not repeat a POST."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self.app = app
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under `path`."""
        if scope["type"] == "http" and scope["path"] == f"{self.path}/":
            scope = {**scope, "path": self.path, "raw_path": self.path.encode()}
        await self.app(scope, receive, send)


def origin_pattern(origins: Sequence[str]) -> str:
    """Return the regular expression that matches an allowed origin as browsers write it.

    `*` matches anything, as in the origin check before. Case, a trailing slash and the default port of the scheme are
    ignored.
    """
    written = (origin.strip().rstrip("/").lower() for origin in origins)
    return "|".join(fnmatch.translate(_DEFAULT_PORT.sub(r"\1\2", origin)) for origin in written)


def trusted_names(
    hosts: Sequence[str], origins: Sequence[str], *, public_url: str | None, always: bool
) -> tuple[list[str], list[str]]:
    """Return the hosts and the origins that requests may name: those given, and the server's own public address.

    The pages of a login are part of this server, and their forms name its origin. Without given ones nothing is checked
    unless `always`, and then the public address is no reason to begin.

    >>> trusted_names(["a.example"], [], public_url="https://b.example:8443/path", always=False)
    (['a.example', 'b.example'], ['https://b.example:8443'])
    """
    parts = urlsplit(public_url or "")
    if not parts.hostname or not (always or hosts or origins):
        return [*hosts], [*origins]
    own_host = [parts.hostname] if always or hosts else []
    return [*hosts, *own_host], [*origins, f"{parts.scheme}://{parts.netloc}"]


def web_middleware(path: str, allowed_origins: Sequence[str]) -> list[Middleware]:
    """Return the ASGI middleware of a server at `path` that only pages of `allowed_origins` may call.

    They may send any header: the headers of clients depend on the protocol version and on the tools (`Mcp-Param-…`), and
    a page of an allowed origin is trusted with all of them. Cookies are not allowed.
    """
    middleware = [Middleware(TrailingSlash, path=path)]
    if allowed_origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origin_regex=origin_pattern(allowed_origins),
            allow_methods=METHODS,
            allow_headers=("*",),
            expose_headers=EXPOSED_HEADERS,
            allow_private_network=True,  # a public page and a server on this machine, if the operator says so
        )
        middleware.insert(0, cors)
    return middleware
