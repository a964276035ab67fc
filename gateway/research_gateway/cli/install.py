"""`research-assistant install CLIENT`: add the server to an MCP client on this machine, and take it out again."""

import difflib
import json
import re
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.text import Text

from research_gateway.audit.request.redaction import without_credentials
from research_gateway.cli import show
from research_gateway.cli.clients import CLIENTS, Change, ClientName, added, removed, server_command
from research_shared.base_errors import ConfigurationError
from research_shared.serving.commandline import RootOption, load_settings, report_failure
from research_shared.text.visible import terminal_safe

_SECRET_MEMBERS = frozenset({"env", "headers", "inputs"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def install_command(
    client: Annotated[
        ClientName | Literal["mcp-json"], Parameter(help="The client; mcp-json prints the entry.")
    ],
    /,
    *,
    root: RootOption = None,
    name: Annotated[str, Parameter(help="What the client calls the server.")] = "research",
    env: Annotated[
        list[str] | None,
        Parameter(negative="", help="A setting for the server, RESEARCH_X=value; repeat it for several."),
    ] = None,
    replace: Annotated[bool, Parameter(negative="", help="Replace another server of this name.")] = False,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Show what would change, and change nothing.")
    ] = False,
    undo: Annotated[bool, Parameter(negative="", help="Take the server out again.")] = False,
) -> int:
    """Add the server to an MCP client on this machine.

    The client starts it by its absolute path, over the folders of --root or RESEARCH_ROOTS, with an index that is kept.
    """
    if not _SERVER_NAME.fullmatch(name):
        return report_failure(f"--name {name}: allowed: letters, digits, - and _")
    try:
        variables = _variables(env or [])
        if client == "mcp-json":
            show.print_json({"mcpServers": {name: _server_entry(root, variables)}})
            return 0
        file = CLIENTS[client]
        if undo:
            change = removed(file, name=name)
        else:
            change = added(file, name=name, entry=_server_entry(root, variables), replace=replace)
        _tell(change, dry_run=dry_run)
        if not dry_run and change.after != change.before:
            change.write()
            show.console().print(Text(f"Start {file.title} again to see the change.", style="dim"))
    except ConfigurationError as error:
        return report_failure(error.message)
    except OSError as error:
        return report_failure(f"{error.filename}: {error.strerror}")
    return 0


def _variables(given: list[str]) -> dict[str, str]:
    for each in given:
        if not _VARIABLE.fullmatch(each):
            raise ConfigurationError(f"--env {each.partition('=')[0]}: allowed: NAME=value")
    return {name: value for name, _, value in (each.partition("=") for each in given)}


def _server_entry(root: list[str] | None, variables: dict[str, str]) -> dict[str, Any]:
    settings = load_settings(root)
    roots = [
        part
        for each in settings.roots
        for part in (
            "--root",
            str(each.directory) if len(settings.roots) == 1 else f"{each.name}={each.directory}",
        )
    ]
    kept = settings.index_dir is not None or "RESEARCH_INDEX_DIR" in variables
    index = [] if kept else ["--index", "auto"]
    entry: dict[str, Any] = {"command": server_command(), "args": ["serve", *roots, *index]}
    return entry | ({"env": variables} if variables else {})


def _tell(change: Change, *, dry_run: bool) -> None:
    """Show what a change makes of a file's servers. Variables, headers and what looks like a credential are not shown."""
    if change.after == change.before:
        show.console().print(Text(f"{change.path} has it already"))
        return
    before, after = ([] if text is None else _public_lines(text) for text in (change.before, change.after))
    verb = "would change" if dry_run else "changes"
    out = show.console()
    out.print(Text(f"{change.path} {verb}:" if change.before is not None else f"{change.path} (new):"))
    for line in list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]:
        if line.startswith("@@"):  # positions in a file that nobody has open
            continue
        colours = {"+": "green", "-": "red"}
        out.print(Text(terminal_safe(line), style=colours.get(line[:1], "")))


def _public_lines(text: str) -> list[str]:
    """Return the lines of a configuration file as this command writes it, without what may be a secret."""
    content = json.loads(text) if text.strip() else {}
    return json.dumps(_without_values(content), ensure_ascii=False, indent=2).splitlines()


def _without_values(value: Any, *, secret: bool = False) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_values(each, secret=secret or name.lower() in _SECRET_MEMBERS)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_without_values(each, secret=secret) for each in value]
    if isinstance(value, str):
        return "…" if secret else without_credentials(value)
    return value
