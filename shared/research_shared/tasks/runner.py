"""Works on the tasks of a store, inside a gateway or in a process of its own."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.providers import Provider
from mcp import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
)

from research_shared.access.scope import EVERYTHING, current_scope
from research_shared.errors import ERROR_META_KEY, ResponseTooLarge, ShuttingDown
from research_shared.logs import get_logger
from research_shared.middleware.boundary import error_result
from research_shared.middleware.scope_meta import SCOPE_META_KEY
from research_shared.tasks.records import Claim, TaskLimits, TaskStatus, TaskStore, TaskStoreUnavailable
from research_shared.tasks.sealing import TaskSealer
from research_shared.tasks.work import Work, work_of_json, working_on

log = get_logger("research.tasks")

MAX_WORKERS_LOST = 3
"""How often a task is taken whose workers end before it does. After that it fails."""
MAX_PROGRESS_CHARS = 300
"""Characters of the last progress report that a task shows."""
RETRY_S = 2.0
"""Seconds before the next attempt to reach a store that does not answer."""
HEARTBEAT_S = 1.0
"""Seconds between two renewals of a lease, which also tell of a cancellation."""
IDLE_S = 60.0


class Abandoned(Exception):
    """The work is to be given back: this process is about to end."""


class TaskRunner(Provider):
    """Takes up to `concurrency` tasks at once and makes their calls, each as a client of `server` in this process.

    So the work passes everything that a call passes: audit, limits, policy. A provider without components, because the
    lifespan of a provider begins when the server is complete and ends first. `lease_s`: after so many seconds without a
    sign of life, another worker takes the task.
    """

    def __init__(
        self,
        server: FastMCP[Any],
        *,
        store: TaskStore,
        sealer: TaskSealer,
        limits: TaskLimits,
        concurrency: int,
        lease_s: float,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        super().__init__()
        self._server = server
        self._store = store
        self._sealer = sealer
        self._limits = limits
        self._concurrency = concurrency
        self._lease_s = lease_s
        self._heartbeat_s = min(heartbeat_s, lease_s / 3)
        self._stop = asyncio.Event()
        self._working: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Work while the server runs. What is not done when it stops is given back."""
        async with self._store:
            if not self._concurrency:
                yield
                return
            self._stop = asyncio.Event()
            running = asyncio.create_task(self._run())
            try:
                yield
            finally:
                self._stop.set()
                await asyncio.sleep(0)  # what was taken just now begins, so that it can be given back
                for task in list(self._working):
                    task.cancel()
                await asyncio.wait([running])

    async def _run(self) -> None:
        """Take tasks until this process is about to end. What it takes is never lost to a cancellation."""
        free = asyncio.Semaphore(self._concurrency)
        while True:
            await free.acquire()
            claim = await self._next()
            if claim is None:
                break
            task = asyncio.create_task(self._serve(claim))
            self._working.add(task)
            task.add_done_callback(self._working.discard)
            task.add_done_callback(lambda _: free.release())
        if self._working:
            await asyncio.wait(list(self._working))

    async def _next(self) -> Claim | None:
        """Wait for a task. Return None when this process is about to end."""
        while not self._stopping():
            try:
                claim = await self._store.claim(self._lease_s)
            except TaskStoreUnavailable as error:
                log.warning("no tasks are taken", reason=error.message)
                await self._unless_stopped(asyncio.sleep(RETRY_S))
                continue
            except Exception:
                log.exception("no tasks are taken")
                await self._unless_stopped(asyncio.sleep(RETRY_S))
                continue
            if claim is None:
                await self._unless_stopped(self._store.wait(min(IDLE_S, self._lease_s)))
            elif self._stopping():
                await self._give_back(claim)
            else:
                return claim
        return None

    def _stopping(self) -> bool:
        """Return whether this process is about to end, or drains: its middleware refuses new calls then."""
        return self._stop.is_set() or any(
            getattr(each, "draining", False) for each in self._server.middleware
        )

    async def _unless_stopped(self, wait: Coroutine[Any, Any, None]) -> None:
        """Wait, but no longer than until this process is about to end."""
        either = [asyncio.create_task(wait), asyncio.create_task(self._stop.wait())]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for each in either:
            each.cancel()
        await asyncio.wait(either)

    async def _serve(self, claim: Claim) -> None:
        """Work on one task to its end."""
        log.info("task begun", task=claim.task_id, attempt=claim.attempt)
        work = asyncio.create_task(self._outcome(claim))
        lease = asyncio.create_task(self._hold(claim))
        try:
            await asyncio.wait([work, lease], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                log.info(
                    "task taken away: it was cancelled, has expired, or was not heard of", task=claim.task_id
                )
                return
            status, result = work.result()
            await self._end(claim, status, result)
        except Abandoned:
            # This process is about to end, or a server behind it is: that one will serve again.
            await self._give_back(claim)
            await self._unless_stopped(asyncio.sleep(RETRY_S))
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait([work])
            await self._give_back(claim)
            raise
        except Exception:
            # The lease passes, and the task is tried again.
            log.exception("a task could not be ended", task=claim.task_id)
        finally:
            lease.cancel()
            work.cancel()
            await asyncio.wait([work, lease])

    async def _give_back(self, claim: Claim) -> None:
        try:
            await self._store.release(claim)
        except TaskStoreUnavailable as error:
            log.warning("a task is given back by its lease", task=claim.task_id, reason=error.message)
            return
        log.info("task given back", task=claim.task_id)

    async def _hold(self, claim: Claim) -> None:
        """Renew the lease until it is lost."""
        clock = asyncio.get_running_loop().time
        held_until = clock() + self._lease_s
        while clock() < held_until:
            await asyncio.sleep(self._heartbeat_s)
            try:
                asked_at = clock()
                if not await self._store.renew(claim, self._lease_s):
                    return
                held_until = asked_at + self._lease_s
            except TaskStoreUnavailable as error:
                log.warning("a lease is not renewed", task=claim.task_id, reason=error.message)

    async def _end(self, claim: Claim, status: TaskStatus, result: dict[str, Any]) -> None:
        sealed = self._sealer.seal(claim.owner, claim.task_id, "result", result)
        ending = await self._store.finish(claim, status, sealed, self._limits)
        if ending == "too_large":
            status = "completed"
            sealed = self._sealer.seal(claim.owner, claim.task_id, "result", _refusal_of_result())
            ending = await self._store.finish(claim, status, sealed, self._limits)
        log.info("task ended", task=claim.task_id, status=status, result=ending, attempt=claim.attempt)

    async def _outcome(self, claim: Claim) -> tuple[TaskStatus, dict[str, Any]]:
        """Return the status and the result, or the JSON-RPC error, of the work.

        Raises:
            Abandoned: this process is about to end.
            SealBroken: the task was sealed with a key that this process does not have.
        """
        if claim.attempt > MAX_WORKERS_LOST:
            return "failed", _error(f"{MAX_WORKERS_LOST} workers ended while they worked on this task")
        work = work_of_json(self._sealer.open(claim.owner, claim.task_id, "work", claim.work))
        try:
            with working_on(claim.task_id, claim.attempt, work):
                return "completed", await self._call(claim, work)
        except MCPError as error:
            return "failed", error.error.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def _call(self, claim: Claim, work: Work) -> dict[str, Any]:
        from fastmcp import Client  # loaded by the first task: few servers need a client

        async def reported(progress: float, total: float | None, message: str | None) -> None:
            await self._report(claim, progress, total, message)

        meta = dict(work.meta)
        if (scope := current_scope()) != EVERYTHING:
            meta[SCOPE_META_KEY] = scope.to_json()
        params = CallToolRequestParams.model_validate(
            {"name": work.tool, "arguments": work.arguments, "_meta": meta}
        )
        info = Implementation(name=work.client_name or "task", version=work.client_version or "0")
        async with Client(self._server, client_info=info, timeout=0, log_handler=_unheard) as client:
            # Sent as it is: `call_tool` would list the tools first, to check a result that its client checks.
            result = await client.session.send_request(
                CallToolRequest(params=params), CallToolResult, progress_callback=reported
            )
        error = (result.meta or {}).get(ERROR_META_KEY)
        if isinstance(error, dict) and error.get("code") == ShuttingDown.code:
            raise Abandoned
        told: dict[str, Any] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        return told

    async def _report(self, claim: Claim, progress: float, total: float | None, message: str | None) -> None:
        steps = f"{progress:.3g}" if total is None else f"{progress:.3g} of {total:.3g}"
        told = f"{steps}: {message}"[:MAX_PROGRESS_CHARS] if message else steps
        try:
            await self._store.renew(
                claim, self._lease_s, self._sealer.seal(claim.owner, claim.task_id, "message", told)
            )
        except TaskStoreUnavailable as error:
            log.warning("the progress of a task is not kept", task=claim.task_id, reason=error.message)


async def _unheard(_message: object) -> None:
    """Drop a log notification: nobody waits for those of a task."""


def _error(message: str) -> dict[str, Any]:
    return {"code": INTERNAL_ERROR, "message": message}


def _refusal_of_result() -> dict[str, Any]:
    refused = error_result(
        ResponseTooLarge(
            "the result is larger than what you may still hold in tasks",
            hint="Wait until results of yours have expired, or ask for less.",
        )
    )
    return {
        "content": [
            block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in refused.content
        ],
        "isError": True,
        "_meta": refused.meta,
    }
