"""The commands of `research-assistant`, and where each is defined.

Importing this takes 0.1 s: `--help` and `--version` need no server. A command is imported when it runs.
"""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from research_shared.serving.commandline import RootOption, add_serve, load_settings, refuse_windows
from research_shared.serving.version import VERSION

if TYPE_CHECKING:
    from fastmcp import FastMCP

    from research_shared.settings import Settings

app = App(
    name="research-assistant",
    help="A research folder for any MCP client, behind one endpoint; the same tools from the shell.",
    help_format="plaintext",  # the libraries that render Markdown take longer to load than all the rest
    version=VERSION,
)

_COMMANDS = (
    ("list", "research_gateway.cli.tools:list_command", "List the documents."),
    ("search", "research_gateway.cli.tools:search_command", "Find where something is said."),
    ("read", "research_gateway.cli.tools:read_command", "Read a document, or one page of it."),
    (
        "ask",
        "research_gateway.cli.tools:ask_command",
        "Answer a question from the folder or from documents, with quotes that were checked.",
    ),
    ("summarize", "research_gateway.cli.tools:summarize_command", "Summarize one document."),
    (
        "verify-quotes",
        "research_gateway.cli.tools:verify_quotes_command",
        "Check whether documents hold quotes word for word.",
    ),
    (
        "doctor",
        "research_gateway.cli.doctor:doctor_command",
        "Look for what keeps the server from working, with remedies.",
    ),
    (
        "config",
        "research_gateway.cli.config:config_command",
        "Show the settings in effect, and where each comes from.",
    ),
    (
        "install",
        "research_gateway.cli.install:install_command",
        "Add the server to an MCP client on this machine.",
    ),
    (
        "worker",
        "research_gateway.cli.worker:worker_command",
        "Work on tasks that gateways keep on a Redis or Valkey server.",
    ),
)
for _name, _where, _help in _COMMANDS:
    app.command(_where, name=_name, help=_help)
app.command("research_gateway.audit.check.cli:audit_app", name="audit", help="Check and read audit logs.")
app.command(
    "research_gateway.scope.check:policy_app",
    name="policy",
    help="Check who may see which folders and call which tools.",
)
app.command(
    "research_gateway.cli.index:index_app",
    name="index",
    help="Feed the index on an OpenSearch cluster (RESEARCH_SEARCH_URL), and show what is there.",
)
app.register_install_completion_command(help="Complete commands and options in your shell.")

app.command(
    "research_gateway.upstreams.offers.cli:upstreams_app",
    name="upstreams",
    help="Show and accept changed tools of foreign servers.",
)


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
    refuse_windows()
    app()
