"""Several processes that serve at one address: their supervisor, the affinity of sessions, and their common metrics."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.serving.fleet.door import FleetDoor
    from research_shared.serving.fleet.place import Place
    from research_shared.serving.fleet.share import share_of_worker
    from research_shared.serving.fleet.supervisor import Supervisor

__all__ = ["FleetDoor", "Place", "Supervisor", "share_of_worker"]

_HOMES = {
    "FleetDoor": "door",
    "Place": "place",
    "Supervisor": "supervisor",
    "share_of_worker": "share",
}
__getattr__ = lazy_exports(__name__, _HOMES)
