"""How a client finds out where to log in: the identity provider itself, or a login that this server passes on to it."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.serving.login.discovery import discover
    from research_shared.serving.login.pointers import pointing_resource
    from research_shared.serving.login.providers import login_provider
    from research_shared.serving.login.store import login_store, open_to_others

__all__ = ["discover", "login_provider", "login_store", "open_to_others", "pointing_resource"]

_HOMES = {
    "discover": "discovery",
    "login_provider": "providers",
    "login_store": "store",
    "open_to_others": "store",
    "pointing_resource": "pointers",
}
__getattr__ = lazy_exports(__name__, _HOMES)
