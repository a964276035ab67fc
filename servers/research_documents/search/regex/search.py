"""Runs a regex search in turns, and checks the files of its hits meanwhile."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from research_documents.search.base import TextSearch
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.executors import PoolName, ThreadPools
from research_documents.search.freshness import FreshnessChecker
from research_documents.search.regex.literals import Literals, required_literals
from research_documents.search.regex.pattern import PatternRefused, compiled
from research_documents.search.regex.scan import Scan
from research_documents.search.request import CursorPosition, OnProgress, RunResult, SearchRequest
from research_documents.search.tuning import SearchTuning
from research_shared.text.sizes import counted
from research_shared.tools.names import INCOMPLETE

SAMPLED_DOCUMENTS: Final = 16
"""Documents sampled to decide whether the required literals are rare enough to ask the index."""
QUICK_TURNS: Final = 5
"""After so many turns a search moves to the one thread that all long searches share."""


class LiteralIndex(Protocol):
    """An index that tells which documents can match an expression."""

    def documents_containing_any(self, literals: Collection[str]) -> set[int] | None:
        """Return a superset of the ids of documents with one of `literals`, see `PassageIndex`; None if they are too many."""


@dataclass(frozen=True, kw_only=True)
class RegexSearch(TextSearch):
    """Searches the texts of documents for an expression; answers of at most about `max_response_bytes`.

    If every match of an expression must contain one of a few literals, only the documents that contain one according
    to the index are scanned. The scan begins while the index is asked, or after it with `asks_first`: where texts have to
    be read for it, that takes longer than the index.
    """

    asks_first: bool = False

    async def search(
        self, request: SearchRequest, selection: Selection, index: LiteralIndex | None
    ) -> RunResult:
        """Return every line the expression matches, by path and line."""
        version = self.catalog.version
        try:
            pattern = await self.pools.run("ranking", lambda: compiled(request.query))
        except PatternRefused as refusal:
            return RunResult(warnings=(str(refusal),))
        start, limit = request.start, request.limit
        entries: Sequence[CatalogEntry] = selection.readable
        if start.path:
            entries = [entry for entry in entries if entry.path >= start.path]
        scan = Scan(
            entries,
            pattern,
            wanted=limit + 1,
            context_lines=request.context_lines,
            after=(start.path, start.line),
            deadline=request.deadline,
            room=self.max_response_bytes,
            clock=self.clock,
            stored=self.freshness.stored,
        )
        run = _Run(
            scan,
            pools=self.pools,
            freshness=self.freshness,
            tuning=self.tuning,
            on_progress=request.on_progress,
        )
        if self.asks_first:
            if index is not None and (required := required_literals(pattern.source)) is not None:
                candidates = partial(index.documents_containing_any, required)
                scan.only = await self.pools.run("ranking", candidates)
            index = None
        await run.turn("quick", self.tuning.short_turn_s)
        if index is not None and not run.ended and (literals := _selective_literals(pattern.source, scan)):
            await run.narrow(index, literals, lambda: self.catalog.version == version)
        await run.finish()
        warnings = pattern.warnings
        goes_on = _reached(scan) if scan.expired else None
        if scan.expired:
            of_all = f"{scan.covered} of {counted(len(entries), 'document')}"
            advice = "go on with the cursor, or narrow" if goes_on else "narrow"
            warnings += (
                f"{INCOMPLETE}: the search ended at its time limit of {request.time_limit_s:g} s after {of_all}; {advice} file_pattern or the expression",
            )
        if scan.skipped:
            path, line = scan.skipped[0]
            warnings += (
                f"{INCOMPLETE}: {counted(len(scan.skipped), 'line is', 'lines are')} too long for this expression and left out, first line {line} of {path}",
            )
        return RunResult(
            hits=scan.hits[:limit],
            sources=scan.sources,
            covered=min(scan.covered + 1, len(entries)) if scan.ended_early else scan.covered,
            truncated=scan.ended_early or bool(scan.skipped),
            warnings=warnings,
            stale=run.stale,
            goes_on=goes_on,
        )


class _Run:
    """Runs one scan in turns, so that searches share the threads fairly."""

    def __init__(
        self,
        scan: Scan,
        *,
        pools: ThreadPools,
        freshness: FreshnessChecker,
        tuning: SearchTuning,
        on_progress: OnProgress | None,
    ) -> None:
        self._pools = pools
        self._freshness = freshness
        self._tuning = tuning
        self._scan = scan
        self._on_progress = on_progress
        self._total = len(scan.entries)
        self.stale: frozenset[str] = frozenset()
        """Documents of hits whose files changed since they were read."""

    @property
    def ended(self) -> bool:
        """Return whether the scan is done or past its deadline."""
        return self._scan.done or self._scan.expired

    async def turn(self, pool: PoolName, for_s: float) -> None:
        """Scan for `for_s` seconds, then check the files of the new hits."""
        scan = self._scan
        self.stale |= await self._pools.run(pool, lambda: self._advance(for_s))
        if scan.missing is not None:
            scan.supply(await self._freshness.text(scan.missing))
        if self._on_progress is not None:
            covered = scan.covered
            await self._on_progress(
                covered, self._total, f"searched {covered} of {counted(self._total, 'document')}"
            )

    def _advance(self, for_s: float) -> frozenset[str]:
        # One thread scans and checks: two would contend for the interpreter for every file and every hit.
        known = len(self._scan.sources)
        self._scan.advance(self._scan.clock() + for_s)
        added = self._scan.sources[known:]
        return self._freshness.changed(added) if added else frozenset()

    async def narrow(self, index: LiteralIndex, literals: Literals, is_current: Callable[[], bool]) -> None:
        """Scan on until the index has answered which documents can match, then restrict the scan to them."""
        narrowing = asyncio.create_task(
            self._pools.run("quick", lambda: index.documents_containing_any(literals))
        )
        try:
            while not (self.ended or narrowing.done()):
                await self.turn("quick", self._tuning.short_turn_s)
            if narrowing.done() and is_current():
                self._scan.only = narrowing.result()
        finally:
            narrowing.cancel()

    async def finish(self) -> None:
        """Run the scan to its end."""
        turns = 0
        while not self.ended:
            turns += 1
            await self.turn("quick" if turns < QUICK_TURNS else "long", self._tuning.turn_s)


def _reached(scan: Scan) -> CursorPosition | None:
    """Return up to where an expired scan has searched, its hits included; None if it got nowhere."""
    if not (scan.covered or scan.hits):
        return None
    reached = (scan.entries[scan.covered].path, 0)
    if scan.hits:
        reached = max(reached, (scan.hits[-1].document, scan.hits[-1].line_number))
    return CursorPosition(path=reached[0], line=reached[1])


def _selective_literals(pattern: str, scan: Scan) -> Literals | None:
    """Return the literals that a match must contain; None if there are none, or if most sampled documents contain one."""
    literals = required_literals(pattern)
    if literals is None:
        return None
    looked_at = scan.entries[: scan.covered]
    sampled = looked_at[:: len(looked_at) // SAMPLED_DOCUMENTS + 1]
    texts = [text.data for entry in sampled if (text := scan.text_of(entry)) is not None]
    encoded = [literal.encode() for literal in literals]
    matching = sum(any(literal in lower for literal in encoded) for lower in map(bytes.lower, texts))
    return literals if 2 * matching <= len(texts) else None
