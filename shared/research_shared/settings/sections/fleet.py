"""Settings of a server behind a balancer, and of one of several processes."""

from ipaddress import ip_network
from typing import Literal

from pydantic import Field, field_validator

from research_shared.settings.field_types import Names
from research_shared.settings.sections.section import Section


class FleetSettings(Section):
    """Sessions, the proxy in front, and how the server leaves its balancer."""

    sessions: Literal["memory", "none"] = Field(
        default="memory",
        description="`none` keeps no sessions for clients of earlier protocol versions: any replica serves any of their "
        "requests, but the server can ask them nothing, so that their models are not used",
    )
    replica: str = Field(
        default="",
        pattern=r"^([a-z0-9][a-z0-9-]{0,30})?$",
        description="name of this replica, with which the ids of its sessions begin (`a.…`), so that a balancer can tell them",
    )
    trusted_proxies: Names = Field(
        default=(),
        description="addresses and networks of proxies, such as `10.0.0.0/8`: theirs are the only `X-Forwarded-For` and "
        "`X-Forwarded-Proto` that are believed",
    )
    keep_alive_s: float = Field(
        default=5.0,
        ge=1,
        description="time after which a connection without a request is closed; more than the proxy in front allows itself",
    )
    drain_notice_s: float = Field(
        default=0.0,
        ge=0,
        description="time between `/readyz` turning 503 and the first refused call, in which a balancer that polls it sends "
        "its calls elsewhere",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            try:
                ip_network(entry)
            except ValueError:
                raise ValueError(f"IP addresses and networks; {entry!r} is neither") from None
        return entries
