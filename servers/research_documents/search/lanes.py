"""The threads that searches run in, so that short ones need not wait for long ones."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final, Literal, TypeVar

T = TypeVar("T")
Lane = Literal["ranking", "quick", "long"]
THREADS: Final[dict[Lane, int]] = {"ranking": 2, "quick": 2, "long": 1}


class Lanes:
    """Threads by what runs in them; a lane opens with the first work for it."""

    def __init__(self) -> None:
        self._open: dict[Lane, _Threads] = {}

    async def run(self, lane: Lane, work: Callable[[], T]) -> T:
        """Run something in the threads of a lane, within the scope of the request."""
        threads = self._open.get(lane)
        if threads is None:
            threads = self._open[lane] = _Threads(f"search-{lane}", THREADS[lane])
        job = _Job(work)
        threads.jobs.put(job)
        result: T = await job.future
        return result

    async def close(self) -> None:
        """Wait for what still runs, and end the threads."""
        while self._open:
            await asyncio.to_thread(self._open.popitem()[1].end)


@dataclass(slots=True)
class _Job:
    """Work for another thread. A search is short enough for an executor's own locks to be a good part of it."""

    work: Callable[[], Any]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    future: "asyncio.Future[Any]" = field(init=False)

    def __post_init__(self) -> None:
        self.future = self.loop.create_future()

    def run(self) -> None:
        """Do it, unless nobody waits for it any more."""
        if self.future.cancelled():
            return
        result, failure = None, None
        try:
            result = self.context.run(self.work)
        except BaseException as error:  # noqa: BLE001  (it is raised where the work is waited for)
            failure = error
        with suppress(RuntimeError):  # the loop was closed meanwhile, and whoever waited is gone with it
            self.loop.call_soon_threadsafe(self._settle, result, failure)

    def _settle(self, result: Any, failure: BaseException | None) -> None:
        if self.future.done():
            return
        if failure is not None:
            self.future.set_exception(failure)
        else:
            self.future.set_result(result)


class _Threads:
    """A queue of work and the threads that take from it."""

    def __init__(self, name: str, count: int) -> None:
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            job.run()
            del job  # with it goes what it holds, while the thread waits

    def end(self) -> None:
        """Let the threads end after what is queued, and wait for that."""
        for _ in self._threads:
            self.jobs.put(None)
        for thread in self._threads:
            thread.join()
