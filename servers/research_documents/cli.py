"""`research-documents`: the documents server on its own."""

from typing import TYPE_CHECKING, Any

from cyclopts import App

from research_shared.serving.commandline import add_serve, refuse_windows
from research_shared.serving.version import VERSION

if TYPE_CHECKING:
    from fastmcp import FastMCP

    from research_shared.settings import Settings

app = App(
    name="research-documents",
    help="List, search and read a research folder from any MCP client.",
    help_format="plaintext",  # the libraries that render Markdown take longer to load than all the rest
    version=VERSION,
)


def _documents_server(settings: "Settings") -> "FastMCP[Any]":
    from research_documents.server import build_standalone_server

    return build_standalone_server(settings)


add_serve(
    app,
    build=_documents_server,
    text="Serve the documents tools over stdio or Streamable HTTP (at /mcp, health at /healthz, readiness at /readyz).",
)


def main() -> None:
    """Entry point of the `research-documents` command."""
    refuse_windows()
    app()
