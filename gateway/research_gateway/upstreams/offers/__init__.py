"""What an upstream may offer: its names, its texts, how much, and whether that has changed."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_gateway.upstreams.offers.foreign import ForeignOffers
    from research_gateway.upstreams.offers.listings import ListLimits
    from research_gateway.upstreams.offers.names import namespace_problem
    from research_gateway.upstreams.offers.pins import ToolPins

__all__ = ["ForeignOffers", "ListLimits", "ToolPins", "namespace_problem"]

_HOMES = {
    "ForeignOffers": "foreign",
    "ListLimits": "listings",
    "ToolPins": "pins",
    "namespace_problem": "names",
}
__getattr__ = lazy_exports(__name__, _HOMES)
