"""pydantic-ai: `MCPToolset`, which gives the structured content alone and raises `ModelRetry` for an error.

Its default of five seconds for the start of a server is raised, as two of them start at a time here.
"""

import asyncio
from typing import Any

from conversation import TIMEOUT_S, converse, target
from fastmcp.client.transports import StdioTransport
from pydantic_ai.mcp import MCPToolset


def toolset(to: dict[str, Any]) -> MCPToolset[None]:
    if to["transport"] == "http":
        return MCPToolset(to["url"], init_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S)
    command, *args = to["command"]
    server = StdioTransport(command, args, env=to["environment"], keep_alive=False)
    return MCPToolset(server, init_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S)


async def main() -> None:
    async with toolset(target()) as tools:

        async def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
            result = await tools.direct_call_tool(tool, arguments)
            return {"structured": result} if isinstance(result, dict) else {"text": result}

        await converse((tool.name for tool in await tools.list_tools()), call)


asyncio.run(main())
