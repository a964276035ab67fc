"""A provider's model over HTTP: its client, the wire formats, and what is known about each kind of server."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_reasoning.models.provider.client import Provider

__all__ = ["Provider"]

_HOMES = {"Provider": "client"}
__getattr__ = lazy_exports(__name__, _HOMES)
