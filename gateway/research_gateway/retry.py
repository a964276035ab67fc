"""Retry of calls to upstream servers: transient failures of repeatable tools, within a budget."""

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


class RetryUpstream(Middleware):
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
        verdict: Callable[[Exception], Verdict] | None = None,
    ) -> None:
        self.policy = policy or RetryPolicy(attempts=3, base_s=0.2, cap_s=2.0, deadline_s=15.0)
        self._new_budget = budget
        self._verdict = verdict or _lazy_upstream_verdict
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


def _lazy_upstream_verdict(error: Exception) -> Verdict:
    """Judge a failure as the relay does; its module is imported when a call has failed."""
    from research_gateway.upstreams.errors import upstream_verdict

    return upstream_verdict(error)
