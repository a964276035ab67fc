"""The gateway over the sample documents, as clients of each kind reach it."""

import json
import re
import socket
from asyncio import create_task
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastmcp import Client
from mcp_types import CreateMessageRequestParams, SamplingMessage, TextContent

from research_gateway.app import build_gateway
from research_shared.settings import Settings

SAMPLES = Path(__file__).parents[2] / "gateway" / "research_gateway" / "samples"
PDFS = ["cost-analysis.pdf", "results-report.pdf"]
MARKDOWN = ["client-impact.md", "pilot-design.md", "staff-interviews.md"]


@dataclass
class Observer:
    """What a client was told, and the model that it lends: it copies the first five plain words that it is shown."""

    progress: list[tuple[float, float | None, str | None]] = field(default_factory=list)
    logs: list[tuple[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    failing: bool = False

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append((progress, total, message))

    async def on_log(self, message: Any) -> None:
        self.logs.append((message.level, message.data))

    async def on_sampling(
        self, messages: list[SamplingMessage], params: CreateMessageRequestParams, _context: Any
    ) -> str:
        content = messages[-1].content
        assert isinstance(content, TextContent)
        system = params.system_prompt or ""
        self.asked.append(system)
        if self.failing:
            return ""
        if '"relevant"' in system:
            quotes = re.findall(r"[A-Z][a-z]+(?: [a-z]+){4}", content.text.partition("UNTRUSTED")[2])[:1]
            return json.dumps({"relevant": True, "findings": [{"claim": "It is said.", "quotes": quotes}]})
        if '"answered"' in system:
            insight = {"claim": "The first source says it.", "evidence": ["1.1"]}
            return json.dumps({"answered": True, "synthesis": "It is said [1].", "insights": [insight]})
        return "One paragraph.\n\nAnother one."


@asynccontextmanager
async def over_http(settings: Settings) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(build_gateway(settings).http_app(path="/mcp"), log_config=None, ws="none")
    server = uvicorn.Server(config)
    serving = create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await serving
        listener.close()


@asynccontextmanager
async def connected(
    settings: Settings,
    observer: Observer,
    *,
    transport: str = "memory",
    mode: Any = "auto",
    samples: bool = True,
) -> AsyncIterator[Client[Any]]:
    options: dict[str, Any] = {"sampling_handler": observer.on_sampling} if samples else {}
    options |= {"mode": mode, "log_handler": observer.on_log, "progress_handler": observer.on_progress}
    if transport == "memory":
        async with Client(build_gateway(settings), **options) as client:
            yield client
    else:
        async with over_http(settings) as url, Client(url, **options) as client:
            yield client
