"""How many calls are in flight at one server at once: found out from how it answers."""

import itertools
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import anyio

_IN_TURN: Final = 5
"""So many answers in the order of the questions, each later than the one before, show that a server answers in turn."""

_SLOWER: Final = 2.0
"""By so much the last of them took longer than the first."""

_SLOW_CALL_S: Final = 2.0
"""Answers that come sooner need no order."""

_OLDEST: Final = 2
"""A server of a few slots answers one of the few oldest."""

_MANY_CALLS: Final = 4
"""Fewer calls than this in flight show no order."""


@dataclass(eq=False, slots=True)
class Flight:
    """A call in flight. `number` counts the calls in the order in which they were sent."""

    number: int
    sent_at: float


class AttemptTimeLimit:
    """Context manager that cancels its block in time. See `CallLimiter.time_limit`."""

    def __init__(self, limits: "dict[AttemptTimeLimit, None]", seconds: float, flight: Flight | None) -> None:
        self._limits = limits
        self.seconds = seconds
        self.flight = flight
        self.scope = anyio.CancelScope()

    def __enter__(self) -> anyio.CancelScope:
        self.prolong(anyio.current_time())
        self._limits[self] = None
        return self.scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        del self._limits[self]
        return self.scope.__exit__(kind, error, trace)

    def prolong(self, now: float) -> None:
        """Let the limit begin anew."""
        self.scope.deadline = now + self.seconds


class CallLimiter:
    """Bounds the calls in flight at one server, between one and `most`.

    It begins with `first` calls at once, by default with `most`. Each answer to a call admits one more, until the server
    first has too much to do; after that, as many answers as there are slots admit one more. A server that refuses for
    want of time (429, 503, 529), does not answer in time, or answers in turn while calls wait with it, gets half as many.
    Not thread-safe: use it in one event loop.
    """

    def __init__(self, most: int, first: int | None = None) -> None:
        self.most = most
        self._slots = anyio.CapacityLimiter(min(first or most, most))
        self._allowed = float(self._slots.total_tokens)
        self._numbers = itertools.count(1)
        self._flights: dict[int, Flight] = {}
        self._limits: dict[AttemptTimeLimit, None] = {}
        self._lowered_at = 0
        self._in_turn: list[float] = []
        self.answers = 0
        """Calls that were answered so far."""

    @property
    def allowed(self) -> int:
        """Calls that may be in flight now."""
        return int(self._allowed)

    async def acquire(self) -> None:
        """Wait for a slot."""
        await self._slots.acquire()

    def release(self) -> None:
        """Give back the slot that this task holds."""
        self._slots.release()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot, and hold it during the block."""
        async with self._slots:
            yield

    def time_limit(self, seconds: float, flight: Flight | None = None) -> AttemptTimeLimit:
        """Cancel the block after so many seconds without an answer of the server to any call.

        With a flight, only answers to the calls sent before it prolong the time. A server that answers in turn keeps calls
        waiting for the others; that wait counts against no limit, and the first call that it never answers ends in time.
        """
        return AttemptTimeLimit(self._limits, seconds, flight)

    @contextmanager
    def flight(self) -> Iterator[Flight]:
        """A call, from sending it to its end. Report how it ends with `answered` or `overloaded`."""
        flight = Flight(next(self._numbers), anyio.current_time())
        self._flights[flight.number] = flight
        try:
            yield flight
        finally:
            self._flights.pop(flight.number, None)

    def answered(self, flight: Flight) -> None:
        """The server answered the call."""
        self.answers += 1
        now = anyio.current_time()
        for limit in self._limits:
            if limit.flight is None or limit.flight.number > flight.number:
                limit.prolong(now)
        if self._answers_in_turn(flight, now - flight.sent_at):
            self._lower()
        else:
            self._allow(self._allowed + (1.0 if self._lowered_at == 0 else 1.0 / self._allowed))

    def overloaded(self, flight: Flight) -> None:
        """The server had too much to do for the call. Calls sent before the limit was last lowered say nothing new."""
        if flight.number > self._lowered_at:
            self._lower()

    def serves_others(self, flight: Flight) -> bool:
        """Whether calls that were sent before this one are still in flight."""
        return any(number < flight.number for number in self._flights)

    def _answers_in_turn(self, flight: Flight, took: float) -> bool:
        oldest = list(itertools.islice(self._flights, _OLDEST))
        if (
            len(self._flights) < _MANY_CALLS
            or flight.number not in oldest
            or flight.number < self._lowered_at
        ):
            self._in_turn.clear()
            return False
        if self._in_turn and took < self._in_turn[-1]:
            self._in_turn.clear()
        self._in_turn.append(took)
        slow = took >= max(_SLOW_CALL_S, _SLOWER * self._in_turn[0])
        return slow and len(self._in_turn) >= _IN_TURN

    def _lower(self) -> None:
        self._lowered_at = next(self._numbers)
        self._in_turn.clear()
        self._allow(min(self._allowed, len(self._flights) or math.inf) // 2)

    def _allow(self, calls: float) -> None:
        self._allowed = min(float(self.most), max(1.0, calls))
        self._slots.total_tokens = int(self._allowed)
