"""The error boundary: every failure leaves a server as a structured error, and nothing else leaves it."""

import secrets
from typing import Any

from fastmcp.exceptions import DisabledError, NotFoundError, ValidationError
from fastmcp.server.middleware import CallNext, MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, CallToolRequestParams
from pydantic import ValidationError as PydanticValidationError

from research_shared.errors import InternalError, InvalidArguments, ResearchError, UnknownTool
from research_shared.layer import Layer
from research_shared.logs import get_logger

log = get_logger("research.boundary")
MAX_PROBLEMS = 5


def describe(problems: PydanticValidationError) -> str:
    """One sentence on what is wrong with a call's arguments, without echoing long values."""
    parts = [
        f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}"
        for problem in problems.errors(include_url=False, include_context=False, include_input=False)[
            :MAX_PROBLEMS
        ]
    ]
    return "; ".join(parts)


def as_research_error(error: Exception) -> ResearchError:
    """The structured form of any failure, decided along the classes it is an instance of and its causes."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ResearchError):
            return seen
        seen = seen.__cause__
    if isinstance(error, ValidationError | PydanticValidationError):
        cause = error if isinstance(error, PydanticValidationError) else error.__cause__
        return InvalidArguments(describe(cause) if isinstance(cause, PydanticValidationError) else str(error))
    if isinstance(error, NotFoundError | DisabledError):
        return UnknownTool("this server has no such tool")
    error_id = secrets.token_hex(8)
    log.error("unexpected error", error_id=error_id, exc_info=error)
    return InternalError("something unexpected went wrong inside the server", error_id=error_id)


def error_result(error: ResearchError) -> ToolResult:
    """A tool result that says `isError`, in words and as structure."""
    return ToolResult(
        content=f"{error.message}\n{error.hint}", structured_content=error.payload(), is_error=True
    )


class ErrorBoundary(Layer):
    """Turns failures of tools into structured results, and failures of everything else into protocol errors."""

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Answer a failed call with an `isError` result."""
        try:
            return await call_next(context)
        except MCPError:
            raise
        except Exception as error:  # noqa: BLE001  (the boundary: whatever it is, it must not leave as it is)
            return error_result(as_research_error(error))

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Answer any other failed request with a protocol error that carries the same structure."""
        try:
            return await call_next(context)
        except (MCPError, NotFoundError, DisabledError):
            raise
        except Exception as error:
            failure = as_research_error(error)
            code = INTERNAL_ERROR if isinstance(failure, InternalError) else INVALID_PARAMS
            raise MCPError(code=code, message=failure.message, data=failure.payload()) from error
