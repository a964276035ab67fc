"""The command line of the MCP Inspector: one process a call, and with a stdio target one server a call.

In the target, `"cli"` is the command that starts it, `"directory"` where it is started, `"release"` its major version
and `"mode"` the era that 2.x negotiates. A caller sees what it prints: the result as JSON, or the message with which it
fails. It is cancelled as a person does it, by an interrupt from the keyboard.
"""

import asyncio
import json
import signal
import subprocess
from typing import Any

from conversation import converse, shown_json, target

CONNECTING_MS = 60_000


class Failed(Exception):
    """The Inspector ended without a result."""


def command(to: dict[str, Any], method: str, *options: str) -> list[str]:
    """A command line for one request: the server in the middle, since a stdio server has options of its own."""
    own = [part for name, value in to.get("environment", {}).items() for part in ("-e", f"{name}={value}")]
    where = [to["url"], "--transport", "http"] if to["transport"] == "http" else to["command"]
    if to["release"] >= 2:
        patient = ("--connect-timeout", str(CONNECTING_MS))
        options = ("--format", "json", "--protocol-era", to["mode"], *patient, *options)
    return [*to["cli"], "--cli", *own, *where, "--method", method, *options]


def call_options(release: int, tool: str, arguments: dict[str, Any]) -> list[str]:
    """The call of a tool; 0.x reads each value as JSON where it can, so that each is given as JSON."""
    if release >= 2:
        return ["--tool-name", tool, "--tool-args-json", json.dumps(arguments)]
    pairs = [f"{name}={json.dumps(value)}" for name, value in arguments.items()]
    return ["--tool-name", tool, *(["--tool-arg", *pairs] if pairs else [])]


async def run(to: dict[str, Any], line: list[str]) -> dict[str, Any]:
    """What one run prints.

    Raises:
        Failed: it printed no result; the message is its own.
    """
    process = await asyncio.create_subprocess_exec(
        *line,
        cwd=to["directory"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # the terminal's interrupt goes to the Inspector, below
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        process.send_signal(signal.SIGINT)
        await process.wait()
        raise
    if not out.strip():
        raise Failed(err.decode())
    printed: dict[str, Any] = json.loads(out)
    # A result with `isError` ends 2.x with status 5 after it is printed; any other failure prints none.
    result: dict[str, Any] = printed.get("result", printed)
    if process.returncode and not result.get("isError"):
        raise Failed(f"status {process.returncode}: {err.decode()}")
    return result


async def main() -> None:
    to = target()
    strict = ["--strict"] if to["release"] >= 2 else []
    tools = (await run(to, command(to, "tools/list", *strict)))["tools"]

    async def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return shown_json(
            await run(to, command(to, "tools/call", *call_options(to["release"], tool, arguments)))
        )

    await converse((tool["name"] for tool in tools), call)


asyncio.run(main())
