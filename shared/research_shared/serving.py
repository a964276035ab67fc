"""How a server is run from the command line: its options, its transports, its health check."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from fastmcp import FastMCP
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from research_shared.errors import ConfigurationError
from research_shared.logs import configure_logging
from research_shared.settings import Settings, parse_roots

RootOption = Annotated[
    list[str] | None,
    Parameter(
        name="--root", negative="", help="A research folder, optionally name=/dir; repeat it for several."
    ),
]
TransportOption = Annotated[
    Literal["stdio", "http"], Parameter(name="--transport", help="How clients connect.")
]
HostOption = Annotated[str, Parameter(name="--host", help="Address to listen on (http).")]
PortOption = Annotated[int, Parameter(name="--port", help="Port to listen on (http); 0 picks a free one.")]

MCP_PATH = "/mcp"
HEALTH_PATH = "/healthz"


def load_settings(roots: list[str] | None = None, **overrides: Any) -> Settings:
    """The settings of the environment with the command line's on top.

    Ends the process with one line on stderr and status 2 when a value is wrong or a folder is missing.
    """
    try:
        if roots:
            overrides["roots"] = tuple(root for given in roots for root in _as_roots(given))
        settings = Settings.load(**overrides)
        check_roots(settings)
    except ConfigurationError as error:
        sys.exit(_fail(error.message))
    return settings


def _as_roots(given: str) -> tuple[Any, ...]:
    parsed = parse_roots(given)
    return parsed if isinstance(parsed, tuple) else ()


def check_roots(settings: Settings) -> None:
    """Refuse to start without the research folders.

    Raises:
        ConfigurationError: names the first folder that is not there.
    """
    for root in settings.roots:
        if not Path(root.directory).is_dir():
            raise ConfigurationError(
                f"RESEARCH_ROOTS: {root.directory} is not a directory: create it, or name another with --root DIR"
            )


def _fail(message: str) -> int:
    print(f"research-assistant: {message}", file=sys.stderr)  # noqa: T201  (the command line's own voice)
    return 2


def add_health(server: FastMCP[Any]) -> None:
    """Answer `GET /healthz` with 200 as long as the process serves requests."""

    @server.custom_route(HEALTH_PATH, methods=["GET"], include_in_schema=False)
    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "server": server.name})


def serve(
    build: Callable[[Settings], FastMCP[Any]],
    settings: Settings,
    *,
    transport: Literal["stdio", "http"] = "stdio",
    host: str = "127.0.0.1",
    port: int = 8000,
) -> None:
    """Run a server until it is told to stop: over stdio, or as Streamable HTTP at `/mcp`."""
    configure_logging(settings.log_level)
    try:
        server = build(settings)
    except ConfigurationError as error:
        sys.exit(_fail(error.message))
    if transport == "stdio":
        asyncio.run(server.run_stdio_async(show_banner=False))
        return
    add_health(server)
    asyncio.run(
        server.run_http_async(
            show_banner=False, host=host, port=port, path=MCP_PATH, uvicorn_config={"log_config": None}
        )
    )
