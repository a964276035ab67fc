"""Cached component lists of an upstream."""

import asyncio
import contextvars
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from research_gateway.upstreams.timings import DEFAULT_TIMINGS, UpstreamTimings
from research_shared.logs import get_logger

log = get_logger("research.upstreams")

KINDS = ("tools", "resources", "resource_templates", "prompts")

Fetch = Callable[[str], Awaitable[Sequence[Any]]]


@dataclass(slots=True)
class _Known:
    items: Sequence[Any]
    at: float


class KnownLists:
    """Caches the last known list of each kind. `available` is the result of the last refresh, None before the first.

    `fetch(kind)` requests a list from the upstream. `seeded(kind)` gives the list to serve before the first answer.
    """

    def __init__(
        self,
        upstream: str,
        fetch: Fetch,
        seeded: Fetch,
        *,
        timings: UpstreamTimings = DEFAULT_TIMINGS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.available: bool | None = None
        self._upstream = upstream
        self._fetch = fetch
        self._seeded = seeded
        self._timings = timings
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._failures = 0
        self._ask_again_at = 0.0

    def known(self, kind: str) -> Sequence[Any] | None:
        """Return the last known list, or None before the first."""
        known = self._known.get(kind)
        return known.items if known is not None else None

    async def get(self, kind: str) -> Sequence[Any]:
        """Return a fresh list if the upstream answers in time, else the last known one."""
        if self._is_due(kind):
            asked_before = kind in self._known or self.available is False
            in_flight = kind in self._asking
            asking = self._asking.get(kind) or self._ask(kind)
            if not (asked_before and in_flight):
                times = self._timings
                wait_s = times.stale_list_wait_s if asked_before else times.list_timeout_s
                await asyncio.wait([asking], timeout=wait_s)
        known = self._known.get(kind)
        return known.items if known is not None else await self._seeded(kind)

    def _is_due(self, kind: str) -> bool:
        known = self._known.get(kind)
        now = self._clock()
        return now >= self._ask_again_at and (known is None or now - known.at >= self._timings.list_ttl_s)

    def _ask(self, kind: str) -> asyncio.Task[None]:
        """Refresh in a task with an empty context: the list is shared and outlives the request that triggered it."""
        task = asyncio.get_running_loop().create_task(self._refresh(kind), context=contextvars.Context())
        self._asking[kind] = task
        task.add_done_callback(lambda _: self._asking.pop(kind, None))
        return task

    async def _refresh(self, kind: str) -> None:
        try:
            with anyio.fail_after(self._timings.list_timeout_s):
                items = await self._fetch(kind)
        except Exception as error:  # noqa: BLE001  (the stale list is still served)
            self.available = False
            backoff_s = self._timings.first_backoff_s * 2.0**self._failures
            self._ask_again_at = self._clock() + min(backoff_s, self._timings.longest_backoff_s)
            self._failures = min(self._failures + 1, 16)
            log.warning("listing an upstream failed", upstream=self._upstream, kind=kind, error=repr(error))
            return
        self.available = True
        self._failures, self._ask_again_at = 0, 0.0
        self._known[kind] = _Known(items, self._clock())

    def forget(self) -> None:
        """Mark all lists as stale. They are served until a refresh succeeds."""
        for known in self._known.values():
            known.at = -math.inf

    async def watch(self) -> None:
        """Poll until cancelled: all lists while any is missing or the upstream is down, else one list."""
        while True:
            complete = self.available is True and len(self._known) == len(KINDS)
            for kind in KINDS[:1] if complete else KINDS:
                await self.get(kind)
            times = self._timings
            await anyio.sleep(times.poll_interval_s if self.available is True else times.first_backoff_s)

    async def stop(self) -> None:
        """Cancel running refreshes."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
