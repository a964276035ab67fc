"""How long a tool may take."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from fastmcp.server.middleware import CallNext, MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp_types import CallToolRequestParams

from research_shared.errors import DeadlineExceeded
from research_shared.layer import Layer

_SEND = "send_progress_notification"
_UNASKED = "research-unasked-progress"
"""Stands for the progress token of a client that does not want to be told."""


class TimeLimit(Layer):
    """Ends a tool call that shows no progress for its limit, or that takes longer than `ceiling_s` in all.

    Times are seconds. `limits` holds what differs from `default_s`, by tool name. Every progress report gives the
    call its full limit again, whether or not the client has asked to be told. What is cut off is cancelled, upstream
    too, and the client gets `deadline_exceeded`.
    """

    def __init__(
        self, *, default_s: float, ceiling_s: float, limits: Mapping[str, float] | None = None
    ) -> None:
        self.default_s = default_s
        self.ceiling_s = ceiling_s
        self.limits = dict(limits or {})

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Run the tool within its limit."""
        limit = min(self.limits.get(context.message.name, self.default_s), self.ceiling_s)
        now = asyncio.get_running_loop().time
        latest = now() + self.ceiling_s
        timer = asyncio.timeout(limit)
        try:
            async with timer:
                with _observed_progress(context, lambda: timer.reschedule(min(latest, now() + limit))):
                    return await call_next(context)
        except TimeoutError as error:
            if not timer.expired():  # one of the tool's own
                raise
            raise DeadlineExceeded(f"{context.message.name} did not end within its time limit") from error


@contextmanager
def _observed_progress(context: MiddlewareContext[Any], told: Callable[[], None]) -> Iterator[None]:
    """Have `told` called for each progress report of this request, also from servers that are mounted below.

    The SDK makes a session object for each request, so what is hung on it is seen by this request alone. A tool
    reports only if there is a progress token: a client without one is given one here, and is not told.
    """
    request = context.fastmcp_context.request_context if context.fastmcp_context is not None else None
    if request is None:
        yield
        return
    session = request.session
    send = getattr(session, _SEND)

    async def observed(progress_token: str | int, *args: Any, **kwargs: Any) -> None:
        told()
        if progress_token != _UNASKED:
            await send(progress_token, *args, **kwargs)

    setattr(session, _SEND, observed)
    served = request._srctx  # noqa: SLF001  (FastMCP's documented way to the SDK's context)
    if served.meta is not None and served.meta.get("progress_token") is not None:
        yield
        return
    request._srctx = replace(served, meta={**(served.meta or {}), "progress_token": _UNASKED})  # noqa: SLF001
    try:
        yield
    finally:
        request._srctx = served  # noqa: SLF001
