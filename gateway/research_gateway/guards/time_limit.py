"""Limits the duration of tool calls."""

import asyncio
import math
from collections.abc import Mapping

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp_types import CallToolRequestParams

from research_shared.errors import DeadlineExceeded
from research_shared.tools.activity import observed


class TimeLimit(Middleware):
    """Cancels a tool call that is inactive for longer than its limit, or runs longer than `ceiling_s` in all.

    Times are seconds. `limits` overrides `default_s` by tool name. A progress report of the tool restarts the limit,
    whether or not the client asked for progress; a heartbeat does not. While the call waits for something with a
    limit of its own (`research_shared.tools.activity.waiting`), the limit is paused. Time in a queue counts against
    neither. A cancelled call is cancelled
    upstream too and fails with `deadline_exceeded`.

    >>> from fastmcp import FastMCP
    >>> server = FastMCP("host")
    >>> server.add_middleware(TimeLimit(default_s=60, ceiling_s=600))
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
        """Run the tool within its limit.

        Raises:
            DeadlineExceeded: the limit or the ceiling was reached.
        """
        limit = min(self.limits.get(context.message.name, self.default_s), self.ceiling_s)
        with observed(context) as activity:
            begun = activity.clock()
            timer = asyncio.timeout(limit)

            def reset() -> None:
                if not timer.expired():
                    latest = begun + self.ceiling_s + activity.queued_s
                    ends = min(latest, activity.alive_until + limit)
                    timer.reschedule(ends if math.isfinite(ends) else None)

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
