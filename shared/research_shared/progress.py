"""What a tool tells its client while it works: progress and log lines, neither of which can make the tool fail."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Literal, get_args

import anyio
from fastmcp import Context

# FastMCP keeps to itself which level a client has set with logging/setLevel, and its own `Context.log` sends
# `{"msg": …, "extra": null}` where a client is to show one sentence.
from fastmcp.server.context import _get_client_log_level
from mcp import MCPError
from mcp_types import LoggingLevel

from research_shared.logs import get_logger

log = get_logger("research.client")
GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, MCPError, OSError)
"""What sending raises when nobody listens any more."""

Level = Literal["debug", "info", "warning", "error"]
_SEVERITIES: tuple[str, ...] = get_args(LoggingLevel)


class Progress:
    """Reports progress that only ever rises, also over the rounds of one logical call.

    `total` is the number of steps. `reached` is where an earlier round ended: what lies at or below it was reported.
    """

    def __init__(self, context: Context, total: float, *, reached: float = 0.0) -> None:
        self._context = context
        self.total = total
        self.reached = reached

    async def to(self, value: float, message: str) -> None:
        """Report `value` steps out of the total, unless that much was reported before."""
        value = min(value, self.total)
        if value <= self.reached:
            return
        self.reached = value
        try:
            await self._context.report_progress(value, self.total, message)
        except GONE as error:
            log.debug("the client is gone; progress is not delivered", error=type(error).__name__)

    async def step(self, message: str) -> None:
        """Report one whole step more."""
        await self.to(float(int(self.reached)) + 1, message)


class ClientLog:
    """Sends log lines to the client, each a plain sentence, from the level on that it has set.

    Details of a line are for the server's own log. `sent` holds the marks of lines that an earlier round sent: they stay unsent.
    """

    def __init__(
        self,
        context: Context,
        name: str,
        *,
        sent: Iterable[str] = (),
    ) -> None:
        self._context = context
        self._name = name
        self.sent = set(sent)

    async def _send(self, level: Level, message: str, details: dict[str, object], *, once: bool) -> None:
        if once:
            mark = sha256(f"{level}:{message}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
            if mark in self.sent:
                return
            self.sent.add(mark)
        try:
            session = self._context.session
            least = _get_client_log_level(session) or self._context.fastmcp.client_log_level
            if least is None or _SEVERITIES.index(level) >= _SEVERITIES.index(least):
                await session.send_log_message(
                    level, message, self._name, related_request_id=self._context.origin_request_id
                )
                log.debug("a line was sent to the client", said=message, **details)
        except GONE as error:
            log.debug("the client is gone; a log line is not delivered", error=type(error).__name__)

    async def info(self, message: str, *, once: bool = False, **details: object) -> None:
        """Tell what is being done; with `once`, at most once in all rounds of the call."""
        await self._send("info", message, details, once=once)

    async def warning(self, message: str, *, once: bool = False, **details: object) -> None:
        """Tell what the result lacks."""
        await self._send("warning", message, details, once=once)

    async def error(self, message: str, *, once: bool = False, **details: object) -> None:
        """Tell what failed."""
        await self._send("error", message, details, once=once)
