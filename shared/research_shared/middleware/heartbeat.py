"""Progress notifications for tool calls that take long."""

import asyncio
from typing import Any

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp_types import CallToolRequestParams

from research_shared.logs import get_logger
from research_shared.tools.activity import Activity, observed
from research_shared.tools.progress import GONE

log = get_logger("research.heartbeat")


class Heartbeat(Middleware):
    """Reports progress while a tool call waits: many clients cancel a call without progress after 60 seconds.

    Times are seconds. The first report is sent `after_s` after the call's start, further ones whenever nothing was reported
    for `every_s`. Each is sent `relayed_s` later while the call waits for an upstream that may have heartbeats of its own.
    Values increase slightly and stay below the tool's next whole step. A call without a sign of life for `patience_s` gets no
    more reports, so that its client's own time limit ends it; a wait with a limit of its own (a model) counts as a sign of
    life until that limit. If a server with a heartbeat is mounted in another one, only the outer heartbeat reports. Clients
    that do not ask for progress receive none.

    >>> from fastmcp import FastMCP
    >>> server = FastMCP("host")
    >>> server.add_middleware(Heartbeat(after_s=4, every_s=8))
    """

    def __init__(
        self,
        *,
        after_s: float = 4.0,
        every_s: float = 8.0,
        relayed_s: float = 1.0,
        patience_s: float = 120.0,
    ) -> None:
        self.after_s = after_s
        self.every_s = every_s
        self.relayed_s = relayed_s
        self.patience_s = patience_s

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Run the tool and report what it waits for."""
        if not _asks_for_progress(context):
            return await call_next(context)
        with observed(context) as activity:
            if activity.beating or activity.send is None:
                return await call_next(context)
            activity.beating = True
            beats = _Beats(self, activity)
            try:
                return await call_next(context)
            finally:
                await beats.stop()
                activity.beating = False


def _asks_for_progress(context: MiddlewareContext[Any]) -> bool:
    request = context.fastmcp_context.request_context if context.fastmcp_context is not None else None
    return request is not None and "progressToken" in (request.meta or {})


class _Beats:
    """The heartbeats of one call. A timer is cheaper than a task for a call that ends soon."""

    def __init__(self, rhythm: Heartbeat, activity: Activity) -> None:
        self._rhythm = rhythm
        self._activity = activity
        self._loop = asyncio.get_running_loop()
        self._sending: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(rhythm.after_s, self._look)

    def _due(self) -> float:
        rhythm, activity = self._rhythm, self._activity
        has_sent = activity.sent_at > activity.begun_at
        due = activity.sent_at + rhythm.every_s if has_sent else activity.begun_at + rhythm.after_s
        return due + rhythm.relayed_s if activity.has_own_beats else due

    def _look(self) -> None:
        now = self._loop.time()
        left = self._due() - now
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        elif now >= self._activity.alive_until + self._rhythm.patience_s:
            # What it waits for is unknown. It may still report something.
            self._timer = self._loop.call_later(self._rhythm.every_s, self._look)
        else:
            self._sending = self._loop.create_task(self._beat())

    async def _beat(self) -> None:
        try:
            await self._activity.beat()
        except GONE as error:
            log.debug("the client is gone; a heartbeat is not delivered", error=type(error).__name__)
        except Exception:
            # The call must not fail because its heartbeat does.
            log.exception("a heartbeat failed")
        self._timer = self._loop.call_later(self._rhythm.every_s, self._look)

    async def stop(self) -> None:
        """Stop sending, before the call's result is sent."""
        sending = self._sending
        if sending is not None and not sending.done():
            sending.cancel()
            await asyncio.wait([sending])
        self._timer.cancel()
