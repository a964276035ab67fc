"""Settings of serving over HTTP."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from research_shared.reading.limits import MIB
from research_shared.settings.field_types import HTTP_URL, Names, Secrets
from research_shared.settings.sections.section import Section
from research_shared.settings.tokens import token_problem


class ServingSettings(Section):
    """Who may connect, and limits of connections, requests and sessions."""

    auth_tokens: Secrets = Field(
        default=(),
        description="bearer tokens of at least 16 characters, each optionally `name=token`: the name is the principal of "
        "policies and of the audit trail",
    )
    auth_jwks_url: str | None = Field(
        default=None, pattern=HTTP_URL, description="where the keys are that sign the JWTs to be accepted"
    )
    auth_public_key: Path | None = Field(
        default=None, description="PEM file with the key that signs the JWTs to be accepted"
    )
    auth_algorithm: str = Field(default="RS256", description="algorithm of those JWTs")
    auth_issuer: str | None = Field(default=None, description="issuer of those JWTs")
    auth_audience: str | None = Field(default=None, description="audience of those JWTs: this server")
    allow_unauthenticated: bool = Field(
        default=False, description="whether other machines may connect without authentication"
    )
    allowed_hosts: Names = Field(
        default=(),
        description="names by which clients may address the server, besides this machine's and its address; they are "
        "checked when set, and always without authentication",
    )
    allowed_origins: Names = Field(default=(), description="web origins whose pages may call the server")
    header_timeout_s: float = Field(
        default=10.0, gt=0, description="time for the headers of an HTTP request to arrive; then 408"
    )
    body_timeout_s: float = Field(
        default=30.0, gt=0, description="time for the body of an HTTP request to arrive; then 408"
    )
    max_body_bytes: int = Field(
        default=4 * MIB,
        ge=1024,
        le=4 * MIB,
        description="body of one HTTP request at most; a larger one gets 413",
    )
    client_held_bytes: int = Field(
        default=16 * MIB,
        ge=1024,
        description="bytes that unfinished HTTP requests of one client hold at most; beyond that 429",
    )
    max_held_bytes: int = Field(
        default=64 * MIB,
        ge=1024,
        description="bytes that unfinished HTTP requests hold in all at most; beyond that 503",
    )
    max_connections: int = Field(
        default=2_000, ge=1, description="HTTP connections at once at most; beyond that 503"
    )
    client_sessions: int = Field(
        default=1_000,
        ge=1,
        description="sessions of earlier protocol versions that one client may have open over HTTP; beyond that 429",
    )
    max_sessions: int = Field(
        default=10_000, ge=1, le=10_000, description="those sessions of all clients at most; beyond that 503"
    )
    session_idle_s: float = Field(
        default=1_800.0, gt=0, description="time after which a session without a request in flight ends"
    )
    drain_s: float = Field(
        default=20.0, ge=0, description="time for calls in flight to end when the server is asked to stop"
    )

    @field_validator("auth_tokens")
    @classmethod
    def _usable_tokens(cls, tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if (problem := token_problem([token.get_secret_value() for token in tokens])) is not None:
            raise ValueError(problem)
        return tokens

    @model_validator(mode="after")
    def _one_way_to_authenticate(self) -> Self:
        jwt = (self.auth_jwks_url is not None) + (self.auth_public_key is not None)
        if jwt + bool(self.auth_tokens) > 1:
            raise ValueError(
                "only one of RESEARCH_AUTH_TOKENS, RESEARCH_AUTH_JWKS_URL and RESEARCH_AUTH_PUBLIC_KEY can be set"
            )
        if not jwt and (self.auth_issuer is not None or self.auth_audience is not None):
            given = "ISSUER" if self.auth_issuer is not None else "AUDIENCE"
            raise ValueError(
                f"RESEARCH_AUTH_{given} needs RESEARCH_AUTH_JWKS_URL or RESEARCH_AUTH_PUBLIC_KEY: without the keys of the "
                "issuer nobody is authenticated"
            )
        if jwt and (self.auth_issuer is None or self.auth_audience is None):
            raise ValueError("JWTs need RESEARCH_AUTH_ISSUER and RESEARCH_AUTH_AUDIENCE")
        return self
