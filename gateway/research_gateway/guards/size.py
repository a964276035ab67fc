"""Limits the size of arguments and results."""

import json
from collections.abc import Iterable
from typing import Any, cast

from fastmcp.prompts.base import PromptResult
from fastmcp.resources.base import ResourceResult
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp_types import CallToolRequestParams, GetPromptRequestParams, ReadResourceRequestParams
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from research_shared.errors import RequestTooLarge, ResponseTooLarge


def json_size(value: Any) -> int:
    """Size of a value as JSON, in bytes."""
    if value is None:
        return 0
    try:
        return len(to_json(value, fallback=str))
    except PydanticSerializationError:
        # A lone surrogate has no UTF-8 form. The tool refuses such text; here only its size counts.
        plain = value.model_dump() if isinstance(value, BaseModel) else value
        return len(json.dumps(plain, default=str, skipkeys=True))


def _content_size(blocks: Iterable[Any]) -> int:
    size = 0
    for block in blocks:
        data = getattr(block, "text", None) or getattr(block, "data", None)
        if isinstance(data, str | bytes):
            size += len(data.encode("utf-8", "replace")) if isinstance(data, str) else len(data)
        else:
            size += json_size(block)
    return size


class SizeLimit(Middleware):
    """Refuses requests over `request_bytes` and responses over `response_bytes`, measured as JSON.

    A response over the limit becomes `response_too_large`, so that the client can ask for less. Without the limit
    its transport would drop the event: many clients accept at most 1 MiB.

    >>> from fastmcp import FastMCP
    >>> server = FastMCP("host")
    >>> server.add_middleware(SizeLimit(request_bytes=1_000_000, response_bytes=900_000))
    """

    def __init__(self, *, request_bytes: int, response_bytes: int) -> None:
        self.request_bytes = request_bytes
        self.response_bytes = response_bytes

    def _check_request(self, message: BaseModel) -> None:
        size = json_size(message)
        if size > self.request_bytes:
            raise RequestTooLarge(f"request is {size} bytes; the limit is {self.request_bytes}")

    def _check_response(self, size: int) -> None:
        if size > self.response_bytes:
            raise ResponseTooLarge(f"response is {size} bytes; the limit is {self.response_bytes}")

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Check the size of a tool's arguments and of its result."""
        self._check_request(context.message)
        result: Any = await call_next(context)
        if not isinstance(result, ToolResult):  # a task: the result is checked when its work is done
            return cast("ToolResult", result)
        self._check_response(
            _content_size(result.content) + json_size(result.structured_content) + json_size(result.meta)
        )
        return result

    async def on_read_resource(
        self,
        context: MiddlewareContext[ReadResourceRequestParams],
        call_next: CallNext[ReadResourceRequestParams, ResourceResult],
    ) -> ResourceResult:
        """Check the size of a resource."""
        self._check_request(context.message)
        result = await call_next(context)
        self._check_response(
            sum(len(c.content.encode() if isinstance(c.content, str) else c.content) for c in result.contents)
        )
        return result

    async def on_get_prompt(
        self,
        context: MiddlewareContext[GetPromptRequestParams],
        call_next: CallNext[GetPromptRequestParams, PromptResult],
    ) -> PromptResult:
        """Check the size of a prompt's arguments and of its messages."""
        self._check_request(context.message)
        result = await call_next(context)
        self._check_response(_content_size(message.content for message in result.messages))
        return result
