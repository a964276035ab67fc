"""Configuration files of MCP clients on this machine: where they are, and how a server is added to one and taken out.

Paths and shapes are those of each client's documentation; `docs/clients.md` names them.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from research_shared.base_errors import ConfigurationError

COMMANDS = frozenset({"research-assistant", "research-assistant-mcp", "research-documents"})
"""The commands of this distribution."""
ClientName = Literal["claude-desktop", "claude-code", "cursor", "vscode", "gemini-cli"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFile:
    """A client's configuration file. `key` is the member that holds its servers; `extra` is added to an entry."""

    title: str
    locate: Callable[[Path], Path]
    key: str = "mcpServers"
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where the file is, or would be."""
        return self.locate(Path.home())


def _application_data(home: Path) -> Path:
    if sys.platform == "darwin":
        return home / "Library" / "Application Support"
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")


CLIENTS: Mapping[ClientName, ClientFile] = {
    "claude-desktop": ClientFile(
        title="Claude Desktop",
        locate=lambda home: _application_data(home) / "Claude" / "claude_desktop_config.json",
    ),
    "claude-code": ClientFile(
        title="Claude Code", locate=lambda home: home / ".claude.json", extra={"type": "stdio"}
    ),
    "cursor": ClientFile(title="Cursor", locate=lambda home: home / ".cursor" / "mcp.json"),
    "vscode": ClientFile(
        title="VS Code",
        locate=lambda home: _application_data(home) / "Code" / "User" / "mcp.json",
        key="servers",
        extra={"type": "stdio"},
    ),
    "gemini-cli": ClientFile(title="Gemini CLI", locate=lambda home: home / ".gemini" / "settings.json"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A configuration file before and after a change; `before` is None when there was no file."""

    path: Path
    before: str | None
    after: str

    def write(self) -> None:
        """Replace the file in one step. Its permissions stay; a new one is for its owner alone, as it may hold keys.

        Raises:
            OSError: it cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        target = self.path.resolve()  # a link stays a link
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self.after)
            Path(temporary).chmod(mode)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def server_command() -> str:
    """Return the absolute path of this command, as a client without a shell's PATH needs it."""
    beside = Path(sys.executable).parent / "research-assistant"
    return str(beside if beside.exists() else Path(sys.argv[0]).absolute())


def added(client: ClientFile, *, name: str, entry: Mapping[str, Any], replace: bool) -> Change:
    """Return the change that adds a server to a client.

    Raises:
        ConfigurationError: the file cannot be read as JSON, or has another server of this name and `replace` is false.
    """
    before, content = _read_file(client)
    servers = _servers(client, content)
    entry = {**client.extra, **entry}
    if name in servers and servers[name] != entry and not replace:
        raise ConfigurationError(
            f"{client.path} has another server named {name}: give --name, or --replace to replace it"
        )
    servers[name] = entry
    return Change(
        path=client.path, before=before, after=json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    )


def removed(client: ClientFile, *, name: str) -> Change:
    """Return the change that takes a server out of a client.

    Raises:
        ConfigurationError: the file cannot be read as JSON, or has no server of this name that starts this command.
    """
    before, content = _read_file(client)
    servers = _servers(client, content)
    if name not in servers:
        raise ConfigurationError(f"{client.path} has no server named {name}")
    if not is_ours(servers[name]):
        raise ConfigurationError(f"the server named {name} in {client.path} is another one, and stays")
    del servers[name]
    return Change(
        path=client.path, before=before, after=json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    )


def is_ours(entry: object) -> bool:
    """Return whether an entry starts one of this project's commands."""
    command = entry.get("command") if isinstance(entry, dict) else None
    return isinstance(command, str) and Path(command).name in COMMANDS


def configured(client: ClientFile) -> dict[str, dict[str, Any]]:
    """Return the servers of a client that start one of this project's commands, by name.

    Raises:
        ConfigurationError: the file cannot be read as JSON.
    """
    return {name: entry for name, entry in _servers(client, _read_file(client)[1]).items() if is_ours(entry)}


def _read_file(client: ClientFile) -> tuple[str | None, dict[str, Any]]:
    try:
        text = client.path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{client.path} cannot be read: {error}") from error
    if not text.strip():
        return text, {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{client.path} is not plain JSON ({error}); add the server by hand: research-assistant install mcp-json"
        ) from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{client.path} is no JSON object")
    return text, content


def _servers(client: ClientFile, content: dict[str, Any]) -> dict[str, Any]:
    servers = content.setdefault(client.key, {})
    if not isinstance(servers, dict):
        raise ConfigurationError(f"{client.key} in {client.path} is no JSON object")
    return servers


def entries() -> Iterator[tuple[ClientFile, str, dict[str, Any] | ConfigurationError]]:
    """Yield each server of ours in a client's file with its name; for a file that cannot be read, the reason."""
    for client in CLIENTS.values():
        if not client.path.exists():
            continue
        try:
            for name, entry in configured(client).items():
                yield client, name, entry
        except ConfigurationError as error:
            yield client, "", error
