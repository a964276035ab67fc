"""An OpenID provider in the loop of the test: it registers clients, logs a person in, and checks what clients send.

It answers at the paths of a Keycloak realm, and publishes them as any provider does.
"""

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

REALM = "/realms/research"
OPENID = f"{REALM}/protocol/openid-connect"


@cache
def _key(name: str) -> RSAKey:
    """Return the key of this name. Making one takes a tenth of a second."""
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"})


@dataclass
class _Grant:
    """What a code or a refresh token stands for."""

    client: str
    scope: str
    challenge: str = ""
    redirect: str = ""
    resource: str = ""


@dataclass
class IdentityProvider:
    """The provider at `http://127.0.0.1:{port}/realms/research`. `person` are the claims of whoever logs in.

    Access tokens are JWTs for `audience` (for the resource that the client names when None), or no JWTs if `opaque`. They are
    valid for `lifetime_s` seconds.
    """

    port: int
    person: dict[str, Any]
    audience: str | None = None
    opaque: bool = False
    lifetime_s: int = 600
    key: str = "k"
    clients: dict[str, dict[str, Any]] = field(default_factory=dict)
    registered: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)
    _grants: dict[str, _Grant] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}{REALM}"

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(f"{REALM}/.well-known/openid-configuration", self._configuration),
                Route(f"/.well-known/oauth-authorization-server{REALM}", self._configuration),
                Route(f"{OPENID}/certs", self._keys),
                Route(f"{OPENID}/auth", self._authorize),
                Route(f"{OPENID}/token", self._token, methods=["POST"]),
                Route(f"{OPENID}/register", self._register, methods=["POST"]),
            ]
        )

    def signed(self, **claims: Any) -> str:
        """Return a JWT of this provider; claims that are None are left out."""
        now = int(time.time())
        given = {"iss": self.issuer, "iat": now, "exp": now + self.lifetime_s, **self.person, **claims}
        return jwt.encode(
            {"alg": "RS256", "kid": self.key},
            {k: v for k, v in given.items() if v is not None},
            _key(self.key),
        )

    async def _configuration(self, _request: Request) -> Response:
        base = f"http://127.0.0.1:{self.port}{OPENID}"
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{base}/auth",
                "token_endpoint": f"{base}/token",
                "registration_endpoint": f"{base}/register",
                "jwks_uri": f"{base}/certs",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid", "profile", "email", "offline_access", "research"],
                "code_challenge_methods_supported": ["S256"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_methods_supported": [
                    "none",
                    "client_secret_basic",
                    "client_secret_post",
                ],
            }
        )

    async def _keys(self, _request: Request) -> Response:
        return JSONResponse({"keys": [_key(self.key).as_dict(private=False, alg="RS256")]})

    async def _register(self, request: Request) -> Response:
        client = {**await request.json(), "client_id": f"client-{secrets.token_hex(4)}"}
        self.clients[client["client_id"]] = client
        self.registered += 1
        return JSONResponse(client, status_code=201)

    async def _authorize(self, request: Request) -> Response:
        sent = dict(request.query_params)
        self.asked.append(sent)
        client = self.clients.get(sent.get("client_id", ""))
        if client is None or sent.get("redirect_uri") not in client["redirect_uris"]:
            return JSONResponse({"error": "invalid_request"}, status_code=400)
        if sent.get("response_type") != "code" or sent.get("code_challenge_method") != "S256":
            return JSONResponse({"error": "invalid_request"}, status_code=400)
        code = secrets.token_urlsafe(16)
        self._grants[code] = _Grant(
            client=sent["client_id"],
            scope=sent.get("scope", ""),
            challenge=sent["code_challenge"],
            redirect=sent["redirect_uri"],
            resource=sent.get("resource", ""),
        )
        answer = urlencode({"code": code, "state": sent["state"], "iss": self.issuer})
        return RedirectResponse(f"{sent['redirect_uri']}?{answer}", status_code=302)

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        client_id, secret = self._credentials(request, form)
        if self.clients[client_id].get("client_secret") != secret:
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        refreshing = form["grant_type"] == "refresh_token"
        grant = self._grants.pop(form["refresh_token" if refreshing else "code"], None)
        if grant is None or grant.client != client_id or not (refreshing or self._proves(grant, form)):
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        refresh = secrets.token_urlsafe(16)
        self._grants[refresh] = grant
        access = (
            secrets.token_urlsafe(16)
            if self.opaque
            else self.signed(aud=self.audience or grant.resource, scope=grant.scope, azp=client_id)
        )
        answer = {
            "access_token": access,
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": self.lifetime_s,
            "scope": grant.scope,
        }
        if "openid" in grant.scope.split():
            answer["id_token"] = self.signed(aud=client_id)
        return JSONResponse(answer)

    @staticmethod
    def _credentials(request: Request, form: dict[str, str]) -> tuple[str, str | None]:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            client_id, _, secret = base64.b64decode(value).decode().partition(":")
            return client_id, secret
        return form["client_id"], form.get("client_secret")

    @staticmethod
    def _proves(grant: _Grant, form: dict[str, str]) -> bool:
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return challenge == grant.challenge and form.get("redirect_uri") == grant.redirect
