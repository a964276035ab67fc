"""JWT credentials, in a module of their own because the JWT library is slow to import."""

from fastmcp.server.auth import AccessToken
from fastmcp.server.auth.providers.jwt import JWTVerifier

from research_shared.serving.verifiers import StrictTokenVerifier


class ExpiringJwts(StrictTokenVerifier, JWTVerifier):
    """Verifies JWTs with FastMCP's verifier and rejects those without an expiry: a stolen one would be valid for ever."""

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the access that a token grants, or None."""
        access = await super().verify_token(token)
        return access if access is not None and access.expires_at is not None else None
