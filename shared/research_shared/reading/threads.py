"""Blocking calls in threads that lose no result when the caller is cancelled."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import TypeVar

ThreadResult = TypeVar("ThreadResult")


async def in_thread(
    function: Callable[[], ThreadResult], *, abandon: Callable[[ThreadResult], object]
) -> ThreadResult:
    """Run a blocking call in a thread and return its result. If the wait is cancelled, `abandon` receives the result.

    For calls whose result must be released, such as an open file or a started process.
    """
    context = contextvars.copy_context()
    future = asyncio.get_running_loop().run_in_executor(None, context.run, function)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:

        def release(done: asyncio.Future[ThreadResult]) -> None:
            if not done.cancelled() and done.exception() is None:
                abandon(done.result())

        future.add_done_callback(release)
        raise
