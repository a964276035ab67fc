"""What a tool tells its client while it works: progress and log lines, neither of which can make the tool fail."""

from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha256
from typing import Any, Literal, cast

import anyio
from fastmcp import Context, FastMCP
from mcp import MCPError
from mcp.server.session import ServerSession
from mcp_types import LoggingLevel, RequestId

from research_shared.logs import get_logger
from research_shared.tools.activity import activity_of

log = get_logger("research.client")
GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, MCPError, OSError)
"""What sending raises when nobody listens any more."""

LogLevel = Literal["debug", "info", "warning", "error"]
SendLog = Callable[[FastMCP[Any], LoggingLevel, Any, str | None], Awaitable[None]]
"""Sends a log line of a server: its level, its data and the name of its logger."""


class Progress:
    """Reports progress that only ever rises, also over the rounds of one logical call.

    `total` is the number of steps. `reached` is where an earlier round ended: what lies at or below it was reported.
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
        """How far the client knows the call to be, heartbeats included. A later round goes on from here."""
        return self._own if self._activity is None else max(self._own, self._activity.value)

    async def to(self, value: float, message: str) -> None:
        """Report `value` steps out of the total, unless that much was reported before."""
        value = min(value, self.total)
        if value <= self._own:
            return
        self._own = value
        try:
            await self._context.report_progress(value, self.total, message)
        except GONE as error:
            log.debug("the client is gone; progress is not delivered", error=type(error).__name__)

    async def step(self, message: str) -> None:
        """Report one whole step more."""
        await self.to(float(int(self.reached)) + 1, message)


class _PlainSession:
    """A session that sends what it was made with in place of the `{"msg", "extra"}` that FastMCP's `Context.log` sends."""

    def __init__(self, session: ServerSession, data: Any) -> None:
        self._session = session
        self._data = data

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
        await self._session.send_log_message(  # pyright: ignore[reportDeprecated]
            level, self._data, logger, related_request_id
        )


class _PlainContext(Context):
    """A context for one log line. `Context.log` knows which level a client asked for, in each protocol's own way."""

    def __init__(self, server: FastMCP[Any], data: Any) -> None:
        super().__init__(server)
        self._data = data

    @property
    def session(self) -> ServerSession:
        return cast("ServerSession", _PlainSession(super().session, self._data))


async def send_log(server: FastMCP[Any], level: LoggingLevel, data: Any, logger: str | None) -> None:
    """SendLog one log notification to the client of the current request, if it wants lines of this level.

    `data` (JSON) arrives as it is: a sentence as a string.
    """
    await _PlainContext(server, data).log(data if isinstance(data, str) else repr(data), level, logger)


class ClientLog:
    """Sends log lines to the client, each one plain sentence.

    `sent` holds the marks of lines that an earlier round sent: they stay unsent. `send` is for tests.
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
        """Tell what is being done; with `once`, at most once in all rounds of the call."""
        await self._send("info", message, once=once)

    async def warning(self, message: str, *, once: bool = False) -> None:
        """Tell what the result lacks."""
        await self._send("warning", message, once=once)

    async def error(self, message: str, *, once: bool = False) -> None:
        """Tell what failed."""
        await self._send("error", message, once=once)
