"""Settings of serving over HTTP."""

from pydantic import Field

from research_shared.reading.limits import MIB
from research_shared.settings.field_types import Names
from research_shared.settings.sections.section import Section


class ServingSettings(Section):
    """What may connect, and limits of connections, requests and sessions."""

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
    client_connections: int | None = Field(
        default=None,
        ge=1,
        description="those of one address at most; beyond that 429; three quarters of them unless named. "
        "A proxy of `RESEARCH_TRUSTED_PROXIES` may have all of them",
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
