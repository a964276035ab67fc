"""The search engine: keeps an index of the library up to date and answers both kinds of search from it."""

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, TypeVar

from research_documents.search.catalog import Catalog, Entry, Selection
from research_documents.search.cursor import MAX_RANK, Position, open_cursor, seal_cursor
from research_documents.search.excerpt import bounded
from research_documents.search.index import PassageIndex
from research_documents.search.keeper import Keeper, same_file
from research_documents.search.keyword import build
from research_documents.search.outcome import EngineStats, Hit, SearchOutcome
from research_documents.search.pattern import PatternRefused, compiled
from research_documents.search.query import Query, parse
from research_documents.search.ranked import Ranker, Ranking
from research_documents.search.regex import Scan
from research_documents.search.store import DiskStore, MemoryStore
from research_documents.search.watcher import Watcher
from research_shared.documents import DocumentText
from research_shared.errors import ResearchError
from research_shared.library import Library
from research_shared.roots import current_scope
from research_shared.settings import Settings

T = TypeVar("T")
Lane = Literal["ranking", "quick", "long"]
Mode = Literal["keyword", "regex"]
OnProgress = Callable[[int, int], Awaitable[None]]

TURN_S: Final = 0.02
"""How long one regex search works before the next one has its turn."""
QUICK_TURNS: Final = 5
"""After so many turns a search shares one thread with all other long ones."""
BUILD_WAIT_S: Final = 1.0
"""How long a search waits for an index that is being built in the background."""
PROGRESS_EVERY_S: Final = 0.25
"""How often a search that waits for the index tells how far it is."""
FEW_DOCUMENTS: Final = 200
"""With no more than so many documents left to read, a search waits for them until its deadline instead."""
ATTEMPTS: Final = 3
"""How often a search is run when documents change under it."""
MAX_UNREADABLE: Final = 100
MAX_RESPONSE_BYTES: Final = 256 * 1024
TEXT_BUDGET: Final = 1024 * 1024 * 1024
THREADS: Final[dict[Lane, int]] = {"ranking": 2, "quick": 2, "long": 1}


@dataclass(frozen=True, slots=True)
class _Request:
    query: str
    mode: Mode
    limit: int
    file_pattern: str
    context_lines: int
    start: Position
    deadline: float
    on_progress: OnProgress | None


@dataclass(frozen=True, slots=True)
class _Found:
    """The hits of one run, and the versions of the documents that they are from."""

    hits: list[Hit] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    covered: int = 0
    truncated: bool = False
    warnings: tuple[str, ...] = ()
    stale: frozenset[str] = frozenset()
    again: bool = False


class SearchEngine:
    """Searches the documents of a library; one instance serves all requests and scopes of a process.

    Entering it (as often as there are users) starts to build the index in the background and to watch the folder; a
    search without entering looks at the folder itself and builds what is missing. `deadline_s` limits one search,
    `index_dir` keeps text and index across restarts, `rescan_interval_s` is the time between the scans that find what
    watching missed, `text_budget` bounds the bytes of text held in memory and `max_response_bytes` those of one answer.
    """

    def __init__(
        self,
        library: Library,
        *,
        deadline_s: float = 5.0,
        index_dir: Path | None = None,
        watch: bool = True,
        rescan_interval_s: float = 30.0,
        text_budget: int = TEXT_BUDGET,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        self._library = library
        self._deadline_s = deadline_s
        self._watch = watch
        self._rescan_interval_s = rescan_interval_s
        self._max_response_bytes = max_response_bytes
        self._catalog = Catalog(text_budget)
        store = MemoryStore() if index_dir is None else DiskStore(index_dir, library.roots.roots)
        self._keeper = Keeper(library, self._catalog, store)
        self._watcher: Watcher | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._users = self._scans = 0
        self._complete = False
        self._lanes: dict[Lane, ThreadPoolExecutor] = {}

    @classmethod
    def from_settings(cls, library: Library, settings: Settings) -> Self:
        """The engine that the settings describe."""
        return cls(
            library,
            deadline_s=settings.search_deadline_s,
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
        await self._keeper.stop()
        self._complete = False
        while self._lanes:
            await asyncio.to_thread(self._lanes.popitem()[1].shutdown)

    @property
    def indexing(self) -> tuple[int, int] | None:
        """(documents done, all of them) while the index is being built or brought up to date, otherwise None."""
        return self._keeper.progress

    @property
    def stats(self) -> EngineStats:
        """What the index holds at the moment."""
        entries = list(self._catalog.entries.values())
        readable = [entry for entry in entries if not entry.reason]
        return EngineStats(
            documents=len(readable),
            passages=sum(entry.passages for entry in readable),
            text_bytes=self._catalog.text_bytes,
            unreadable=len(entries) - len(readable),
            building=self.indexing is not None,
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
        cursor: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> SearchOutcome:
        """Search the documents of the current scope whose path matches `file_pattern`.

        Hits come by score, path and line in keyword mode, by path and line in regex mode. An expression that cannot be
        used gives no hits and a warning that names what is wrong with it.

        Raises:
            InvalidPattern: the file pattern is malformed.
            InvalidCursor: the cursor was not made by this search.
            RootUnavailable: the research folder is gone.
        """
        request = _Request(
            query,
            mode,
            limit,
            file_pattern,
            context_lines,
            open_cursor(cursor, query, mode, file_pattern),
            time.monotonic() + self._deadline_s,
            on_progress,
        )
        self._catalog.select(file_pattern, current_scope())
        await self._refresh(request)
        read_since = self._catalog.new_id()
        run = self._search_keyword if mode == "keyword" else self._search_regex
        for attempt in range(1, ATTEMPTS + 1):
            selection = self._catalog.select(file_pattern, current_scope())
            found = await run(request, selection)
            stale = self._stale(found, read_since)
            if not stale and not found.again:
                break
            if attempt == ATTEMPTS or time.monotonic() >= request.deadline:
                kept = [hit for hit in found.hits if hit.document not in stale]
                found = replace(found, hits=kept, truncated=True)
                break
            await self._wait(self._keeper.touch(stale), request.deadline)
        return self._finished(found, selection, request)

    def _finished(self, found: _Found, selection: Selection, request: _Request) -> SearchOutcome:
        hits, truncated = found.hits, found.truncated
        warnings = found.warnings
        if len(selection.unreadable) > MAX_UNREADABLE:
            warnings += (
                f"{len(selection.unreadable)} documents give no text; the first {MAX_UNREADABLE} are named",
            )
        cursor = None
        if truncated and hits:
            end = Position(hits[-1].document, hits[-1].line_number)
            if request.mode == "keyword":
                end = Position(rank=min(request.start.rank + len(hits), MAX_RANK))
            cursor = seal_cursor(end, request.query, request.mode, request.file_pattern)
        return SearchOutcome(
            tuple(hits),
            found.covered,
            truncated=truncated,
            unreadable=selection.unreadable[:MAX_UNREADABLE],
            warnings=warnings,
            next_cursor=cursor,
            indexing=self.indexing,
        )

    # Staying fresh

    @property
    def _watching(self) -> bool:
        return self._watcher is not None and self._watcher.live

    def _rescan(self) -> None:
        """Scan now and again in a while; what goes wrong is seen by the search that needs it."""
        self._keeper.scan().add_done_callback(self._scanned)
        self._timer = asyncio.get_running_loop().call_later(self._rescan_interval_s, self._rescan)

    def _scanned(self, scan: "asyncio.Future[None]") -> None:
        self._complete = not scan.cancelled() and scan.exception() is None

    def _unclear(self) -> None:
        """Something changed that a scan must find; the scans of a burst of such changes are a pause apart."""
        if self._timer is not None:
            self._timer.cancel()
        self._keeper.scan().add_done_callback(self._scanned)
        self._timer = asyncio.get_running_loop().call_later(self._rescan_interval_s, self._rescan)

    def _watch_folders(self) -> None:
        """Watch the folders that are in the roots' places now."""
        self._watcher = Watcher(self._library.roots.roots, self._keeper.touch, self._unclear)
        self._complete = False

    async def _follow_folders(self) -> None:
        """Watch anew when another folder has come into the place of a root: the old one is still being watched."""
        replaced = self._watcher
        if replaced is not None and not replaced.in_place:
            self._watch_folders()
            await replaced.stop()

    async def _refresh(self, request: _Request) -> None:
        """Bring the index up to date as far as there is time, telling how far it is."""
        await self._follow_folders()
        if self._watching and self._complete:
            return
        scan = self._keeper.scan()
        patience = time.monotonic() + BUILD_WAIT_S
        latest = (time.monotonic() + request.deadline) / 2  # the other half is for the search itself
        while not scan.done() and (now := time.monotonic()) < latest:
            await self._wait(scan, min(latest, now + PROGRESS_EVERY_S))
            done, total = self.indexing or (0, 0)
            # Without anything to search yet, an answer would say nothing.
            if self._users and done and now >= patience and total - done > FEW_DOCUMENTS:
                return
            if request.on_progress is not None and total:
                await request.on_progress(done, total)

    async def _wait(self, future: "asyncio.Future[None]", until: float) -> None:
        done, _ = await asyncio.wait([future], timeout=max(until - time.monotonic(), 0))
        if done:
            future.result()

    def _stale(self, found: _Found, read_since: int) -> set[str]:
        """The documents of the hits that are not any more what was searched."""
        current = self._catalog.entries
        used = found.entries
        stale = set(found.stale)
        stale |= {path for path, entry in used.items() if path not in current or current[path].id != entry.id}
        young = [path for path in used if path not in stale and not current[path].settled]
        stale |= {path for path in young if current[path].checked < read_since}
        return stale

    def _changed(self, entries: Iterable[Entry]) -> frozenset[str]:
        """Those whose files, seen through the one door, are not any more what was read."""
        searched = {entry.path: entry.info.identity for entry in entries}
        try:
            now = self._library.roots.identities(searched)
        except ResearchError:
            return frozenset(searched)
        return frozenset(
            path
            for path, identity in searched.items()
            if path not in now or not same_file(now[path], identity)
        )

    # Searching

    async def _search_regex(self, request: _Request, selection: Selection) -> _Found:
        try:
            pattern = await self._run("ranking", lambda: compiled(request.query))
        except PatternRefused as refusal:
            return _Found(warnings=(str(refusal),))
        start, limit = request.start, request.limit
        entries = [entry for entry in selection.readable if entry.path >= start.path]
        scan = Scan(
            entries,
            pattern,
            limit + 1,
            request.context_lines,
            (start.path, start.line),
            request.deadline,
            self._max_response_bytes,
        )
        sources, stale = await self._scan(scan, request)
        warnings = pattern.warnings
        if scan.expired:
            warnings += (f"the search ended at its time limit of {self._deadline_s:g} s",)
        if scan.skipped:
            path, line = scan.skipped[0]
            warnings += (
                f"{len(scan.skipped)} lines are too long for this expression and were left out, first line {line} of {path}",
            )
        return _Found(
            scan.hits[:limit],
            sources,
            covered=min(scan.covered + 1, len(entries)) if scan.ended_early else scan.covered,
            truncated=scan.ended_early or bool(scan.skipped),
            warnings=warnings,
            stale=stale,
        )

    async def _scan(self, scan: Scan, request: _Request) -> tuple[dict[str, Entry], frozenset[str]]:
        """Bring a scan to its end; gives the documents of its hits, and which of them have changed since they were read."""
        total = len(scan.entries)
        scans, checks, half = [scan], [], None

        async def turn(part: Scan, lane: Lane) -> None:
            known = len(part.sources)
            await self._run(lane, lambda: part.advance(time.monotonic() + TURN_S))
            if part.missing is not None:
                part.supply(await self._text(part.missing))
            if news := part.sources[known:]:
                # Beside the scan, which hardly needs the interpreter where hits are few.
                checks.append(asyncio.create_task(self._changed_since(news)))
            if request.on_progress is not None:
                await request.on_progress(sum(part.covered for part in scans), total)

        async def turns(part: Scan) -> None:
            count = 0
            while not (part.done or part.expired):
                count += 1
                await turn(part, "quick" if count < QUICK_TURNS else "long")

        self._scans += 1
        try:
            await turn(scan, "quick")
            # The other core, when no other search wants it.
            if self._scans == 1 and (other := scan.split()) is not None:
                scans.append(other)
                half = asyncio.create_task(turns(other))
            await turns(scan)
            if half is not None and not scan.ended_early:
                await half
                scan.join(scans[1])
            stale = frozenset[str]().union(*await asyncio.gather(*checks))
        finally:
            self._scans -= 1
            for task in [*checks, half] if half is not None else checks:
                task.cancel()
        return {entry.path: entry for entry in scan.sources}, stale

    async def _changed_since(self, entries: Sequence[Entry]) -> frozenset[str]:
        return await self._run("ranking", lambda: self._changed(entries))

    async def _search_keyword(self, request: _Request, selection: Selection) -> _Found:
        parsed = parse(request.query)
        index = self._keeper.index
        if index is None:
            return _Found(truncated=True, warnings=parsed.warnings)
        covered = len(selection.readable)
        allowed = None if selection.everything else selection.ids
        texts: dict[int, DocumentText] = {}
        gone: set[str] = set()
        ranking, stale = await self._run(
            "ranking", lambda: self._rank(request, parsed, index, allowed, texts)
        )
        if ranking is not None and ranking.missing:
            for entry in ranking.missing:
                if (text := await self._text(entry)) is not None:
                    texts[entry.id] = text
                else:
                    gone.add(entry.path)
            ranking, stale = await self._run(
                "ranking", lambda: self._rank(request, parsed, index, allowed, texts)
            )
        if ranking is None:
            return _Found(covered=covered, warnings=(*parsed.warnings, "the query has no word to search for"))
        hits = bounded(ranking.hits, self._max_response_bytes)
        return _Found(
            hits,
            ranking.entries,
            covered,
            truncated=ranking.more or len(hits) < len(ranking.hits),
            warnings=parsed.warnings,
            stale=stale | gone,
            again=ranking.outdated,
        )

    def _rank(
        self,
        request: _Request,
        parsed: Query,
        index: PassageIndex,
        allowed: frozenset[int] | None,
        texts: dict[int, DocumentText],
    ) -> tuple[Ranking | None, frozenset[str]]:
        query, needles = build(parsed.group, index)
        if query is None:
            return None, frozenset()
        ranker = Ranker(query, needles, index, self._catalog.by_id, allowed, request.context_lines)
        ranking = ranker.rank(request.start.rank, request.limit, texts)
        return ranking, self._changed(ranking.entries.values())

    async def _text(self, entry: Entry) -> DocumentText | None:
        """The text of a document that is not held in memory; None when it is no longer that version."""
        try:
            text = await self._library.read(entry.path)
        except ResearchError:
            return None
        return text if text.digest == entry.digest else None

    async def _run(self, lane: Lane, work: Callable[[], T]) -> T:
        """Run something in the threads of a lane, within the scope of the request."""
        if lane not in self._lanes:
            self._lanes[lane] = ThreadPoolExecutor(THREADS[lane], thread_name_prefix=f"search-{lane}")
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._lanes[lane], context.run, work)
