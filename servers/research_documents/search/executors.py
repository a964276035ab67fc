"""The threads that searches run in, so that short ones need not wait for long ones."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Literal, TypeVar

T = TypeVar("T")
Lane = Literal["ranking", "quick", "long"]
THREADS: Final[dict[Lane, int]] = {"ranking": 2, "quick": 2, "long": 1}


class Lanes:
    """Threads by what runs in them; a lane opens with the first work for it."""

    def __init__(self) -> None:
        self._open: dict[Lane, ThreadPoolExecutor] = {}

    async def run(self, lane: Lane, work: Callable[[], T]) -> T:
        """Run something in the threads of a lane, within the scope of the request."""
        if lane not in self._open:
            self._open[lane] = ThreadPoolExecutor(THREADS[lane], thread_name_prefix=f"search-{lane}")
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._open[lane], context.run, work)

    async def close(self) -> None:
        """Wait for what still runs, and end the threads."""
        while self._open:
            await asyncio.to_thread(self._open.popitem()[1].shutdown)
