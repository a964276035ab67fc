"""FastMCP's provider for the identity provider of the operator.

Where clients register with the identity provider themselves, this server only names it. Where it knows one fixed client,
this server is that client, and passes the login on: it registers MCP clients, and gives them tokens of its own.
"""

from typing import Any

from fastmcp.server.auth import TokenVerifier
from fastmcp.server.auth.jwt_issuer import derive_jwt_key
from fastmcp.server.auth.oauth_proxy import OAuthProxy
from fastmcp.server.auth.oidc_proxy import OIDCConfiguration, OIDCProxy
from fastmcp.server.auth.providers.azure import AzureProvider
from fastmcp.server.auth.providers.google import GoogleProvider
from mcp.server.auth.provider import AuthorizationParams, AuthorizeError, RegistrationError
from mcp.shared.auth import OAuthClientInformationFull
from platformdirs import user_state_path
from pydantic import AnyHttpUrl
from starlette.routing import Route

from research_shared.base_errors import ConfigurationError
from research_shared.logs import get_logger
from research_shared.root import root_around
from research_shared.serving.jwts import ExpiringJwts
from research_shared.serving.login.discovery import discover
from research_shared.serving.login.pointers import Pointing, exact_url, pointing_resource
from research_shared.serving.login.rates import limited_pages
from research_shared.serving.login.store import login_store
from research_shared.settings import APPLICATION, OPENID_SCOPES, Settings

log = get_logger("research.auth")

_ASKED = {
    "oidc": ("openid", "profile", "email", "offline_access"),
    "okta": ("openid", "profile", "email", "offline_access"),
    "keycloak": ("openid", "profile", "email"),
    "google": ("openid", "email"),
}
"""Scopes that a login asks for by default. `offline_access` is what makes it last longer than a token."""
MAX_REGISTRATION_BYTES = 16_384
MAX_PARAMETER_BYTES = 2_048
MAX_CHALLENGE_BYTES = 256
GOOGLE_CACHE_S = 60
"""Seconds for which an answer of Google about a token counts. A withdrawn token is refused after that."""


class PassedOn(Pointing, OAuthProxy):
    """A login that this server passes on to an identity provider.

    Anybody may ask for its pages, and much of what they ask is kept: it is limited in size, and in number for each address
    and for all.
    """

    def get_routes(self, mcp_path: str | None = None) -> list[Route]:
        """Return the routes of the login, for a server at `mcp_path`."""
        return limited_pages(super().get_routes(mcp_path))

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        """Remember a client.

        Raises:
            RegistrationError: it says too much about itself.
        """
        if len(client_info.model_dump_json()) > MAX_REGISTRATION_BYTES:
            raise RegistrationError("invalid_client_metadata", "the metadata of the client is too long")
        await super().register_client(client_info)

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        """Begin a login, and return the address at which it goes on.

        Raises:
            AuthorizeError: a parameter is too long to be kept, or the login cannot begin.
        """
        lengths = {
            "state": (params.state, MAX_PARAMETER_BYTES),
            "code_challenge": (params.code_challenge, MAX_CHALLENGE_BYTES),
            "redirect_uri": (params.redirect_uri, MAX_PARAMETER_BYTES),
            "scope": (" ".join(params.scopes or ()), MAX_PARAMETER_BYTES),
            "resource": (params.resource, MAX_PARAMETER_BYTES),
        }
        for name, (value, most) in lengths.items():
            if len(str(value or "").encode()) > most:
                raise AuthorizeError("invalid_request", f"{name} has more than {most} bytes")
        return await super().authorize(client, params)


class OidcLogin(PassedOn, OIDCProxy):
    """A login that is passed on to any OpenID provider, whose `configuration` is known."""

    def __init__(self, *, configuration: OIDCConfiguration, **options: Any) -> None:
        self._published = configuration
        super().__init__(config_url=AnyHttpUrl(str(configuration.issuer)), **options)

    def get_oidc_configuration(
        self, config_url: AnyHttpUrl, strict: bool | None, timeout_seconds: int | None
    ) -> OIDCConfiguration:
        """Return the configuration that was read before."""
        del config_url, strict, timeout_seconds
        return self._published

    def get_token_verifier(
        self,
        *,
        algorithm: str | None = None,
        audience: str | None = None,
        required_scopes: list[str] | None = None,
        timeout_seconds: int | None = None,
    ) -> TokenVerifier:
        """Return the verifier of the provider's own tokens."""
        del timeout_seconds
        return ExpiringJwts(
            jwks_uri=str(self.oidc_config.jwks_uri),
            issuer=str(self.oidc_config.issuer),
            audience=audience,
            algorithm=algorithm,
            required_scopes=required_scopes,
        )


class EntraLogin(PassedOn, AzureProvider):
    """A login that is passed on to Microsoft Entra ID."""


class GoogleLogin(PassedOn, GoogleProvider):
    """A login that is passed on to Google."""


def login_provider(settings: Settings) -> Pointing:
    """Return the provider of `RESEARCH_LOGIN`.

    Raises:
        ConfigurationError: the identity provider cannot be reached or is another one, or a secret or directory cannot be used.
    """
    if settings.logs_in_at_google and settings.policy is None:
        log.warning(
            "without RESEARCH_POLICY everybody with a Google account may log in, if the app is not internal"
        )
    match settings.login:
        case "google":
            return GoogleLogin(
                **_client(settings),
                required_scopes=_scopes(settings),
                cache_ttl_seconds=GOOGLE_CACHE_S,
            )
        case "entra":
            return EntraLogin(
                **_client(settings), tenant_id=str(settings.login_tenant), required_scopes=_scopes(settings)
            )
    configuration = discover(str(settings.auth_issuer))
    if settings.login_client_id is None:
        # How long the login lasts is a matter of client and provider, and no scope of a resource.
        scopes = [scope for scope in _scopes(settings, configuration) if scope != "offline_access"]
        return pointing_resource(settings, _verifier(settings, str(configuration.jwks_uri)), scopes=scopes)
    return _oidc_login(settings, configuration)


def _oidc_login(settings: Settings, configuration: OIDCConfiguration) -> OidcLogin:
    scopes = _scopes(settings, configuration)
    return OidcLogin(
        configuration=configuration,
        **_client(settings),
        audience=settings.auth_audience,
        # Access tokens of many providers are no JWTs, or are meant for others. The ID token is always for the client.
        verify_id_token=settings.auth_audience is None,
        forward_resource=settings.auth_audience is not None,
        algorithm=settings.auth_algorithm,
        required_scopes=_required(scopes) or None,
        valid_scopes=scopes,
        # A client may ask for less, and then there is no ID token or nothing to refresh the session with.
        extra_authorize_params={"scope": " ".join(scopes)},
    )


def _verifier(settings: Settings, jwks_uri: str) -> ExpiringJwts:
    return ExpiringJwts(
        jwks_uri=jwks_uri,
        issuer=settings.auth_issuer,
        audience=settings.auth_audience,
        algorithm=settings.auth_algorithm,
        required_scopes=_required(_scopes(settings)) or None,
    )


def _scopes(settings: Settings, published: OIDCConfiguration | None = None) -> list[str]:
    """Return the scopes that a login asks for: the operator's, or the usual ones as far as the provider has them."""
    if settings.login_scopes:
        return [*settings.login_scopes]
    known = published.scopes_supported if published is not None else None
    usual = _ASKED[str(settings.login)]
    return [scope for scope in usual if scope == "openid" or known is None or scope in known]


def _required(scopes: list[str]) -> list[str]:
    """Return the scopes that have to be in a token: those of OpenID are about what it tells, and need not be."""
    return [scope for scope in scopes if scope not in OPENID_SCOPES]


def _client(settings: Settings) -> dict[str, Any]:
    """Return what each login that is passed on needs: the client that this server is, and where it keeps its state."""
    secret = _client_secret(settings)
    material = settings.login_key.get_secret_value() if settings.login_key is not None else secret
    if material is None:
        raise ConfigurationError(
            "RESEARCH_LOGIN_CLIENT_ID needs RESEARCH_LOGIN_CLIENT_SECRET or RESEARCH_LOGIN_KEY"
        )
    key = derive_jwt_key(high_entropy_material=material, salt="research-login-tokens")
    directory = settings.login_dir or user_state_path(APPLICATION, appauthor=False) / "login"
    if (root := root_around(directory, settings.roots)) is not None:
        raise ConfigurationError(
            f"RESEARCH_LOGIN_DIR={directory} lies inside the research folder {root.name}: name one outside of it"
        )
    return {
        "client_id": settings.login_client_id,
        "client_secret": secret,
        "base_url": exact_url(str(settings.public_url)),
        "jwt_signing_key": key,
        "client_storage": login_store(directory, key),
        "allowed_client_redirect_uris": [*settings.login_redirects] or None,
    }


def _client_secret(settings: Settings) -> str | None:
    secret = settings.login_client_secret
    return None if secret is None else secret.get_secret_value()
