"""Every kind of request leaves one start and one end record, and the whole list is what it should be."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import mcp_types as mt
import pytest
from fastmcp import Client
from mcp import MCPError

from research_gateway.audit import AuditOptions, AuditTrail
from research_shared.access.roots import Root
from support.audit import Hall, records

ROOTS = (Root("research", Path("/srv/research")),)


def told(path: Path) -> list[tuple[Any, ...]]:
    """Per record: event, logical call (numbered), method, target, round and outcome."""
    numbers: dict[str, int] = {}
    lines = []
    for item in records(path, "start", "end"):
        number = numbers.setdefault(item["logical_call_id"], len(numbers))
        target = item.get("tool") or item.get("prompt") or item.get("uri")
        end = (item["outcome"], item["reason"]) if item["event"] == "end" else ()
        lines.append((item["event"], number, item["round"], item["method"], target, *end))
    return lines


def pair(number: int, method: str, target: str | None, outcome: str, reason: str | None = None) -> list[Any]:
    return [("start", number, 1, method, target), ("end", number, 1, method, target, outcome, reason)]


async def everything(client: Client[Any], hall: Hall) -> None:
    """One request of every kind, in order."""
    await client.list_tools()  # the client reads it anyway, to check results
    await client.call_tool_mcp("add", {"a": 1, "b": 2})
    await client.call_tool_mcp("add", {"a": "x"})
    await client.call_tool_mcp("nothing", {})
    for name in ("refuse", "busy", "complain", "crash"):
        assert (await client.call_tool_mcp(name, {})).is_error
    await client.call_tool_mcp("summarize_document", {"document_path": "here/a.md"})
    await client.call_tool_mcp("summarize_document", {"document_path": "missing.md"})
    await client.call_tool_mcp("summarize_document", {"document_path": "/etc/passwd"})
    hung = asyncio.create_task(client.call_tool_mcp("hang", {}))
    await hall.started.wait()
    hung.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await hung
    await client.list_resources()
    await client.list_resource_templates()
    await client.list_prompts()
    await client.read_resource("research://documents/here/a.md")
    await client.get_prompt("introduce", {"topic": "x"})
    with pytest.raises(MCPError):
        await client.read_resource("unknown://user:pw@host/x?token=1")
    with pytest.raises(MCPError):
        await client.get_prompt("nothing")
    await client.complete(mt.PromptReference(name="introduce"), {"name": "topic", "value": "t"})
    malformed = mt.CallToolRequestParams.model_construct(name="add", arguments=mt.EmptyResult())
    malformed.arguments = "no object"  # type: ignore[assignment]
    with pytest.raises(MCPError), pytest.warns(UserWarning, match="serializer"):
        await client.session.send_request(
            mt.CallToolRequest.model_construct(method="tools/call", params=malformed), mt.CallToolResult
        )


EVERYTHING = [
    *pair(0, "tools/list", None, "ok"),
    *pair(1, "tools/call", "add", "ok"),
    *pair(2, "tools/call", "add", "invalid_arguments", "invalid_arguments"),
    *pair(3, "tools/call", "nothing", "unknown_tool", "unknown_tool"),
    *pair(4, "tools/call", "refuse", "denied", "access_denied"),
    *pair(5, "tools/call", "busy", "denied", "overloaded"),
    *pair(6, "tools/call", "complain", "error", "reported_error"),
    *pair(7, "tools/call", "crash", "error", "internal_error"),
    *pair(8, "tools/call", "summarize_document", "ok"),
    *pair(9, "tools/call", "summarize_document", "error", "document_not_found"),
    *pair(10, "tools/call", "summarize_document", "denied", "outside_roots"),
    *pair(11, "tools/call", "hang", "cancelled", "cancelled"),
    *pair(12, "resources/list", None, "ok"),
    *pair(13, "resources/templates/list", None, "ok"),
    *pair(14, "prompts/list", None, "ok"),
    *pair(15, "resources/read", "research://documents/here/a.md", "ok"),
    *pair(16, "prompts/get", "introduce", "ok"),
    *pair(17, "resources/read", "unknown://host/x", "error", "unknown_resource"),
    *pair(18, "prompts/get", "nothing", "error", "unknown_prompt"),
    *pair(19, "completion/complete", "introduce", "ok"),
    *pair(20, "tools/call", "add", "invalid_arguments", "invalid_arguments"),
]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_every_kind_of_request_leaves_a_start_and_an_end(
    mode: str, options: AuditOptions, log: Path
) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail, roots=ROOTS)
        async with Client(hall.server, mode=mode) as client:
            await everything(client, hall)
    assert told(log) == EVERYTHING
    assert [item["event"] for item in records(log)] == ["genesis", *["start", "end"] * 21, "closed"]
    assert [item["seq"] for item in records(log)] == list(range(44))


async def test_the_error_boundary_inside_changes_only_the_codes(options: AuditOptions, log: Path) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail, boundary=True, roots=ROOTS)
        async with Client(hall.server) as client:
            await everything(client, hall)
    ends = {item[1]: item[-2:] for item in told(log) if item[0] == "end"}
    wanted = {item[1]: item[-2:] for item in EVERYTHING if item[0] == "end"}
    differing = {number: ends[number] for number in wanted if ends[number] != wanted[number]}
    assert differing == dict.fromkeys((4, 6), ("error", "internal_error"))
    crashed = records(log, "end")[7]
    assert len(crashed["error_id"]) == 16
