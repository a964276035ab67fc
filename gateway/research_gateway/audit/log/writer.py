"""The thread that owns the log: many callers wait for one write, and none of them blocks the event loop."""

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from research_gateway.audit.log.chain import Event
from research_gateway.audit.log.stream import Log
from research_gateway.audit.options import AuditOptions
from research_shared.logs import get_logger

MAX_BATCH = 100
_IDLE_S = 3_600.0
_logger = get_logger("research.audit")


GLANCE_S = 0.0005
"""How long the event loop looks for its records to be written before it turns to others.

To be woken up by the thread costs more than the write itself, and while the loop waits it does not contend with the
thread for the interpreter. A disk that misses this limit once is not looked after again for `BLINK_S`.
"""
BLINK_S = 1.0

_Waiting = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class PendingRecord:
    """An event on its way to the log. `failure` says, once it is settled, why it is not written.

    The end of a call `follows` its start: it is left out when its start was not written.
    """

    __slots__ = ("event", "failure", "follows", "glance", "settled", "since", "waiting")

    def __init__(self, event: Event, follows: "PendingRecord | None" = None) -> None:
        self.event = event
        self.follows = follows
        self.failure: OSError | None = None
        self.since = time.monotonic()
        self.settled = False
        self.glance: threading.Lock | None = None
        self.waiting: _Waiting | None = None


@dataclass(frozen=True, slots=True)
class TrailStatus:
    """How the trail is doing. Times are in seconds."""

    writable: bool
    written: int
    lost: int
    pending: int
    lag_s: float
    name: str
    chain: str
    sequence: int
    failure: str | None


class Writer:
    """Takes entries from any thread and writes them in order."""

    def __init__(self, log: Log, options: AuditOptions, clock: Callable[[], float]) -> None:
        self._log = log
        self._options = options
        self._clock = clock
        self._queue: queue.SimpleQueue[PendingRecord | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._guard = threading.Lock()
        self._unsynced = False
        self._sync_at = 0.0
        self._sync_failure: OSError | None = None
        self._failure: OSError | None = None
        self._written = 0
        self._lost = 0
        self._unreported = 0
        self._oldest: float | None = None
        self._submitted = 0
        # many callers are to share one sync, so that nobody looks after it
        self._glance_from = math.inf if options.fsync == "always" else 0.0
        self._settled = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def submit(self, event: Event, *, follows: PendingRecord | None = None) -> PendingRecord:
        """Hand an event over; returns at once."""
        entry = PendingRecord(event, follows)
        self._submitted += 1
        self._queue.put(entry)
        return entry

    def glimpsed(self, entry: PendingRecord) -> bool:
        """Whether an entry is settled within a moment. Blocks that long, unless the disk was slow just now."""
        if time.monotonic() < self._glance_from:
            return entry.settled
        with self._guard:
            if entry.settled:
                return True
            glance = entry.glance = threading.Lock()
            glance.acquire()
        if glance.acquire(timeout=GLANCE_S):
            return True
        self._glance_from = time.monotonic() + BLINK_S
        return False

    async def settled(self, entry: PendingRecord) -> None:
        """Wait until the fate of an entry is known."""
        loop = asyncio.get_running_loop()
        with self._guard:
            if entry.settled:
                return
            future = loop.create_future()
            entry.waiting = (loop, future)
        await future

    def stop(self) -> None:
        """Write what was handed over, end the log and wait for the thread. Blocks."""
        self._queue.put(None)
        self._thread.join()

    def status(self) -> TrailStatus:
        """A snapshot; reading it takes no lock."""
        oldest, failure = self._oldest, self._failure or self._sync_failure
        return TrailStatus(
            writable=failure is None,
            written=self._written,
            lost=self._lost,
            pending=self._submitted - self._settled,
            lag_s=0.0 if oldest is None else max(0.0, time.monotonic() - oldest),
            name=self._log.name,
            chain=self._log.at.chain,
            sequence=self._log.at.sequence,
            failure=None if failure is None else failure.strerror or str(failure),
        )

    def _run(self) -> None:
        open_ = True
        while open_:
            batch: list[PendingRecord] = []
            try:
                item = self._queue.get(timeout=self._patience())
                while item is not None:
                    batch.append(item)
                    if len(batch) == MAX_BATCH or self._queue.empty():
                        break
                    item = self._queue.get_nowait()
                open_ = item is not None
            except queue.Empty:
                pass
            if batch:
                self._oldest = batch[0].since
                self._write(batch)
                self._oldest = None
            self._sync_if_due(final=not open_)
        self._close()

    def _patience(self) -> float:
        if not self._unsynced:
            return _IDLE_S
        return max(0.0, self._sync_at - time.monotonic())

    def _write(self, batch: list[PendingRecord]) -> None:
        wanted: list[PendingRecord] = []
        for entry in batch:
            start = entry.follows
            # a start of the same batch shares the batch's fate, so only those of earlier batches matter here
            if start is not None and start.failure is not None:
                entry.failure = start.failure
            else:
                wanted.append(entry)
        self._lose(len(batch) - len(wanted))
        failure = self._append(wanted) if wanted else None
        for entry in wanted:
            entry.failure = failure
        if failure is None:
            self._written += len(wanted)
        else:
            self._lose(len(wanted))
        self._settled += len(batch)
        self._settle(batch)

    def _settle(self, batch: list[PendingRecord]) -> None:
        """Tell whoever waits for these entries."""
        by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        with self._guard:
            for entry in batch:
                entry.settled = True
                if entry.waiting is not None:
                    by_loop.setdefault(entry.waiting[0], []).append(entry.waiting[1])
        for loop, waiters in by_loop.items():
            try:
                loop.call_soon_threadsafe(_wake, waiters)
            except RuntimeError:  # the loop has been closed: nobody waits any more
                continue
        for entry in batch:
            if entry.glance is not None:
                entry.glance.release()

    def _lose(self, count: int) -> None:
        self._lost += count
        self._unreported += count

    def _append(self, entries: list[PendingRecord]) -> OSError | None:
        events = [entry.event for entry in entries]
        try:
            if self._sync_failure is not None:
                self._log.sync()
                self._sync_failure = None
            if self._unreported:
                events.insert(0, Event.of("gap", self._clock(), lost=self._unreported))
            self._log.append(events)
        except OSError as error:
            self._report(error)
            return error
        except Exception as error:
            # whatever it is, the callers must learn that nothing was written
            self._report(failure := OSError(f"unexpected {type(error).__name__}"))
            _logger.exception("the audit log failed unexpectedly")
            return failure
        self._unreported = 0
        if self._failure is not None:
            _logger.warning("the audit log can be written again", lost=self._lost)
            self._failure = None
        if self._options.fsync == "interval" and not self._unsynced:
            self._unsynced = True
            self._sync_at = time.monotonic() + self._options.fsync_interval_s
        return None

    def _report(self, error: OSError) -> None:
        if self._failure is None:
            _logger.error(
                "the audit log cannot be written", reason=error.strerror or str(error), errno=error.errno
            )
        self._failure = error

    def _sync_if_due(self, *, final: bool) -> None:
        if not self._unsynced or not (final or self._patience() <= 0):
            return
        try:
            self._log.sync()
        except OSError as error:
            self._sync_failure = error
            self._report(error)
        self._unsynced = False

    def _close(self) -> None:
        try:
            self._log.close()
        except OSError as error:
            self._report(error)


def _wake(waiters: "list[asyncio.Future[None]]") -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
