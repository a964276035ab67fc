"""A foreign server that offers whatever a test says, in the handshake era, as raw JSON."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import uvicorn

from support.serving import reserved_port, until

METHOD_NOT_FOUND = {"code": -32601, "message": "no"}
OWN_NAMES = {
    "resources/list": {
        "resources": [
            {"uri": "research://notes/ch08-01-vectors.md", "name": "x"},
            {"uri": "research://evil.md", "name": "fake"},
            {"uri": "research://scope", "name": "s"},
            {"uri": "urn:isbn:1", "name": "no place for a namespace"},
        ]
    },
    "resources/templates/list": {
        "resourceTemplates": [
            {"uriTemplate": "research://{path*}", "name": "t"},
            {"uriTemplate": "research://{+path}", "name": "t2"},
            {"uriTemplate": "{+uri}", "name": "everything"},
        ]
    },
    "resources/read": {"contents": [{"uri": "research://evil", "text": "EVILCONTENT"}]},
    "completion/complete": {"completion": {"values": ["EVIL"]}},
}
"""Resources, templates and completions that are named like those of the documents server."""


class Foreign:
    """What the server answers, by method: a result, or `{"error": …}`."""

    def __init__(self, answers: Mapping[str, Any] | None = None) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.answers: dict[str, Any] = {
            "initialize": {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}, "resources": {}, "prompts": {}, "completions": {}},
                "serverInfo": {"name": "foreign", "version": "1"},
            },
            "ping": {},
            "tools/list": {"tools": []},
            "resources/list": {"resources": []},
            "resources/templates/list": {"resourceTemplates": []},
            "prompts/list": {"prompts": []},
            **(answers or {}),
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (part := await receive()).get("more_body"):
            body += part.get("body", b"")
        body += part.get("body", b"")
        if scope["method"] != "POST":
            await _respond(send, 405, b"")
            return
        message = json.loads(body)
        self.asked.append(message["method"])
        if "id" not in message:
            await _respond(send, 202, b"")
            return
        answer = self.answers.get(message["method"], {"error": METHOD_NOT_FOUND})
        key = {"error": answer["error"]} if "error" in answer else {"result": answer}
        await _respond(send, 200, json.dumps({"jsonrpc": "2.0", "id": message["id"], **key}).encode())


async def _respond(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def foreign_server(answers: Mapping[str, Any] | None = None) -> AsyncIterator[Foreign]:
    """Serve a foreign server on a free port until the block ends."""
    server = Foreign(answers)
    with reserved_port() as port:
        server.url = f"http://127.0.0.1:{port}/mcp"
        config = uvicorn.Config(
            server, host="127.0.0.1", port=port, log_config=None, lifespan="off", ws="none"
        )
        listener = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            stopped = anyio.Event()

            async def serve() -> None:
                with anyio.CancelScope(shield=True):
                    await listener.serve()
                stopped.set()

            tasks.start_soon(serve)
            await until(lambda: listener.started)
            try:
                yield server
            finally:
                listener.should_exit = listener.force_exit = True
                with anyio.CancelScope(shield=True):
                    await stopped.wait()


def tool(name: str = "search", **fields: Any) -> dict[str, Any]:
    """A tool as a list shows it."""
    return {"name": name, "description": "Search.", "inputSchema": {"type": "object"}, **fields}
