"""The writer thread, which owns the log. Callers share batched writes and never block the event loop."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from research_gateway.audit.log.chain import CLOCK_TOLERANCE_S, Event
from research_gateway.audit.log.stream import Log
from research_gateway.audit.options import AuditOptions
from research_shared.logs import get_logger

MAX_BATCH = 100
_IDLE_S = 3_600.0
audit_logger = get_logger("research.audit")

_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class PendingRecord:
    """An event in the writer's queue. Once `settled`, `failure` is None if it was written, else the cause.

    The end of a call `follows` its start: it is dropped if the start was not written.
    """

    __slots__ = ("event", "failure", "follows", "settled", "since", "waiter")

    def __init__(self, event: Event, follows: "PendingRecord | None" = None) -> None:
        self.event = event
        self.follows = follows
        self.failure: OSError | None = None
        self.since = time.monotonic()
        self.settled = False
        self.waiter: _Waiter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailStatus:
    """Snapshot of a trail's writer. `lag_s` is the age of the oldest record being written, in seconds.

    `written`, `lost` and `pending` count records. `name` is the log's file name; `chain` and `sequence` are those of
    its last record. `failure` is None while the log is writable.
    """

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
    """Writes events in order, from any thread."""

    def __init__(self, log: Log, options: AuditOptions, clock: Callable[[], float]) -> None:
        self._log = log
        self._options = options
        self._clock = clock
        self._latest = clock()
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
        self._settled = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, event: Event, *, follows: PendingRecord | None = None) -> PendingRecord:
        """Queue an event. Does not block."""
        record = PendingRecord(event, follows)
        self._submitted += 1
        self._queue.put(record)
        return record

    async def settled(self, record: PendingRecord) -> None:
        """Wait until the record is written or has failed."""
        loop = asyncio.get_running_loop()
        with self._guard:
            if record.settled:
                return
            future = loop.create_future()
            record.waiter = (loop, future)
        await future

    def stop(self) -> None:
        """Write all queued events, close the log and join the thread. Blocks."""
        self._queue.put(None)
        self._thread.join()

    def status(self) -> TrailStatus:
        """Return a snapshot. Takes no lock."""
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
        for record in batch:
            start = record.follows
            # a start in the same batch has no failure yet: the batch is written or lost as a whole
            if start is not None and start.failure is not None:
                record.failure = start.failure
            else:
                wanted.append(record)
        self._lose(len(batch) - len(wanted))
        failure = self._append(wanted) if wanted else None
        for record in wanted:
            record.failure = failure
        if failure is None:
            self._written += len(wanted)
        else:
            self._lose(len(wanted))
        self._settled += len(batch)
        self._settle(batch)

    def _settle(self, batch: list[PendingRecord]) -> None:
        """Mark the records as settled and wake their waiters."""
        by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        with self._guard:
            for record in batch:
                record.settled = True
                if record.waiter is not None:
                    by_loop.setdefault(record.waiter[0], []).append(record.waiter[1])
        for loop, waiters in by_loop.items():
            try:
                loop.call_soon_threadsafe(_wake, waiters)
            except RuntimeError:  # the loop is closed, so nobody waits
                continue

    def _lose(self, count: int) -> None:
        self._lost += count
        self._unreported += count

    def _append(self, batch: list[PendingRecord]) -> OSError | None:
        events = [record.event for record in batch]
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
            # callers must learn of any failure that nothing was written
            self._report(failure := OSError(f"unexpected {type(error).__name__}"))
            audit_logger.exception("the audit log failed unexpectedly")
            return failure
        self._unreported = 0
        self._note_time()
        if self._failure is not None:
            audit_logger.warning("the audit log can be written again", lost=self._lost)
            self._failure = None
        if self._options.fsync == "interval" and not self._unsynced:
            self._unsynced = True
            self._sync_at = time.monotonic() + self._options.fsync_interval_s
        return None

    def _note_time(self) -> None:
        """Log when the clock was set back."""
        now = self._clock()
        if self._latest - now > CLOCK_TOLERANCE_S:
            audit_logger.warning(
                "the clock was set back; records stay in the order in which they are written",
                seconds=round(self._latest - now),
            )
            self._latest = now
        self._latest = max(self._latest, now)

    def _report(self, error: OSError) -> None:
        if self._failure is None:
            audit_logger.error(
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
