"""Retry with exponential back-off, full jitter, `Retry-After` and one wall-clock deadline, on stamina."""

import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TypeVar

import anyio
import structlog

from research_shared.errors import DeadlineExceeded

T = TypeVar("T")
Verdict = bool | float
"""What to do after a failure: `False` give up, `True` back off, a number wait at least that many seconds."""

_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
MAX_RETRY_AFTER_S = 24 * 3600.0
"""A server that asks for more than a day is not believed."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try. Times are seconds; `deadline_s` bounds all attempts and waits together.

    The n-th wait is drawn from 0 to min(cap, base · 2ⁿ⁻¹) ("full jitter", AWS Architecture Blog, 2015-03-04).
    `clock`, `random` and `sleep` are there to be replaced in tests; without `sleep`, stamina sleeps.
    """

    attempts: int = 3
    base_s: float = 1.0
    cap_s: float = 30.0
    deadline_s: float = 120.0
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] | None = None

    def delay(self, attempt: int, at_least: float = 0.0) -> float:
        """The wait after the failure of this attempt (1-based)."""
        backoff = self.random() * min(self.cap_s, self.base_s * 2.0 ** (attempt - 1))
        return max(at_least, backoff)

    async def run(
        self,
        call: Callable[[int], Awaitable[T]],
        *,
        verdict: Callable[[Exception], Verdict],
        before_retry: Callable[[int, float, Exception], Awaitable[None]] | None = None,
    ) -> T:
        """Await `call(attempt)` until it succeeds or nothing more may be tried; the last failure is let through.

        `before_retry(attempt, wait, error)` is told of a failure when it is retried, after the wait. Cancellation is never
        retried.

        Raises:
            DeadlineExceeded: the time was up before any attempt ended.
        """
        import stamina

        _keep_stdout_clean()
        ends = self.clock() + self.deadline_s
        pending: list[tuple[int, float, Exception]] = []
        last: Exception | None = None
        attempted = 0

        def decide(error: Exception) -> bool | float:
            nonlocal last
            if isinstance(error, _OutOfTimeError):
                return False
            last = error
            answer = verdict(error)
            if answer is False or attempted >= self.attempts:
                return False
            wait = self.delay(attempted, 0.0 if answer is True else float(answer))
            if self.clock() + wait >= ends:
                return False
            pending.append((attempted, wait, error))
            return wait if self.sleep is None else 0.0

        async def once() -> T:
            remaining = ends - self.clock()
            if remaining <= 0:
                raise _OutOfTimeError
            with anyio.move_on_after(remaining):
                return await call(attempted)
            raise _OutOfTimeError

        try:
            async for attempt in stamina.retry_context(on=decide, attempts=self.attempts, timeout=None):
                with attempt:
                    if pending:
                        failed, wait, error = pending.pop()
                        if self.sleep is not None:
                            await self.sleep(wait)
                        if before_retry is not None:
                            await before_retry(failed, wait, error)
                    attempted = attempt.num
                    return await once()
        except _OutOfTimeError as error:
            raise last or DeadlineExceeded("the work did not end within its time limit") from error
        raise AssertionError("stamina either returns or raises")


@cache
def _keep_stdout_clean() -> None:
    """Have retries logged by the standard library where nobody has set structlog up.

    stamina logs through structlog, and structlog's own default is to print to stdout: where a stdio server speaks MCP.
    """
    from stamina import instrumentation
    from stamina.instrumentation import LoggingOnRetryHook, StructlogOnRetryHook

    if not structlog.is_configured():
        instrumentation.set_on_retry_hooks(
            LoggingOnRetryHook if hook.__module__ == StructlogOnRetryHook.hook_factory.__module__ else hook
            for hook in instrumentation.get_on_retry_hooks()
        )


class _OutOfTimeError(Exception):
    """The deadline passed while an attempt ran."""


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds that a response asks to wait, from `retry-after-ms` or `Retry-After` (seconds or an HTTP date).

    None when it does not ask, or when what it asks is negative, not a number, or more than a day.
    """
    value = headers.get("retry-after", "")
    wishes = (
        _number(headers.get("retry-after-ms", ""), 1000.0),
        _number(value, 1.0),
        _until(value, now or datetime.now(UTC)),
    )
    return next((wish for wish in wishes if wish is not None and 0 <= wish <= MAX_RETRY_AFTER_S), None)


def _number(value: str, divisor: float) -> float | None:
    return float(value) / divisor if _NUMBER.fullmatch(value.strip()) else None


def _until(value: str, now: datetime) -> float | None:
    try:
        then = parsedate_to_datetime(value)
        return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    except (ValueError, OverflowError):
        return None
