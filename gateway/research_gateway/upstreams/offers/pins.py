"""Remembers the tools of foreign servers as they were first seen, so that a change is noticed."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from research_shared.base_errors import ConfigurationError

if TYPE_CHECKING:
    import mcp_types

_PINNED = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")


class _Pin(BaseModel):
    """Digest of the accepted form of a tool, and of the form that was last seen if it is another one."""

    model_config = ConfigDict(extra="forbid")

    accepted: str
    seen: str | None = None


class _Pinned(BaseModel):
    """Content of a pin file: the pins of the tools of each server, by namespace and name."""

    model_config = ConfigDict(extra="forbid")

    servers: dict[str, dict[str, _Pin]] = Field(default_factory=dict)


def digest_of_tool(tool: "mcp_types.Tool") -> str:
    """Return the digest of what a model is told about a tool: name, title, description, schemas and annotations."""
    told = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    pinned = {key: told[key] for key in _PINNED if key in told}
    text = json.dumps(pinned, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


class ToolPins:
    """The pins of all foreign servers, in a file that gateways and the operator share, or in memory.

    Without a file, a change is accepted by starting the gateway again.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._memory = _Pinned()

    def check(self) -> None:
        """Read the file once, at the start.

        Raises:
            ConfigurationError: the file or its directory cannot be used, or it is not a pin file.
        """
        if self._path is None:
            return
        try:
            with self._locked() as pinned:
                self._memory = pinned
        except OSError as error:
            raise ConfigurationError(f"RESEARCH_MCP_PINS={str(self._path)!r}: {error.strerror}") from error
        except ValidationError as error:
            raise ConfigurationError(
                f"RESEARCH_MCP_PINS={str(self._path)!r}: it is not a file of pinned tools"
            ) from error

    def changed(self, server: str, digests: Mapping[str, str]) -> frozenset[str]:
        """Pin the tools that were never seen before. Return the names of those that have changed since.

        `digests` are those of the tools that the server offers, by name.

        Raises:
            OSError: the file cannot be read or written.
            ValidationError: it is not a pin file any more.
        """
        with self._locked() as pinned:
            pins = pinned.servers.setdefault(server, {})
            for name, digest in digests.items():
                pin = pins.setdefault(name, _Pin(accepted=digest))
                pin.seen = digest if digest != pin.accepted else None
            return frozenset(name for name in digests if pins[name].seen is not None)

    def accept(self, server: str, tools: frozenset[str] = frozenset()) -> list[str]:
        """Accept the last seen form of the named tools of a server, of all if none is named. Return what was accepted.

        Raises:
            OSError: the file cannot be read or written.
            ValidationError: it is not a pin file.
        """
        accepted = []
        with self._locked() as pinned:
            for name, pin in pinned.servers.get(server, {}).items():
                if pin.seen is not None and (not tools or name in tools):
                    pin.accepted, pin.seen = pin.seen, None
                    accepted.append(name)
        return sorted(accepted)

    def held(self) -> dict[str, list[str]]:
        """Return the names of the tools that have changed, by server."""
        with self._locked() as pinned:
            return {
                server: names
                for server, pins in pinned.servers.items()
                if (names := sorted(name for name, pin in pins.items() if pin.seen is not None))
            }

    @contextmanager
    def _locked(self) -> Iterator[_Pinned]:
        """Yield the pins, and write them when the block changed them. Other processes wait for the lock."""
        if self._path is None:
            yield self._memory
            return
        fd = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            before = _content_of(self._path)
            pinned = _Pinned.model_validate_json(before) if before else _Pinned()
            yield pinned
            after = pinned.model_dump_json(indent=2, exclude_none=True).encode()
            if after != before:
                new = self._path.with_name(self._path.name + ".new")
                new.write_bytes(after)
                new.replace(self._path)
        finally:
            os.close(fd)


def _content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
