"""The audit trail of a server: opened with its lifespan, written by a separate thread."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

from research_gateway.audit.log.chain import Chain, Event
from research_gateway.audit.log.file import open_log
from research_gateway.audit.log.stream import Log, StreamLog
from research_gateway.audit.log.writer import PendingRecord, TrailStatus, Writer, audit_logger
from research_gateway.audit.options import AuditOptions
from research_shared.errors import AuditUnavailable, ConfigurationError
from research_shared.lifespan import SharedLifespan
from research_shared.serving.version import VERSION
from research_shared.settings import Settings

_STDERR = 2


class AuditTrail(SharedLifespan):
    """Writes audit events and confirms when they are written.

    An async context manager. Entries are counted, so servers can share a trail, and it can be reopened.

    >>> from pathlib import Path
    >>> async with AuditTrail.open(path=Path("audit.jsonl")) as trail:
    ...     await trail.written(trail.submit(Event.of("note", trail.clock(), text="checked by hand")))
    True
    """

    def __init__(
        self,
        options: AuditOptions | None = None,
        *,
        clock: Callable[[], float] = time.time,
        stream: int = _STDERR,
    ) -> None:
        self.options = options or AuditOptions()
        self.clock = clock
        self._stream = stream
        self._writer: Writer | None = None
        self._last: TrailStatus | None = None
        self._refused = 0

    @classmethod
    def open(cls, settings: Settings | None = None, /, **options: Any) -> Self:
        """Create a trail from settings or from the fields of `AuditOptions`. Enter it to open the log."""
        return cls(AuditOptions.of(settings) if settings is not None else AuditOptions(**options))

    async def _open(self) -> None:
        self._writer = await self._started()

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await asyncio.shield(asyncio.to_thread(writer.stop))
            self._last = writer.status()

    @asynccontextmanager
    async def keep_open(self) -> AsyncIterator[None]:
        """Keep the trail open while the block runs, even if its lifespan ends meanwhile.

        A server's lifespan ends with its first in-process client, while others may still be served. If the trail
        cannot be opened, the error is logged and the block runs without it.
        """
        try:
            await self.__aenter__()
        except ConfigurationError as error:
            audit_logger.error("the audit log cannot be opened", reason=str(error))
            yield
            return
        try:
            yield
        finally:
            await self.__aexit__(None, None, None)

    async def _started(self) -> Writer:
        starting = asyncio.ensure_future(asyncio.to_thread(self._start))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            writer = await starting
            await asyncio.to_thread(writer.stop)
            raise

    def _start(self) -> Writer:
        options = self.options
        chain = Chain(key=options.key, checkpoint_every=options.checkpoint_every, clock=self.clock)
        origin: Mapping[str, Any] = {
            "version": VERSION,
            "pid": os.getpid(),
            "level": options.level,
            "fsync": options.fsync,
        }
        log: Log = (
            StreamLog(fd=self._stream, chain=chain, origin=origin)
            if options.path is None
            else open_log(options=options, chain=chain, origin=origin)
        )
        writer = Writer(log=log, options=options, clock=self.clock)
        writer.start()
        return writer

    def submit(self, event: Event, *, follows: PendingRecord | None = None) -> PendingRecord | None:
        """Queue an event without waiting. Return None if the trail is not open."""
        return self._writer.submit(event, follows=follows) if self._writer is not None else None

    async def written(self, record: PendingRecord | None) -> bool:
        """Wait until a record is in the log. Return False if it could not be written and `on_failure` is `open`.

        Raises:
            AuditUnavailable: it could not be written and `on_failure` is `closed`.
        """
        if record is not None and await self._wait_until_settled(record) and record.failure is None:
            return True
        if self.options.on_failure == "closed":
            self._refused += 1
            raise AuditUnavailable("the audit log cannot be written, so this call is refused")
        return False

    async def _wait_until_settled(self, record: PendingRecord) -> bool:
        writer = self._writer
        if writer is None:
            return record.settled
        try:
            async with asyncio.timeout(self.options.timeout_s):
                await writer.settled(record)
        except TimeoutError:
            audit_logger.error("writing the audit log timed out", seconds=self.options.timeout_s)
            return False
        return True

    @property
    def refused(self) -> int:
        """Number of calls refused because the log could not be written."""
        return self._refused

    def status(self) -> TrailStatus:
        """Return the writer's status, for health checks and metrics."""
        if self._writer is not None:
            return self._writer.status()
        if self._last is not None:
            return self._last
        return TrailStatus(
            writable=False,
            written=0,
            lost=0,
            pending=0,
            lag_s=0.0,
            name="",
            chain="",
            sequence=-1,
            failure="not open",
        )
