"""How a server talks to its clients: standard input and output, or Streamable HTTP that is kept alive and drained."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.serving.transports.draining import DrainingServer
    from research_shared.serving.transports.http import http_server
    from research_shared.serving.transports.keep_alive import KeepAlive
    from research_shared.serving.transports.stdio import run_stdio

__all__ = ["DrainingServer", "KeepAlive", "http_server", "run_stdio"]

_HOMES = {
    "DrainingServer": "draining",
    "KeepAlive": "keep_alive",
    "http_server": "http",
    "run_stdio": "stdio",
}
__getattr__ = lazy_exports(__name__, _HOMES)
