"""`research-assistant upstreams …`: show and accept tools of foreign servers that have changed. Exit status 0, or 2."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from research_shared.base_errors import ConfigurationError

if TYPE_CHECKING:
    from research_shared.settings import Settings

upstreams_app = App(
    name="upstreams",
    help="Show and accept changed tools of foreign servers. They are remembered in the file of RESEARCH_MCP_PINS.",
)


@upstreams_app.command
def held() -> int:
    """List the tools that are held back, because they have changed since they were accepted."""
    return _report_pins(None, [])


@upstreams_app.command
def accept(
    server: Annotated[str, Parameter(help="The server's name in the mcpServers file.")],
    tools: Annotated[
        list[str] | None, Parameter(help="Names of tools; all that are held back if none.")
    ] = None,
) -> int:
    """Accept the present form of the tools of a server. A running gateway offers them within seconds."""
    return _report_pins(server, tools or [])


def _report_pins(server: str | None, tools: list[str]) -> int:
    from research_gateway.upstreams.offers.pins import ToolPins
    from research_shared.settings import Settings

    settings = None
    try:
        settings = Settings.load()
        pins = ToolPins(_file_of(settings))
        pins.check()
        if server is None:
            lines = [f"{name}: {', '.join(names)}" for name, names in pins.held().items()]
        else:
            lines = [f"accepted: {name}" for name in pins.accept(server, frozenset(tools))]
    except ConfigurationError as error:
        message = error.message if settings is None else settings.origins.as_written(error.message)
        print(f"research-assistant upstreams: {message}", file=sys.stderr)  # noqa: T201  (the command's own voice)
        return 2
    print("\n".join(lines) or "nothing is held back")  # noqa: T201
    return 0


def _file_of(settings: "Settings") -> Path:
    if settings.mcp_pins is None:
        raise ConfigurationError("set RESEARCH_MCP_PINS to the file of the pinned tools")
    return settings.mcp_pins
