"""Blocking calls in threads, with nothing lost when the caller goes away meanwhile."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import TypeVar

ThreadResult = TypeVar("ThreadResult")


async def in_thread(
    function: Callable[[], ThreadResult], *, abandon: Callable[[ThreadResult], object]
) -> ThreadResult:
    """The result of a blocking call. When the wait for it is cancelled, `abandon` gets the result that nobody takes.

    For calls whose result must be released: a file that was opened, a process that was started.
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
