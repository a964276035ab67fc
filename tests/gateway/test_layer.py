"""What the base of the middlewares calls, and what it leaves out."""

from typing import Any

import mcp_types
import pytest
from fastmcp import Client, FastMCP
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from mcp import MCPError

from research_shared.middleware.layer import Layer


class _Hooks:
    """Notes each hook that it is called through."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []

    async def on_message(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        self.seen.append(("message", context.method))
        return await call_next(context)

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        self.seen.append(("request", context.method))
        return await call_next(context)

    async def on_notification(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        self.seen.append(("notification", context.method))
        return await call_next(context)

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        self.seen.append(("tool", context.method))
        return await call_next(context)


class Everything(_Hooks, Layer):
    """All of them on our base."""


class Plain(_Hooks, Middleware):
    """All of them on FastMCP's."""


class OnlyTools(Layer):
    """Has one hook, and answers in place of the tool."""

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        result = await call_next(context)
        result.structured_content = {"result": 42}
        return result


def served(*layers: Middleware) -> FastMCP[Any]:
    server: FastMCP[Any] = FastMCP("host", middleware=layers)

    @server.tool
    def add(a: int, b: int) -> int:
        return a + b

    return server


async def test_hooks_run_from_the_general_to_the_special_and_once_each() -> None:
    layer = Everything()
    async with Client(served(layer)) as client:
        layer.seen.clear()
        await client.session.call_tool("add", {"a": 1, "b": 2})
    assert [hook for hook, method in layer.seen if method == "tools/call"] == ["message", "request", "tool"]


@pytest.mark.parametrize("phases", [True, False])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_hooks_are_called_as_fastmcp_calls_them(
    mode: Any, phases: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not phases:
        monkeypatch.setattr(
            "research_shared.middleware.layer._dispatch_phase", None
        )  # as in a FastMCP that has none
    seen = []
    for layer in (Everything(), Plain()):
        async with Client(served(layer), mode=mode) as client:
            await client.list_tools()
            await client.call_tool("add", {"a": 1, "b": 2})
            # one that fails before a tool is looked for
            with pytest.raises(MCPError):
                await client.session.send_request(_malformed(), mcp_types.CallToolResult)
        seen.append(layer.seen)
    assert seen[0] == seen[1]
    assert ("tool", "tools/call") in seen[0]


def _malformed() -> Any:
    return mcp_types.CallToolRequest.model_construct(
        method="tools/call",
        params=mcp_types.CallToolRequestParams.model_construct(name=None, arguments={}),
    )


async def test_a_layer_with_one_hook_leaves_everything_else_alone() -> None:
    async with Client(served(OnlyTools())) as client:
        assert [tool.name for tool in await client.list_tools()] == ["add"]
        result = await client.session.call_tool("add", {"a": 1, "b": 2})
    assert result.structured_content == {"result": 42}
