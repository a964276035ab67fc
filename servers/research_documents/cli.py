"""`research-documents`: the documents server on its own."""

from cyclopts import App

from research_documents.server import build_documents_server
from research_shared.serving import VERSION, add_serve

app = App(
    name="research-documents",
    help="List, search and read a research folder from any MCP client.",
    version=VERSION,
)


add_serve(
    app,
    build_documents_server,
    "Serve the documents tools over stdio or Streamable HTTP (at /mcp, health at /healthz).",
)


def main() -> None:
    """Entry point of the `research-documents` command."""
    app()
