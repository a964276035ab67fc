"""Somebody else's server, which refuses every call with an error of the protocol."""

from typing import Any

from fastmcp import FastMCP
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from mcp import MCPError
from mcp_types import INVALID_PARAMS


class Refusal(Middleware):
    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        raise MCPError(code=INVALID_PARAMS, message="it is not to be had here")


server: FastMCP[Any] = FastMCP("foreign", middleware=[Refusal()])


@server.tool
async def refuse() -> str:
    return "never"


if __name__ == "__main__":
    server.run(show_banner=False)
