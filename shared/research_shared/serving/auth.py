"""HTTP authentication: shared bearer tokens, JWTs or a login, as configured, through FastMCP's providers."""

import hmac
from collections.abc import Iterable
from ipaddress import ip_address

from fastmcp.server.auth import AccessToken, AuthProvider

from research_shared.errors import ConfigurationError
from research_shared.serving.verifiers import StrictTokenVerifier
from research_shared.settings import Settings
from research_shared.settings.tokens import NamedToken, token_digest


class SharedTokens(StrictTokenVerifier):
    """Accepts the tokens that the operator configured. Each token is a principal of its own, by the name of `name=token`.

    Digests are compared in constant time, so response times reveal nothing about a token.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        super().__init__()
        named = [NamedToken.parse(token) for token in tokens]
        self._known = [(token_digest(each.token), each.name) for each in named]

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the access that a token grants, or None."""
        given = token_digest(token)
        names = [name for digest, name in self._known if hmac.compare_digest(digest, given)]
        if not names:
            return None
        return AccessToken(token=token, client_id=names[0], scopes=[])


def principal_of(token: AccessToken) -> str:
    """Return whose token it is: the subject of a JWT, because all people of one application share its client id."""
    subject = (token.claims or {}).get("sub")
    return subject if isinstance(subject, str) else token.client_id


def auth_provider(settings: Settings) -> AuthProvider | None:
    """Return the provider that authenticates HTTP clients, or None when authentication is off.

    Raises:
        ConfigurationError: a key cannot be read or used, or the identity provider of the login cannot.
    """
    if settings.auth_tokens:
        return SharedTokens(token.get_secret_value() for token in settings.auth_tokens)
    if settings.login is not None:
        from research_shared.serving.login.providers import login_provider

        try:
            return login_provider(settings)
        except ValueError as error:
            raise ConfigurationError(f"RESEARCH_LOGIN={settings.login}: {error}") from error
    if settings.auth_jwks_url is None and settings.auth_public_key is None:
        return None
    from research_shared.serving.jwts import ExpiringJwts

    try:
        key = settings.auth_public_key.read_text(encoding="ascii") if settings.auth_public_key else None
        verifier = ExpiringJwts(
            public_key=key,
            jwks_uri=settings.auth_jwks_url,
            issuer=settings.auth_issuer,
            audience=settings.auth_audience,
            algorithm=settings.auth_algorithm,
        )
    except OSError as error:
        raise ConfigurationError(
            f"RESEARCH_AUTH_PUBLIC_KEY={settings.auth_public_key}: {error.strerror}"
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"RESEARCH_AUTH_ALGORITHM={settings.auth_algorithm!r} or RESEARCH_AUTH_PUBLIC_KEY: {error}"
        ) from error
    if settings.public_url is None:
        return verifier
    from research_shared.serving.login.pointers import pointing_resource

    return pointing_resource(settings, verifier)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(settings: Settings, host: str, *, authenticated: bool) -> None:
    """Refuse to listen on a public interface without authentication.

    Raises:
        ConfigurationError: `host` is public, and RESEARCH_ALLOW_UNAUTHENTICATED is not set.
    """
    if not (authenticated or is_loopback(host) or settings.allow_unauthenticated):
        raise ConfigurationError(
            f"--host {host} lets other machines connect without authentication: set RESEARCH_AUTH_TOKENS (or "
            "RESEARCH_AUTH_JWKS_URL or RESEARCH_LOGIN), listen on 127.0.0.1, or set RESEARCH_ALLOW_UNAUTHENTICATED=true"
        )
