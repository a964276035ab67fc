"""Worker processes that a server has stopped wait for the next server of the same test process.

To start one, and to load the libraries that it reads with, takes more processor time than most tests.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from research_shared.formats import package_directories
from research_shared.reading.extraction import _worker
from research_shared.reading.extraction.worker import DEFAULT_WORKER_TIMINGS, Worker, WorkerTimings

_Key = tuple[str, int, WorkerTimings, tuple[str, ...]]
MOST = 4
"""How many of each kind are kept."""


class SpareWorkers:
    """Idle workers by what they were started with. While `enabled` is false, none is kept or given out."""

    def __init__(self) -> None:
        self.enabled = True
        self._idle: defaultdict[_Key, list[Worker]] = defaultdict(list)

    def take(self, key: _Key) -> Worker | None:
        """Return a worker that was started so, if there is one."""
        while self.enabled and self._idle[key]:
            if (worker := self._idle[key].pop()).alive:
                return worker
            worker.kill()
        return None

    def keep(self, key: _Key, worker: Worker) -> bool:
        """Keep a worker that is idle, and return whether it is kept."""
        if kept := self.enabled and worker.alive and len(self._idle[key]) < MOST:
            self._idle[key].append(worker)
        return kept

    def end(self) -> None:
        """End all of them."""
        for workers in self._idle.values():
            for worker in workers:
                worker.kill()
        self._idle.clear()


@contextmanager
def spare_workers() -> Iterator[SpareWorkers]:
    """Give out again what is stopped, until the block ends."""
    spare = SpareWorkers()
    start, stop = Worker.start, Worker.stop

    def key_of(memory_bytes: int, timings: WorkerTimings) -> _Key:
        return _worker.__file__, memory_bytes, timings, tuple(package_directories())

    async def started(memory_bytes: int, timings: WorkerTimings = DEFAULT_WORKER_TIMINGS) -> Worker:
        key = key_of(memory_bytes, timings)
        worker = spare.take(key) or await start(memory_bytes, timings)
        worker.started_with = key  # type: ignore[attr-defined]
        return worker

    async def stopped(worker: Worker) -> None:
        # A pool stops only what is idle; what is at work it kills.
        key: _Key | None = getattr(worker, "started_with", None)
        if key is None or not spare.keep(key, worker):
            await stop(worker)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "start", started)
        patch.setattr(Worker, "stop", stopped)
        try:
            yield spare
        finally:
            spare.end()
