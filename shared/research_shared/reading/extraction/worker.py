"""The parent's side of a worker process: starts it, sends one job at a time, kills it at a deadline."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Self

from research_shared.formats import package_directories
from research_shared.processors import all_processors
from research_shared.reading.extraction import _worker
from research_shared.reading.threads import in_thread

_RECEIVE = 256 * 1024
_NO_MEMORY = frozenset({-signal.SIGABRT, -signal.SIGKILL})
"""Signals that end a process out of memory: native code aborts, or the system kills it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTimings:
    """How long a worker process has, in seconds, to get ready for its first job, and to end when it is asked to."""

    start_timeout_s: float = 30.0
    stop_timeout_s: float = 1.0


DEFAULT_WORKER_TIMINGS = WorkerTimings()


class WorkerLost(Exception):
    """The process has ended, or sent something invalid."""

    def __init__(self, message: str = "it does not listen", *, out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


class WorkerNotStarted(WorkerLost):
    """No process could be started. The document is not the cause."""


class WorkerGone(WorkerLost):
    """The process may have ended before it received the job, so the job may not be the cause."""


class Worker:
    """One process that reads documents. It ends when this object is garbage-collected."""

    def __init__(self, memory_bytes: int, timings: WorkerTimings = DEFAULT_WORKER_TIMINGS) -> None:
        ours, theirs = socket.socketpair()
        with theirs, all_processors():
            try:
                self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and our own script)
                    [
                        sys.executable, "-I", "-S", _worker.__file__,
                        str(theirs.fileno()), str(memory_bytes), *package_directories(),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    cwd="/",
                    env={},
                    start_new_session=True,  # so that what it runs is killed with it
                )  # fmt: skip
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._channel = ours
        self._timings = timings
        self._received = bytearray()
        self._has_served = False
        self._finalizer = weakref.finalize(self, _end, self._process, ours)

    @classmethod
    async def start(cls, memory_bytes: int, timings: WorkerTimings = DEFAULT_WORKER_TIMINGS) -> Self:
        """Start a worker and wait until it is ready for its first job.

        Raises:
            WorkerLost: it did not start.
        """
        worker = await in_thread(lambda: cls(memory_bytes, timings), abandon=cls.kill)
        try:
            await worker._wait_until_ready()  # noqa: SLF001  (our own)
        except BaseException:
            worker.kill()
            raise
        return worker

    async def _wait_until_ready(self) -> None:
        try:
            async with asyncio.timeout(self._timings.start_timeout_s):
                kind, _ = await self._frame(0)
        except TimeoutError as error:
            raise WorkerLost("it did not start in time") from error
        if kind != _worker.READY:
            raise WorkerLost("it did not start as expected")

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs and has not been asked to end."""
        return self._finalizer.alive and self._process.poll() is None

    async def run(
        self, job: _worker.Job, fd: int, *, deadline: float, page_timeout_s: float
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yield the frames that answer a job, `END` last. `deadline` is a time of the running loop's clock.

        Raises:
            TimeoutError: the next frame did not come in time. Kill the worker.
            WorkerLost: the process has ended.
        """
        clock = asyncio.get_running_loop().time
        message = json.dumps(job._asdict()).encode()
        try:
            # A few hundred bytes fit into the empty buffer of an idle worker, so this does not block.
            socket.send_fds(self._channel, [_worker.REQUEST.pack(len(message)) + message], [fd])
        except OSError as error:
            raise WorkerGone from error
        kind = -1
        while kind != _worker.END:
            try:
                async with asyncio.timeout_at(min(clock() + page_timeout_s, deadline)):
                    kind, payload = await self._frame(job.max_text_bytes)
            except WorkerLost as error:
                if kind == -1 and self._has_served:
                    raise WorkerGone from error
                raise
            self._has_served = self._has_served or kind == _worker.END
            yield kind, payload

    async def _frame(self, largest: int) -> tuple[int, bytes]:
        header = await self._take(_worker.FRAME.size)
        kind, length = _worker.FRAME.unpack(header)
        if length > largest + 4096:
            raise WorkerLost("it sent more than the limit")
        return kind, await self._take(length)

    async def _take(self, count: int) -> bytes:
        loop = asyncio.get_running_loop()
        while len(self._received) < count:
            try:
                chunk = await loop.sock_recv(self._channel, _RECEIVE)
            except OSError as error:
                raise WorkerLost from error
            if not chunk:
                raise WorkerLost("it has ended", out_of_memory=await self._ended() in _NO_MEMORY)
            self._received += chunk
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    async def _ended(self) -> int | None:
        """Return the exit status, negative for a signal."""
        try:
            return await asyncio.to_thread(self._process.wait, self._timings.stop_timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kill the process. A background thread waits for its end."""
        if self._finalizer.detach() is not None:
            _kill(self._process)
            _close(self._process, self._channel)
            threading.Thread(target=self._process.wait, name="research-reaper", daemon=True).start()

    async def stop(self) -> None:
        """Ask the process to end, and wait for that."""
        if self._finalizer.detach() is not None:
            _close(self._process, self._channel)
            await asyncio.to_thread(_wait, self._process, self._timings.stop_timeout_s)


def _close(process: "subprocess.Popen[bytes]", channel: socket.socket) -> None:
    channel.close()
    if process.stdin is not None:
        process.stdin.close()


def _wait(process: "subprocess.Popen[bytes]", timeout_s: float) -> None:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and what it runs."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _end(process: "subprocess.Popen[bytes]", channel: socket.socket) -> None:
    _kill(process)
    _close(process, channel)
    process.wait()
