"""The error boundary: a failure leaves a server as a code, a message and a hint, without any other detail."""

import secrets
from typing import Any, TypeVar

from fastmcp.exceptions import DisabledError, NotFoundError, ValidationError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import RawStructuredToolResult, ToolResult
from mcp import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, CallToolRequestParams
from pydantic import ValidationError as PydanticValidationError
from pydantic_core import to_json

from research_shared.errors import (
    ERROR_META_KEY,
    AuditUnavailable,
    InternalError,
    InvalidArguments,
    ResearchError,
    UnknownTool,
)
from research_shared.logs import get_logger

R = TypeVar("R")

log = get_logger("research.boundary")
MAX_PROBLEMS = 5
STATE_REFUSED = {"reason": "invalid_request_state"}
"""The data of the SDK's error for a `requestState` that is expired or was not made for this request."""
CALL_AGAIN = "Invalid or expired requestState: make the call again from the start, without it"
STRUCTURED_META_KEY = "io.github.research-assistant-mcp/structured-content"
"""Key in the `_meta` of another server's error result that holds its structured content."""


def invalid_arguments_message(problems: PydanticValidationError) -> str:
    """Return one sentence about what is wrong with a call's arguments, without their values."""
    parts = [
        f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}"
        for problem in problems.errors(include_url=False, include_context=False, include_input=False)[
            :MAX_PROBLEMS
        ]
    ]
    return "; ".join(parts)


def as_research_error(error: Exception) -> ResearchError:
    """Return the structured form of any exception, by its class and those of its causes.

    An unknown exception is logged with a random id and becomes an `InternalError` with the same id.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ResearchError):
            return seen
        seen = seen.__cause__
    if isinstance(error, ValidationError | PydanticValidationError):
        cause = error if isinstance(error, PydanticValidationError) else error.__cause__
        return InvalidArguments(
            invalid_arguments_message(cause) if isinstance(cause, PydanticValidationError) else str(error)
        )
    if isinstance(error, NotFoundError | DisabledError):
        return UnknownTool("this server has no such tool")
    error_id = secrets.token_hex(8)
    log.error("unexpected error", error_id=error_id, exc_info=error)
    return InternalError("something unexpected went wrong inside the server", error_id=error_id)


def error_result(error: ResearchError) -> ToolResult:
    """Return an `isError` tool result: code, message and hint as text, the payload in `_meta`.

    It has no structured content, which would have to match the tool's output schema: clients that check it (the
    TypeScript SDK 1.x, MCP Inspector, LangChain.js) otherwise discard the whole error.
    """
    return ToolResult(
        content=f"{error.code}: {error.message}\nHint: {error.hint}",
        meta={ERROR_META_KEY: error.payload()},
        is_error=True,
    )


def protocol_error(error: ResearchError) -> MCPError:
    """Return the protocol error for a request whose result has no `isError`. Its data is `{"error": payload}`."""
    code = INTERNAL_ERROR if isinstance(error, InternalError | AuditUnavailable) else INVALID_PARAMS
    return MCPError(code=code, message=error.message, data={"error": error.payload()})


def without_structured_content(result: R) -> R | ToolResult:
    """Return a result that clients accept whatever output schema its tool declares: errors lose structured content.

    The structured content of another server's error is kept in `_meta`, and becomes its text if it has none.
    """
    if not isinstance(result, ToolResult) or not result.is_error:
        return result
    content: Any = result.structured_content
    if content is None and not isinstance(result, RawStructuredToolResult):
        return result
    meta = result.meta if content is None else {**(result.meta or {}), STRUCTURED_META_KEY: content}
    return ToolResult(content=result.content or to_json(content).decode(), meta=meta, is_error=True)


class ErrorBoundary(Middleware):
    """Turns failures of tools into error results, and failures of everything else into protocol errors.

    Add it before what may fail; audit and metrics go before it.

    >>> from fastmcp import Client, FastMCP
    >>> server = FastMCP("host", middleware=[ErrorBoundary()])
    >>> @server.tool
    ... def divide(a: int, b: int) -> float:
    ...     if b == 0:
    ...         raise InvalidArguments("b: must not be 0", hint="Divide by another number.")
    ...     return a / b
    >>> async with Client(server) as client:
    ...     result = await client.call_tool("divide", {"a": 1, "b": 0}, raise_on_error=False)
    >>> print(result.content[0].text)
    invalid_arguments: b: must not be 0
    Hint: Divide by another number.
    """

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Answer a failed call with an `isError` result."""
        try:
            return without_structured_content(await call_next(context))
        except MCPError:
            raise
        except Exception as error:  # noqa: BLE001  (the boundary: no exception may leave as it is)
            return error_result(as_research_error(error))

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Answer any other failed request with a protocol error that carries the same structure."""
        try:
            return await call_next(context)
        except MCPError as error:
            if error.error.data == STATE_REFUSED:
                raise MCPError(code=error.code, message=CALL_AGAIN, data=error.data) from error
            raise
        except (NotFoundError, DisabledError):
            raise
        except Exception as error:
            raise protocol_error(as_research_error(error)) from error
