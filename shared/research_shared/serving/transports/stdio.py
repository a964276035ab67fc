"""Standard input and output, as a client starts a server in a process of its own."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from fastmcp import FastMCP

from research_shared.logs import get_logger
from research_shared.serving.drain import Drain
from research_shared.serving.process import dedicated_process
from research_shared.serving.transports.draining import FOLLOW_UP_S
from research_shared.settings import Settings

log = get_logger("research.serving")


async def run_stdio(server: FastMCP[Any], *, drain: Drain, settings: Settings) -> None:
    """Serve over stdio until the client hangs up, or until SIGTERM and the end of the requests in flight."""
    hang_up = detachable_stdin()
    stopping: list[asyncio.Task[None]] = []

    async def stop() -> None:
        drain.begin()
        await drain.idle(settings.drain_s)
        await asyncio.sleep(FOLLOW_UP_S)
        hang_up()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: stopping.append(loop.create_task(stop())))
    try:
        async with dedicated_process(settings):
            await server.run_stdio_async(show_banner=False)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def detachable_stdin() -> Callable[[], None]:
    """Put a pipe in front of standard input. Return a function that ends the input as if the client had hung up.

    A read of standard input cannot be interrupted and would prevent an orderly end of the process.
    """
    source = os.dup(0)
    end, entry = os.pipe()
    os.dup2(end, 0)
    os.close(end)
    nowhere = os.open(os.devnull, os.O_WRONLY)

    def hang_up() -> None:
        # Not closed: the other thread may write to it, and its number must not come to stand for another file.
        os.dup2(nowhere, entry, inheritable=False)

    def copy() -> None:
        try:
            while data := os.read(source, 65_536):
                view = memoryview(data)
                while view:
                    view = view[os.write(entry, view) :]
        except OSError as error:
            log.debug("standard input has ended", error=str(error))
        hang_up()

    threading.Thread(target=copy, name="stdin", daemon=True).start()
    return hang_up
