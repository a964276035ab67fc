"""Says whose a question or an error is that a foreign server has passed on."""

from typing import Any

import mcp_types
from fastmcp.tools import ToolResult
from mcp_types import InputRequiredResult, TextContent

from research_shared.text.visible import visible

OURS = "io.github.research-assistant-mcp/"
"""Prefix of the `_meta` keys that only our own servers set."""


def attributed(server: str, text: str) -> str:
    """Return a text of a foreign server with the server's name in front.

    >>> attributed("wiki", "no such page")
    "From the server 'wiki': no such page"
    """
    return f"From the server {server!r}: {visible(text)}"


def attributed_question(server: str, params: Any) -> Any:
    """Return the parameters of a sampling or elicitation request with the server's name in them."""
    if isinstance(params, mcp_types.CreateMessageRequestParams):
        prompt = f"This request comes from the server {server!r}."
        if params.system_prompt:
            prompt = f"{prompt}\n\n{params.system_prompt}"
        return params.model_copy(update={"system_prompt": prompt})
    return params.model_copy(update={"message": attributed(server, params.message)})


def attributed_questions(server: str, asked: InputRequiredResult) -> InputRequiredResult:
    """Return the questions of one round with the server's name in each."""
    requests = {
        key: request.model_copy(update={"params": attributed_question(server, request.params)})
        if isinstance(request, mcp_types.CreateMessageRequest | mcp_types.ElicitRequest)
        else request
        for key, request in (asked.input_requests or {}).items()
    }
    return asked.model_copy(update={"input_requests": requests or asked.input_requests})


def attributed_result(server: str, result: ToolResult) -> ToolResult:
    """Return the result of a foreign tool without `_meta` keys of ours; an error has the server's name in its text."""
    if result.meta:
        meta = {key: value for key, value in result.meta.items() if not key.startswith(OURS)}
        result.meta = meta or None
    if result.is_error:
        first, *others = result.content or [TextContent(type="text", text="")]
        if isinstance(first, TextContent):
            text = attributed(server, first.text or "the call failed")
            result.content = [first.model_copy(update={"text": text}), *others]
        else:
            result.content = [
                TextContent(type="text", text=attributed(server, "the call failed")),
                first,
                *others,
            ]
    return result
