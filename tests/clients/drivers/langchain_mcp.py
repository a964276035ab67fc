"""langchain-mcp-adapters: the tools of a session, called as an agent calls them."""

import asyncio
from typing import Any

from conversation import converse, joined, target
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools


def connection(to: dict[str, Any]) -> dict[str, Any]:
    if to["transport"] == "http":
        return {"transport": "streamable_http", "url": to["url"]}
    command, *args = to["command"]
    return {"transport": "stdio", "command": command, "args": args, "env": to["environment"]}


async def main() -> None:
    client = MultiServerMCPClient({"research": connection(target())})
    async with client.session("research") as session:
        tools = {tool.name: tool for tool in await load_mcp_tools(session)}

        async def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
            message = await tools[tool].ainvoke(
                {"type": "tool_call", "id": "1", "name": tool, "args": arguments}
            )
            artifact = message.artifact or {}
            return {
                "text": joined(block["text"] for block in message.content if block["type"] == "text"),
                "structured": artifact.get("structured_content"),
                "is_error": message.status == "error",
            }

        await converse(tools, call)


asyncio.run(main())
