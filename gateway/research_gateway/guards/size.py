"""How large arguments and results may be."""

import json
from collections.abc import Iterable
from typing import Any

from fastmcp.prompts.base import PromptResult
from fastmcp.resources.base import ResourceResult
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp_types import CallToolRequestParams, GetPromptRequestParams, ReadResourceRequestParams
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from research_shared.errors import RequestTooLarge, ResponseTooLarge


def json_size(value: Any) -> int:
    """The bytes that a value takes as JSON."""
    if value is None:
        return 0
    try:
        return len(to_json(value, fallback=str))
    except PydanticSerializationError:
        # Half of a surrogate pair has no UTF-8. Whoever uses the text refuses it; here it only has a size.
        return len(json.dumps(to_jsonable_python(value, fallback=str)))


def _content_size(blocks: Iterable[Any]) -> int:
    size = 0
    for block in blocks:
        data = getattr(block, "text", None) or getattr(block, "data", None) or getattr(block, "blob", None)
        if isinstance(data, str | bytes):
            size += len(data.encode("utf-8", "replace")) if isinstance(data, str) else len(data)
        else:
            size += json_size(block)
    return size


class SizeLimit(Middleware):
    """Refuses calls whose arguments exceed `request_bytes`, and answers that exceed `response_bytes`.

    Bytes are those of the JSON. An answer that is too large is replaced by `response_too_large`, so that a client is
    told to ask for less rather than cut off by its transport, where one event is limited to 1 MiB.
    """

    def __init__(self, *, request_bytes: int, response_bytes: int) -> None:
        self.request_bytes = request_bytes
        self.response_bytes = response_bytes

    def _check_request(self, message: BaseModel) -> None:
        size = json_size(message)
        if size > self.request_bytes:
            raise RequestTooLarge(f"the call has {size} bytes; {self.request_bytes} are allowed")

    def _check_response(self, size: int) -> None:
        if size > self.response_bytes:
            raise ResponseTooLarge(f"the answer has {size} bytes; {self.response_bytes} are allowed")

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Check a tool's arguments and its result."""
        self._check_request(context.message)
        result = await call_next(context)
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
        """Check a prompt's arguments and its messages."""
        self._check_request(context.message)
        result = await call_next(context)
        self._check_response(_content_size(message.content for message in result.messages))
        return result
