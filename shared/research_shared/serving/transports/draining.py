"""An HTTP server that ends the requests in flight before it stops."""

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import FrameType
from typing import Any

import uvicorn

from research_shared.logs import get_logger
from research_shared.serving.drain import Drain
from research_shared.serving.fleet.moving import MovingConnections

log = get_logger("research.serving")

FOLLOW_UP_S = 1.0
"""Seconds between the last answer and the stop, in which clients receive it and list the tools to validate it.

There is no signal for the end of that, and a client whose listing fails loses its answer.
"""
TOLD_TWICE_S = 1.0
"""Seconds in which a second signal to a worker counts as the first one."""


class DrainingServer(uvicorn.Server):
    """A uvicorn server that stops `follow_up_s` seconds after no request is in flight, or after `within_s` seconds.

    uvicorn stops listening and ends event streams at once, answers in flight included. The server is unready from the
    signal on, and refuses new calls with 503 `notice_s` seconds later. A second signal stops it immediately.

    With `moving` it is one worker of several: it serves what moves here, and leaves an interrupt from the terminal to the
    parent process.

    Enter `lifespan()` before `serve()`: uvicorn does not run the lifespan of the application.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        lifespan: Callable[[], AbstractAsyncContextManager[Any]],
        drain: Drain,
        within_s: float,
        notice_s: float = 0.0,
        follow_up_s: float = FOLLOW_UP_S,
        moving: MovingConnections | None = None,
    ) -> None:
        super().__init__(config)
        self.lifespan = lifespan
        self._drain = drain
        self._within_s = within_s
        self._notice_s = notice_s
        self._moving = moving
        self._taken: set[asyncio.Task[None]] = set()
        self._told_s = 0.0
        self.on_started: Callable[[], None] | None = None
        self._follow_up_s = follow_up_s
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self._moving is not None:
            self._moving.start(self._take)
        if self.on_started is not None:
            self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and end the connections."""
        if self._moving is not None:
            self._moving.close()
        await super().shutdown(sockets)

    def _take(self, connection: socket.socket, received: bytes) -> None:
        """Serve a connection that another worker accepted, and of which it read so much."""
        task = asyncio.create_task(self._serve_taken(connection, received))
        self._taken.add(task)
        task.add_done_callback(self._taken.discard)

    async def _serve_taken(self, connection: socket.socket, received: bytes) -> None:
        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config,
                server_state=self.server_state,
                app_state={},
                begun_with=received,
            )
            return made

        try:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
        except OSError as error:
            connection.close()
            log.info("a connection that another worker moved here is gone", error=repr(error))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; stop at a second signal."""
        if sig == signal.SIGINT and self._moving is not None:
            return
        if self._drain.announced:
            # Who stops a service may tell all of its processes, and then the parent tells its workers: that is one signal.
            if self._moving is None or time.monotonic() - self._told_s > TOLD_TWICE_S:
                super().handle_exit(sig, frame)
            return
        self._told_s = time.monotonic()
        self._drain.announce()
        if not self._notice_s:
            self._drain.begin()
        self._draining = asyncio.get_running_loop().create_task(self._stop_when_idle())

    async def _stop_when_idle(self) -> None:
        if self._notice_s:
            await asyncio.sleep(self._notice_s)
            self._drain.begin()
        if not await self._drain.idle(self._within_s):
            log.warning("drain timeout: requests in flight are cut off", calls=self._drain.in_flight)
        else:
            await asyncio.sleep(self._follow_up_s)
        self.should_exit = True
