"""Search engine: keeps an index of the library up to date and answers keyword and regex searches."""

import asyncio
import math
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from research_documents.search.catalog.catalog import Catalog, IndexCoverage
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.contract import (
    MAX_ATTEMPTS,
    MAX_SEARCH_BYTES,
    ORDER_MAY_CHANGE,
    DocumentSearch,
    named_unreadable,
)
from research_documents.search.executors import ThreadPools
from research_documents.search.freshness import FreshnessChecker
from research_documents.search.hybrid import NOT_SET_UP, MeaningSearch
from research_documents.search.index.directories import refuse_inside_folders
from research_documents.search.index.store import DiskStore, MemoryStore, Store
from research_documents.search.index.updater import IndexUpdater
from research_documents.search.index.watcher import Watcher
from research_documents.search.keyword.search import KeywordSearch, embedded
from research_documents.search.outcome import SearchOutcome
from research_documents.search.regex.search import RegexSearch
from research_documents.search.request import (
    CursorPosition,
    Mode,
    OnProgress,
    RunResult,
    SearchRequest,
    cursor_after,
    search_request,
)
from research_documents.search.tuning import DEFAULT_TUNING, SearchTuning
from research_shared.access.globs import EVERY_PATH, PathChoice
from research_shared.access.roots import current_scope
from research_shared.logs import get_logger
from research_shared.reading.filters import EVERY_DOCUMENT, DocumentFilter
from research_shared.reading.library import Library
from research_shared.settings import Settings
from research_shared.text.sizes import counted, one_or_many
from research_shared.tools.activity import waiting
from research_shared.tools.names import INCOMPLETE

if TYPE_CHECKING:
    from research_documents.search.semantic.semantic_index import SemanticIndex

log = get_logger("research.search")

PROGRESS_SHARE: Final = 0.1
"""Largest share of the waiting time spent on counting for progress reports."""
TEXT_BUDGET: Final = 1024 * 1024 * 1024


class SearchEngine(DocumentSearch):
    """Searches the documents of a library; one instance serves all requests and scopes of a process.

    Entering the engine (once per user) starts indexing and watching the folder in the background. A search without
    entering scans the folder and indexes what is missing. A search waits up to `index_wait_s` seconds for documents that
    were never indexed; `deadline_s` limits the time after that. `index_dir` keeps texts and index across restarts.
    `rescan_interval_s` is the time between scans that find what watching missed. `text_budget` bounds the bytes of text
    held in memory, which with `index_dir` are of the documents alone that are not in there, `max_response_bytes` those of one answer. `semantic` adds hybrid search; without it, hybrid mode
    answers by words and says `no_semantic`, why that is so. `tuning` paces the work, by `clock` in seconds.
    """

    def __init__(
        self,
        library: Library,
        *,
        deadline_s: float = 5.0,
        index_wait_s: float = 20.0,
        index_dir: Path | None = None,
        watch: bool = True,
        rescan_interval_s: float = 30.0,
        text_budget: int = TEXT_BUDGET,
        max_response_bytes: int = MAX_SEARCH_BYTES,
        semantic: "SemanticIndex | None" = None,
        no_semantic: str = NOT_SET_UP,
        tuning: SearchTuning = DEFAULT_TUNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(Catalog(text_budget), deadline_s=deadline_s, clock=clock)
        self._library = library
        self._index_wait_s = index_wait_s
        self._watch = watch
        self._rescan_interval_s = rescan_interval_s
        self._tuning = tuning
        store: Store = (
            MemoryStore(tuning)
            if index_dir is None
            else DiskStore(
                index_dir,
                library.roots.roots,
                library.limits,
                tuning=tuning,
                faults=library.faults,
                clock=clock,
            )
        )
        if index_dir is not None:
            library.read_before = store.read_before
        library.held_info = self._catalog.info_of
        self._semantic = semantic
        self._updater = IndexUpdater(
            library,
            self._catalog,
            store,
            tuning=tuning,
            clock=clock,
            on_change=None if semantic is None else semantic.wake,
        )
        self._watcher: Watcher | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._replacing: asyncio.Task[None] | None = None
        self._complete = False
        self._pools = ThreadPools()
        freshness = self._freshness = FreshnessChecker(library, store.texts)
        self._by_meaning = MeaningSearch(
            pools=self._pools, catalog=self._catalog, semantic=semantic, no_semantic=no_semantic
        )
        parts: dict[str, Any] = {
            "pools": self._pools,
            "freshness": freshness,
            "catalog": self._catalog,
            "max_response_bytes": max_response_bytes,
            "tuning": tuning,
            "clock": clock,
        }
        self._by_regex, self._by_keyword = RegexSearch(**parts), KeywordSearch(**parts)

    @classmethod
    def from_settings(cls, library: Library, settings: Settings) -> Self:
        """Build the engine the settings describe.

        Raises:
            ConfigurationError: the directory of the index lies inside a research folder.
        """
        if settings.index_dir is not None:
            refuse_inside_folders(settings.index_dir, settings.roots)
        semantic, no_semantic = None, NOT_SET_UP
        if settings.embedding_dir is not None or settings.embedding_url is not None:
            from research_documents.search.semantic.build import semantic_of

            semantic, no_semantic = semantic_of(settings)
        return cls(
            library,
            deadline_s=settings.search_deadline_s,
            index_wait_s=settings.index_wait_s,
            index_dir=settings.index_dir,
            watch=settings.watch,
            rescan_interval_s=settings.rescan_interval_s,
            text_budget=settings.cache_bytes,
            semantic=semantic,
            no_semantic=no_semantic,
        )

    async def _open(self) -> None:
        if self._watch:
            self._watch_folders()
        self._scan_now()
        if self._semantic is not None:
            self._semantic.open(
                self._catalog,
                text_of=self._freshness.text,
                is_ready=lambda: self._catalog.backlog.listed and self._updater.progress is None,
                faults=self._library.faults,
            )

    async def _close(self) -> None:
        if self._semantic is not None:
            await self._semantic.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._replacing is not None:
            await asyncio.wait([self._replacing])
            self._replacing = None
        if self._watcher is not None:
            await self._watcher.stop()
            self._watcher = None
        await self._updater.stop()
        self._complete = False
        await self._pools.close()

    @property
    def indexing(self) -> tuple[int, int] | None:
        """Return (documents done, documents known) while the index is being updated, else None.

        (0, 0) during the first listing of the folder, when their number is unknown.
        """
        return self._updater.progress

    @property
    def problem(self) -> str:
        """Return nothing: without a search, an index of this process has no problem of its own."""
        return ""

    def _embedded(self, entries: Collection[CatalogEntry]) -> tuple[int, int] | None:
        return None if self._semantic is None else self._semantic.coverage(entries)

    async def _search(self, request: SearchRequest) -> SearchOutcome:
        if not self.in_use:
            return await self._answer(request)
        # The lifespan of an in-process server ends with its first client, while others may still wait.
        async with self:
            return await self._answer(request)

    async def read_wanted(
        self, file_pattern: str, wanted: DocumentFilter, *, on_progress: OnProgress | None = None
    ) -> str | None:
        """Wait until the documents that may be wanted are read, as long as a search waits for the index.

        Return the warning of an answer that rests on a part of them, or None.
        """
        request = search_request(
            "",
            mode="regex",  # what is read counts, also before it can be ranked
            file_pattern=file_pattern,
            on_progress=on_progress,
            wanted=wanted,
            time_limit_s=self._deadline_s,
            now=self._clock(),
        )

        async def missing() -> str | None:
            with waiting("the index", limit_s=self._index_wait_s + self._deadline_s):
                up_to_date = await self._update_index(request)
            return _incomplete_warning(self._coverage(request.paths, "regex", wanted), up_to_date)

        if not self.in_use:
            return await missing()
        async with self:
            return await missing()

    async def _answer(self, request: SearchRequest) -> SearchOutcome:
        with waiting("the index", limit_s=self._index_wait_s + self._deadline_s):
            up_to_date = await self._update_index(request)
        # The deadline of the search starts after the wait for the index.
        request = replace(request, deadline=self._clock() + request.time_limit_s)
        read_since = self._catalog.new_id()
        for attempt in range(1, MAX_ATTEMPTS + 1):
            selection = self._catalog.select(request.paths, current_scope(), request.wanted)
            coverage = self._coverage(request.paths, request.mode, request.wanted)
            found = await self._run(request, selection)
            stale = self._stale_documents(found, read_since)
            if not stale and not found.again:
                break
            if attempt == MAX_ATTEMPTS or self._clock() >= request.deadline:
                kept = [hit for hit in found.hits if hit.document not in stale]
                found = replace(found, hits=kept, truncated=True)
                break
            await self._wait(self._updater.refresh_now(stale), request.deadline)
        return self._outcome(
            request,
            found=found,
            selection=selection,
            coverage=coverage,
            missing=_incomplete_warning(coverage, up_to_date),
        )

    async def _run(self, request: SearchRequest, selection: Selection) -> RunResult:
        index = self._updater.index
        if request.mode == "regex":
            return await self._by_regex.search(request, selection, index)
        if request.mode == "keyword":
            return await self._by_keyword.search(request, selection, embedded(index))
        near = await self._by_meaning.nearest(request, selection)
        found = await self._by_keyword.search(request, selection, embedded(index), nearest=near.passages)
        # While the query's vector was awaited, documents may have been read again under other ids.
        forgotten = any(entry.id not in self._catalog.by_id for entry in selection.readable)
        return replace(
            found,
            warnings=(*near.warnings, *found.warnings),
            again=found.again or forgotten,
            embedded=near.embedded,
            embedding_stopped=near.embedding_stopped,
        )

    def _coverage(
        self, paths: PathChoice, mode: Mode, wanted: DocumentFilter = EVERY_DOCUMENT
    ) -> IndexCoverage:
        """Return how much of the requested documents is indexed."""
        before = self._clock() - self._tuning.recent_change_s if self._is_current else math.inf
        return self._catalog.coverage(
            paths, current_scope(), visible=mode != "regex", before=before, wanted=wanted
        )

    def _outcome(
        self,
        request: SearchRequest,
        *,
        found: RunResult,
        selection: Selection,
        coverage: IndexCoverage,
        missing: str | None,
    ) -> SearchOutcome:
        hits, warnings = found.hits, found.warnings
        if missing is not None:
            log.warning("search answered from an incomplete index", missing=missing)
            warnings = (missing, *warnings)
        elif request.mode != "regex" and not self._coverage(EVERY_PATH, request.mode).complete:
            warnings += (ORDER_MAY_CHANGE,)
        warnings = (*self._library.fault_warnings(), *warnings)
        named, more = named_unreadable(selection)
        warnings += more
        if request.start == CursorPosition() and (
            count := self._catalog.count_unread(request.paths, current_scope())
        ):
            warnings += (count,)
        return SearchOutcome(
            hits=tuple(hits),
            total_documents=min(found.covered, coverage.done),
            truncated=found.truncated or missing is not None,
            unreadable=named,
            warnings=warnings,
            next_cursor=cursor_after(request, found),
            indexing=None if coverage.complete else (coverage.done, coverage.total),
            embedded=found.embedded,
            embedding_stopped=found.embedding_stopped,
        )

    # Staying fresh

    @property
    def _watching(self) -> bool:
        return self._watcher is not None and self._watcher.live

    @property
    def _is_current(self) -> bool:
        """Return whether the watcher reports all changes, so that a search need not scan."""
        return self._watching and self._complete

    def _rescan(self) -> None:
        """Scan every `rescan_interval_s`, a large folder less often; a failure surfaces in the next search.

        If watching has failed, or does not see where the folders are now, it begins anew.
        """
        self._replacing = asyncio.get_running_loop().create_task(self._follow_folders(again=True))
        if quiet_s := self._updater.quiet_s:
            self._updater.tidy()
        else:
            self._scan()
        pause = min(quiet_s or math.inf, self._rescan_interval_s)
        self._timer = asyncio.get_running_loop().call_later(pause, self._rescan)

    def _scan(self) -> "asyncio.Future[None]":
        scan = self._updater.scan()
        scan.add_done_callback(self._on_scanned)
        return scan

    def _on_scanned(self, scan: "asyncio.Future[None]") -> None:
        self._complete = not scan.cancelled() and scan.exception() is None

    def _scan_now(self) -> None:
        """Scan for what no change of a document tells: all of the folder, or a change that cannot be attributed to one."""
        if self._timer is not None:
            self._timer.cancel()
        self._scan()
        self._timer = asyncio.get_running_loop().call_later(self._rescan_interval_s, self._rescan)

    def _watch_folders(self) -> None:
        """Watch the folders the roots resolve to now."""
        self._watcher = Watcher(
            self._library.roots.roots,
            self._updater.refresh_now,
            self._scan_now,
            faults=self._library.faults,
        )
        self._complete = False

    async def _follow_folders(self, *, again: bool = False) -> None:
        """Restart the watcher if a root now resolves to another folder, and with `again` if it has failed."""
        replaced = self._watcher
        if replaced is not None and (not replaced.in_place or (again and replaced.failed)):
            self._watch_folders()
            await replaced.stop()

    async def _update_index(self, request: SearchRequest) -> bool:
        """Wait for the index, reporting progress; return whether it is up to date.

        The wait for documents that were never indexed is `index_wait_s`. For new versions of indexed ones it is half of
        `deadline_s`, so that a folder that changes all the time does not hold up every search.
        """
        await self._follow_folders()
        if self._is_current and self._coverage(request.paths, request.mode, request.wanted).complete:
            return True
        update = self._updater.catch_up() if self._is_current else self._scan()
        started = self._clock()
        matches, scope, wanted = request.matches, current_scope(), request.wanted

        def relevant(path: str) -> bool:
            return scope.admits(path) and matches(path) and wanted.admits_path(path)

        pause = self._tuning.progress_every_s
        while not update.done():
            now = self._clock()
            until = started + (self._index_wait_s if self._catalog.backlog.lacks() else self._deadline_s / 2)
            # The order of regex hits does not depend on other documents, as ranking does.
            if now >= until or request.mode == "regex":
                if not self._updater.awaits(update, relevant):
                    return True
                if now >= until:
                    return False
            await self._wait(update, min(until, now + pause))
            counting_s = await self._report_progress(request)
            pause = max(self._tuning.progress_every_s, counting_s / PROGRESS_SHARE)
        update.result()
        return True

    async def _report_progress(self, request: SearchRequest) -> float:
        """Report how much of the scope is indexed; return the seconds spent on counting."""
        if request.on_progress is None:
            return 0.0
        started = self._clock()
        coverage = self._catalog.coverage(EVERY_PATH, current_scope(), visible=True)
        took = self._clock() - started
        if coverage.listed:
            text = f"indexed {coverage.done} of {counted(coverage.total, 'document')}"
        else:
            text = "listing the folder"
        await request.on_progress(coverage.done, coverage.total if coverage.listed else 0, text)
        return took

    async def _wait(self, future: "asyncio.Future[None]", until: float) -> None:
        done, _ = await asyncio.wait([future], timeout=max(until - self._clock(), 0))
        if done:
            future.result()

    def _stale_documents(self, found: RunResult, read_since: int) -> set[str]:
        """Return the documents of hits that changed since they were searched."""
        current = self._catalog.entries
        stale = set(found.stale)
        for entry in found.sources:
            path = entry.info.path
            now = current.get(path)
            if now is entry and entry.mtime_reliable:
                continue
            if now is None or now.id != entry.id or not (now.mtime_reliable or now.checked >= read_since):
                stale.add(path)
        return stale


def _incomplete_warning(coverage: IndexCoverage, up_to_date: bool) -> str | None:
    """Return the warning of an answer that does not cover everything, else None."""
    if not coverage.listed:
        return f"{INCOMPLETE}: the folder is still being listed; repeat in a few seconds"
    if not coverage.complete:
        return f"{INCOMPLETE}: {coverage.done} of {counted(coverage.total, 'document')} {one_or_many(1 if 1 in {coverage.done, coverage.total} else 0, 'is', 'are')} indexed yet; repeat in a few seconds"
    if not up_to_date:
        return f"{INCOMPLETE}: changes of the folder are still being looked for; repeat in a few seconds"
    return None
