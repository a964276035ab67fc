"""Run a server from the command line, over one transport, in one process or several."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from fastmcp import FastMCP

from research_shared.logs import configure_logging
from research_shared.serving.drain import Drain
from research_shared.serving.fleet.share import share_of_worker
from research_shared.serving.process import traces_exported
from research_shared.serving.transports.http import build_for_http, check_address, http_server, run_http
from research_shared.serving.transports.stdio import run_stdio
from research_shared.settings import Settings


def serve(
    build: Callable[[Settings], FastMCP[Any]],
    settings: Settings,
    *,
    transport: Literal["stdio", "http"] = "stdio",
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
) -> None:
    """Run a server until it is asked to stop: over stdio, or as Streamable HTTP at `/mcp`, there by so many processes.

    Raises:
        ConfigurationError: the server cannot be built, started or exposed as the settings say.
        SystemExit: the status of several processes that did not all stop in order, and of each of them.
    """
    configure_logging(settings.log_level, form=settings.log_format)
    if transport == "stdio":
        server, drain = build(settings), Drain()
        server.add_middleware(drain)
        with traces_exported(settings, server.name):
            asyncio.run(run_stdio(server, drain=drain, settings=settings))
        return
    settings = share_of_worker(settings, workers)
    server, drain = build_for_http(build, settings, host)
    check_address(host, port)
    if workers == 1:
        with traces_exported(settings, server.name):
            asyncio.run(run_http(http_server(server, settings, drain, host=host, port=port), settings))
        return
    # Built for its checks, and for what it imports. Each process builds its own: no two may draw the same ids.
    del server, drain
    from research_shared.serving.fleet.workers import run_workers

    run_workers(build, settings, host=host, port=port, workers=workers)
