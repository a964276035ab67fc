"""What a tool call waits for and the progress its client knows. Shared by all code that works on the call.

`Heartbeat` reports the wait to the client, and the gateway's `TimeLimit` asks whether the call is still alive. Code that
waits declares it:

    with waiting("the model: the summary of a.pdf", limit_s=600):
        answer = await model.ask(prompt)
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from fastmcp import Context
from fastmcp.server.dependencies import FastMCPRequestContext
from fastmcp.server.middleware import MiddlewareContext

from research_shared._framework import progress_token_set

MAX_NAME = 200
"""Characters of a wait's description that a message shows."""

_SEND = "send_progress_notification"
_UNREQUESTED = "research-unrequested-progress"
"""Progress token used when the client sent none."""

_BEAT_FRACTION = 1e-3
"""Fraction of the distance to the next whole step that one heartbeat adds."""

_current_activity: ContextVar["Activity | None"] = ContextVar("research_activity", default=None)

SendProgress = Callable[[float, float | None, str | None], Awaitable[None]]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Wait:
    """Something that a call waits for. Times are seconds.

    `limit_s` is the time within which the wait ends by itself; infinite for a place in a queue, which counts against no
    limit of the call. `own_beats` is true if the awaited party reports progress
    itself.
    """

    what: str
    since: float
    limit_s: float | None = None
    own_beats: bool = False


class Activity:
    """One tool call as seen from outside: its waits, its last sign of life, its reported progress.

    Signs of life are a progress report of the tool and the end of a wait with a limit of its own. Heartbeats are not: they
    show that the call has not ended, not that it advances. Each callback of `changed` runs after each change.
    """

    def __init__(self, name: str, clock: Callable[[], float], send: SendProgress | None = None) -> None:
        self.name = name
        self.clock = clock
        self.session: object = None
        """The session object that the SDK makes for each request. None for an internal call."""
        self.send = send
        """Sends a progress notification. None if the client did not ask for progress."""
        self.beating = False
        """Whether a `Heartbeat` already serves this call."""
        self.value = -math.inf
        """The progress last sent to the client."""
        self.total: float | None = None
        self.begun_at = self.sent_at = self.alive_at = clock()
        self.changed: list[Callable[[], None]] = []
        self._waits: dict[Wait, None] = {}
        self._queued_s = 0.0
        self._queued_since: float | None = None
        self._reported = -math.inf

    @property
    def alive_until(self) -> float:
        """Time until which the call counts as alive without another sign of life."""
        ends = (wait.since + wait.limit_s for wait in self._waits if wait.limit_s is not None)
        return max([self.alive_at, *ends])

    @property
    def queued_s(self) -> float:
        """Seconds in which some part of the call was in a queue. Infinite while one is."""
        return self._queued_s if self._queued_since is None else math.inf

    def _note_queue(self) -> None:
        queued = any(wait.limit_s == math.inf for wait in self._waits)
        if queued and self._queued_since is None:
            self._queued_since = self.clock()
        elif not queued and self._queued_since is not None:
            self._queued_s += self.clock() - self._queued_since
            self._queued_since = None

    @property
    def has_own_beats(self) -> bool:
        """Whether any current wait reports progress itself."""
        return any(wait.own_beats for wait in self._waits)

    def begin(self, wait: Wait) -> None:
        """Add a wait."""
        self._waits[wait] = None
        self._note_queue()
        self._notify()

    def end(self, wait: Wait) -> None:
        """Remove a wait."""
        self._waits.pop(wait, None)
        self._note_queue()
        if wait.limit_s is not None:
            self.alive_at = self.clock()
        self._notify()

    def _notify(self) -> None:
        for callback in list(self.changed):
            callback()

    def expect(self, total: float, reached: float) -> None:
        """Set the number of steps, and how many were reported in an earlier round."""
        self.total = total if self.total is None else self.total
        self.value = max(self.value, reached)

    def message(self) -> str:
        """Return a message about the longest wait and its seconds."""
        now = self.clock()
        first = next(iter(self._waits), Wait(what=self.name, since=self.begun_at))
        others = max(0, len(self._waits) - 1)
        more = f" and {others} more" if others else ""
        what = "".join(char if char.isprintable() else " " for char in first.what[:MAX_NAME])
        return f"waiting for {what}{more} ({now - first.since:.0f} s)"

    async def report(self, value: float, total: float | None, message: str | None) -> None:
        """Send the tool's progress, raised above earlier heartbeats. A value that did not rise is sent unchanged."""
        self.alive_at = self.sent_at = self.clock()
        self._notify()
        self.total = total
        rises, self._reported = value > self._reported, value
        if rises and value <= self.value:
            value = self._above(self.value) or value
        self.value = value
        if self.send is not None:
            await self.send(value, total, message)

    async def beat(self) -> None:
        """Send a heartbeat: slightly above the last value and below the next whole step."""
        self.sent_at = self.clock()
        value = self._above(max(self.value, 0.0))
        if value is None or self.send is None:
            return
        self.value = value
        await self.send(value, self.total, self.message())

    def _above(self, value: float) -> float | None:
        """Return a value above this one, below the next whole step and the total; None if there is none."""
        if not math.isfinite(value):
            return None
        step = math.floor(value) + 1.0
        end = step if self.total is None else min(step, self.total)
        above = value + (end - value) * _BEAT_FRACTION
        short = round(above, 4)
        if value < short < end:
            return short
        return above if value < above < end else None


@contextmanager
def waiting(what: str, *, limit_s: float | None = None, own_beats: bool = False) -> Iterator[None]:
    """Declare what the current tool call waits for during the block. Outside of a call it does nothing.

    The client is told "waiting for `what` (40 s)", so `what` must not be secret. Pass `limit_s` (seconds) only if the wait
    ends by itself within that time: the call's own time limit is paused meanwhile. Pass `math.inf` for a place in a queue
    that moves on by itself: then the time counts neither against that limit nor against the call's ceiling.
    """
    activity = _current_activity.get()
    if activity is None:
        yield
        return
    wait = Wait(what=what, since=activity.clock(), limit_s=limit_s, own_beats=own_beats)
    activity.begin(wait)
    try:
        yield
    finally:
        activity.end(wait)


def activity_of(context: Context) -> Activity | None:
    """Return the activity of the context's request, or None if it is not observed."""
    activity = _current_activity.get()
    if activity is None:
        return None
    request = context.request_context
    return activity if request is not None and activity.session is request.session else None


@contextmanager
def observed(context: MiddlewareContext[Any]) -> Iterator[Activity]:
    """Observe the current tool call, mounted servers included."""
    request = context.fastmcp_context.request_context if context.fastmcp_context is not None else None
    current = _current_activity.get()
    if current is not None and (request is None or current.session is request.session):
        yield current
        return
    activity = Activity(str(context.message.name), asyncio.get_running_loop().time)
    token = _current_activity.set(activity)
    try:
        if request is None:
            yield activity
        else:
            with _reports_routed(request, activity):
                yield activity
    finally:
        _current_activity.reset(token)


@contextmanager
def _reports_routed(request: FastMCPRequestContext, activity: Activity) -> Iterator[None]:
    """Route the progress reports of this request through its activity.

    The SDK makes a session object for each request, so the replaced method affects this request alone. A tool reports only
    with a progress token: a request without one gets one here, and its reports are not sent.
    """
    session = activity.session = request.session
    send = getattr(session, _SEND)
    token = (request.meta or {}).get("progressToken")
    if token is not None:

        async def send_with_token(value: float, total: float | None, message: str | None) -> None:
            await send(token, value, total, message, related_request_id=request.request_id)

        activity.send = send_with_token

    async def route(
        progress_token: str | int,
        progress: float,
        total: float | None = None,
        message: str | None = None,
        related_request_id: str | None = None,
    ) -> None:
        if progress_token in {token, _UNREQUESTED}:
            await activity.report(progress, total, message)
        else:
            await send(progress_token, progress, total, message, related_request_id=related_request_id)

    setattr(session, _SEND, route)
    if token is not None:
        yield
        return
    with progress_token_set(request, _UNREQUESTED):
        yield
