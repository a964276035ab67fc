"""Authentication providers that reject ambiguous or malformed credentials."""

from fastmcp.server.auth import AuthProvider, TokenVerifier
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, BearerAuthBackend
from starlette.authentication import AuthCredentials
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection

from research_shared.logs import get_logger

log = get_logger("research.auth")


class _StrictBearerBackend(BearerAuthBackend):
    """Rejects requests with more than one Authorization header or malformed credentials.

    A proxy in front may have checked another of the headers than the one that would be read here.
    """

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, AuthenticatedUser] | None:
        if len(conn.headers.getlist("authorization")) > 1:
            return None
        try:
            found: tuple[AuthCredentials, AuthenticatedUser] | None = await super().authenticate(conn)
        except Exception as error:  # noqa: BLE001  (the header is untrusted input)
            log.info("malformed credentials rejected", error=type(error).__name__)
            return None
        return found


class StrictCredentials(AuthProvider):
    """An authentication provider that accepts one Authorization header per request. Malformed tokens get 401."""

    def get_middleware(self) -> list[Middleware]:
        """Return the ASGI middleware that authenticates each HTTP request."""
        return [
            Middleware(AuthenticationMiddleware, backend=_StrictBearerBackend(self)),
            Middleware(AuthContextMiddleware),
        ]


class StrictTokenVerifier(StrictCredentials, TokenVerifier):
    """A token verifier that accepts one Authorization header per request. Malformed tokens get 401."""
