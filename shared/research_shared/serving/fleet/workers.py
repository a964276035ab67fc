"""Several processes that serve at one address: what the supervisor's process prepares, and what each worker runs."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastmcp import FastMCP

from research_shared.base_errors import ConfigurationError
from research_shared.logs import get_logger
from research_shared.processors import bind_process
from research_shared.serving.fleet.place import Place, listening_sockets, pause_listening
from research_shared.serving.fleet.supervisor import Supervisor
from research_shared.serving.process import dedicated_process, traces_exported
from research_shared.serving.transports.draining import FOLLOW_UP_S, DrainingServer
from research_shared.serving.transports.http import (
    BACKLOG,
    STOP_TIMEOUT_S,
    address_of,
    build_for_http,
    http_server,
)
from research_shared.settings import Settings

log = get_logger("research.serving")

KILL_AFTER_S = 10.0
"""Seconds for which workers may be late before they are killed."""


def run_workers(
    build: Callable[[Settings], FastMCP[Any]], settings: Settings, *, host: str, port: int, workers: int
) -> None:
    """Have processes serve at one address until they are asked to stop.

    Raises:
        SystemExit: see `serve`.
    """
    if settings.tasks_off:
        log.info("tasks are off: several workers need RESEARCH_TASKS_URL for them")
    if settings.index_dir is None:
        log.warning("each worker reads all documents: with RESEARCH_INDEX_DIR one of them does it for all")
    family, _, _, _, address = address_of(host, port)
    sockets_of_workers = listening_sockets(address, family=family, workers=workers, backlog=BACKLOG)
    directory = Path(tempfile.mkdtemp(prefix="research-workers-"))
    supervisor = os.getpid()

    def close_sockets(kept: socket.socket | None = None) -> None:
        # What another process holds open would still be given connections after its worker has ended.
        for each in sockets_of_workers:
            if each is not kept:
                each.close()

    def work(place: Place, says_ready: int, parent: int) -> int:
        listening = sockets_of_workers[place.number - 1]
        close_sockets(kept=listening)
        if bind_process(place.number, of=workers):
            log.info("the worker has a processor of its own", worker=place.number)
        try:
            server, drain = build_for_http(build, settings, host)
            listener = http_server(server, settings, drain, host=host, port=port, place=place)
            sockets = [listening, place.listen()]
            with traces_exported(settings, server.name):
                asyncio.run(_run_worker(listener, settings, sockets, says_ready=says_ready, parent=parent))
        except ConfigurationError as error:
            reason = settings.origins.as_written(error.message)
            log.error("the worker cannot serve", reason=reason)  # noqa: TRY400  (the message says it all)
            return 2
        if os.getppid() != supervisor:  # which would have done this
            shutil.rmtree(directory, ignore_errors=True)
        return 0

    def pause(number: int) -> None:
        # The kernel would give it 1/N of the connections until the replacement serves, which listens again.
        pause_listening(sockets_of_workers[number - 1])

    own_host, own_port = sockets_of_workers[0].getsockname()[:2]
    log.info("workers serve", host=own_host, port=own_port, workers=workers)
    stop_s = settings.drain_notice_s + settings.drain_s + FOLLOW_UP_S + STOP_TIMEOUT_S + KILL_AFTER_S
    status = Supervisor(
        workers=workers, directory=directory, work=work, stop_s=stop_s, on_stop=close_sockets, on_end=pause
    ).run()
    # Not in a `finally`: the workers leave through here, too.
    shutil.rmtree(directory)
    if status:
        sys.exit(status)


async def _run_worker(
    listener: DrainingServer,
    settings: Settings,
    sockets: list[socket.socket],
    *,
    says_ready: int,
    parent: int,
) -> None:
    """Serve at inherited sockets. Stop when told, or when the parent process has ended."""
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(parent)
        log.warning("the parent process has ended, so this one stops")
        listener.handle_exit(signal.SIGTERM, None)

    def started() -> None:
        # asyncio takes one number for how many may wait and how many it accepts at once.
        for listening in sockets:
            listening.listen(BACKLOG)
        os.write(says_ready, b"1")
        os.close(says_ready)

    loop.add_reader(parent, orphaned)
    listener.on_started = started
    async with listener.lifespan(), dedicated_process(settings):
        await listener.serve(sockets)
