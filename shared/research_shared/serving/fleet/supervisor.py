"""Starts the workers, replaces those that end, and stops all of them."""

import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from research_shared.logs import get_logger
from research_shared.serving.fleet.place import Place

log = get_logger("research.fleet")

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_WAITED_FOR = _STOP_SIGNALS | {signal.SIGUSR1, signal.SIGCHLD, signal.SIGALRM}
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_LIVED_WELL_S = 60.0
"""Seconds after which the end of a worker is taken for an accident, so that it is replaced at once."""


def pause_after(before: float | None, *, lived_s: float) -> float:
    """Return the seconds until a worker that has ended is replaced; `before` are those of its last end, if it had one.

    >>> [pause_after(before, lived_s=1.0) for before in (None, 0.0, 0.5, 16.0, 30.0)]
    [0.0, 0.5, 1.0, 30.0, 30.0]
    """
    if before is None or lived_s > _LIVED_WELL_S:
        return 0.0
    return min(max(2 * before, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)


@dataclass(slots=True)
class _Worker:
    """A process, and `ready`, the end of a pipe that holds a byte once it serves."""

    pid: int
    ready: int
    since: float

    def serves(self) -> bool:
        """Return whether it serves, if it has not ended."""
        poll = select.poll()
        poll.register(self.ready, select.POLLIN)
        return bool(poll.poll(0))

    def has_served(self) -> bool:
        """Return whether it has ever served, after it has ended."""
        return os.read(self.ready, 1) != b""


class Supervisor:
    """Runs `workers` copies of this process, each of which calls `work` with its place and returns its exit status.

    `work` also gets two descriptors: to the first one it writes a byte when it serves; the second one is at its end when
    this process has ended, however it did. Fork before threads and an event loop are started: the copies share the memory of
    all that has been imported by then.

    A worker that ends is replaced: at once the first time, with longer pauses if that does not help. If another one
    serves, `on_end` is called here with its number, before that. One that ends before it or its predecessors
    have ever served ends all. SIGTERM and SIGINT are passed on as SIGTERM, after `on_stop` was called here; `stop_s` seconds later the workers that are left
    are killed. SIGUSR1 is passed on. SIGHUP ends this process, as usual, and the workers stop in order.
    """

    def __init__(
        self,
        *,
        workers: int,
        directory: Path,
        work: Callable[[Place, int, int], int],
        stop_s: float,
        on_stop: Callable[[], None],
        on_end: Callable[[int], None],
    ) -> None:
        self._workers = workers
        self._directory = directory
        self._work = work
        self._stop_s = stop_s
        self._on_stop = on_stop
        self._on_end = on_end
        self._running: dict[int, _Worker] = {}
        self._pauses: dict[int, float] = {}
        """How long the replacement of a worker has waited after its last end."""
        self._due: dict[int, float] = {}
        """When the replacement of a worker is to start."""
        self._has_served: set[int] = set()
        self._status = 0
        self._stopping = False
        self._kill_at: float | None = None
        self._alive, self._alive_here = os.pipe()

    def run(self) -> int:
        """Run until all workers have ended. Return the exit status: 0 if all stopped in order."""
        gc.collect()
        gc.freeze()  # what is older than the copies is not looked through by their collectors, so that it stays shared
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
        for number in range(1, self._workers + 1):
            self._start(number)
        while self._running or self._due:
            self._set_alarm()
            received = signal.sigwait(_WAITED_FOR)
            if received in _STOP_SIGNALS:
                self._stop(signal.SIGTERM)
            elif received == signal.SIGUSR1:
                self._tell(signal.SIGUSR1)
            self._bury()
            self._act_on_time()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._status

    def _start(self, number: int) -> None:
        ready, says_ready = os.pipe()
        pid = os.fork()
        if pid == 0:
            for inherited in (self._alive_here, ready, *(worker.ready for worker in self._running.values())):
                os.close(inherited)
            # The terminal tells all processes of a group; this one waits for what its parent tells it.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it ends the parent, which is noticed
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until the server heeds it
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITED_FOR)
            place = Place(number=number, workers=self._workers, directory=self._directory)
            sys.exit(self._work(place, says_ready, self._alive))
        os.close(says_ready)
        self._running[number] = _Worker(pid, ready, time.monotonic())
        log.info("a worker starts", worker=number, pid=pid)

    def _bury(self) -> None:
        """Take note of the workers that have ended."""
        for number, worker in list(self._running.items()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if not pid:
                continue
            del self._running[number]
            served = worker.has_served()
            if served:
                self._has_served.add(number)
            os.close(worker.ready)
            code = os.waitstatus_to_exitcode(status)
            if self._stopping and not served and code == -signal.SIGTERM:
                code = 0  # there was nothing to finish yet
            self._ended(number, code, lived_s=time.monotonic() - worker.since)

    def _ended(self, number: int, status: int, *, lived_s: float) -> None:
        if self._stopping:
            if status:
                log.warning("a worker did not stop in order", worker=number, status=status)
                self._status = self._status or 1
            return
        if number not in self._has_served:
            log.error("a worker cannot start, so all stop", worker=number, status=status)
            self._status = max(status, 1)
            self._stop(signal.SIGTERM)
            return
        if any(worker.serves() for worker in self._running.values()):
            self._on_end(number)
        self._pauses[number] = pause = pause_after(self._pauses.get(number), lived_s=lived_s)
        self._due[number] = time.monotonic() + pause
        log.error("a worker has ended and is replaced", worker=number, status=status, pause_s=pause)

    def _stop(self, how: signal.Signals) -> None:
        if not self._stopping:
            self._on_stop()
        self._stopping = True
        self._due.clear()
        self._kill_at = self._kill_at or time.monotonic() + self._stop_s
        self._tell(how)

    def _tell(self, what: signal.Signals) -> None:
        for worker in self._running.values():
            os.kill(worker.pid, what)

    def _act_on_time(self) -> None:
        """Start the replacements that are due, or kill what has not stopped in time."""
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            del self._due[number]
            self._start(number)
        if self._kill_at is not None and self._kill_at <= now:
            log.error("workers did not stop in time and are killed", workers=len(self._running))
            self._kill_at = now + self._stop_s
            self._tell(signal.SIGKILL)

    def _set_alarm(self) -> None:
        times = [*self._due.values(), *([self._kill_at] if self._kill_at is not None else [])]
        signal.setitimer(signal.ITIMER_REAL, max(min(times) - time.monotonic(), 0.001) if times else 0.0)
