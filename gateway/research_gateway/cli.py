"""`research-assistant`: the gateway, its demonstration and its audit tools."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from research_shared.serving.commandline import RootOption, add_serve, load_settings
from research_shared.serving.version import VERSION

if TYPE_CHECKING:
    from fastmcp import FastMCP

    from research_shared.settings import Settings

app = App(
    name="research-assistant",
    help="A research folder for any MCP client, behind one endpoint.",
    help_format="plaintext",  # the libraries that render Markdown take longer to load than all the rest
    version=VERSION,
)

app.command("research_gateway.audit.check.cli:audit_app", name="audit", help="Check and read audit logs.")


def _gateway(settings: "Settings") -> "FastMCP[Any]":
    from research_gateway.app import build_gateway

    return build_gateway(settings)


add_serve(
    app, build=_gateway, text="Serve all tools over stdio or Streamable HTTP (at /mcp, health at /healthz)."
)


@app.command
def demo(
    *,
    root: RootOption = None,
    question: Annotated[str | None, Parameter(help="What to synthesize an answer to.")] = None,
) -> None:
    """Show a listing, a search, a summary and a synthesis, through a real client over HTTP on this machine.

    Without --root it uses sample documents that come with the package.
    """
    from research_gateway.demo import DEFAULT_QUESTION, SAMPLES, run_demo

    roots = root or [f"samples={SAMPLES}"]
    run_demo(load_settings(roots), question=question or DEFAULT_QUESTION, samples=root is None)


def main() -> None:
    """Entry point of the `research-assistant` command."""
    app()
