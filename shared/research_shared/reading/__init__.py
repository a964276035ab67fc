"""Reading documents: the library, its cache and its limits."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.reading.library import Library, Stats
    from research_shared.reading.limits import Limits

__all__ = ["Library", "Limits", "Stats"]

_HOMES = {
    "Library": "library",
    "Limits": "limits",
    "Stats": "library",
}
__getattr__ = lazy_exports(__name__, _HOMES)
