"""What pages in a browser and careless URLs need of an HTTP server: CORS headers, and `/mcp/` besides `/mcp`."""

import fnmatch
import re
from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS = ("GET", "POST", "DELETE")
EXPOSED_HEADERS = ("Mcp-Session-Id", "WWW-Authenticate", "Retry-After")
"""Response headers that a page may read: the session of the older protocol era, and why it was turned away."""
_DEFAULT_PORT = re.compile(r"^(http://.*):80$|^(https://.*):443$")


class TrailingSlash:
    """Serves `path` under `path/` too. The router would redirect, and clients do not send a POST again."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self.app = app
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, under the path that is served."""
        if scope["type"] == "http" and scope["path"] == f"{self.path}/":
            scope = {**scope, "path": self.path, "raw_path": self.path.encode()}
        await self.app(scope, receive, send)


def origin_pattern(origins: Sequence[str]) -> str:
    """The expression that an allowed origin matches in whole, written as browsers write it.

    `*` stands for anything, as it does for the check of the origin that comes before. Case, a slash at the end and the
    port that the scheme implies do not matter.
    """
    written = (origin.strip().rstrip("/").lower() for origin in origins)
    return "|".join(fnmatch.translate(_DEFAULT_PORT.sub(r"\1\2", origin)) for origin in written)


def web_middleware(path: str, allowed_origins: Sequence[str]) -> list[Middleware]:
    """The ASGI middleware of a server at `path`: pages of `allowed_origins` may call it, and no others.

    They may send any header. Which ones clients send depends on the protocol era and on the tools (`Mcp-Param-…`), and
    a page whose origin is allowed is trusted with all of them. Cookies are not among what is allowed.
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
