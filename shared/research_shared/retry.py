"""Retry with exponential back-off, full jitter, `Retry-After` and one wall-clock deadline."""

import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, TypeVar

import anyio

from research_shared.errors import DeadlineExceeded
from research_shared.logs import get_logger

log = get_logger("research.retry")

CallResult = TypeVar("CallResult")


@dataclass(frozen=True, slots=True)
class Uncounted:
    """A verdict: back off for at least `wait_s` seconds, and do not count the attempt."""

    wait_s: float = 0.0


Verdict = bool | float | Uncounted
"""What to do after a failure: `False` gives up, `True` backs off, a number waits at least that many seconds."""

_DECIMAL = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_PASSING = frozenset({408, 409, 429})
_SERVER_ERROR = 500
MAX_RETRY_AFTER_S = 24 * 3600.0
"""Longer waits that a server asks for are ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long to try. Times are seconds; `deadline_s` bounds all attempts and waits together.

    The n-th wait is drawn from 0 to min(cap, base · 2ⁿ⁻¹) ("full jitter", AWS Architecture Blog, 2015-03-04).
    `clock`, `random` and `sleep` can be replaced in tests.
    """

    attempts: int = 3
    base_s: float = 1.0
    cap_s: float = 30.0
    deadline_s: float = 120.0
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] | None = None

    def delay(self, attempt: int, at_least: float = 0.0) -> float:
        """Return the seconds to wait after the failure of `attempt` (1-based), `at_least` or more."""
        backoff = self.random() * min(self.cap_s, self.base_s * 2.0 ** (attempt - 1))
        return max(at_least, backoff)

    async def run(
        self,
        call: Callable[[int], Awaitable[CallResult]],
        *,
        verdict: Callable[[Exception], Verdict],
        before_retry: Callable[[int, float, Exception], Awaitable[None]] | None = None,
        slot: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
        time_limit: Callable[[float], AbstractContextManager[Any, bool]] = anyio.move_on_after,
    ) -> CallResult:
        """Await `call(attempt)` (1-based) until it succeeds; raise its last failure when no attempt is left.

        `before_retry(attempt, wait, error)` is awaited between the wait and the next attempt. An attempt that reaches the
        deadline is cancelled by `time_limit(seconds)`. Cancellation from outside is never retried. `slot()` is held by
        each attempt; the time until it is entered counts against nothing.

        Raises:
            DeadlineExceeded: the deadline passed before any attempt ended.
        """
        ends = self.clock() + self.deadline_s
        last: Exception | None = None
        counted = 1
        for attempt in count(1):
            asked_at = self.clock()
            async with slot():
                ends += self.clock() - asked_at
                remaining = ends - self.clock()
                if remaining <= 0:
                    break
                try:
                    with time_limit(remaining):
                        return await call(attempt)
                    break  # cancelled at the deadline
                except Exception as error:  # noqa: BLE001  (raised again below, unless there is another attempt)
                    last = error
                    asked = verdict(error)
            uncounted = isinstance(asked, Uncounted)
            if asked is False or (not uncounted and counted >= self.attempts):
                raise last
            counted += not uncounted
            wished = (
                asked.wait_s if isinstance(asked, Uncounted) else float(asked if asked is not True else 0.0)
            )
            wait = self.delay(attempt, at_least=wished)
            if self.clock() + wait >= ends:
                raise last
            log.warning("retry scheduled", attempt=attempt, wait_s=round(wait, 3), error=repr(last))
            await (self.sleep or anyio.sleep)(wait)
            if before_retry is not None:
                await before_retry(attempt, wait, last)
        raise last or DeadlineExceeded("the work did not end within its time limit")


def should_retry(headers: Mapping[str, str], status: int) -> bool:
    """Return whether a response asks for another attempt: by `x-should-retry`, or by its status (408, 409, 429, 5xx)."""
    wish = headers.get("x-should-retry", "").strip().lower()
    if wish in {"true", "false"}:
        return wish == "true"
    return status in _PASSING or status >= _SERVER_ERROR


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that a response asks to wait, from `retry-after-ms` or `Retry-After` (seconds or an HTTP date).

    None if it does not ask, or asks for a negative time, more than a day, or something that is not a number.
    """
    value = headers.get("retry-after", "")
    wishes = (
        _number(headers.get("retry-after-ms", ""), 1000.0),
        _number(value, 1.0),
        _until(value, now or datetime.now(UTC)),
    )
    return next((wish for wish in wishes if wish is not None and 0 <= wish <= MAX_RETRY_AFTER_S), None)


def _number(value: str, divisor: float) -> float | None:
    return float(value) / divisor if _DECIMAL.fullmatch(value.strip()) else None


def _until(value: str, now: datetime) -> float | None:
    try:
        then = parsedate_to_datetime(value)
        return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    except (ValueError, OverflowError):
        return None
