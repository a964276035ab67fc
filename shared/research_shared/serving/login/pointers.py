"""Routes and answers that lead a client to the login (RFC 9728, RFC 8414)."""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from fastmcp.server.auth import AuthProvider, RemoteAuthProvider, TokenVerifier
from pydantic import AnyHttpUrl, TypeAdapter, UrlConstraints
from starlette.routing import Route

from research_shared.serving.verifiers import StrictCredentials
from research_shared.settings import Settings

RESOURCE = "/.well-known/oauth-protected-resource"
AUTHORIZATION_SERVER = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


_EXACT_URL = TypeAdapter(Annotated[AnyHttpUrl, UrlConstraints(preserve_empty_path=True)])


def exact_url(url: str) -> AnyHttpUrl:
    """Return an address as it is written. Clients compare issuers letter by letter, and Pydantic adds a slash to a bare host.

    >>> str(exact_url("https://issuer.example"))
    'https://issuer.example'
    """
    return _EXACT_URL.validate_python(url)


def aliases(routes: Sequence[Route], prefix: str) -> list[Route]:
    """Return the routes under which clients look for the same metadata as well.

    The metadata of the resource also answers without the path of the resource. Those of an authorization server behind a
    path `prefix` (empty for none) also answer with it, as RFC 8414 writes it, and as OpenID Connect does.

    >>> routes = [Route("/.well-known/oauth-authorization-server", endpoint=print), Route("/token", endpoint=print)]
    >>> [route.path for route in aliases(routes, "/research")][:2]
    ['/.well-known/oauth-authorization-server/research', '/.well-known/openid-configuration']
    """
    also: list[Route] = []
    for route in routes:
        if route.path.startswith(RESOURCE + "/"):
            paths = {RESOURCE}
        elif route.path == AUTHORIZATION_SERVER:
            # A proxy in front takes the prefix off what comes after it, and leaves what comes before it.
            paths = {f"{AUTHORIZATION_SERVER}{prefix}", OPENID, f"{OPENID}{prefix}"} - {AUTHORIZATION_SERVER}
        else:
            continue
        also += [Route(path, route.endpoint, methods=list(route.methods or ())) for path in sorted(paths)]
    return also


class Pointing(StrictCredentials, AuthProvider):
    """An authentication provider whose metadata can be found in every place where clients look for it."""

    def get_routes(self, mcp_path: str | None = None) -> list[Route]:
        """Return the routes of the provider, for a server at `mcp_path`."""
        routes = super().get_routes(mcp_path)
        return [*routes, *aliases(routes, urlsplit(str(self.base_url)).path.rstrip("/"))]


class PointingResource(Pointing, RemoteAuthProvider):
    """Accepts the tokens of an identity provider, and names it to clients, which log in and register there."""


def pointing_resource(
    settings: Settings, verifier: TokenVerifier, *, scopes: list[str] | None = None
) -> PointingResource:
    """Return the provider that accepts what `verifier` does, and names the issuer of `settings` to clients.

    `scopes` are what clients are told to ask for; what the verifier requires when None.
    """
    return PointingResource(
        token_verifier=verifier,
        authorization_servers=[exact_url(str(settings.auth_issuer))],
        base_url=exact_url(str(settings.public_url)),
        scopes_supported=scopes,
    )
