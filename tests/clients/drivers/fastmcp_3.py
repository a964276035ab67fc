"""FastMCP's client, 3.x, as its documentation uses it: a failed call raises `ToolError`."""

import asyncio
from typing import Any

from conversation import TIMEOUT_S, converse, joined, target
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport


def transport(to: dict[str, Any]) -> StdioTransport | StreamableHttpTransport:
    if to["transport"] == "http":
        return StreamableHttpTransport(to["url"])
    command, *args = to["command"]
    return StdioTransport(command, args, env=to["environment"], keep_alive=False)


async def main() -> None:
    async with Client(transport(target()), timeout=TIMEOUT_S) as client:

        async def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
            result = await client.call_tool(tool, arguments)
            text = joined(block.text for block in result.content if block.type == "text")
            return {
                "text": text,
                "structured": result.structured_content,
                "meta": result.meta,
                "is_error": result.is_error,
            }

        await converse((tool.name for tool in await client.list_tools()), call)


asyncio.run(main())
