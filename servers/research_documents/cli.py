"""`research-documents`: the documents server on its own."""

from cyclopts import App

from research_documents.server import build_documents_server
from research_shared.serving import (
    VERSION,
    HostOption,
    PortOption,
    RootOption,
    TransportOption,
    load_settings,
)
from research_shared.serving import serve as run_server

app = App(
    name="research-documents",
    help="List, search and read a research folder from any MCP client.",
    version=VERSION,
)


@app.command
def serve(
    *,
    root: RootOption = None,
    transport: TransportOption = "stdio",
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
) -> None:
    """Serve the documents tools over stdio or Streamable HTTP (at /mcp, health at /healthz)."""
    run_server(build_documents_server, load_settings(root), transport=transport, host=host, port=port)


def main() -> None:
    """Entry point of the `research-documents` command."""
    app()
