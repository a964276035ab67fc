"""Tasks on a Redis or Valkey server, for several gateways and workers. They survive all of these."""

import asyncio
import secrets
from types import TracebackType
from typing import Any, Self, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError

from research_shared.tasks.records import (
    Claim,
    Ending,
    NewTask,
    TaskLimits,
    TaskRecord,
    TaskStatus,
    TaskStoreUnavailable,
)
from research_shared.tasks.stores import redis_scripts as scripts
from research_shared.tasks.stores.memory import too_many

NAMESPACE = "{research-tasks}:"
"""Prefix of all keys. The braces keep them on one node of a cluster."""
SOCKET_TIMEOUT_S = 5.0
RETRY_PAUSE_S = 0.1
"""Seconds before the second attempt at a command, which is the last."""
POLL_S = 0.5
"""Seconds between looks for a task. A look is one short script."""
_ENDINGS: dict[int, Ending] = {0: "lost", 1: "stored", 2: "too_large"}


def redis_url(url: str) -> str:
    """Return an address as the client knows it: Valkey's schemes are Redis' own.

    >>> redis_url("valkeys://cache:6379/0")
    'rediss://cache:6379/0'
    """
    scheme, separator, rest = url.partition("://")
    return scheme.replace("valkey", "redis") + separator + rest


class RedisTasks:
    """A `TaskStore` on the Redis or Valkey server at `url`. `poll_s`: seconds between looks for a task.

    Raises:
        ValueError, TypeError: the client does not take the address or an option in its query. The message may quote it.
    """

    durable = True

    def __init__(self, url: str, *, namespace: str = NAMESPACE, poll_s: float = POLL_S) -> None:
        self._redis = Redis.from_url(
            redis_url(url),
            decode_responses=True,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            health_check_interval=30,
            retry=Retry(ConstantBackoff(RETRY_PAUSE_S), retries=1),
        )
        # Options in the query are taken only now, not by `from_url`. Nothing is connected.
        pool: Any = self._redis.connection_pool  # it has no types
        pool.make_connection()
        self._namespace = namespace
        self._tasks = f"{namespace}task:"
        self._queue = f"{namespace}queue"
        self._poll_s = poll_s
        self._added = asyncio.Event()
        self._asked: set[asyncio.Future[Any]] = set()

    async def __aenter__(self) -> Self:
        """Enter. The connection is opened by the first command, so that a gateway starts without the server."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections. They are opened again when needed."""
        if self._asked:
            await asyncio.wait(self._asked)
        await self._redis.aclose()

    async def _answer(self, asked: Any) -> Any:
        """Wait for an answer, in a task that is not cancelled: the client may lose a cancellation, or leave a connection open.

        The client's types do not tell its asynchronous answers from the others.
        """
        answering = asyncio.ensure_future(asked)
        self._asked.add(answering)
        answering.add_done_callback(self._answered)
        try:
            return await asyncio.shield(answering)
        except (RedisError, OSError) as error:
            raise TaskStoreUnavailable("the store of the tasks does not answer") from error

    def _answered(self, answering: asyncio.Future[Any]) -> None:
        self._asked.discard(answering)
        if not answering.cancelled():
            answering.exception()  # seen, also if nobody waits for it any more

    async def _run(self, script: str, keys: list[str], *arguments: str | int) -> Any:
        return await self._answer(self._redis.eval(script, len(keys), *keys, *map(str, arguments)))

    def _task(self, owner: str, task_id: str) -> str:
        return f"{self._tasks}{owner}:{task_id}"

    def _owner(self, owner: str) -> str:
        return f"{self._namespace}owner:{owner}"

    async def ping(self) -> None:
        """Check that the server answers."""
        await self._answer(self._redis.ping())

    async def add(self, task: NewTask, limits: TaskLimits) -> TaskRecord:
        """Add a task."""
        key = self._task(task.owner, task.task_id)
        added, count = await self._run(
            scripts.ADD,
            [key, self._queue, self._owner(task.owner)],
            f"{task.owner}:{task.task_id}",
            self._tasks,
            task.work,
            task.ticket,
            _ms(limits.ttl_s),
            limits.tasks,
            limits.held_bytes,
        )
        if not added:
            raise too_many(count)
        self._added.set()
        record = await self.get(task.owner, task.task_id)
        if record is None:
            raise TaskStoreUnavailable("the store of the tasks has lost a task that was just added")
        return record

    async def get(self, owner: str, task_id: str) -> TaskRecord | None:
        """Return a task of this owner."""
        names = ("status", "created", "updated", "expires", "ticket", "message", "result")
        values = await self._answer(self._redis.hmget(self._task(owner, task_id), list(names)))
        status, created, updated, expires, ticket, message, result = values
        if status is None:
            return None
        return TaskRecord(
            task_id=task_id,
            status=cast("TaskStatus", status),
            created_at=int(created) / 1000,
            updated_at=int(updated) / 1000,
            expires_at=int(expires) / 1000,
            ticket=ticket,
            message=message,
            result=result,
        )

    async def cancel(self, owner: str, task_id: str) -> bool:
        """Cancel a task of this owner unless it has ended."""
        keys = [self._task(owner, task_id), self._queue]
        return bool(await self._run(scripts.CANCEL, keys, f"{owner}:{task_id}"))

    async def claim(self, lease_s: float) -> Claim | None:
        """Take the task that has waited longest."""
        self._added.clear()
        token = secrets.token_hex(16)
        found = await self._run(scripts.CLAIM, [self._queue], self._tasks, _ms(lease_s), token)
        if not found:
            return None
        member, work, attempt = found
        owner, _, task_id = member.partition(":")
        return Claim(task_id=task_id, owner=owner, work=work, token=token, attempt=int(attempt))

    async def renew(self, claim: Claim, lease_s: float, message: str | None = None) -> bool:
        """Extend a lease."""
        keys = [self._task(claim.owner, claim.task_id), self._queue]
        renewed = await self._run(
            scripts.RENEW, keys, _member(claim), claim.token, _ms(lease_s), message or ""
        )
        return bool(renewed)

    async def finish(self, claim: Claim, status: TaskStatus, result: str, limits: TaskLimits) -> Ending:
        """End a task."""
        ended = await self._run(
            scripts.FINISH,
            [self._task(claim.owner, claim.task_id), self._queue, self._owner(claim.owner)],
            _member(claim),
            self._tasks,
            claim.token,
            status,
            result,
            _ms(limits.ttl_s),
            limits.held_bytes,
        )
        return _ENDINGS[ended]

    async def release(self, claim: Claim) -> None:
        """Give a task back."""
        keys = [self._task(claim.owner, claim.task_id), self._queue]
        await self._run(scripts.RELEASE, keys, _member(claim), claim.token)
        self._added.set()

    async def wait(self, within_s: float) -> None:
        """Wait until this process added a task, or another one may have."""
        try:
            async with asyncio.timeout(min(within_s, self._poll_s)):
                await self._added.wait()
        except TimeoutError:
            return


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _member(claim: Claim) -> str:
    return f"{claim.owner}:{claim.task_id}"
