"""The thread that owns the log: many callers wait for one write, and none of them blocks the event loop."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from research_gateway.audit.events import Event
from research_gateway.audit.log import Log
from research_gateway.audit.options import AuditOptions
from research_shared.logs import get_logger

MAX_BATCH = 100
_IDLE_S = 3_600.0
_logger = get_logger("research.audit")


GLANCE_S = 0.0005
"""How long a lone caller looks for its record to be written before it leaves the event loop to others.

Passing a record to the thread and back through the event loop costs more than the write itself. A disk that misses
this limit once is not looked after again for `BLINK_S`.
"""
BLINK_S = 1.0


class Entry:
    """An event on its way to the log. `failure` says, once it is settled, why it is not written.

    The end of a call `follows` its start: it is left out when its start was not written.
    """

    __slots__ = ("_guard", "_loop", "_settled", "_waiter", "event", "failure", "follows", "since")

    def __init__(self, event: Event, follows: "Entry | None" = None) -> None:
        self.event = event
        self.follows = follows
        self.failure: OSError | None = None
        self.since = time.monotonic()
        self._guard = threading.Lock()
        self._settled = threading.Lock()
        self._settled.acquire()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiter: asyncio.Future[None] | None = None

    def settle(self) -> tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"] | None:
        """Called by the writer when the entry's fate is known; gives whoever has to be woken up."""
        with self._guard:
            self._settled.release()
            if self._loop is None or self._waiter is None:
                return None
            return self._loop, self._waiter

    def is_settled_within(self, seconds: float) -> bool:
        """Wait for a moment, blocking."""
        if not self._settled.acquire(timeout=seconds):
            return False
        self._settled.release()
        return True

    async def settled(self) -> None:
        """Wait without blocking."""
        with self._guard:
            if not self._settled.locked():
                return
            self._loop = asyncio.get_running_loop()
            self._waiter = self._loop.create_future()
        await self._waiter


@dataclass(frozen=True, slots=True)
class Status:
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
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._unsynced = False
        self._sync_at = 0.0
        self._sync_failure: OSError | None = None
        self._failure: OSError | None = None
        self._written = 0
        self._lost = 0
        self._unreported = 0
        self._oldest: float | None = None
        self._submitted = 0
        self._glance_from = 0.0
        self._settled = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def submit(self, event: Event, *, follows: Entry | None = None) -> Entry:
        """Hand an event over; returns at once."""
        entry = Entry(event, follows)
        self._submitted += 1
        self._queue.put(entry)
        return entry

    async def settled(self, entry: Entry) -> None:
        """Wait until the fate of an entry is known."""
        if self._submitted - self._settled <= 1 and time.monotonic() >= self._glance_from:
            if entry.is_settled_within(GLANCE_S):
                return
            self._glance_from = time.monotonic() + BLINK_S
        await entry.settled()

    def stop(self) -> None:
        """Write what was handed over, end the log and wait for the thread. Blocks."""
        self._queue.put(None)
        self._thread.join()

    def status(self) -> Status:
        """A snapshot; reading it takes no lock."""
        oldest, failure = self._oldest, self._failure or self._sync_failure
        return Status(
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
            batch: list[Entry] = []
            try:
                item = self._queue.get(timeout=self._patience())
                while item is not None and len(batch) < MAX_BATCH:
                    batch.append(item)
                    item = self._queue.get_nowait()
                open_ = item is not None
                if item is not None:
                    batch.append(item)
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

    def _write(self, batch: list[Entry]) -> None:
        wanted: list[Entry] = []
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
        by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        for entry in batch:
            if (waiting := entry.settle()) is not None:
                by_loop.setdefault(waiting[0], []).append(waiting[1])
        for loop, waiters in by_loop.items():
            try:
                loop.call_soon_threadsafe(_wake, waiters)
            except RuntimeError:  # the loop has been closed: nobody waits any more
                continue

    def _lose(self, count: int) -> None:
        self._lost += count
        self._unreported += count

    def _append(self, entries: list[Entry]) -> OSError | None:
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
