"""JWTs as credentials. A module of its own, since what checks them takes a while to import."""

from fastmcp.server.auth import AccessToken
from fastmcp.server.auth.providers.jwt import JWTVerifier

from research_shared.serving.verifiers import CarefulVerifier


class ExpiringJwts(CarefulVerifier, JWTVerifier):
    """FastMCP's check of JWTs, for those that expire: one without an end would be good for ever once it is stolen."""

    async def verify_token(self, token: str) -> AccessToken | None:
        """The access that a token gives, or None."""
        access = await super().verify_token(token)
        return access if access is not None and access.expires_at is not None else None
