"""When a call is sent upstream again, and when it is not."""

from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest
from fastmcp import Client, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.middleware import MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp_types import CallToolRequestParams, ToolAnnotations

from research_gateway.retry import RetryBudget, RetryUpstream
from research_gateway.upstreams.errors import UpstreamFailure, causes, upstream_verdict
from research_shared.errors import ModelFailed
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.retry import RetryPolicy
from research_shared.telemetry import collecting
from support.results import error_of

REPEATABLE = ToolAnnotations(read_only_hint=True, idempotent_hint=True)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Upstream:
    """Fails as scripted, then answers; counts the requests that reach it."""

    def __init__(self, *failures: Exception, annotations: ToolAnnotations | None = REPEATABLE) -> None:
        self.failures = list(failures)
        self.requests = 0
        self.clock = Clock()
        self.retry = RetryUpstream(
            RetryPolicy(
                attempts=3,
                base_s=1.0,
                deadline_s=10.0,
                clock=self.clock,
                random=lambda: 1.0,
                sleep=self.clock.sleep,
            )
        )
        self.server: FastMCP[Any] = FastMCP("gateway", middleware=[ErrorBoundary(), self.retry])

        @self.server.tool(annotations=annotations)
        async def ask() -> str:
            self.requests += 1
            if self.failures:
                raise self.failures.pop(0)
            return "answer"

    async def call(self) -> str:
        async with Client(self.server) as client:
            result = await client.call_tool("ask", raise_on_error=False)
        if not result.is_error:
            return "ok"
        code: str = error_of(result)["code"]
        return code


def failure(**details: Any) -> UpstreamFailure:
    return UpstreamFailure("gone", **{"upstream": "u", "transient": True, **details})


def wrapped(cause: Exception) -> ToolError:
    error = ToolError("masked")
    error.__cause__ = RuntimeError("Client failed to connect")
    error.__cause__.__cause__ = ExceptionGroup("tasks", [cause])
    return error


@pytest.mark.parametrize(
    ("failures", "ends", "requests"),
    [
        pytest.param([failure()], "ok", 2, id="one transient failure"),
        pytest.param([failure(), failure()], "ok", 3, id="two transient failures"),
        pytest.param([failure(), failure(), failure()], "backend_unavailable", 3, id="it stays down"),
        pytest.param([failure(transient=False)], "backend_unavailable", 1, id="a definite failure"),
        pytest.param([failure(partial=True)], "backend_unavailable", 1, id="after partial output"),
        pytest.param([failure(retry_after_s=30.0)], "backend_unavailable", 1, id="told to wait too long"),
        pytest.param([wrapped(httpx2.ConnectError("refused"))], "ok", 2, id="a bare connect error"),
        pytest.param([wrapped(httpx2.ReadTimeout("slow"))], "internal_error", 1, id="a slow answer"),
        pytest.param([ValueError("bug")], "internal_error", 1, id="a bug"),
        pytest.param(
            [ModelFailed("its own retries are used up")], "model_failed", 1, id="own retries exhausted"
        ),
    ],
)
async def test_requests_that_reach_the_upstream(failures: list[Exception], ends: str, requests: int) -> None:
    upstream = Upstream(*failures)
    assert (await upstream.call(), upstream.requests) == (ends, requests)


@pytest.mark.parametrize(
    "annotations",
    [
        None,
        ToolAnnotations(read_only_hint=True),
        ToolAnnotations(idempotent_hint=True),
        ToolAnnotations(read_only_hint=False, idempotent_hint=True),
    ],
)
async def test_a_tool_that_does_not_say_it_can_be_repeated_is_called_once(
    annotations: ToolAnnotations | None,
) -> None:
    upstream = Upstream(failure(), annotations=annotations)
    assert (await upstream.call(), upstream.requests) == ("backend_unavailable", 1)


async def test_waits_grow_and_follow_what_the_upstream_asks_for() -> None:
    upstream = Upstream(failure(), failure(retry_after_s=5.0))
    assert await upstream.call() == "ok"
    assert upstream.clock.waits == [1.0, 5.0]


async def test_the_deadline_counts_from_the_first_attempt() -> None:
    upstream = Upstream()

    @upstream.server.tool(annotations=REPEATABLE)
    async def slow() -> str:
        upstream.requests += 1
        upstream.clock.now += 20
        raise failure()

    async with Client(upstream.server) as client:
        result = await client.call_tool("slow", raise_on_error=False)
    assert result.is_error
    assert upstream.requests == 1


async def test_a_failure_at_the_deadline_is_told_as_it_is() -> None:
    upstream = Upstream()

    @upstream.server.tool(annotations=REPEATABLE)
    async def slow() -> str:
        upstream.requests += 1
        upstream.clock.now += 10
        raise failure()

    with collecting() as facts:
        result = await upstream.server.call_tool("slow")
    assert error_of(result)["code"] == "backend_unavailable"
    assert upstream.requests == 1
    assert "attempts" not in facts


async def test_attempts_are_counted_up_to_the_deadline() -> None:
    upstream = Upstream()

    @upstream.server.tool(annotations=REPEATABLE)
    async def slow() -> str:
        upstream.requests += 1
        upstream.clock.now += 4
        raise failure()

    with collecting() as facts:
        result = await upstream.server.call_tool("slow")
    assert error_of(result)["code"] == "backend_unavailable"
    assert (upstream.requests, facts["attempts"]) == (2, 2)


async def test_an_outage_is_not_multiplied() -> None:
    upstream = Upstream(*[failure() for _ in range(400)])
    for _ in range(100):
        assert await upstream.call() == "backend_unavailable"
    assert upstream.requests == 110


async def test_answered_calls_earn_the_budget_back() -> None:
    budget = RetryBudget(ratio=0.5, reserve=2.0, tokens=0.5)
    assert not budget.spend()
    budget.earn()
    assert budget.spend()
    for _ in range(9):
        budget.earn()
    assert budget.tokens == 2.0


async def test_a_cancelled_call_is_not_sent_again() -> None:
    upstream = Upstream()
    started = anyio.Event()

    @upstream.server.tool(annotations=REPEATABLE)
    async def hang() -> str:
        upstream.requests += 1
        started.set()
        await anyio.sleep_forever()
        raise AssertionError

    async with Client(upstream.server) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "hang")
        with anyio.fail_after(60):
            await started.wait()
        tasks.cancel_scope.cancel()
    assert upstream.requests == 1


async def test_a_call_that_is_answered_in_the_end_earns_a_part_of_what_its_retries_cost() -> None:
    upstream = Upstream(failure(), failure(transient=False), failure())
    assert await upstream.call() == "backend_unavailable"
    assert upstream.retry.budget_of("ask").tokens == 9.0  # a definite failure costs nothing
    assert await upstream.call() == "ok"
    assert upstream.retry.budget_of("ask").tokens == pytest.approx(8.1)


def test_an_empty_budget_is_not_a_full_one() -> None:
    assert not RetryBudget(tokens=0.0).spend()
    assert RetryBudget(reserve=1.0).spend()


def test_a_call_is_tried_three_times_within_fifteen_seconds_by_default() -> None:
    assert RetryUpstream().policy == RetryPolicy(attempts=3, base_s=0.2, cap_s=2.0, deadline_s=15.0)


async def test_what_is_worth_another_attempt_can_be_decided_otherwise() -> None:
    upstream = Upstream(failure(), failure())
    upstream.server.add_middleware(RetryUpstream(upstream.retry.policy, verdict=lambda _error: False))
    assert (await upstream.call(), upstream.requests) == ("ok", 3)
    upstream = Upstream(ValueError("bug"))
    upstream.server.add_middleware(RetryUpstream(upstream.retry.policy, verdict=lambda _error: True))
    assert (await upstream.call(), upstream.requests) == ("ok", 2)


async def test_a_call_outside_of_a_server_is_made_once() -> None:
    upstream = Upstream()
    made: list[str] = []

    async def fail(context: MiddlewareContext[CallToolRequestParams]) -> ToolResult:
        made.append(context.message.name)
        raise failure()

    call = MiddlewareContext(message=CallToolRequestParams(name="ask", arguments={}))
    with pytest.raises(UpstreamFailure):
        await upstream.retry.on_call_tool(call, fail)
    assert made == ["ask"]


@pytest.mark.parametrize(("seconds", "attempts"), [(8.9, 1), (9.0, 1), (9.5, 1), (10.0, None)])
async def test_a_failure_just_before_the_deadline_was_the_first_of_several_attempts(
    seconds: float, attempts: int | None
) -> None:
    upstream = Upstream()

    @upstream.server.tool(annotations=REPEATABLE)
    async def slow() -> str:
        upstream.clock.now += seconds
        raise failure(retry_after_s=5.0)

    with collecting() as facts:
        await upstream.server.call_tool("slow")
    assert facts.get("attempts") == attempts


async def test_a_definite_failure_is_no_attempt_of_several() -> None:
    upstream = Upstream(failure(transient=False))
    with collecting() as facts:
        await upstream.server.call_tool("ask")
    assert "attempts" not in facts


async def test_attempts_are_recorded_for_the_audit_trail() -> None:
    upstream = Upstream(failure())
    with collecting() as facts:
        await upstream.server.call_tool("ask")
    assert facts["attempts"] == 2


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (failure, True),
        (lambda: failure(retry_after_s=2.5), 2.5),
        (lambda: wrapped(failure(partial=True)), False),
        (lambda: ExceptionGroup("g", [ConnectionResetError()]), True),
        (lambda: KeyError("x"), False),
    ],
)
def test_verdicts(make: Callable[[], Exception], expected: bool | float) -> None:
    assert upstream_verdict(make()) == expected


def test_a_loop_of_causes_ends() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert len(list(causes(first))) == 2
