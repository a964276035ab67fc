"""The MCP SDK for Python, 1.x: `ClientSession`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from conversation import TIMEOUT_S, converse, shown, target
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client


@asynccontextmanager
async def streams(to: dict[str, Any]) -> AsyncIterator[tuple[Any, Any]]:
    if to["transport"] == "http":
        async with streamable_http_client(to["url"]) as (read, write, _):
            yield read, write
    else:
        command, *args = to["command"]
        server = StdioServerParameters(command=command, args=args, env=to["environment"])
        async with stdio_client(server) as (read, write):
            yield read, write


async def main() -> None:
    async with (
        streams(target()) as (read, write),
        ClientSession(read, write, read_timeout_seconds=timedelta(seconds=TIMEOUT_S)) as session,
    ):
        await session.initialize()
        tools = (await session.list_tools()).tools

        async def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
            return shown(await session.call_tool(tool, arguments))

        await converse((tool.name for tool in tools), call)


asyncio.run(main())
