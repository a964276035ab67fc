"""Running a regex search: in turns, on both cores where that helps, with the files of its hits checked meanwhile."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from research_documents.search.executors import PoolName, ThreadPools
from research_documents.search.freshness import FreshnessChecker
from research_documents.search.index.catalog import Catalog, CatalogEntry, Selection
from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.regex.literals import Literals, required_literals
from research_documents.search.regex.pattern import PatternRefused, compiled
from research_documents.search.regex.scan import Scan
from research_documents.search.request import RunResult, SearchRequest

SHORT_TURN_S: Final = 0.005
"""How long a search works before it asks the index where to look, and before it looks whether that has answered."""
SAMPLED_DOCUMENTS: Final = 16
"""Documents by which it is judged whether what a match must hold is rare enough to ask for."""
TURN_S: Final = 0.02
"""How long one search works before the next one has its turn."""
QUICK_TURNS: Final = 5
"""After so many turns a search, or twice as many when it began alone, shares one thread with all other long ones."""


class RegexSearch:
    """Searches the texts of documents for an expression; answers of at most about `max_response_bytes`.

    If every match of an expression must contain one of a few literals, only the documents that contain one according
    to the index are scanned.
    """

    def __init__(
        self, pools: ThreadPools, freshness: FreshnessChecker, catalog: Catalog, max_response_bytes: int
    ) -> None:
        self._pools = pools
        self._freshness = freshness
        self._catalog = catalog
        self._max_response_bytes = max_response_bytes
        self._running = 0

    async def search(
        self, request: SearchRequest, selection: Selection, index: PassageIndex | None
    ) -> RunResult:
        """Every line that the expression matches, by path and line."""
        version = self._catalog.version
        try:
            pattern = await self._pools.run("ranking", lambda: compiled(request.query))
        except PatternRefused as refusal:
            return RunResult(warnings=(str(refusal),))
        start, limit = request.start, request.limit
        entries: Sequence[CatalogEntry] = selection.readable
        if start.path:
            entries = [entry for entry in entries if entry.path >= start.path]
        scan = Scan(
            entries,
            pattern,
            limit + 1,
            request.context_lines,
            (start.path, start.line),
            request.deadline,
            self._max_response_bytes,
        )
        run = _Run(self._pools, self._freshness, scan, request)
        self._running += 1
        try:
            await run.turn(scan, "quick", SHORT_TURN_S)
            if index is not None and not run.ended and (literals := _selective_literals(request.query, scan)):
                await run.narrow(index, literals, lambda: self._catalog.version == version)
            await run.finish(alone=self._running == 1)
        finally:
            self._running -= 1
            run.cancel()
        warnings = pattern.warnings
        if scan.expired:
            warnings += (f"the search ended at its time limit of {request.time_limit_s:g} s",)
        if scan.skipped:
            path, line = scan.skipped[0]
            warnings += (
                f"{len(scan.skipped)} lines are too long for this expression and were left out, first line {line} of {path}",
            )
        return RunResult(
            scan.hits[:limit],
            scan.sources,
            covered=min(scan.covered + 1, len(entries)) if scan.ended_early else scan.covered,
            truncated=scan.ended_early or bool(scan.skipped),
            warnings=warnings,
            stale=run.stale,
        )


class _Run:
    """One search at work, in turns with others."""

    def __init__(
        self, pools: ThreadPools, freshness: FreshnessChecker, scan: Scan, request: SearchRequest
    ) -> None:
        self._pools = pools
        self._freshness = freshness
        self._scans = [scan]
        self._on_progress = request.on_progress
        self._total = len(scan.entries)
        self.stale: frozenset[str] = frozenset()
        """The documents of hits that have changed since they were read."""
        self._beside: list[asyncio.Task[Any]] = []

    @property
    def ended(self) -> bool:
        """Whether the scan is at its end, or at the end of its time."""
        return self._scans[0].done or self._scans[0].expired

    async def turn(self, part: Scan, pool: PoolName, for_s: float = TURN_S) -> None:
        """Work for so long, and look whether the files of the hits have changed."""
        stale = await self._pools.run(pool, lambda: self._work(part, for_s))
        self.stale |= stale
        if part.missing is not None:
            part.supply(await self._freshness.text(part.missing))
        if self._on_progress is not None:
            covered = sum(part.covered for part in self._scans)
            await self._on_progress(covered, self._total, f"searched {covered} of {self._total} documents")

    def _work(self, part: Scan, for_s: float) -> frozenset[str]:
        # In one thread: two that take turns with the interpreter for every file and every hit take three times as long.
        known = len(part.sources)
        part.advance(time.monotonic() + for_s)
        news = part.sources[known:]
        return self._freshness.changed(news) if news else frozenset()

    async def narrow(self, index: PassageIndex, literals: Literals, is_current: Callable[[], bool]) -> None:
        """Go on until the index has told which documents can hold a match; from then on the others are passed over."""
        asked = asyncio.create_task(
            self._pools.run("quick", lambda: index.documents_containing_any(literals))
        )
        self._beside.append(asked)
        while not (self.ended or asked.done()):
            await self.turn(self._scans[0], "quick", SHORT_TURN_S)
        if asked.done() and is_current():
            self._scans[0].only = asked.result()

    async def finish(self, *, alone: bool) -> None:
        """Bring the scan to its end, on the other core too when no other search wants it."""
        scan = self._scans[0]
        if alone and (other := scan.split()) is not None:
            self._scans.append(other)
            half = asyncio.create_task(self._turns(other))
            self._beside.append(half)
            await self._turns(scan)
            if not scan.ended_early:
                await half
                scan.join(other)
        else:
            await self._turns(scan)

    async def _turns(self, part: Scan) -> None:
        left = QUICK_TURNS * len(self._scans)
        while not (part.done or part.expired):
            left -= 1
            await self.turn(part, "quick" if left > 0 else "long")

    def cancel(self) -> None:
        """End what still runs beside the scan."""
        for task in self._beside:
            task.cancel()


def _selective_literals(pattern: str, scan: Scan) -> Literals | None:
    """Return the literals that a match must contain; None if there are none, or if most sampled documents contain one."""
    literals = required_literals(pattern)
    if literals is None:
        return None
    looked_at = scan.entries[: scan.covered]
    texts = [entry.text.data for entry in looked_at[:: len(looked_at) // SAMPLED_DOCUMENTS + 1] if entry.text]
    encoded = [literal.encode() for literal in literals]
    matching = sum(any(literal in lower for literal in encoded) for lower in map(bytes.lower, texts))
    return literals if 2 * matching <= len(texts) else None
