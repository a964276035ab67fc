"""openai-agents: the servers that its agents take, whose default of five seconds for an answer is raised."""

import asyncio
from typing import Any

from agents.mcp import MCPServerStdio, MCPServerStreamableHttp
from conversation import TIMEOUT_S, converse, shown, target


def server(to: dict[str, Any]) -> MCPServerStdio | MCPServerStreamableHttp:
    if to["transport"] == "http":
        return MCPServerStreamableHttp({"url": to["url"]}, client_session_timeout_seconds=TIMEOUT_S)
    command, *args = to["command"]
    return MCPServerStdio(
        {"command": command, "args": args, "env": to["environment"]},
        client_session_timeout_seconds=TIMEOUT_S,
    )


async def main() -> None:
    async with server(target()) as connected:

        async def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
            return shown(await connected.call_tool(tool, arguments))

        await converse((tool.name for tool in await connected.list_tools()), call)


asyncio.run(main())
