"""Runs an indexer: takes the lease and keeps it, pushes once, or follows the folder until it is told to stop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import anyio.to_thread

from research_documents.opensearch.client import ClusterFailed
from research_documents.opensearch.pushing.cluster_index import ClusterIndex
from research_documents.opensearch.pushing.indexer import Indexer
from research_documents.opensearch.pushing.lease import RENEWALS, IndexLease
from research_documents.opensearch.pushing.report import FolderAway, PushReport
from research_documents.search.index.watcher import Watcher
from research_shared.errors import RootUnavailable
from research_shared.logs import get_logger
from research_shared.reading.library import Library

log = get_logger("research.opensearch")

VECTORS_ROUND_S: Final = 60.0
"""Seconds for which vectors are made before changes of a folder that is followed are looked for again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushJob:
    """One indexer at work.

    `full` pushes everything into new indices. `rescan_s` is the time in seconds between listings while the folder is followed.
    `on_report` is called after each push, `on_wait` with the holder of a lease that may be abandoned.
    """

    library: Library
    cluster: ClusterIndex
    lease: IndexLease
    indexer: Indexer
    full: bool = False
    rescan_s: float = 30.0
    on_report: Callable[[PushReport], object] = lambda _: None
    on_wait: Callable[[str], None] = lambda _: None

    async def run(self, follow: asyncio.Event | None = None) -> None:
        """Push once; or, with `follow`, push what changes until that is set.

        Raises:
            IndexHeld: another indexer has the lease, or took it.
            SchemaDiffers: the indices were made for another version of this program.
            RecordTaken: another indexer writes.
            ConfigurationError: the index was fed from other research folders.
            FolderAway: without `follow`, a part of the folder seems to be away; see `Indexer.push_all`.
            RootUnavailable: a folder is gone.
            ClusterFailed: the cluster fails.
        """
        await anyio.to_thread.run_sync(self.cluster.prepare_state)
        await anyio.to_thread.run_sync(self.lease.acquire, self.on_wait)
        self.indexer.hold = self.lease.hold
        try:
            async with self.library:
                await self._while_held(self._push() if follow is None else self._follow(follow))
        finally:
            with anyio.CancelScope(shield=True):
                await self.indexer.close()
                await anyio.to_thread.run_sync(self.lease.release)

    async def _while_held(self, work: Awaitable[None]) -> None:
        """Await work, and renew the lease meanwhile. Work ends when the lease is lost."""
        working, renewing = asyncio.ensure_future(work), asyncio.create_task(self._renew())
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                renewing.result()  # raises: it never returns
            await working
        finally:
            for task in (working, renewing):
                task.cancel()
            await asyncio.wait({working, renewing})

    async def _renew(self) -> None:
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(self.lease.lease_s / RENEWALS)
            asked_at = time.monotonic()
            try:
                await anyio.to_thread.run_sync(self.lease.renew)
            except ClusterFailed as failure:
                if not failure.retryable or time.monotonic() - renewed_at > self.lease.lease_s:
                    raise
                log.warning("the lease could not be renewed", error=failure.message)
            else:
                renewed_at = asked_at

    async def _push(self) -> None:
        await self.indexer.open(anew=self.full)
        self.on_report(await self.indexer.push_all())

    async def _follow(self, stop: asyncio.Event) -> None:
        changes = _Changes()
        watcher = Watcher(
            self.library.roots.roots, changes.add, changes.everything, faults=self.library.faults
        )
        self.indexer.vectors.round_s = VECTORS_ROUND_S
        try:
            await self.indexer.open(anew=self.full)
            try:
                self.on_report(await self.indexer.push_all(watching=watcher.live))
            except FolderAway as error:
                self._note_away(error)
            self._go_on_with_vectors(changes)
            while not stop.is_set():
                await changes.wait(self.rescan_s, stop)
                if not stop.is_set():
                    await self._push_changes(changes, watcher)
            await self.indexer.keep_agreed(watching=False)
        finally:
            await watcher.stop()

    async def _push_changes(self, changes: "_Changes", watcher: Watcher) -> None:
        """Push what changed. A cluster or a folder that is away for a while is tried again at the next look."""
        paths = changes.take()
        try:
            if changes.begun_anew:
                await self.indexer.open()
                changes.begun_anew = False
            report = (
                await self.indexer.push_all(watching=watcher.live)
                if paths is None
                else await self.indexer.push_paths(paths, watching=watcher.live)
            )
            await self.indexer.keep_agreed(watching=watcher.live)
        except FolderAway as error:
            self._note_away(error)
        except RootUnavailable as error:
            log.warning("the research folder is away", error=error.message)
            changes.everything()
            await asyncio.sleep(1.0)
        except ClusterFailed as failure:
            if not failure.retryable:
                raise
            log.warning("the search cluster is away", error=failure.message)
            changes.begun_anew = True  # what was written last is not known
            changes.everything()
        else:
            self._tell(report)
        self._go_on_with_vectors(changes)

    def _go_on_with_vectors(self, changes: "_Changes") -> None:
        if self.indexer.vectors.has_more:
            changes.everything()

    def _note_away(self, error: FolderAway) -> None:
        """Say that a part of the folder is away. The next listing looks again."""
        log.warning("a part of the research folder is away", error=error.message)
        self._tell(error.report)

    def _tell(self, report: PushReport) -> None:
        if report.pushed or report.removed or report.failed:
            self.on_report(report)


class _Changes:
    """What has changed since the last look: some paths, or perhaps everything."""

    def __init__(self) -> None:
        self.begun_anew = False
        """Whether the records must be read again before the next push."""
        self._paths: set[str] = set()
        self._everything = False
        self._some = asyncio.Event()

    def add(self, paths: set[str]) -> None:
        """Paths have changed."""
        self._paths |= paths
        self._some.set()

    def everything(self) -> None:
        """Anything may have changed."""
        self._everything = True
        self._some.set()

    async def wait(self, at_most_s: float, stop: asyncio.Event) -> None:
        """Wait for a change, or for the time of the next listing, or for the end."""
        waiting = [asyncio.create_task(self._some.wait()), asyncio.create_task(stop.wait())]
        done, _ = await asyncio.wait(waiting, timeout=at_most_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if not done:
            self._everything = True

    def take(self) -> set[str] | None:
        """Return the changed paths, or None if everything may have changed, and forget them."""
        paths = None if self._everything else self._paths
        self._paths, self._everything = set(), False
        self._some.clear()
        return paths
