"""A pool of worker processes, started on first use. Each reads one document at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from research_shared.faults import WORKERS_FAILED, Faults
from research_shared.reading.extraction.worker import (
    DEFAULT_WORKER_TIMINGS,
    Worker,
    WorkerLost,
    WorkerNotStarted,
    WorkerTimings,
)


class Slot:
    """Exclusive use of one worker. A killed worker is replaced when the slot is used again."""

    def __init__(
        self,
        memory_bytes: int,
        timings: WorkerTimings = DEFAULT_WORKER_TIMINGS,
        *,
        faults: Faults | None = None,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._timings = timings
        self._faults = faults or Faults()
        self._worker: Worker | None = None
        self.started = 0
        """Workers started so far."""

    @property
    def live(self) -> Worker | None:
        """The worker if it is alive, otherwise None."""
        return self._worker if self._worker is not None and self._worker.alive else None

    async def worker(self) -> Worker:
        """Return the worker, started if there is none alive.

        Raises:
            WorkerNotStarted: no process could be started; this is reported as a fault.
        """
        if self.live is None:
            self.kill()
            try:
                self._worker = await Worker.start(self._memory_bytes, self._timings)
            except (WorkerLost, OSError) as error:
                self._faults.begin(WORKERS_FAILED, error=error)
                raise WorkerNotStarted(str(error)) from error
            self.started += 1
        # Not at a start only: one right after the failure is too soon for the fault to end, and may be the last for long.
        self._faults.end(WORKERS_FAILED)
        return self._worker  # type: ignore[return-value]  # set above

    def kill(self) -> None:
        """End the worker at once."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    async def stop(self) -> None:
        """Close the worker and wait until it has ended."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()


class WorkerPool:
    """At most `size` workers. Waiting callers are served in order. That none can be started is reported to `faults`."""

    def __init__(
        self,
        size: int,
        memory_bytes: int,
        *,
        timings: WorkerTimings = DEFAULT_WORKER_TIMINGS,
        faults: Faults | None = None,
    ) -> None:
        self._slots = tuple(Slot(memory_bytes, timings, faults=faults) for _ in range(size))
        self._free = list(self._slots)
        self._turns = anyio.Semaphore(size, fast_acquire=True)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that are alive."""
        return tuple(slot.live.pid for slot in self._slots if slot.live is not None)

    @property
    def busy(self) -> int:
        """Workers that read a document."""
        return len(self._slots) - len(self._free)

    @property
    def started(self) -> int:
        """Workers started so far; one that was killed is started again."""
        return sum(slot.started for slot in self._slots)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Hold a slot while the block runs. Wait for one if all are in use."""
        async with self._turns:
            self._free.sort(key=lambda slot: slot.live is not None)  # a started worker is ready sooner
            taken = self._free.pop()
            try:
                yield taken
            finally:
                self._free.append(taken)

    async def stop(self) -> None:
        """End all workers. Busy ones are killed. The pool can be used again afterwards."""
        for slot in self._slots:
            if slot not in self._free:
                slot.kill()
        await asyncio.gather(*(slot.stop() for slot in self._slots))
