"""The configurations of MCP clients on this machine."""

import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from research_gateway.cli import clients
from research_gateway.cli.doctor.finding import Finding
from research_shared.base_errors import ConfigurationError
from research_shared.serving.commandline import as_roots


def client_findings() -> Iterator[Finding]:
    """Yield how each client with this server starts it, and a warning when there is none."""
    found = False
    for client, name, entry in clients.entries():
        found = True
        if isinstance(entry, ConfigurationError):
            yield Finding(
                about=client.title, status="warning", text=entry.message, remedy="Look at the file by hand."
            )
        elif not Path(entry["command"]).is_absolute():
            yield Finding(
                about=client.title,
                status="warning",
                text=f"the server {name} is started as {entry['command']}, which needs the client's PATH",
                remedy=f"Write {clients.server_command()} in {client.path}.",
            )
        elif not os.access(entry["command"], os.X_OK):
            yield Finding(
                about=client.title,
                status="problem",
                text=f"the server {name} is started as {entry['command']}, which is no program",
                remedy=f"Write {clients.server_command()} in {client.path}.",
            )
        elif (missing := _missing_root(entry)) is not None:
            yield Finding(
                about=client.title,
                status="problem",
                text=f"the server {name} is started with --root {missing}, which is not a directory",
                remedy=f"Create it, or name another: {_install_again(client, name)} --root DIR --replace",
            )
        else:
            yield Finding(about=client.title, status="ok", text=f"starts {entry['command']} as {name}")
    if not found:
        yield Finding(
            about="clients",
            status="warning",
            text="no client on this machine has this server in its configuration",
            remedy=f"research-assistant install {' | '.join(clients.CLIENTS)}",
        )


def roots_of(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the directories that an entry of a client's configuration names with `--root`.

    >>> [*roots_of({"args": ["serve", "--root", "a=/srv/a", "--root=/srv/b", "--index", "auto"]})]
    ['/srv/a', '/srv/b']

    Raises:
        ConfigurationError: an option names no directory.
    """
    arguments = entry.get("args")
    given = [each for each in arguments if isinstance(each, str)] if isinstance(arguments, list) else []
    for argument, following in pairwise([*given, ""]):
        option, joined, value = argument.partition("=")
        value = value if joined else following
        if option == "--root" and (not value or _stands_alone(value)):
            yield from (str(root.directory) for root in as_roots(value))


def _stands_alone(root: str) -> bool:
    """Return whether a `--root` means the same to this process as to the client, which fills in variables and has its own directory."""
    directory = Path(root.partition("=")[2] or root).expanduser()
    return directory.is_absolute() and "$" not in root


def _missing_root(entry: Mapping[str, Any]) -> str | None:
    try:
        return next((root for root in roots_of(entry) if not Path(root).is_dir()), None)
    except ConfigurationError as error:
        return error.message.removeprefix("--root ")


def _install_again(client: clients.ClientFile, name: str) -> str:
    key = next(key for key, each in clients.CLIENTS.items() if each is client)
    return f"research-assistant install {key} --name {name}"
