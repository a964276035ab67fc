"""The search engine: keeps an index of the library up to date and answers both kinds of search from it."""

import asyncio
import math
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from research_documents.search.executors import ThreadPools
from research_documents.search.freshness import FreshnessChecker
from research_documents.search.index.catalog import Catalog, Coverage, Selection
from research_documents.search.index.store import DiskStore, MemoryStore
from research_documents.search.index.updater import IndexUpdater
from research_documents.search.index.watcher import Watcher
from research_documents.search.keyword.search import KeywordSearch
from research_documents.search.outcome import EngineStats, SearchOutcome
from research_documents.search.regex.search import RegexSearch
from research_documents.search.request import (
    MAX_RANK,
    Found,
    Mode,
    OnProgress,
    Position,
    Request,
    Snippet,
    open_cursor,
    seal_cursor,
)
from research_shared.access.globs import compile_pattern
from research_shared.access.roots import current_scope
from research_shared.logs import get_logger
from research_shared.reading.library import Library
from research_shared.settings import Settings
from research_shared.tools.activity import waiting

log = get_logger("research.search")

PROGRESS_EVERY_S: Final = 0.25
"""How often a search that waits for the index tells how far it is, in seconds."""
PROGRESS_SHARE: Final = 0.1
"""Of its time, what telling may take: counting very many documents is not done as often."""
FRESH_S: Final = 1.0
"""What has changed more recently is not waited for while the folder is watched."""
INCOMPLETE: Final = "INCOMPLETE:"
"""The beginning of the warning, always the first one, that an answer does not cover all documents."""
ATTEMPTS: Final = 3
"""How often a search is run when documents change under it."""
MAX_UNREADABLE: Final = 100
MAX_RESPONSE_BYTES: Final = 256 * 1024
TEXT_BUDGET: Final = 1024 * 1024 * 1024


class SearchEngine:
    """Searches the documents of a library; one instance serves all requests and scopes of a process.

    Entering it (as often as there are users) starts to build the index in the background and to watch the folder; a
    search without entering looks at the folder itself and builds what is missing. A search waits for documents that were
    never indexed for up to `index_wait_s` seconds; `deadline_s` limits what it takes after that. `index_dir` keeps text
    and index across restarts, `rescan_interval_s` is the time between the scans that find what watching missed,
    `text_budget` bounds the bytes of text held in memory and `max_response_bytes` those of one answer.
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
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        self._library = library
        self._deadline_s = deadline_s
        self._index_wait_s = index_wait_s
        self._watch = watch
        self._rescan_interval_s = rescan_interval_s
        self._catalog = Catalog(text_budget)
        store = (
            MemoryStore() if index_dir is None else DiskStore(index_dir, library.roots.roots, library.limits)
        )
        self._updater = IndexUpdater(library, self._catalog, store)
        self._watcher: Watcher | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._users = 0
        self._complete = False
        self._pools = ThreadPools()
        freshness = FreshnessChecker(library)
        self._by_regex = RegexSearch(self._pools, freshness, self._catalog, max_response_bytes)
        self._by_keyword = KeywordSearch(self._pools, freshness, self._catalog, max_response_bytes)

    @classmethod
    def from_settings(cls, library: Library, settings: Settings) -> Self:
        """The engine that the settings describe."""
        return cls(
            library,
            deadline_s=settings.search_deadline_s,
            index_wait_s=settings.index_wait_s,
            index_dir=settings.index_dir,
            watch=settings.watch,
            rescan_interval_s=settings.rescan_interval_s,
            text_budget=settings.cache_bytes,
        )

    async def __aenter__(self) -> Self:
        self._users += 1
        if self._users == 1:
            if self._watch:
                self._watch_folders()
            self._rescan()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._users -= 1
        if self._users:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            await self._watcher.stop()
            self._watcher = None
        await self._updater.stop()
        self._complete = False
        await self._pools.close()

    @property
    def indexing(self) -> tuple[int, int] | None:
        """(documents done, all of them) while the index is being built or brought up to date, otherwise None.

        (0, 0) while the folder is listed for the first time, so that nobody knows yet how many there are.
        """
        return self._updater.progress

    @property
    def stats(self) -> EngineStats:
        """What the index holds at the moment."""
        entries = list(self._catalog.entries.values())
        readable = [entry for entry in entries if not entry.reason]
        indexing = self.indexing
        return EngineStats(
            documents=len(readable),
            passages=sum(entry.passages for entry in readable),
            text_bytes=self._catalog.text_bytes,
            unreadable=len(entries) - len(readable),
            missing=indexing[1] - indexing[0] if indexing else 0,
            building=indexing is not None,
            watching=self._watching,
        )

    async def search(
        self,
        query: str,
        *,
        mode: Mode = "keyword",
        limit: int = 10,
        file_pattern: str = "*",
        context_lines: int = 0,
        snippet: Snippet = "line",
        cursor: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> SearchOutcome:
        """Search the documents of the current scope whose path matches `file_pattern`.

        With `snippet="context"` a hit of a keyword search shows its neighbours in its passage, unless `context_lines`
        says how many lines to show.

        Hits come by score, path and line in keyword mode, by path and line in regex mode. An expression that cannot be
        used gives no hits and a warning that names what is wrong with it. An answer that does not cover all documents,
        because they are not indexed yet, is `truncated` and says so in its first warning, which begins with `INCOMPLETE:`.

        Raises:
            InvalidPattern: the file pattern is malformed.
            InvalidCursor: the cursor was not made by this search.
            RootUnavailable: the research folder is gone.
        """
        request = Request(
            query,
            mode,
            limit,
            file_pattern,
            context_lines,
            open_cursor(cursor, query, mode, file_pattern),
            self._deadline_s,
            time.monotonic() + self._deadline_s,
            on_progress,
            snippet,
        )
        self._catalog.select(file_pattern, current_scope())
        if not self._users:
            return await self._answer(request)
        # A server's lifespan ends with the first client in its own process, while others still wait for an answer.
        async with self:
            return await self._answer(request)

    async def _answer(self, request: Request) -> SearchOutcome:
        with waiting("the index", limit_s=self._index_wait_s + self._deadline_s):
            up_to_date = await self._refresh(request)
        # What waiting took is not taken from the search.
        request = replace(request, deadline=time.monotonic() + self._deadline_s)
        read_since = self._catalog.new_id()
        for attempt in range(1, ATTEMPTS + 1):
            selection = self._catalog.select(request.file_pattern, current_scope())
            coverage = self._coverage(request)
            if request.mode == "keyword":
                found = await self._by_keyword.search(request, selection, self._updater.index)
            else:
                found = await self._by_regex.search(request, selection, self._updater.index)
            stale = self._stale(found, read_since)
            if not stale and not found.again:
                break
            if attempt == ATTEMPTS or time.monotonic() >= request.deadline:
                kept = [hit for hit in found.hits if hit.document not in stale]
                found = replace(found, hits=kept, truncated=True)
                break
            await self._wait(self._updater.refresh_now(stale), request.deadline)
        return self._finished(found, selection, request, coverage, _what_is_missing(coverage, up_to_date))

    def _coverage(self, request: Request) -> Coverage:
        """How much of what is asked for is searched."""
        before = time.monotonic() - FRESH_S if self._is_current else math.inf
        return self._catalog.coverage(
            request.file_pattern, current_scope(), visible=request.mode == "keyword", before=before
        )

    def _finished(
        self, found: Found, selection: Selection, request: Request, coverage: Coverage, missing: str | None
    ) -> SearchOutcome:
        hits, warnings = found.hits, found.warnings
        if missing is not None:
            log.warning("a search is answered from a part of the folder", missing=missing)
            warnings = (missing, *warnings)
        elif request.mode == "keyword" and not self._coverage(replace(request, file_pattern="*")).complete:
            warnings += ("the order may still change: other documents are not indexed yet",)
        if len(selection.unreadable) > MAX_UNREADABLE:
            warnings += (
                f"{len(selection.unreadable)} documents give no text; the first {MAX_UNREADABLE} are named",
            )
        cursor = None
        # Of an answer that is only incomplete there is no next page: it is to be asked for again.
        if found.truncated and hits:
            end = Position(hits[-1].document, hits[-1].line_number)
            if request.mode == "keyword":
                end = Position(rank=min(request.start.rank + len(hits), MAX_RANK))
            cursor = seal_cursor(end, request.query, request.mode, request.file_pattern)
        return SearchOutcome(
            tuple(hits),
            min(found.covered, coverage.done),
            truncated=found.truncated or missing is not None,
            unreadable=selection.unreadable[:MAX_UNREADABLE],
            warnings=warnings,
            next_cursor=cursor,
            indexing=None if coverage.complete else (coverage.done, coverage.total),
        )

    # Staying fresh

    @property
    def _watching(self) -> bool:
        return self._watcher is not None and self._watcher.live

    @property
    def _is_current(self) -> bool:
        """Whether all changes are told by the watcher, so that a search need not look for them itself."""
        return self._watching and self._complete

    def _rescan(self) -> None:
        """Scan now and again in a while; what goes wrong is seen by the search that needs it."""
        self._updater.scan().add_done_callback(self._scanned)
        self._timer = asyncio.get_running_loop().call_later(self._rescan_interval_s, self._rescan)

    def _scanned(self, scan: "asyncio.Future[None]") -> None:
        self._complete = not scan.cancelled() and scan.exception() is None

    def _unclear(self) -> None:
        """Something changed that a scan must find; the scans of a burst of such changes are a pause apart."""
        if self._timer is not None:
            self._timer.cancel()
        self._updater.scan().add_done_callback(self._scanned)
        self._timer = asyncio.get_running_loop().call_later(self._rescan_interval_s, self._rescan)

    def _watch_folders(self) -> None:
        """Watch the folders that are in the roots' places now."""
        self._watcher = Watcher(self._library.roots.roots, self._updater.refresh_now, self._unclear)
        self._complete = False

    async def _follow_folders(self) -> None:
        """Watch anew when another folder has come into the place of a root: the old one is still being watched."""
        replaced = self._watcher
        if replaced is not None and not replaced.in_place:
            self._watch_folders()
            await replaced.stop()

    async def _refresh(self, request: Request) -> bool:
        """Bring the index up to date as far as there is time, telling how far it is; whether it has come so far.

        Documents that were never indexed are waited for the longest: an answer without them looks like one. For a
        newer version of others there is half the time of a search, so that a folder that changes all the time does not
        hold up every search.
        """
        await self._follow_folders()
        if self._is_current and self._coverage(request).complete:
            return True
        update = self._updater.catch_up() if self._is_current else self._updater.scan()
        started = time.monotonic()
        matches, scope = compile_pattern(request.file_pattern), current_scope()

        def relevant(path: str) -> bool:
            return scope.admits(path) and matches(path)

        pause = PROGRESS_EVERY_S
        while not update.done():
            now = time.monotonic()
            until = started + (self._index_wait_s if self._catalog.backlog.lacks() else self._deadline_s / 2)
            # The order of regex hits does not depend on other documents, as ranking does.
            if now >= until or request.mode == "regex":
                if not self._updater.awaits(update, relevant):
                    return True
                if now >= until:
                    return False
            await self._wait(update, min(until, now + pause))
            pause = max(PROGRESS_EVERY_S, await self._tell(request) / PROGRESS_SHARE)
        update.result()
        return True

    async def _tell(self, request: Request) -> float:
        """Report how much of what the client may see is indexed; gives the seconds that counting it took."""
        if request.on_progress is None:
            return 0.0
        started = time.monotonic()
        coverage = self._catalog.coverage("*", current_scope(), visible=True)
        took = time.monotonic() - started
        if coverage.listed:
            text = f"indexed {coverage.done} of {coverage.total} documents"
        else:
            text = "listing the folder"
        await request.on_progress(coverage.done, coverage.total if coverage.listed else 0, text)
        return took

    async def _wait(self, future: "asyncio.Future[None]", until: float) -> None:
        done, _ = await asyncio.wait([future], timeout=max(until - time.monotonic(), 0))
        if done:
            future.result()

    def _stale(self, found: Found, read_since: int) -> set[str]:
        """The documents of the hits that are not any more what was searched."""
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


def _what_is_missing(coverage: Coverage, up_to_date: bool) -> str | None:
    """The warning of an answer that does not cover everything."""
    if not coverage.listed:
        return f"{INCOMPLETE} the folder is still being listed; repeat in a few seconds"
    if not coverage.complete:
        return f"{INCOMPLETE} {coverage.done} of {coverage.total} documents are indexed yet; repeat in a few seconds"
    if not up_to_date:
        return f"{INCOMPLETE} changes of the folder are still being looked for; repeat in a few seconds"
    return None
