"""Progress and log notifications of a tool. A failure to deliver them never fails the tool."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any, Literal, cast

import anyio
from fastmcp import Context, FastMCP
from mcp import MCPError
from mcp.server.connection import allowed_log_levels
from mcp.server.session import ServerSession
from mcp_types import LoggingLevel, LoggingMessageNotification, LoggingMessageNotificationParams, RequestId

from research_shared.logs import get_logger
from research_shared.tools.activity import activity_of

log = get_logger("research.client")
GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, MCPError, OSError)
"""Exceptions that sending raises after the client has disconnected."""

LogLevel = Literal["debug", "info", "warning", "error"]
SendLog = Callable[[FastMCP[Any], LoggingLevel, Any, str | None], Awaitable[None]]
"""Sends a log notification: server, level, data, logger name."""


class Progress:
    """Reports progress that never decreases, over all rounds of one logical call.

    `total` is the number of steps. `reached` is the progress at the end of an earlier round.
    """

    def __init__(self, context: Context, total: float, *, reached: float = 0.0) -> None:
        self._context = context
        self.total = total
        self._own = reached
        self._activity = activity_of(context)
        if self._activity is not None:
            self._activity.expect(total, reached)

    @property
    def reached(self) -> float:
        """The progress last sent to the client, heartbeats included. The next round continues from it."""
        return self._own if self._activity is None else max(self._own, self._activity.value)

    async def to(self, value: float, message: str) -> None:
        """Report `value` steps out of the total, unless at least that was reported before."""
        value = min(value, self.total)
        if value <= self._own:
            return
        self._own = value
        try:
            await self._context.report_progress(value, self.total, message)
        except GONE as error:
            log.debug("the client is gone; progress is not delivered", error=type(error).__name__)

    async def advance(self, done: int, total: int, message: str) -> None:
        """Report `done` steps out of `total`, which may differ from the total before."""
        self.total = total
        await self.to(done, message)

    async def step(self, message: str) -> None:
        """Report one more whole step."""
        await self.to(float(int(self.reached)) + 1, message)


class _PlainSession:
    """Session wrapper that sends `data` in place of the `{"msg", "extra"}` of FastMCP's `Context.log`.

    It does what the SDK's `send_log_message` does, which warns in the host's process that the capability is deprecated.
    """

    def __init__(self, session: ServerSession, data: Any, meta: Mapping[str, Any] | None) -> None:
        self._session = session
        self._data = data
        self._levels = allowed_log_levels(session.protocol_version, meta)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def send_log_message(
        self,
        level: LoggingLevel,
        data: Any,
        logger: str | None = None,
        related_request_id: RequestId | None = None,
    ) -> None:
        del data
        if level in self._levels:
            params = LoggingMessageNotificationParams(level=level, data=self._data, logger=logger)
            await self._session.send_notification(
                LoggingMessageNotification(params=params), related_request_id
            )


class _PlainContext(Context):
    """Context for one log notification. `Context.log` knows the level that a client asked for in either protocol."""

    def __init__(self, server: FastMCP[Any], data: Any) -> None:
        super().__init__(server)
        self._data = data

    @property
    def session(self) -> ServerSession:
        request = self.request_context
        meta = None if request is None else cast("Mapping[str, Any] | None", request.meta)
        return cast("ServerSession", _PlainSession(super().session, self._data, meta))


async def send_log(server: FastMCP[Any], level: LoggingLevel, data: Any, logger: str | None) -> None:
    """Send one log notification to the client of the current request, if it wants lines of this level.

    `data` (JSON) is sent unchanged; a sentence is a string.
    """
    await _PlainContext(server, data).log(data if isinstance(data, str) else repr(data), level, logger)


class ClientLog:
    """Sends log notifications to the client, each one plain sentence.

    `sent` holds marks of the notifications of earlier rounds, which are not repeated. `send` is for tests.
    """

    def __init__(
        self, context: Context, name: str, *, sent: Iterable[str] = (), send: SendLog = send_log
    ) -> None:
        self._context = context
        self._name = name
        self._sender = send
        self.sent = set(sent)

    async def _send(self, level: LogLevel, message: str, *, once: bool) -> None:
        if once:
            mark = sha256(f"{level}:{message}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
            if mark in self.sent:
                return
            self.sent.add(mark)
        try:
            await self._sender(self._context.fastmcp, level, message, self._name)
        except GONE as error:
            log.debug("the client is gone; a log line is not delivered", error=type(error).__name__)

    async def info(self, message: str, *, once: bool = False) -> None:
        """Log what the tool does; with `once`, at most once in all rounds of the call."""
        await self._send("info", message, once=once)

    async def warning(self, message: str, *, once: bool = False) -> None:
        """Log what the result lacks."""
        await self._send("warning", message, once=once)

    async def error(self, message: str, *, once: bool = False) -> None:
        """Log what failed."""
        await self._send("error", message, once=once)
