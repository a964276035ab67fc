"""What an upstream offers, as it was last known."""

import asyncio
import contextvars
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from research_shared.logs import get_logger

log = get_logger("research.upstreams")

KINDS = ("tools", "resources", "resource_templates", "prompts")
FRESH_S = 5.0
"""How long a list is given without asking again."""
LIST_TIMEOUT_S = 5.0
PATIENCE_S = 0.5
"""How long a newer list is waited for where there is an older one: the whole gateway waits with it."""
WATCH_S = 10.0
"""How often an upstream that answers is asked although nobody wants to know, so that it is seen to go."""
BACKOFF_S = (1.0, 30.0)
"""The first and the longest time for which an upstream that did not answer is not asked for its lists."""

Fetch = Callable[[str], Awaitable[Sequence[Any]]]


@dataclass(slots=True)
class _Known:
    items: Sequence[Any]
    at: float


class KnownLists:
    """The last known list of each kind, and whether the upstream answered when it was last asked for one.

    `fetch` asks the upstream for a list, `seeded` gives the one to show as long as it has never answered.
    """

    def __init__(
        self, upstream: str, fetch: Fetch, seeded: Fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.available: bool | None = None
        self._upstream = upstream
        self._fetch = fetch
        self._seeded = seeded
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._failures = 0
        self._ask_again_at = 0.0

    def known(self, kind: str) -> Sequence[Any] | None:
        """The last known list; None before the first."""
        known = self._known.get(kind)
        return known.items if known is not None else None

    async def get(self, kind: str) -> Sequence[Any]:
        """A fresh list if the upstream gives one in time, else the last known one."""
        if self._is_due(kind):
            asked_before = kind in self._known or self.available is False
            in_flight = kind in self._asking
            asking = self._asking.get(kind) or self._ask(kind)
            if not (asked_before and in_flight):
                await asyncio.wait([asking], timeout=PATIENCE_S if asked_before else LIST_TIMEOUT_S)
        known = self._known.get(kind)
        return known.items if known is not None else await self._seeded(kind)

    def _is_due(self, kind: str) -> bool:
        known = self._known.get(kind)
        now = self._clock()
        return now >= self._ask_again_at and (known is None or now - known.at >= FRESH_S)

    def _ask(self, kind: str) -> asyncio.Task[None]:
        """Ask in a task of its own, on behalf of nobody: the list is for all, and outlives the request that wants it."""
        task = asyncio.get_running_loop().create_task(self._refresh(kind), context=contextvars.Context())
        self._asking[kind] = task
        task.add_done_callback(lambda _: self._asking.pop(kind, None))
        return task

    async def _refresh(self, kind: str) -> None:
        try:
            with anyio.fail_after(LIST_TIMEOUT_S):
                items = await self._fetch(kind)
        except Exception as error:  # noqa: BLE001  (whatever is wrong with it is no reason to have nothing)
            self.available = False
            self._ask_again_at = self._clock() + min(BACKOFF_S[0] * 2.0**self._failures, BACKOFF_S[1])
            self._failures = min(self._failures + 1, 16)
            log.warning("an upstream does not list", upstream=self._upstream, kind=kind, error=repr(error))
            return
        self.available = True
        self._failures, self._ask_again_at = 0, 0.0
        self._known[kind] = _Known(items, self._clock())

    def forget(self) -> None:
        """Ask for the lists again when they are next wanted; they stay known until there are others."""
        for known in self._known.values():
            known.at = -math.inf

    async def watch(self) -> None:
        """Ask for all lists at first and whenever the upstream may be back, then now and again for one, until cancelled."""
        while True:
            complete = self.available is True and len(self._known) == len(KINDS)
            for kind in KINDS[:1] if complete else KINDS:
                await self.get(kind)
            await anyio.sleep(WATCH_S if self.available is True else BACKOFF_S[0])

    async def stop(self) -> None:
        """End what is being asked."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
