"""A few worker processes, started when they are needed, each reading one document at a time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from research_shared.reading.extraction.worker import Worker


class Slot:
    """The right to use one worker. A worker that was killed is replaced when the slot is used again."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._worker: Worker | None = None

    @property
    def live(self) -> Worker | None:
        """The worker, if there is one and it lives."""
        return self._worker if self._worker is not None and self._worker.alive else None

    async def worker(self) -> Worker:
        """A living worker, started if there is none."""
        if self.live is None:
            self.kill()
            self._worker = await Worker.start(self._memory_bytes)
        return self._worker  # type: ignore[return-value]  # set above

    def kill(self) -> None:
        """End the worker at once."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    async def stop(self) -> None:
        """Let the worker end, and wait for that."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()


class WorkerPool:
    """At most `size` workers. Who comes first is served first."""

    def __init__(self, size: int, memory_bytes: int) -> None:
        self._slots = tuple(Slot(memory_bytes) for _ in range(size))
        self._free = list(self._slots)
        self._waiting: deque[asyncio.Future[Slot]] = deque()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the living workers."""
        return tuple(slot.live.pid for slot in self._slots if slot.live is not None)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """A slot of one's own, waited for if all are taken."""
        taken = await self._take()
        try:
            yield taken
        finally:
            self._give_back(taken)

    async def _take(self) -> Slot:
        if self._free:
            # One whose worker lives already is ready sooner.
            self._free.sort(key=lambda slot: slot.live is not None)
            return self._free.pop()
        turn: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(turn.result())
            raise

    def _give_back(self, slot: Slot) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(slot)
                return
        self._free.append(slot)

    async def stop(self) -> None:
        """End all workers; those at work are killed. The pool can be used again afterwards."""
        for slot in self._slots:
            if slot not in self._free:
                slot.kill()
        await asyncio.gather(*(slot.stop() for slot in self._slots))
