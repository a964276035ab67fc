"""Tasks in the memory of this process. They end with it."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from research_shared.tasks.records import (
    Claim,
    Ending,
    NewTask,
    TaskLimits,
    TaskRecord,
    TaskStatus,
    TaskStoreUnavailable,
    TooManyTasks,
)
from research_shared.text.sizes import counted

MAX_BYTES_OF_ALL: Final = 256 * 1024 * 1024
"""Bytes of the tasks of all callers. Beyond it calls are answered at once, instead of becoming tasks."""


@dataclass(slots=True)
class _Held:
    task: NewTask
    created_at: float
    updated_at: float
    expires_at: float
    waiting_since: float
    """Time from which a worker may take the task: now, or the end of a lease. Infinite once it has ended."""
    status: TaskStatus = "working"
    token: str | None = None
    attempt: int = 0
    message: str | None = None
    result: str | None = None

    @property
    def size(self) -> int:
        work = len(self.task.work) if self.status == "working" else 0
        return work + len(self.task.ticket) + len(self.result or "")


class MemoryTasks:
    """A `TaskStore` in memory. `clock` gives the Unix time."""

    durable = False

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._held: dict[tuple[str, str], _Held] = {}
        self._added = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Enter. Tasks of an earlier time in the same process are still there."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave."""

    async def ping(self) -> None:
        """Answer: memory always does."""

    def _drop_expired(self) -> float:
        now = self._clock()
        for key in [key for key, held in self._held.items() if held.expires_at <= now]:
            del self._held[key]
        return now

    def _bytes_of(self, owner: str) -> int:
        return sum(held.size for (whose, _), held in self._held.items() if whose == owner)

    def _bytes_of_all(self) -> int:
        return sum(held.size for held in self._held.values())

    async def add(self, task: NewTask, limits: TaskLimits) -> TaskRecord:
        """Add a task."""
        now = self._drop_expired()
        count = sum(whose == task.owner for whose, _ in self._held)
        size = len(task.work) + len(task.ticket)
        if count >= limits.tasks or self._bytes_of(task.owner) + size > limits.held_bytes:
            raise too_many(count)
        if self._bytes_of_all() + size > MAX_BYTES_OF_ALL:
            raise TaskStoreUnavailable("there is no memory for further tasks")
        held = _Held(task, now, now, now + limits.ttl_s, waiting_since=now)
        self._held[task.owner, task.task_id] = held
        self._added.set()
        return _as_record(held)

    async def get(self, owner: str, task_id: str) -> TaskRecord | None:
        """Return a task of this owner."""
        self._drop_expired()
        held = self._held.get((owner, task_id))
        return None if held is None else _as_record(held)

    async def cancel(self, owner: str, task_id: str) -> bool:
        """Cancel a task of this owner unless it has ended."""
        now = self._drop_expired()
        held = self._held.get((owner, task_id))
        if held is None:
            return False
        if held.status == "working":
            self._end(held, "cancelled", now)
        return True

    @staticmethod
    def _end(held: _Held, status: TaskStatus, now: float) -> None:
        held.status, held.token, held.message = status, None, None
        held.waiting_since, held.updated_at = float("inf"), now

    async def claim(self, lease_s: float) -> Claim | None:
        """Take the task that has waited longest."""
        now = self._drop_expired()
        waiting = [held for held in self._held.values() if held.waiting_since <= now]
        if not waiting:
            self._added.clear()
            return None
        held = min(waiting, key=lambda each: each.waiting_since)
        held.waiting_since, held.token = now + lease_s, secrets.token_hex(16)
        held.attempt += 1
        task = held.task
        return Claim(
            task_id=task.task_id, owner=task.owner, work=task.work, token=held.token, attempt=held.attempt
        )

    def _leased(self, claim: Claim) -> _Held | None:
        held = self._held.get((claim.owner, claim.task_id))
        return held if held is not None and held.token == claim.token else None

    async def renew(self, claim: Claim, lease_s: float, message: str | None = None) -> bool:
        """Extend a lease."""
        now = self._drop_expired()
        held = self._leased(claim)
        if held is None:
            return False
        held.waiting_since = now + lease_s
        if message is not None:
            held.message, held.updated_at = message, now
        return True

    async def finish(self, claim: Claim, status: TaskStatus, result: str, limits: TaskLimits) -> Ending:
        """End a task."""
        now = self._drop_expired()
        held = self._leased(claim)
        if held is None:
            return "lost"
        others = self._bytes_of(claim.owner) - held.size
        too_much = self._bytes_of_all() + len(result) > 2 * MAX_BYTES_OF_ALL
        if too_much or others + len(held.task.ticket) + len(result) > limits.held_bytes:
            return "too_large"
        self._end(held, status, now)
        held.result, held.expires_at = result, now + limits.ttl_s
        return "stored"

    async def release(self, claim: Claim) -> None:
        """Give a task back."""
        held = self._leased(claim)
        if held is not None:
            held.waiting_since, held.token = self._clock(), None
            held.attempt -= 1
            self._added.set()

    async def wait(self, within_s: float) -> None:
        """Wait until a task was added or given back, or a lease may have ended."""
        try:
            async with asyncio.timeout(within_s):
                await self._added.wait()
        except TimeoutError:
            return


def too_many(count: int) -> TooManyTasks:
    """Return the refusal of a task of a caller who holds `count` tasks already."""
    return TooManyTasks(
        f"this caller holds {counted(count, 'task')}, and may hold no more tasks or no more bytes in them"
    )


def _as_record(held: _Held) -> TaskRecord:
    return TaskRecord(
        task_id=held.task.task_id,
        status=held.status,
        created_at=held.created_at,
        updated_at=held.updated_at,
        expires_at=held.expires_at,
        ticket=held.task.ticket,
        message=held.message,
        result=held.result,
    )
