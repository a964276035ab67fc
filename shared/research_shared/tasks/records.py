"""What a store of tasks holds. Everything that tells of documents or callers is sealed before it gets there."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from research_shared.errors import BackendUnavailable, Overloaded

TaskStatus = Literal["working", "completed", "failed", "cancelled"]
Ending = Literal["stored", "lost", "too_large"]
"""What became of a result: stored, of a worker that no longer has the task, or larger than its caller may hold."""


class TooManyTasks(Overloaded):
    """The caller holds as many tasks, or as many bytes in them, as it may."""

    default_hint = (
        "Wait for one of your tasks to end and its result to expire, or ask without the tasks extension."
    )


class TaskStoreUnavailable(BackendUnavailable):
    """The store of the tasks does not answer."""

    default_hint = "Try again shortly. The task itself goes on."


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLimits:
    """What one caller may hold at once, ended tasks included, and how long a task is kept after it was made or has ended."""

    tasks: int
    held_bytes: int
    ttl_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task as it is submitted. `owner` is a digest of the caller, `work` and `ticket` are sealed."""

    task_id: str
    owner: str
    work: str
    ticket: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A task as its caller may see it. Times are Unix time in seconds. `ticket`, `message` and `result` are sealed."""

    task_id: str
    status: TaskStatus
    created_at: float
    updated_at: float
    expires_at: float
    ticket: str
    message: str | None = None
    result: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A task that one worker has for the time of its lease. `token` proves that; `attempt` counts from 1."""

    task_id: str
    owner: str
    work: str
    token: str
    attempt: int


class TaskStore(AbstractAsyncContextManager["TaskStore"], Protocol):
    """Keeps tasks and hands each to one worker at a time. A lease that is not renewed passes the task on.

    Only the worker with the current lease can report, end or give back a task, so that a task ends once.

    Every method raises `TaskStoreUnavailable` if the store does not answer.
    """

    durable: bool
    """Whether tasks survive the process."""

    async def add(self, task: NewTask, limits: TaskLimits) -> TaskRecord:
        """Add a task.

        Raises:
            TooManyTasks: its owner holds too many.
        """
        ...

    async def get(self, owner: str, task_id: str) -> TaskRecord | None:
        """Return a task, or None if this owner has none with this id."""
        ...

    async def cancel(self, owner: str, task_id: str) -> bool:
        """Cancel a task unless it has ended. Return False if this owner has none with this id."""
        ...

    async def claim(self, lease_s: float) -> Claim | None:
        """Take the task that has waited longest, or None if none waits."""
        ...

    async def renew(self, claim: Claim, lease_s: float, message: str | None = None) -> bool:
        """Extend a lease, and set the task's message if one is given. Return False if the lease was lost."""
        ...

    async def finish(self, claim: Claim, status: TaskStatus, result: str, limits: TaskLimits) -> Ending:
        """End a task. Only the first end counts."""
        ...

    async def release(self, claim: Claim) -> None:
        """Give a task back unfinished. Another worker takes it at once, and the attempt does not count."""
        ...

    async def wait(self, within_s: float) -> None:
        """Return when a task may wait for a worker, after `within_s` seconds at the latest."""
        ...

    async def ping(self) -> None:
        """Check that the store answers."""
        ...
