"""Retry of calls to upstream servers: transient failures of repeatable tools, within a budget."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import anyio
from fastmcp.server.middleware import CallNext, MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp_types import CallToolRequestParams

from research_shared.activity import waiting
from research_shared.errors import BackendUnavailable
from research_shared.layer import Layer
from research_shared.retry import RetryPolicy, Verdict
from research_shared.telemetry import record


@cache
def transport_failures() -> tuple[type[Exception], ...]:
    """What says that a connection could not be made or that it broke.

    A slow answer is none: asking again would only add load. The HTTP libraries are imported when a call has failed.
    """
    import httpx
    import httpx2

    return (
        httpx2.ConnectError,
        httpx2.ConnectTimeout,
        httpx2.PoolTimeout,
        httpx2.RemoteProtocolError,
        httpx2.ReadError,
        httpx2.WriteError,
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.RemoteProtocolError,
        httpx.ReadError,
        httpx.WriteError,
        anyio.BrokenResourceError,
        anyio.ClosedResourceError,
        anyio.EndOfStream,
        ConnectionError,
    )


class UpstreamFailure(BackendUnavailable):
    """A call that an upstream did not answer.

    `transient` says that the same request may succeed if it is sent again, `partial` that the client has already been
    told something of the failed attempt (progress, a log line, a question), `retry_after_s` what the upstream asks for.
    """

    def __init__(
        self,
        message: str,
        *,
        upstream: str,
        transient: bool,
        partial: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        details: dict[str, Any] = {} if retry_after_s is None else {"retry_after_s": retry_after_s}
        super().__init__(message, upstream=upstream, **details)
        self.upstream = upstream
        self.transient = transient
        self.partial = partial
        self.retry_after_s = retry_after_s


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from, groups included, outermost first."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        current = todo.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            todo.extend(current.exceptions)
        todo.append(current.__cause__)


def upstream_verdict(error: Exception) -> Verdict:
    """Whether sending the request again can help, as `RetryPolicy` wants to know it.

    Works for `UpstreamFailure` and for the bare transport errors that FastMCP's own proxies let through.
    """
    for cause in causes(error):
        if isinstance(cause, UpstreamFailure):
            if not cause.transient or cause.partial:
                return False
            return cause.retry_after_s if cause.retry_after_s is not None else True
    return any(isinstance(cause, transport_failures()) for cause in causes(error))


@dataclass(slots=True)
class RetryBudget:
    """Keeps retries from multiplying an outage: each answered call earns `ratio` of a retry, up to `reserve` of them.

    With the default, requests grow by a tenth at most once the reserve is used up
    (the scheme of Finagle's RetryBudget and of the AWS SDKs' retry quota).
    """

    ratio: float = 0.1
    reserve: float = 10.0
    tokens: float = -1.0

    def __post_init__(self) -> None:
        """Begin with the full reserve unless told otherwise."""
        if self.tokens < 0:
            self.tokens = self.reserve

    def earn(self) -> None:
        """Count one call."""
        self.tokens = min(self.reserve, self.tokens + self.ratio)

    def spend(self) -> bool:
        """Take one retry, if there is one."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class RetryUpstream(Layer):
    """Sends a call again when its upstream could not be reached.

    Only tools that declare themselves read-only and idempotent, only transient failures of the transport, never after
    something of the attempt has reached the client, never more than the budget of the tool allows, and never on
    cancellation. An answer that says `isError` is an answer: whoever gave it has done its own retrying.
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        budget: Callable[[], RetryBudget] = RetryBudget,
        verdict: Callable[[Exception], Verdict] = upstream_verdict,
    ) -> None:
        self.policy = policy or RetryPolicy(attempts=3, base_s=0.2, cap_s=2.0, deadline_s=15.0)
        self._new_budget = budget
        self._verdict = verdict
        self._budgets: dict[str, RetryBudget] = {}

    def budget_of(self, tool: str) -> RetryBudget:
        """The budget that the calls of one tool share."""
        if tool not in self._budgets:
            self._budgets[tool] = self._new_budget()
        return self._budgets[tool]

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Call the tool, and call it again where that is safe and may help."""
        begun = self.policy.clock()
        try:
            result = await call_next(context)
        except Exception as error:
            left = self.policy.deadline_s - (self.policy.clock() - begun)
            if left <= 0 or self._verdict(error) is False or not await _repeatable(context):
                raise
            result = await self._again(context, call_next, error, replace(self.policy, deadline_s=left))
        self.budget_of(context.message.name).earn()
        return result

    async def _again(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
        first: Exception,
        policy: RetryPolicy,
    ) -> ToolResult:
        budget = self.budget_of(context.message.name)

        made = 1

        def verdict(error: Exception) -> Verdict:
            answer = self._verdict(error)
            if answer is False or made >= policy.attempts or not budget.spend():
                return False
            return answer

        async def attempt(number: int) -> ToolResult:
            nonlocal made
            made = number
            record(attempts=number)
            if number == 1:
                raise first
            return await call_next(context)

        with waiting("another attempt at the server"):
            return await policy.run(attempt, verdict=verdict)


async def _repeatable(context: MiddlewareContext[CallToolRequestParams]) -> bool:
    """Whether the tool says that it changes nothing and that calling it twice is calling it once."""
    if context.fastmcp_context is None:
        return False
    tool: Any = await context.fastmcp_context.fastmcp.get_tool(context.message.name)
    hints = tool.annotations if tool is not None else None
    return bool(hints is not None and hints.read_only_hint and hints.idempotent_hint)
