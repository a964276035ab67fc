"""Random messages of MCP clients, in both protocol eras: valid ones with something changed."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "fuzz", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"sampling": {}, "elicitation": {}, "roots": {}},
}
CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("tools/call", {"name": "read_document", "arguments": {"document_path": "a.md", "start_line": 1}}),
    ("tools/call", {"name": "list_research_documents", "arguments": {"file_pattern": "*.md", "limit": 5}}),
    (
        "tools/call",
        {"name": "search_documents", "arguments": {"query": "owls", "mode": "keyword", "limit": 3}},
    ),
    ("tools/call", {"name": "search_documents", "arguments": {"query": "o(w|l)s?", "mode": "regex"}}),
    (
        "tools/call",
        {"name": "summarize_document", "arguments": {"document_path": "a.md", "summary_length": "short"}},
    ),
    (
        "tools/call",
        {
            "name": "synthesize_research",
            "arguments": {"document_paths": ["a.md"], "research_question": "What do owls do?"},
        },
    ),
    ("tools/list", {}),
    ("resources/list", {"cursor": "x"}),
    ("resources/list", {}),
    ("resources/templates/list", {}),
    ("resources/read", {"uri": "research://documents/a.md"}),
    ("resources/read", {"uri": "research://scope"}),
    ("resources/read", {"uri": "research://documents/none.md"}),
    ("resources/subscribe", {"uri": "research://documents/a.md"}),
    ("prompts/list", {}),
    ("prompts/get", {"name": "research_brief", "arguments": {"topic": "owls"}}),
    (
        "completion/complete",
        {
            "ref": {"type": "ref/resource", "uri": "research://documents/{path*}"},
            "argument": {"name": "path", "value": "a"},
        },
    ),
    (
        "completion/complete",
        {
            "ref": {"type": "ref/prompt", "name": "research_brief"},
            "argument": {"name": "topic", "value": "a"},
        },
    ),
    ("logging/setLevel", {"level": "info"}),
    ("ping", {}),
    ("server/discover", {}),
    (
        "initialize",
        {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "f", "version": "1"}},
    ),
    ("nothing/known", {}),
)
NOTIFICATIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("notifications/cancelled", {"requestId": 1, "reason": "x"}),
    ("notifications/progress", {"progressToken": 1, "progress": 1}),
    ("notifications/roots/list_changed", {}),
    ("notifications/initialized", {}),
)
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 5, 1.5, -0.0, 1e308, 2**31, 2**63, 2**70, -(2**70),
    "", " ", "a.md", "\ud800", "\udfff\ud800", "\x00", "\u202e\u200b", "x" * 3_000, "../../etc/passwd", "research://", "é" * 300,
    [], {}, [None], [[[[[[]]]]]], {"": ""}, {"\ud800": 1}, {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}, [1] * 200,
    {"document_path": "a.md"}, ["a.md", "\ud800"], "2026-07-28", "tools/call", {"$ref": "#"}, {"__proto__": {}}, "NaN",
)  # fmt: skip
KEYS = (
    "requestState",
    "inputResponses",
    "_meta",
    "task",
    "cursor",
    "arguments",
    "name",
    "progressToken",
    "\ud800",
    "",
    "id",
    "params",
)


@dataclass(frozen=True)
class Message:
    """One request: its body, and its headers besides those of all requests."""

    body: bytes
    headers: dict[str, str]
    modern: bool


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Each container with each key or index in it."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(items):
        yield node, key
        yield from _places(value)


def _changed(message: dict[str, Any], random: Random) -> dict[str, Any]:
    places = list(_places(message))
    container, key = random.choice(places)
    match random.randrange(6):
        case 0:
            del container[key]
        case 1 if isinstance(container, dict):
            container[random.choice(KEYS)] = deepcopy(random.choice(ODD))
        case 2 if isinstance(container, dict):
            container[random.choice(KEYS)] = container.pop(key)
        case _:
            container[key] = deepcopy(random.choice(ODD))
    return message


def random_message(random: Random, *, session: str | None) -> Message:
    """One message. Those of the handshake era belong to the session with this id."""
    modern = session is None
    notifies = random.random() < 0.04
    method, params = random.choice(NOTIFICATIONS if notifies else CALLS)
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": json.loads(json.dumps(params))}
    if not notifies:
        message["id"] = random.choice((1, 2, "a", "1", random.randrange(1 << 40)))
    if modern:
        message["params"]["_meta"] = json.loads(json.dumps(META))
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    if modern:
        headers |= {"mcp-protocol-version": VERSION, "mcp-method": method}
        name = params.get("name") or params.get("uri")
        if name:
            headers["mcp-name"] = name
    else:
        headers |= {"mcp-protocol-version": "2025-11-25", "mcp-session-id": session or ""}
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        message = _changed(message, random) if message else {"id": 1}
    body = json.dumps(message).encode()
    if random.random() < 0.05:
        body = _broken(body, random)
    if random.random() < 0.04:
        headers.pop(random.choice(list(headers)))
    if random.random() < 0.04:
        headers[random.choice(list(headers))] = random.choice(
            ("", "x", "2024-11-05", "a" * 500, "*/*", "text/plain")
        )
    return Message(body, headers, modern)


def _broken(body: bytes, random: Random) -> bytes:
    at = random.randrange(len(body))
    match random.randrange(5):
        case 0:
            return body[:at]
        case 1:
            return body[:at] + bytes([random.randrange(256)]) + body[at + 1 :]
        case 2:
            return b"[" + body + b"," + body + b"]"
        case 3:
            return b"[" * random.choice((10, 2_000)) + body
        case _:
            return body.replace(b"1", b"1" * random.choice((5, 5_000)), 1)
