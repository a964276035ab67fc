"""Requests to an ASGI application without a socket: raw bytes in, status and raw bytes out."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.types import ASGIApp


@dataclass
class Answer:
    """Status, headers and body of a response."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def send_request(
    app: ASGIApp,
    body: bytes,
    headers: Mapping[str, str],
    *,
    method: str = "POST",
    path: str = "/mcp",
    address: str = "127.0.0.1",
    within_s: float = 60.0,
    **more: Any,
) -> Answer:
    """Send one request and return its whole response. `more` is what else is in the scope.

    Raises:
        TimeoutError: there is no whole response after `within_s` seconds.
    """
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in {"host": "127.0.0.1:8000", **headers}.items()
        ],
        "client": (address, 40_000),
        "server": ("127.0.0.1", 8_000),
        "state": {},
        **more,
    }
    answer = Answer()
    answered = asyncio.Event()
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if parts:
            return parts.pop()
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode().lower(): v.decode("latin-1") for k, v in message.get("headers", ())}
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")
            if not message.get("more_body", False):
                answered.set()

    with anyio.fail_after(within_s):
        await app(scope, receive, send)
    return answer


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[Any]:
    """Run the lifespan of a Starlette application while the block runs."""
    async with app.lifespan(app):
        yield app
