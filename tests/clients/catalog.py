"""The clients, what each of them shows to its caller, and what it cannot do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any, Literal

from clients.install import NODE, python, version_of

DRIVERS = Path(__file__).parent / "drivers"
TRANSPORTS = ("stdio", "http")
LEGACY = "2025-11-25"
MODERN = "2026-07-28"

GivenUp = Literal["at once", "at close", "runs on"]
"""When the server learns that a call was cancelled: at once, when the connection is closed, or not at all."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client as a row of the table."""

    name: str
    environment: str
    """Where it is installed."""
    driver: str
    protocol: str
    """The revision that it negotiates with this server."""
    shows: frozenset[str] = frozenset({"text", "structured"})
    """What of a result it gives to its caller."""
    errors: Literal["result", "message"] = "result"
    """Whether a failed call gives its caller the whole result or the text of it."""
    given_up: Mapping[str, GivenUp] = field(default_factory=dict)
    """By transport, what the server learns of a call that is cancelled, where it is not told at once."""
    options: Callable[[Path], Mapping[str, Any]] = field(default=lambda _installed: {})
    """What its driver needs to know besides the server, from the directory where clients are installed."""

    @property
    def version(self) -> str:
        return version_of(self.environment)

    def command(self, installed: Path) -> list[str]:
        """How its driver is started, but for the target."""
        driver = str(DRIVERS / self.driver)
        if self.driver.endswith(".mjs"):
            return [node(), driver, str(installed / self.environment)]
        if self.environment in NODE:  # a command line of Node.js, driven from Python
            return ["python3", driver]
        return [str(python(installed, self.environment)), driver]


def node() -> str:
    """The interpreter of the system."""
    found = which("node")
    if found is None:
        raise FileNotFoundError("node is not installed")
    return found


def inspector_0(installed: Path) -> Mapping[str, Any]:
    build = installed / "inspector-0/node_modules/@modelcontextprotocol/inspector-cli/build"
    # It looks for its package.json from the working directory.
    return {"cli": [node(), str(build / "cli.js")], "directory": str(build), "release": 0}


def inspector_2(mode: str) -> Callable[[Path], Mapping[str, Any]]:
    def options(installed: Path) -> Mapping[str, Any]:
        home = installed / "inspector-2"
        program = home / "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
        interpreter = home / "node_modules/.bin/node"
        return {"cli": [str(interpreter), str(program)], "directory": str(home), "release": 2, "mode": mode}

    return options


SILENT: Mapping[str, GivenUp] = {"stdio": "at close", "http": "at close"}
"""The SDK 1.x for Python sends nothing when a call's task is cancelled; the end of its session cancels the call."""
KILLED: Mapping[str, GivenUp] = {"http": "runs on"}
"""Over stdio the server ends with the Inspector. Over HTTP nothing is heard of it any more, as if a network had failed; in
2026-07-28 it has the call become a task, which goes on without it."""

CLIENTS = (
    Client(name="TypeScript SDK", environment="typescript-1", driver="typescript_sdk_1.mjs", protocol=LEGACY),
    Client(name="TypeScript SDK", environment="typescript-2", driver="typescript_sdk_2.mjs", protocol=LEGACY),
    Client(
        name="TypeScript SDK, auto",
        environment="typescript-2",
        driver="typescript_sdk_2.mjs",
        protocol=MODERN,
        options=lambda _installed: {"mode": "auto"},
    ),
    Client(
        name="Inspector CLI",
        environment="inspector-0",
        driver="inspector.py",
        protocol=LEGACY,
        options=inspector_0,
        given_up=KILLED,
    ),
    Client(
        name="Inspector CLI",
        environment="inspector-2",
        driver="inspector.py",
        protocol=LEGACY,
        options=inspector_2("legacy"),
        given_up=KILLED,
    ),
    Client(
        name="Inspector CLI, auto",
        environment="inspector-2",
        driver="inspector.py",
        protocol=MODERN,
        options=inspector_2("auto"),
        given_up=KILLED,
    ),
    Client(
        name="Python mcp",
        environment="mcp-1",
        driver="mcp_sdk_1.py",
        protocol=LEGACY,
        given_up=SILENT,
    ),
    Client(
        name="FastMCP",
        environment="fastmcp-3",
        driver="fastmcp_3.py",
        protocol=LEGACY,
        errors="message",
        given_up=SILENT,
    ),
    Client(
        name="langchain-mcp-adapters",
        environment="langchain",
        driver="langchain_mcp.py",
        protocol=LEGACY,
        errors="message",
        given_up=SILENT,
    ),
    Client(
        name="pydantic-ai",
        environment="pydantic-ai",
        driver="pydantic_ai_mcp.py",
        protocol=MODERN,
        shows=frozenset({"structured"}),
        errors="message",
    ),
    Client(
        name="openai-agents",
        environment="openai-agents",
        driver="openai_agents_mcp.py",
        protocol=MODERN,
    ),
)
