"""The search engine: keeps an index of the library up to date and answers both kinds of search from it."""

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from research_documents.search.cursor import Position, open_cursor, seal_cursor
from research_documents.search.excerpt import context, cut
from research_documents.search.keyword import KeywordIndex, Needles, Scored, best_line, match_position
from research_documents.search.outcome import EngineStats, Hit, SearchOutcome
from research_documents.search.pattern import PatternRefused, compiled
from research_documents.search.query import parse
from research_documents.search.regex import Scan, Source
from research_shared.documents import DocumentInfo, DocumentText
from research_shared.errors import DocumentNotFound, DocumentUnreadable
from research_shared.library import Library
from research_shared.patterns import compile_pattern
from research_shared.roots import current_scope

Mode = Literal["keyword", "regex"]
OnProgress = Callable[[int, int], Awaitable[None]]

_TURN_S: Final = 0.02
"""How long one regex search works before the next one has its turn."""
_BUILD_WAIT_S: Final = 1.0
"""How long a search waits for an index that is being built."""


@dataclass(frozen=True, slots=True)
class _Entry:
    id: int
    info: DocumentInfo
    text: DocumentText | None
    reason: str = ""
    is_ascii: bool = False
    passages: int = 0


class SearchEngine:
    """Searches the documents of a library; one instance serves all requests and scopes of a process.

    Entering it starts to build the index in the background; a search without entering builds it when it is needed.
    """

    def __init__(
        self,
        library: Library,
        *,
        deadline_s: float = 5.0,
        index_dir: Path | None = None,
        watch: bool = True,
        rescan_interval_s: float = 30.0,
    ) -> None:
        self._library = library
        self._deadline_s = deadline_s
        self._index_dir = index_dir
        self._watch = watch
        self._rescan_interval_s = rescan_interval_s
        self._index: KeywordIndex | None = None
        self._entries: dict[str, _Entry] = {}
        self._by_id: dict[int, _Entry] = {}
        self._sorted: list[_Entry] | None = None
        self._next_id = 0
        self._done, self._total = 0, 0
        self._sync_task: asyncio.Task[None] | None = None
        self._users = 0
        self._pool: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        self._users += 1
        self._start_sync()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._users -= 1
        if self._users == 0:
            if self._sync_task is not None:
                self._sync_task.cancel()
                await asyncio.wait([self._sync_task])
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None

    @property
    def indexing(self) -> tuple[int, int] | None:
        """(done, total) documents while the index is being built, otherwise None."""
        building = self._sync_task is not None and not self._sync_task.done()
        return (self._done, self._total) if building else None

    @property
    def stats(self) -> EngineStats:
        """What the index holds at the moment."""
        readable = [entry for entry in self._entries.values() if entry.text is not None]
        return EngineStats(
            documents=len(readable),
            passages=sum(entry.passages for entry in readable),
            text_bytes=sum(len(entry.text.data) for entry in readable if entry.text),
            unreadable=len(self._entries) - len(readable),
            building=self.indexing is not None,
            watching=False,
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
        """Search the documents of the current scope.

        Raises:
            InvalidPattern: the file pattern is malformed.
            InvalidCursor: the cursor was not made by this search.
        """
        deadline = time.monotonic() + self._deadline_s
        start = open_cursor(cursor, query, mode, file_pattern)
        matches, scope = compile_pattern(file_pattern), current_scope()
        await self._refresh(deadline, on_progress)
        entries = [e for e in self._ordered() if scope.admits(e.info.path) and matches(e.info.path)]
        readable = [e for e in entries if e.text is not None]
        run = self._keyword if mode == "keyword" else self._regex
        outcome, position = await run(query, readable, limit, context_lines, start, deadline)
        return replace(
            outcome,
            unreadable=tuple((e.info.path, e.reason) for e in entries if e.text is None),
            next_cursor=seal_cursor(position, query, mode, file_pattern) if position else None,
            indexing=self.indexing,
        )

    # Keeping the index up to date

    def _start_sync(self) -> asyncio.Task[None]:
        if self._sync_task is None or self._sync_task.done():
            # An empty context: the index serves every scope, so it is built outside of any.
            self._sync_task = asyncio.create_task(self._sync(), context=contextvars.Context())
        return self._sync_task

    async def _refresh(self, deadline: float, on_progress: OnProgress | None) -> None:
        task = self._start_sync()
        until = min(deadline, time.monotonic() + (_BUILD_WAIT_S if self._users else self._deadline_s))
        while not task.done() and (left := until - time.monotonic()) > 0:
            await asyncio.wait([task], timeout=min(left, 0.25))
            if on_progress is not None:
                await on_progress(self._done, self._total)
        if task.done():
            task.result()

    async def _sync(self) -> None:
        infos = await self._library.documents("*")
        index = self._index = self._index or KeywordIndex()
        known = {info.path: info for info in infos}
        for path in [path for path in self._entries if path not in known]:
            self._forget(index, path)
        changed = [i for i in infos if i.path not in self._entries or self._entries[i.path].info != i]
        self._done, self._total = len(infos) - len(changed), len(infos)
        for info in changed:
            self._forget(index, info.path)
            await self._add(index, info)
            self._done += 1
        await asyncio.to_thread(index.commit)

    def _forget(self, index: KeywordIndex, path: str) -> None:
        if (entry := self._entries.pop(path, None)) is not None:
            del self._by_id[entry.id]
            index.remove(entry.id)
            self._sorted = None

    async def _add(self, index: KeywordIndex, info: DocumentInfo) -> None:
        self._next_id += 1
        try:
            text = await self._library.read(info.path)
        except DocumentNotFound:
            return
        except DocumentUnreadable as error:
            entry = _Entry(self._next_id, info, None, error.reason)
        else:
            passages = await asyncio.to_thread(index.add, self._next_id, text)
            info = replace(info, identity=text.identity)
            entry = _Entry(self._next_id, info, text, "", text.data.isascii(), passages)
        self._entries[info.path] = self._by_id[entry.id] = entry
        self._sorted = None

    def _ordered(self) -> list[_Entry]:
        if self._sorted is None:
            self._sorted = sorted(self._entries.values(), key=lambda entry: entry.info.path)
        return self._sorted

    # Searching

    async def _regex(
        self,
        query: str,
        entries: list[_Entry],
        limit: int,
        context_lines: int,
        start: Position,
        deadline: float,
    ) -> tuple[SearchOutcome, Position | None]:
        try:
            pattern = compiled(query)
        except PatternRefused as refusal:
            return SearchOutcome((), 0, truncated=False, warnings=(str(refusal),)), None
        sources = [Source(e.info.path, e.text, e.is_ascii) for e in entries if e.text]
        if start.path:
            sources = [source for source in sources if source.path >= start.path]
        scan = Scan(sources, pattern, limit + 1, context_lines, (start.path, start.line))
        loop = asyncio.get_running_loop()
        while not scan.done and (now := time.monotonic()) < deadline:
            await loop.run_in_executor(self._threads(), scan.advance, min(now + _TURN_S, deadline))
        hits = tuple(scan.hits[:limit])
        truncated = len(scan.hits) > limit or not scan.done
        position = Position(path=hits[-1].document, line=hits[-1].line_number) if truncated and hits else None
        covered = min(scan.covered + 1, len(sources)) if not scan.done or truncated else scan.covered
        warnings = pattern.warnings
        if not scan.done:
            warnings += (f"the search ended at its time limit of {self._deadline_s:g} s",)
        return SearchOutcome(hits, covered, truncated, warnings=warnings), position

    async def _keyword(
        self,
        query: str,
        entries: list[_Entry],
        limit: int,
        context_lines: int,
        start: Position,
        deadline: float,
    ) -> tuple[SearchOutcome, Position | None]:
        parsed = parse(query)
        index = self._index
        if index is None:
            return SearchOutcome((), 0, truncated=False, warnings=parsed.warnings), None
        built, needles = index.query(parsed.group)
        if built is None:
            warnings = (*parsed.warnings, "the query has no word to search for")
            return SearchOutcome((), len(entries), truncated=False, warnings=warnings), None
        allowed = {entry.id for entry in entries} if len(entries) < len(self._by_id) else None
        loop = asyncio.get_running_loop()
        hits, more = await loop.run_in_executor(
            self._threads(), self._ranked, built, needles, allowed, start.rank, limit, context_lines
        )
        position = Position(rank=start.rank + limit) if more else None
        return SearchOutcome(tuple(hits), len(entries), truncated=more, warnings=parsed.warnings), position

    def _ranked(
        self,
        query: object,
        needles: Needles,
        allowed: set[int] | None,
        first: int,
        limit: int,
        context_lines: int,
    ) -> tuple[list[Hit], bool]:
        index = self._index
        if index is None:
            return [], False
        last, fetch = first + limit, first + limit + 8
        scored = index.search(query, fetch, allowed)
        # Ties must fall by path and line, so all that equal the last wanted score are needed.
        while len(scored) == fetch and scored[last].score == scored[-1].score and fetch < 65_536:
            fetch *= 4
            scored = index.search(query, fetch, allowed)
        seen: dict[tuple[str, int], Hit] = {}
        ordered = sorted(scored, key=lambda s: (-s.score, self._path(s), s.begin))
        for candidate in ordered:
            if (hit := self._hit(candidate, needles, context_lines)) is not None:
                seen.setdefault((hit.document, hit.line_number), hit)
                if len(seen) > last:
                    break
        hits = list(seen.values())
        return hits[first:last], len(hits) > last

    def _path(self, scored: Scored) -> str:
        entry = self._by_id.get(scored.document)
        return entry.info.path if entry else ""

    def _hit(self, scored: Scored, needles: Needles, context_lines: int) -> Hit | None:
        entry = self._by_id.get(scored.document)
        if entry is None or entry.text is None:
            return None
        text = entry.text
        passage = text.data[scored.begin : scored.end].decode("utf-8")
        offset = best_line(passage, needles)
        lines = passage.split("\n")
        number = scored.line + offset
        line = lines[offset]
        begin = scored.begin + sum(len(before.encode()) + 1 for before in lines[:offset])
        before, after = context(text.data, begin, begin + len(line.encode()), context_lines)
        return Hit(
            entry.info.path,
            number,
            cut(line, match_position(line, needles)),
            text.page_of(number),
            scored.score,
            before,
            after,
            scored.line,
            scored.line + len(lines) - 1,
        )

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(4, thread_name_prefix="search")
        return self._pool
