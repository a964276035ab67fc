"""How a server runs: transports, authentication, draining, keep-alive, web clients and its identity."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.serving.auth import auth_provider, check_exposure
    from research_shared.serving.drain import Drain
    from research_shared.serving.identity import new_server
    from research_shared.serving.run import serve
    from research_shared.serving.transports.http import http_server

__all__ = ["Drain", "auth_provider", "check_exposure", "http_server", "new_server", "serve"]

_HOMES = {
    "Drain": "drain",
    "auth_provider": "auth",
    "check_exposure": "auth",
    "http_server": "transports.http",
    "new_server": "identity",
    "serve": "run",
}
__getattr__ = lazy_exports(__name__, _HOMES)
