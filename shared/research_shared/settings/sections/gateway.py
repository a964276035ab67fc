"""Settings of the gateway."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from research_shared.reading.limits import MIB
from research_shared.settings.field_types import HttpUrl
from research_shared.settings.sections.section import Section


class GatewaySettings(Section):
    """Metrics, walls, the servers behind the gateway, and limits of calls."""

    metrics: bool = Field(default=False, description="whether GET /metrics is served over HTTP")
    metrics_token: bool = Field(
        default=False, description="whether GET /metrics needs the credentials that calls need"
    )
    policy: Path | None = Field(
        default=None,
        description="TOML file that says who may see which folders and call which tools; everybody may when not set",
    )
    client_roots: Literal["ignore", "narrow"] = Field(
        default="ignore", description="whether the roots that a client declares narrow what it can see"
    )

    documents_url: HttpUrl | None = Field(
        default=None,
        description="a remote documents server instead of one in this process",
    )
    reasoning_url: HttpUrl | None = Field(
        default=None,
        description="a remote reasoning server instead of one in this process",
    )
    upstream_token: SecretStr | None = Field(
        default=None, description="bearer token for the two remote servers"
    )
    mcp_config: Path | None = Field(
        default=None, description="JSON file with `mcpServers` to put behind the gateway, namespaced by name"
    )
    mcp_pins: Path | None = Field(
        default=None,
        description="JSON file that remembers the tools of those servers as they were first seen; a changed tool is held "
        "back until `research-assistant upstreams accept`. When not set, until the gateway starts again",
    )
    client_concurrency: int = Field(default=256, ge=1, description="requests of one client in flight at once")
    total_concurrency: int = Field(default=1024, ge=1, description="requests in flight at once")
    client_rate: float = Field(
        default=0, ge=0, description="requests a second that one client may send on average; 0 for no limit"
    )
    client_burst: int = Field(default=100, ge=1, description="requests that one client may send at once")
    max_request_bytes: int = Field(default=MIB, ge=1024, description="arguments of one call at most")
    max_response_bytes: int = Field(default=MIB, ge=1024, description="answer of one call at most")
    tool_timeout_s: float = Field(
        default=120.0,
        gt=0,
        description="time that a tool may take without progress and without waiting for something that has a limit of its own",
    )
    tool_ceiling_s: float = Field(default=3600.0, gt=0, description="time that a tool may take in all")
