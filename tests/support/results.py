"""What a result of a tool says, as programs read it."""

from typing import Any

from mcp_types import TextContent

from research_shared.errors import ERROR_META_KEY


def error_of(result: Any) -> dict[str, Any]:
    """The payload of an error result, after a look at what every client gets: a text that says the same, no structure."""
    assert result.is_error
    assert result.structured_content is None
    error: dict[str, Any] = result.meta[ERROR_META_KEY]
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert block.text == f"{error['code']}: {error['message']}\nHint: {error['hint']}"
    return error


def answer_of(result: Any) -> dict[str, Any]:
    """The structured content of a result, or `{"error": payload}` of an error result."""
    if result.is_error:
        return {"error": error_of(result)}
    assert result.structured_content is not None
    content: dict[str, Any] = result.structured_content
    return content
