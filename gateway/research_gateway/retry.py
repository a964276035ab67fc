"""Retries calls to upstream servers: transient failures of idempotent tools, within a budget."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp_types import CallToolRequestParams

from research_shared.retry import RetryPolicy, Verdict
from research_shared.telemetry import record
from research_shared.tools.activity import waiting


@dataclass(slots=True)
class RetryBudget:
    """Limits retries during an outage: each answered call earns `ratio` retries, up to `reserve`.

    By default, retries add at most 10 % load once the reserve is used up (the scheme of Finagle's RetryBudget and of
    the AWS SDKs' retry quota).
    """

    ratio: float = 0.1
    reserve: float = 10.0
    tokens: float = -1.0

    def __post_init__(self) -> None:
        """Start with the full reserve by default."""
        if self.tokens < 0:
            self.tokens = self.reserve

    def earn(self) -> None:
        """Add the earnings of one answered call."""
        self.tokens = min(self.reserve, self.tokens + self.ratio)

    def spend(self) -> bool:
        """Take one retry. Return False if the budget is exhausted."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class RetryUpstream(Middleware):
    """Retries a tool call after a transient transport failure of its upstream.

    Only tools that declare themselves read-only and idempotent are retried, within the tool's budget. A call is not
    retried after progress, a log line or a question has reached the client, or after cancellation. Results with
    `isError` are not retried: the upstream does its own retries.

    >>> from fastmcp import FastMCP
    >>> server = FastMCP("host")
    >>> server.add_middleware(RetryUpstream())
    """

    def __init__(
        self,
        policy: RetryPolicy | None = None,
        *,
        budget: Callable[[], RetryBudget] = RetryBudget,
        verdict: Callable[[Exception], Verdict] | None = None,
    ) -> None:
        self.policy = policy or RetryPolicy(attempts=3, base_s=0.2, cap_s=2.0, deadline_s=15.0)
        self._new_budget = budget
        self._verdict = verdict or _lazy_upstream_verdict
        self._budgets: dict[str, RetryBudget] = {}

    def budget_of(self, tool: str) -> RetryBudget:
        """Return the budget shared by all calls of a tool."""
        if tool not in self._budgets:
            self._budgets[tool] = self._new_budget()
        return self._budgets[tool]

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Call the tool and retry transient failures."""
        begun = self.policy.clock()
        try:
            result = await call_next(context)
        except Exception as error:
            left = self.policy.deadline_s - (self.policy.clock() - begun)
            if left <= 0 or self._verdict(error) is False or not await _repeatable(context):
                raise
            result = await self._again(
                context=context,
                call_next=call_next,
                first=error,
                policy=replace(self.policy, deadline_s=left),
            )
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
    """Return whether the tool declares itself read-only and idempotent."""
    if context.fastmcp_context is None:
        return False
    tool: Any = await context.fastmcp_context.fastmcp.get_tool(context.message.name)
    hints = tool.annotations if tool is not None else None
    return bool(hints is not None and hints.read_only_hint and hints.idempotent_hint)


def _lazy_upstream_verdict(error: Exception) -> Verdict:
    """Return the relay's verdict. Its module is imported on the first failure."""
    from research_gateway.upstreams.errors import upstream_verdict

    return upstream_verdict(error)
