"""Settings of authentication over HTTP: tokens, JWTs, and where people log in."""

import re
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator, model_validator

from research_shared.settings.field_types import HttpUrl, Names, Secrets
from research_shared.settings.names import variable_of
from research_shared.settings.sections.section import Section
from research_shared.settings.tokens import token_problem
from research_shared.text.secrets import quoted_value

LoginName = Literal["oidc", "entra", "okta", "keycloak", "google"]
"""The identity providers whose ways are known. Any other one is `oidc`."""
OPENID_SCOPES = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
"""Scopes that are about the person who logs in, and that access tokens need not name."""
_PERSONAL_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of all personal Microsoft accounts."""
_MANY_TENANTS = ("common", "organizations", "consumers", _PERSONAL_TENANT)
_TENANT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_GOOGLE = "https://accounts.google.com"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_KEY_SOURCES = ("auth_tokens", "auth_jwks_url", "auth_public_key")
_SECRETS = ("login_client_secret", "login_key")
_OF_THE_CLIENT = (*_SECRETS, "login_dir", "login_redirects")
_OF_THE_LOGIN = ("login_client_id", *_OF_THE_CLIENT, "login_tenant", "login_scopes")


class AuthenticationSettings(Section):
    """Who may connect, and where people log in."""

    auth_tokens: Secrets = Field(
        default=(),
        description="bearer tokens of at least 16 characters, each optionally `name=token`: the name is the principal of "
        "policies and of the audit trail",
    )
    auth_jwks_url: HttpUrl | None = Field(
        default=None, description="where the keys are that sign the JWTs to be accepted"
    )
    auth_public_key: Path | None = Field(
        default=None, description="PEM file with the key that signs the JWTs to be accepted"
    )
    auth_algorithm: str = Field(
        default="RS256", description="algorithm of those JWTs, or of those of the login"
    )
    auth_issuer: str | None = Field(
        default=None, description="issuer of those JWTs, or the identity provider of the login"
    )
    auth_audience: str | None = Field(default=None, description="audience of those JWTs: this server")
    public_url: str | None = Field(
        default=None,
        description="address by which clients reach the server, without `/mcp`: `https://research.example`, or with a path "
        "that a proxy takes off; with it the server tells clients where to log in",
    )
    login: LoginName | None = Field(
        default=None,
        description="identity provider that people log in with, instead of the keys of an issuer; see [login.md](login.md)",
    )
    login_client_id: str | None = Field(
        default=None,
        min_length=1,
        description="client that this server is at the identity provider; when not set, clients register there themselves",
    )
    login_client_secret: SecretStr | None = Field(
        default=None, min_length=1, description="secret of that client"
    )
    login_tenant: str | None = Field(
        default=None,
        description="directory (tenant) of `entra`: its id, such as `00000000-0000-0000-0000-000000000000`",
    )
    login_scopes: Names = Field(
        default=(),
        description="scopes that the login asks for; those that are not OpenID's own must be in the token, and `entra` needs one",
    )
    login_redirects: Names = Field(
        default=(),
        description="addresses that the login may lead back to, such as `http://localhost:*`; what clients register when not "
        "set",
    )
    login_key: SecretStr | None = Field(
        default=None,
        description="key of at least 32 characters that signs the tokens of a login with a client id, and encrypts what is "
        "kept of it; made from the secret of the client when not set",
    )
    login_dir: Path | None = Field(
        default=None,
        description="directory that keeps the clients and tokens of such a login, for all replicas; in the user's state "
        "directory when not set",
    )

    @property
    def logs_in_at_google(self) -> bool:
        """Whether people log in with their Google accounts, in whichever way."""
        issuer = (self.auth_issuer or "").rstrip("/")
        return self.login == "google" or (self.login is not None and issuer == _GOOGLE)

    @field_validator("auth_tokens")
    @classmethod
    def _usable_tokens(cls, tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if (problem := token_problem([token.get_secret_value() for token in tokens])) is not None:
            raise ValueError(problem)
        return tokens

    @field_validator("public_url")
    @classmethod
    def _base_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        _check_secured(url)
        parts = urlsplit(url)
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError("an address without user, query or fragment")
        if parts.path.rstrip("/").endswith("/mcp"):
            raise ValueError("the address without /mcp, which is added")
        return url.rstrip("/")

    @field_validator("login_tenant")
    @classmethod
    def _one_tenant(cls, tenant: str | None) -> str | None:
        if tenant is None:
            return None
        tenant = tenant.lower()
        if tenant in _MANY_TENANTS:
            raise ValueError("one tenant; with this one everybody with a Microsoft account could log in")
        if _TENANT_ID.fullmatch(tenant) is None:
            raise ValueError("the id of a tenant, not its domain: tokens name the id")
        return tenant

    @field_validator("login_key")
    @classmethod
    def _strong_login_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value().encode()) < 32:  # noqa: PLR2004  (as long as the hash)
            raise ValueError("at least 32 bytes")
        return key

    @model_validator(mode="after")
    def _one_way_to_authenticate(self) -> Self:
        sources = [*filter(self._given, _KEY_SOURCES)]
        if len(sources) > 1:
            raise ValueError(
                "only one of RESEARCH_AUTH_TOKENS, RESEARCH_AUTH_JWKS_URL and RESEARCH_AUTH_PUBLIC_KEY can be set"
            )
        if self.login is not None:
            for name in sources:
                raise ValueError(f"only one of RESEARCH_LOGIN and {variable_of(name)} can be set")
            self._check_login()
            return self
        self._check_jwts(sources)
        for name in filter(self._given, _OF_THE_LOGIN):
            raise ValueError(f"{variable_of(name)} needs RESEARCH_LOGIN, which says whose it is")
        return self

    def _given(self, name: str) -> bool:
        return getattr(self, name) not in {None, ()}

    def _check_jwts(self, sources: list[str]) -> None:
        jwt = bool(sources) and sources != ["auth_tokens"]
        if not jwt and (self.auth_issuer is not None or self.auth_audience is not None):
            given = "ISSUER" if self.auth_issuer is not None else "AUDIENCE"
            raise ValueError(
                f"RESEARCH_AUTH_{given} needs RESEARCH_AUTH_JWKS_URL or RESEARCH_AUTH_PUBLIC_KEY: without the keys of the "
                "issuer nobody is authenticated"
            )
        if jwt and (self.auth_issuer is None or self.auth_audience is None):
            raise ValueError("JWTs need RESEARCH_AUTH_ISSUER and RESEARCH_AUTH_AUDIENCE")
        if self.public_url is not None:
            if not jwt:
                raise ValueError(
                    "RESEARCH_PUBLIC_URL needs RESEARCH_LOGIN, or JWTs of an issuer to lead clients to"
                )
            self._check_issuer()

    def _check_login(self) -> None:
        for name in self._needed_by_login():
            if not self._given(name):
                instead = " or RESEARCH_LOGIN_CLIENT_ID" if name == "auth_audience" else ""
                raise ValueError(f"RESEARCH_LOGIN={self.login} needs {variable_of(name)}{instead}")
        for name in filter(self._given, self._unused_by_login()):
            lacking = name in _OF_THE_CLIENT and self.login_client_id is None
            without = " without RESEARCH_LOGIN_CLIENT_ID" if lacking else ""
            raise ValueError(f"{variable_of(name)} has no effect with RESEARCH_LOGIN={self.login}{without}")
        if self.login_client_id is not None and not any(map(self._given, _SECRETS)):
            raise ValueError(
                "RESEARCH_LOGIN_CLIENT_ID needs RESEARCH_LOGIN_CLIENT_SECRET, or RESEARCH_LOGIN_KEY without a secret"
            )
        if self.login == "entra" and OPENID_SCOPES.issuperset(self.login_scopes):
            raise ValueError(
                "RESEARCH_LOGIN=entra needs in RESEARCH_LOGIN_SCOPES a scope that the app itself exposes"
            )
        self._check_issuer()

    def _needed_by_login(self) -> tuple[str, ...]:
        match self.login:
            case "entra":
                return ("public_url", "login_client_id", "login_tenant", "login_scopes")
            case "google":
                return ("public_url", "login_client_id")
        of_tokens = () if self._given("login_client_id") else ("auth_audience",)
        return ("public_url", "auth_issuer", *of_tokens)

    def _unused_by_login(self) -> tuple[str, ...]:
        match self.login:
            case "entra":
                return ("auth_issuer", "auth_audience")
            case "google":
                return ("auth_issuer", "auth_audience", "login_tenant")
        return ("login_tenant",) if self._given("login_client_id") else ("login_tenant", *_OF_THE_CLIENT)

    def _check_issuer(self) -> None:
        """Check that the issuer is an address to which clients may be led."""
        if self.auth_issuer is not None:
            try:
                _check_secured(self.auth_issuer)
            except ValueError as error:
                raise ValueError(
                    f"RESEARCH_AUTH_ISSUER={quoted_value(self.auth_issuer)}: allowed: {error}"
                ) from None


def _check_secured(url: str) -> None:
    """Check that an address is one on whose way nobody can change anything.

    Raises:
        ValueError: it is neither `https` nor on this machine.
    """
    try:
        address = AnyHttpUrl(url)
    except ValueError:
        address = None
    if address is None or not (address.scheme == "https" or address.host in _LOOPBACK):
        raise ValueError("an https address, or an http address of this machine")
