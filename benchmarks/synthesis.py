"""Wall time of a synthesis over the critical path of its two model calls, on each route.

    python benchmarks/synthesis.py [--documents 20] [--model-seconds 1.0] [--folder DIR] [--limit 2.5]

The model answers after a fixed time, so what is over two of those times is ours: reading, choosing passages, rounds,
quotes. Without `--folder` the documents are written for the purpose. Ends with status 1 when a route is over the limit.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fastmcp import Client
from fastmcp.client.logging import LogMessage
from mcp_types import CreateMessageRequestParams, CreateMessageResult, SamplingMessage, TextContent

from research_reasoning import build_reasoning_server
from research_shared.logs import configure_logging
from research_shared.settings import Settings

QUESTION = "How does caching reduce the latency of a distributed system?"
PARAGRAPH = (
    "Document {n} reports that caching near the client cuts the latency of a distributed system by {n} percent. "
    "The effect depends on the share of repeated requests and on how long an answer stays valid."
)


def answer(system: str, text: str) -> str:
    """What an obliging model says."""
    shown = re.search(r"<<<UNTRUSTED \w+\n(.*)\nUNTRUSTED", text, re.DOTALL)
    material = shown[1] if shown else ""
    if system.startswith("Find what"):
        quotes = re.findall(r"[A-Z][^.\n]{20,200}\.", material)[:2]
        found = [{"claim": "It says so.", "quotes": [quote]} for quote in quotes]
        return json.dumps({"relevant": bool(found), "findings": found})
    marks = re.findall(r"^(\d+\.\d+) ", material, re.MULTILINE)
    insights = [{"claim": f"Finding {mark}", "evidence": [mark]} for mark in marks[:5]]
    return json.dumps({"answered": True, "synthesis": "They agree [1].", "insights": insights})


def sampling(seconds: float) -> Callable[..., Awaitable[CreateMessageResult]]:
    """A client's model that takes its time."""

    async def handler(
        messages: list[SamplingMessage], params: CreateMessageRequestParams, _context: Any
    ) -> CreateMessageResult:
        await asyncio.sleep(seconds)
        (content,) = messages[0].content_as_list
        text = answer(params.system_prompt or "", content.text if isinstance(content, TextContent) else "")
        return CreateMessageResult(
            role="assistant",
            model="sleeper",
            content=TextContent(type="text", text=text),
            stop_reason="endTurn",
        )

    return handler


@asynccontextmanager
async def provider(seconds: float) -> AsyncIterator[str]:
    """An OpenAI-compatible provider on a loopback socket that takes its time."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readline():
                length = 0
                while (line := (await reader.readline()).decode().strip()) != "":
                    name, _, value = line.partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                system, user = json.loads(await reader.readexactly(length))["messages"]
                await asyncio.sleep(seconds)
                message = {"role": "assistant", "content": answer(system["content"], user["content"])}
                body = json.dumps(
                    {"model": "sleeper", "choices": [{"message": message, "finish_reason": "stop"}]}
                )
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


async def unprinted(_message: LogMessage) -> None:
    """Take a log message as a client does that shows none: what a terminal costs is not the server's time."""


def write_documents(folder: Path, count: int) -> None:
    """Documents of about 20 KB each, larger than their share of an overview."""
    for number in range(count):
        body = "\n\n".join(f"## Part {part}\n\n" + PARAGRAPH.format(n=number) for part in range(90))
        (folder / f"document-{number:03}.md").write_text(f"# Document {number}\n\n{body}\n", encoding="utf-8")


async def measure(
    route: str, folder: Path, names: list[str], seconds: float
) -> tuple[float, float, dict[str, Any]]:
    """Seconds of one synthesis after one that warms up, those of the processor among them, and its result."""
    async with AsyncExitStack() as stack:
        changes: dict[str, Any] = {}
        if route == "provider":
            url = await stack.enter_async_context(provider(seconds))
            changes = {
                "model_route": "provider",
                "provider": "openai",
                "provider_model": "m",
                "provider_url": url,
            }
        if route == "extractive":
            changes = {"model_route": "extractive"}
        server = build_reasoning_server(Settings.load({}, roots=str(folder), **changes))
        mode = "legacy" if route == "session" else "auto"
        handler = sampling(seconds) if route in {"modern", "session"} else None
        client = await stack.enter_async_context(
            Client(server, mode=mode, sampling_handler=handler, log_handler=unprinted)
        )
        arguments = {"document_paths": names, "research_question": QUESTION}
        await client.call_tool("synthesize_research", arguments | {"document_paths": names[:1]})
        started, cpu = time.perf_counter(), time.process_time()
        result = await client.call_tool("synthesize_research", arguments)
        cpu = time.process_time() - cpu
        return time.perf_counter() - started, cpu, result.structured_content or {}


async def compare(options: argparse.Namespace, folder: Path) -> float:
    """Measure every route, print one line for each, and give the seconds of the slowest."""
    names = names_in(folder)[: options.documents]
    print(
        f"{'route':10} {'wall':>8} {'critical path':>14} {'over it':>9} {'cpu':>7} {'calls':>6} {'used':>5}"
    )
    walls = []
    for route in ("modern", "session", "provider", "extractive"):
        path = 0.0 if route == "extractive" else 2 * options.model_seconds
        wall, cpu, result = await measure(route, folder, names, options.model_seconds)
        calls, used = result["usage"]["model_calls"], result["sources_used"]
        print(f"{route:10} {wall:7.2f}s {path:13.2f}s {wall - path:8.2f}s {cpu:6.2f}s {calls:6} {used:5}")
        walls.append(wall)
    return max(walls)


def names_in(folder: Path) -> list[str]:
    """The documents of a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file())


def main() -> int:
    """Read the options, measure, and say whether the limit was kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--model-seconds", type=float, default=1.0)
    parser.add_argument("--limit", type=float, default=2.5, help="seconds that no route may exceed")
    parser.add_argument("--folder", type=Path, help="a folder of documents to use instead of written ones")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as written:
        folder = options.folder or Path(written)
        if options.folder is None:
            write_documents(folder, options.documents)
        worst = asyncio.run(compare(options, folder))
    if worst > options.limit:
        print(f"over the limit of {options.limit:.2f} s")
        return 1
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    configure_logging("warning")
    sys.exit(main())
