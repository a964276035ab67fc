"""Token verifiers that reject ambiguous or malformed credentials."""

from fastmcp.server.auth import TokenVerifier
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, BearerAuthBackend
from starlette.authentication import AuthCredentials
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection

from research_shared.logs import get_logger

log = get_logger("research.auth")


class _OneBearer(BearerAuthBackend):
    """Lets nobody in who sends credentials twice, of which a proxy may have checked the others, or odd ones."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, AuthenticatedUser] | None:
        if len(conn.headers.getlist("authorization")) > 1:
            return None
        try:
            found: tuple[AuthCredentials, AuthenticatedUser] | None = await super().authenticate(conn)
        except Exception as error:  # noqa: BLE001  (made of what a stranger sent)
            log.info("credentials that cannot be checked", error=type(error).__name__)
            return None
        return found


class CarefulVerifier(TokenVerifier):
    """A verifier behind which a request has one set of credentials, and odd ones are merely wrong."""

    def get_middleware(self) -> list[Middleware]:
        """What each HTTP request passes."""
        return [
            Middleware(AuthenticationMiddleware, backend=_OneBearer(self)),
            Middleware(AuthContextMiddleware),
        ]
