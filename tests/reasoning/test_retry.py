import math
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import pytest

from research_shared.errors import DeadlineExceeded
from research_shared.retry import RetryPolicy, Uncounted, Verdict, retry_after, should_retry


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def policy(clock: Clock, **changes: object) -> RetryPolicy:
    defaults: dict[str, object] = {"clock": clock, "sleep": clock.sleep, "random": lambda: 1.0}
    return RetryPolicy(**(defaults | changes))  # type: ignore[arg-type]


def failing(times: int, error: Exception | None = None) -> tuple[Callable[[int], Awaitable[int]], list[int]]:
    seen: list[int] = []

    async def call(attempt: int) -> int:
        seen.append(attempt)
        if len(seen) <= times:
            raise error or ConnectionError(f"attempt {attempt}")
        return attempt

    return call, seen


async def test_three_attempts_wait_one_then_two_seconds_at_full_jitter_s_upper_end() -> None:
    clock = Clock()
    call, seen = failing(2)
    told: list[tuple[int, float, str]] = []

    async def before_retry(attempt: int, wait: float, error: Exception) -> None:
        told.append((attempt, wait, str(error)))

    assert await policy(clock).run(call, verdict=lambda _e: True, before_retry=before_retry) == 3
    assert seen == [1, 2, 3]
    assert clock.slept == [1.0, 2.0]
    assert told == [(1, 1.0, "attempt 1"), (2, 2.0, "attempt 2")]


async def test_what_is_told_before_a_retry_is_the_attempt_that_failed_and_then_the_wait() -> None:
    clock = Clock()
    told: list[tuple[int, float]] = []

    async def before_retry(attempt: int, wait: float, error: Exception) -> None:
        told.append((attempt, wait))

    await policy(clock, base_s=0.25).run(failing(2)[0], verdict=lambda _e: True, before_retry=before_retry)
    assert told == [(1, 0.25), (2, 0.5)]


def test_a_date_to_retry_after_is_compared_with_the_time_of_now() -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    wait = retry_after({"retry-after": format_datetime(later, usegmt=True)})
    assert wait is not None
    assert 3_000 < wait <= 3_600


async def test_the_last_failure_is_let_through_after_the_last_attempt() -> None:
    clock = Clock()
    call, seen = failing(9)
    with pytest.raises(ConnectionError, match="attempt 3"):
        await policy(clock).run(call, verdict=lambda _e: True)
    assert seen == [1, 2, 3]
    assert clock.slept == [1.0, 2.0]


async def test_what_is_not_worth_retrying_is_tried_once() -> None:
    clock = Clock()
    call, seen = failing(9, ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"):
        await policy(clock).run(call, verdict=lambda e: isinstance(e, ConnectionError))
    assert (seen, clock.slept) == ([1], [])


def test_full_jitter_spreads_waits_between_zero_and_the_cap() -> None:
    assert RetryPolicy(random=lambda: 0.0).delay(2) == 0.0
    assert RetryPolicy(random=lambda: 0.5).delay(2) == 1.0
    assert RetryPolicy(random=lambda: 1.0, cap_s=5.0).delay(9) == 5.0


async def test_a_wait_that_the_server_asks_for_is_a_lower_bound() -> None:
    clock = Clock()
    call, _ = failing(2)
    await policy(clock, random=lambda: 0.5).run(call, verdict=lambda _e: 0.75)
    assert clock.slept == [0.75, 1.0]


async def test_no_wait_goes_past_the_deadline() -> None:
    clock = Clock()
    call, seen = failing(9)
    with pytest.raises(ConnectionError, match="attempt 2"):
        await policy(clock, attempts=9, deadline_s=2.5).run(call, verdict=lambda _e: True)
    assert (seen, clock.slept) == ([1, 2], [1.0])
    with pytest.raises(ConnectionError):
        await policy(clock, deadline_s=2.5).run(failing(9)[0], verdict=lambda _e: 600.0)
    assert clock.slept == [1.0]


async def test_a_wait_that_would_end_at_the_deadline_is_not_begun() -> None:
    clock = Clock()
    call, seen = failing(9)
    with pytest.raises(ConnectionError, match="attempt 1"):
        await policy(clock, deadline_s=1.0).run(call, verdict=lambda _e: True)
    assert (seen, clock.slept) == ([1], [])


async def test_an_attempt_that_the_deadline_cuts_does_not_hide_the_failure_before_it(
    pass_time: Callable[[float], None],
) -> None:
    clock = Clock()
    told: list[int] = []

    async def fail_then_hang(attempt: int) -> None:
        told.append(attempt)
        if attempt < 3:
            raise ConnectionError(f"attempt {attempt}")
        pass_time(60)
        await anyio.sleep_forever()

    with pytest.raises(ConnectionError, match="attempt 2"):
        await policy(clock, base_s=0.0, deadline_s=60).run(fail_then_hang, verdict=lambda _e: True)
    assert told == [1, 2, 3]


async def test_without_any_time_nothing_is_attempted() -> None:
    with pytest.raises(DeadlineExceeded):
        await policy(Clock(), deadline_s=0.0).run(failing(0)[0], verdict=lambda _e: True)


async def test_an_attempt_that_outlasts_the_deadline_is_cut() -> None:
    async def hang(_attempt: int) -> None:
        await anyio.sleep_forever()

    with pytest.raises(DeadlineExceeded):
        await RetryPolicy(deadline_s=0.02).run(hang, verdict=lambda _e: True)


async def test_an_earlier_failure_says_more_than_the_deadline(pass_time: Callable[[float], None]) -> None:
    async def fail_then_hang(attempt: int) -> None:
        if attempt == 1:
            raise ConnectionError("first")
        pass_time(60)
        await anyio.sleep_forever()

    with pytest.raises(ConnectionError, match="first"):
        await RetryPolicy(deadline_s=60, base_s=0.0).run(fail_then_hang, verdict=lambda _e: True)


async def test_no_attempt_starts_after_the_deadline() -> None:
    clock = Clock()
    seen: list[int] = []

    async def slow_failure(attempt: int) -> None:
        seen.append(attempt)
        clock.now += 1.0
        raise ConnectionError(f"attempt {attempt}")

    async def oversleep(seconds: float) -> None:
        clock.now += seconds + 60.0

    with pytest.raises(ConnectionError, match="attempt 1"):
        await policy(clock, sleep=oversleep, deadline_s=10.0).run(slow_failure, verdict=lambda _e: True)
    assert seen == [1]


async def test_a_failure_that_does_not_count_uses_up_no_attempt() -> None:
    clock = Clock()
    call, seen = failing(5)
    verdicts: Iterator[Verdict] = iter([Uncounted(), Uncounted(7.0), True, Uncounted(), True])
    assert await policy(clock, cap_s=4.0).run(call, verdict=lambda _e: next(verdicts)) == 6
    assert len(seen) == 6
    assert clock.slept == [1.0, 7.0, 4.0, 4.0, 4.0]
    call, seen = failing(5)
    with pytest.raises(ConnectionError, match="attempt 3"):
        await policy(clock, deadline_s=4.5).run(call, verdict=lambda _e: Uncounted())
    assert len(seen) == 3
    call, seen = failing(1)
    assert await policy(clock, attempts=1).run(call, verdict=lambda _e: Uncounted()) == 2


async def test_the_wait_for_a_slot_counts_against_no_deadline() -> None:
    clock = Clock()
    limits: list[float] = []

    @asynccontextmanager
    async def slot() -> AsyncIterator[None]:
        clock.now += 600.0
        yield

    def time_limit(seconds: float) -> anyio.CancelScope:
        limits.append(seconds)
        return anyio.CancelScope()

    call, _ = failing(1)
    run = policy(clock, deadline_s=60.0).run(call, verdict=lambda _e: True, slot=slot, time_limit=time_limit)
    assert await run == 2
    assert limits == [60.0, 59.0]


@pytest.mark.parametrize(
    ("headers", "status", "again"),
    [
        ({}, 400, False),
        ({}, 404, False),
        ({}, 408, True),
        ({}, 409, True),
        ({}, 429, True),
        ({}, 499, False),
        ({}, 500, True),
        ({}, 529, True),
        ({"x-should-retry": "true"}, 400, True),
        ({"x-should-retry": "False"}, 503, False),
        ({"x-should-retry": "perhaps"}, 503, True),
    ],
)
def test_a_server_s_word_on_trying_again_comes_before_its_status(
    headers: dict[str, str], status: int, *, again: bool
) -> None:
    assert should_retry(headers, status) is again


async def test_cancellation_is_never_retried() -> None:
    seen: list[int] = []

    async def hang(attempt: int) -> None:
        seen.append(attempt)
        await anyio.sleep_forever()

    with anyio.move_on_after(0.02) as scope:
        await RetryPolicy(base_s=0.0).run(hang, verdict=lambda _e: True)
    assert scope.cancelled_caught
    assert seen == [1]


def test_a_retry_writes_nothing_to_stdout_where_a_stdio_server_speaks() -> None:
    program = """
import anyio
from research_shared.retry import RetryPolicy

async def call(attempt):
    if attempt == 1:
        raise ConnectionError("first")
    return attempt

assert anyio.run(lambda: RetryPolicy(base_s=0.0).run(call, verdict=lambda _e: True)) == 2
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert done.stdout == b""
    assert b"retry scheduled" in done.stderr


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:35 GMT"}, 30.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:35 -0000"}, 30.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Fri, 02 Jan 2026 05:04:35 +0200"}, 30.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:05 GMT"}, 0.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:04 GMT"}, None),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "86400"}, 86_400.0),
        ({"retry-after": "86401"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after-ms": "-5"}, None),
        ({"retry-after-ms": "nan", "retry-after": "5"}, 5.0),
        ({"retry-after-ms": "-1", "retry-after": "5"}, 5.0),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT"}, None),
    ],
)
def test_retry_after_is_believed_only_when_it_makes_sense(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, NOW) == seconds
    assert seconds is None or math.isfinite(seconds)
