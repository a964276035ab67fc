"""Running a regex search: in turns, on both cores where that helps, with the files of its hits checked meanwhile."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from research_documents.search.catalog import Entry, Selection
from research_documents.search.lanes import Lane, Lanes
from research_documents.search.originals import Originals
from research_documents.search.pattern import PatternRefused, compiled
from research_documents.search.regex import Scan
from research_documents.search.request import Found, Request

TURN_S: Final = 0.02
"""How long one search works before the next one has its turn."""
QUICK_TURNS: Final = 5
"""After so many turns a search, or twice as many when it began alone, shares one thread with all other long ones."""


class RegexSearch:
    """Searches the texts of documents for an expression; answers of at most about `max_response_bytes`."""

    def __init__(self, lanes: Lanes, originals: Originals, max_response_bytes: int) -> None:
        self._lanes = lanes
        self._originals = originals
        self._max_response_bytes = max_response_bytes
        self._running = 0

    async def search(self, request: Request, selection: Selection) -> Found:
        """Every line that the expression matches, by path and line."""
        try:
            pattern = await self._lanes.run("ranking", lambda: compiled(request.query))
        except PatternRefused as refusal:
            return Found(warnings=(str(refusal),))
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
            warnings += (f"the search ended at its time limit of {request.time_limit_s:g} s",)
        if scan.skipped:
            path, line = scan.skipped[0]
            warnings += (
                f"{len(scan.skipped)} lines are too long for this expression and were left out, first line {line} of {path}",
            )
        return Found(
            scan.hits[:limit],
            sources,
            covered=min(scan.covered + 1, len(entries)) if scan.ended_early else scan.covered,
            truncated=scan.ended_early or bool(scan.skipped),
            warnings=warnings,
            stale=stale,
        )

    async def _scan(self, scan: Scan, request: Request) -> tuple[dict[str, Entry], frozenset[str]]:
        """Bring a scan to its end; gives the documents of its hits, and which of them have changed since they were read."""
        total = len(scan.entries)
        scans, checks, half = [scan], [], None

        async def turn(part: Scan, lane: Lane) -> None:
            known = len(part.sources)
            await self._lanes.run(lane, lambda: part.advance(time.monotonic() + TURN_S))
            if part.missing is not None:
                part.supply(await self._originals.text(part.missing))
            if news := part.sources[known:]:
                # Beside the scan, which hardly needs the interpreter where hits are few.
                checks.append(asyncio.create_task(self._changed(news)))
            if request.on_progress is not None:
                await request.on_progress(sum(part.covered for part in scans), total)

        async def turns(part: Scan) -> None:
            left = QUICK_TURNS * len(scans)
            while not (part.done or part.expired):
                left -= 1
                await turn(part, "quick" if left > 0 else "long")

        self._running += 1
        try:
            await turn(scan, "quick")
            # The other core, when no other search wants it.
            if self._running == 1 and (other := scan.split()) is not None:
                scans.append(other)
                half = asyncio.create_task(turns(other))
            await turns(scan)
            if half is not None and not scan.ended_early:
                await half
                scan.join(scans[1])
            stale = frozenset[str]().union(*await asyncio.gather(*checks))
        finally:
            self._running -= 1
            for task in [*checks, half] if half is not None else checks:
                task.cancel()
        return {entry.path: entry for entry in scan.sources}, stale

    async def _changed(self, entries: Sequence[Entry]) -> frozenset[str]:
        return await self._lanes.run("ranking", lambda: self._originals.changed(entries))
