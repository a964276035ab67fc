"""How long a tool may take."""

import asyncio
from collections.abc import Mapping

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp_types import CallToolRequestParams

from research_shared.errors import DeadlineExceeded
from research_shared.tools.activity import observed


class TimeLimit(Middleware):
    """Ends a tool call that gives no sign of life for its limit, or that takes longer than `ceiling_s` in all.

    Times are seconds. `limits` holds what differs from `default_s`, by tool name. Every progress report of the tool
    gives the call its full limit again, whether or not the client has asked to be told; a heartbeat does not. While the
    call waits for something that has a limit of its own (`research_shared.tools.activity.waiting`), its limit stands still.
    What is cut off is cancelled, upstream too, and the client gets `deadline_exceeded`.
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
        with observed(context) as activity:
            latest = activity.clock() + self.ceiling_s
            timer = asyncio.timeout(limit)

            def reset() -> None:
                if not timer.expired():
                    timer.reschedule(min(latest, activity.alive_until + limit))

            try:
                async with timer:
                    activity.changed.append(reset)
                    try:
                        return await call_next(context)
                    finally:
                        activity.changed.remove(reset)
            except TimeoutError as error:
                if not timer.expired():  # one of the tool's own
                    raise
                raise DeadlineExceeded(f"{context.message.name} did not end within its time limit") from error
