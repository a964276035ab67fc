"""How a driver in Python talks with `run.py`: one JSON object a line, requests on stdin, answers on stdout.

A driver is started with one argument, the target as JSON: `{"transport": "stdio", "command": [...], "environment":
{...}}` or `{"transport": "http", "url": "..."}`. It says `{"tools": [...]}` once it is connected, then answers:

- `{"id": 1, "tool": "...", "arguments": {...}}` with `{"id": 1, "text": ..., "structured": ..., "meta": ...,
  "is_error": ...}`, of which it leaves out what its client does not show to a caller, or with `{"id": 1, "raised":
  "..."}` when its client raises;
- `{"cancel": 1}` by cancelling that call, in the way of its client.

The end of stdin ends the connection and the driver. Calls may overlap.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

Call = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]

TIMEOUT_S = 60.0
"""What a client waits for an answer at most, where it can be told."""


def target() -> dict[str, Any]:
    """What to connect to, as the command line says."""
    said: dict[str, Any] = json.loads(sys.argv[1])
    return said


def emit(said: dict[str, Any]) -> None:
    print(json.dumps(said), flush=True)


def shown(result: Any) -> dict[str, Any]:
    """A `CallToolResult` of either major version of the MCP SDK as a caller sees it."""
    return shown_json(result.model_dump(mode="json", by_alias=True))


def shown_json(result: dict[str, Any]) -> dict[str, Any]:
    """The same of a result as it crosses the wire."""
    return {
        "text": joined(block["text"] for block in result["content"] if block["type"] == "text"),
        "structured": result.get("structuredContent"),
        "meta": result.get("_meta"),
        "is_error": result.get("isError", False),
    }


def joined(texts: Iterable[str]) -> str:
    return "\n".join(texts)


async def _answer(request: dict[str, Any], call: Call) -> None:
    try:
        said = await call(request["tool"], request["arguments"])
    except asyncio.CancelledError:
        said = {"cancelled": True}
    except Exception as error:  # noqa: BLE001  (what the client raises is what is looked at)
        said = {"raised": str(error), "raised_type": type(error).__name__}
    emit({"id": request["id"], **said})


async def converse(tools: Iterable[str], call: Call) -> None:
    """Answer the requests on stdin until it ends."""
    emit({"tools": sorted(tools)})
    calls: dict[int, asyncio.Task[None]] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        if "cancel" in request:
            calls[request["cancel"]].cancel()
        else:
            calls[request["id"]] = asyncio.create_task(_answer(request, call))
