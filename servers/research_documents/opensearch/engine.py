"""The search engine over an index on a cluster, which an indexer feeds."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from research_documents.opensearch.client import ClusterClient, ClusterFailed
from research_documents.opensearch.freshness import PushedFreshness
from research_documents.opensearch.layout import IndexNames
from research_documents.opensearch.mirror import DocumentMirror
from research_documents.opensearch.passages import ClusterPassages, filters_of
from research_documents.search.catalog.catalog import IndexCoverage
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
from research_documents.search.hybrid import NOT_SET_UP, MeaningSearch, NearPassages
from research_documents.search.keyword import KeywordSearch, SearchedIndex
from research_documents.search.outcome import SearchOutcome
from research_documents.search.regex import RegexSearch
from research_documents.search.request import (
    CursorPosition,
    OnProgress,
    RunResult,
    SearchRequest,
    cursor_after,
    path_choice,
)
from research_shared.access.globs import EVERY_PATH, PathChoice
from research_shared.access.scope import current_scope
from research_shared.errors import BackendUnavailable
from research_shared.logs import get_logger
from research_shared.reading.filters import EVERY_DOCUMENT, DocumentFilter
from research_shared.reading.library import Library
from research_shared.settings import Settings
from research_shared.telemetry.spans import span
from research_shared.text.sizes import counted
from research_shared.tools.activity import waiting
from research_shared.tools.names import INCOMPLETE

if TYPE_CHECKING:
    from research_documents.opensearch.meaning.search import ClusterMeaning
    from research_documents.search.semantic.embedder import Embedder

log = get_logger("research.opensearch")

REFRESH_S: Final = 10.0
"""Time between looks at what was pushed, while nobody searches."""
FRESH_S: Final = 1.0
"""A search looks at what was pushed if that was longer ago."""
RELOAD_S: Final = 30.0
"""Time between looks at all records because passages were found that none of them tells of."""
MOST_NAMED: Final = 5
"""Documents that a warning names."""
_STILL_WORKS: Final = "Listing and reading documents still work; search again in a minute. If it stays like this, tell the operator: "


class OpenSearchEngine(DocumentSearch):
    """Searches the documents of a library in an index on a cluster; see `SearchEngine`, whose answers it gives.

    What the documents are is mirrored here, see `DocumentMirror`; it is looked at every `refresh_s` seconds and before a search.
    `connect` gives the client of the cluster. `deadline_s` limits the time of a search. Files are read to check that they are
    those that were pushed, for regex searches and for lines around hits. `rescan_s` is the time in seconds between listings of an
    indexer that follows the folder. `embedder` adds hybrid search, if the index has vectors of the same model; without it, hybrid
    mode answers by words and says `no_semantic`, why that is so. `clock` is in seconds, `now` the time in UTC.
    """

    def __init__(
        self,
        library: Library,
        names: IndexNames,
        *,
        connect: Callable[[], ClusterClient],
        deadline_s: float = 5.0,
        max_response_bytes: int = MAX_SEARCH_BYTES,
        refresh_s: float = REFRESH_S,
        fresh_s: float = FRESH_S,
        rescan_s: float = 30.0,
        embedder: "Embedder | None" = None,
        no_semantic: str = NOT_SET_UP,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._mirror = DocumentMirror(self, names)
        super().__init__(self._mirror.catalog, deadline_s=deadline_s, clock=clock)
        self._library = library
        self._names = names
        self._connect = connect
        self._client: ClusterClient | None = None
        self._refresh_s = refresh_s
        self._fresh_s = fresh_s
        self._rescan_s = rescan_s
        self._now = now
        self._following: asyncio.Task[None] | None = None
        self._refreshed_at = self._reloaded_at = float("-inf")
        self._failure: ClusterFailed | None = None
        """What became of the last look at what was pushed."""
        self._looks_begun = self._look_ended = 0
        """The numbers of the last look that was begun, and of the last that ended without being cancelled."""
        self._lost: frozenset[str] = frozenset()
        self._pools = ThreadPools(ranks_on="cluster")
        self._meaning = None if embedder is None else _meaning_of(embedder, self._mirror, clock)
        self._no_semantic = no_semantic
        self._freshness = PushedFreshness(library)
        parts: dict[str, Any] = {
            "pools": self._pools,
            "freshness": self._freshness,
            "catalog": self._mirror.catalog,
            "max_response_bytes": max_response_bytes,
            "clock": clock,
        }
        self._by_regex = RegexSearch(**parts, asks_first=True)
        self._by_keyword = KeywordSearch(**parts)

    @classmethod
    def from_settings(cls, library: Library, settings: Settings) -> Self:
        """Build the engine over the cluster that the settings name. Nothing is asked of it yet."""
        embedder, no_semantic = None, NOT_SET_UP
        if settings.embedding_dir is not None or settings.embedding_url is not None:
            from research_documents.search.semantic.build import embedder_if_installed

            embedder, no_semantic = embedder_if_installed(settings)
        return cls(
            library,
            IndexNames(prefix=settings.search_index),
            connect=lambda: ClusterClient.from_settings(settings, timeout_s=settings.search_deadline_s),
            deadline_s=settings.search_deadline_s,
            rescan_s=settings.rescan_interval_s,
            embedder=embedder,
            no_semantic=no_semantic,
        )

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask the cluster.

        Raises:
            ClusterFailed: it does not answer, or with an error.
        """
        assert self._client is not None  # noqa: S101  (whoever asks has entered)
        with span("ask cluster"):
            return self._client.request(method, path, body)

    async def _open(self) -> None:
        self._lock = asyncio.Lock()
        self._client = self._connect()
        if self._meaning is not None:
            await self._meaning.open()
        self._following = asyncio.create_task(self._follow(), name="follow the search cluster")

    async def _close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
            self._following = None
        await self._pools.close()
        if self._meaning is not None:
            await self._meaning.close()
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _follow(self) -> None:
        while True:
            try:
                await self._refresh()
            except ClusterFailed as failure:
                log.warning("the search cluster does not answer", error=failure.message, hint=failure.hint)
            await asyncio.sleep(self._refresh_s)

    async def _refresh(self, *, anew: bool = False) -> None:
        """Look at what was pushed. Who waits for a look that has not begun shares it, and its failure.

        Raises:
            ClusterFailed: the cluster does not answer.
        """
        begun_before = self._looks_begun
        async with self._lock:
            if self._look_ended > begun_before and not anew:
                if self._failure is not None:
                    raise self._failure
                return
            self._looks_begun = look = self._looks_begun + 1
            try:
                update = await self._pools.run("cluster", lambda: self._mirror.fetch(anew=anew))
            except ClusterFailed as failure:
                self._failure, self._look_ended = failure, look
                raise
            self._mirror.apply(update)
            self._failure, self._look_ended = None, look
            self._refreshed_at = self._clock()

    async def _refresh_if_old(self) -> None:
        if self._clock() - self._refreshed_at >= self._fresh_s:
            await self._refresh()
        entries = self._mirror.catalog.entries
        if outdated := dict(self._freshness.outdated):  # searches add to it meanwhile
            known = [entries[path] for path in outdated if path in entries]
            fresh = await self._pools.run("quick", lambda: self._freshness.as_pushed(known, outdated))
            self._freshness.forget(fresh, outdated)

    # What the servers use

    @property
    def indexing(self) -> tuple[int, int] | None:
        """Return (documents pushed, documents listed) while the folder is being pushed, else None; (0, 0) while unknown."""
        state = self._mirror.state
        if state is None:
            return 0, 0
        if state.agreed_at and not state.waiting:
            return None
        return state.listed - state.waiting, state.listed

    @property
    def problem(self) -> str:
        """Why the cluster cannot be asked, as it was the last time; empty if it can."""
        return "" if self._failure is None else self._failure.message

    @property
    def _watching(self) -> bool:
        return self._mirror.state is not None and self._mirror.state.watching

    def _embedded(self, entries: Collection[CatalogEntry]) -> tuple[int, int] | None:
        return None if self._meaning is None else self._meaning.coverage(entries)

    def _embedded_of_all(self) -> tuple[int, int] | None:
        return None if self._meaning is None else self._meaning.coverage_of_all

    async def _search(self, request: SearchRequest) -> SearchOutcome:
        """Answer a request, see `DocumentSearch.search`.

        An answer is `truncated`, and its first warnings begin with `INCOMPLETE:`, while documents wait to be pushed, when the last
        push was long ago, when documents of it changed since they were pushed, and when a part of the index does not answer.

        Raises:
            BackendUnavailable: the cluster does not answer.
        """
        try:
            async with self:
                return await self._answer(request)
        except ClusterFailed as failure:
            log.warning("a search was not answered", error=failure.message, hint=failure.hint)
            error = BackendUnavailable(failure.message, hint=_STILL_WORKS + failure.hint)
            error.retryable = failure.retryable
            raise error from failure

    async def read_wanted(
        self,
        file_pattern: str,
        wanted: DocumentFilter,
        *,
        on_progress: OnProgress | None = None,  # noqa: ARG002  (the mirror knows everything at once)
    ) -> str | None:
        """Look at what was pushed; return the warning of an answer that rests on a part of it, or None."""
        paths = path_choice(file_pattern)
        paths.compiled()
        try:
            async with self:
                await self._refresh_if_old()
        except ClusterFailed as failure:
            log.warning("what documents say about themselves may be old", error=failure.message)
            return (
                f"{INCOMPLETE}: {failure.message}; what documents say about themselves may be missing or old"
            )
        _, outdated = self._selected(paths, wanted)
        missing = self._missing(self._coverage(paths, wanted), outdated, partial=False)
        return missing[0] if missing else None

    # Answering

    async def _answer(self, request: SearchRequest) -> SearchOutcome:
        with waiting("the search cluster", limit_s=self._deadline_s):
            await self._refresh_if_old()
        request = replace(request, deadline=self._clock() + request.time_limit_s)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            selection, _ = self._selected(request.paths, request.wanted)
            index = self._passages_of(request, selection)
            found = await self._run(request, selection, index)
            stale, unchecked = await self._outdated(found.stale, until=request.deadline)
            if not (stale or index.unknown or index.changed or found.again):
                break
            if attempt == MAX_ATTEMPTS or self._clock() >= request.deadline:
                kept = [hit for hit in found.hits if hit.document not in stale]
                found = replace(found, hits=kept, truncated=True)
                break
            await self._learn(index.unknown)
        # Again: a regex search leaves documents out while it reads them.
        selection, outdated = self._selected(request.paths, request.wanted)
        return self._outcome(
            request, found=found, selection=selection, outdated=outdated, unchecked=unchecked, index=index
        )

    def _selected(self, paths: PathChoice, wanted: DocumentFilter) -> tuple[Selection, list[str]]:
        """Return the documents that are meant, and which of them are left out because they changed since they were pushed."""
        selection = self._mirror.catalog.select(paths, current_scope(), wanted)
        outdated = self._freshness.outdated
        left_out = [entry.path for entry in selection.readable if outdated.get(entry.path) == entry.id]
        if not left_out:
            return selection, []
        readable = tuple(entry for entry in selection.readable if outdated.get(entry.path) != entry.id)
        return replace(selection, readable=readable, everything=False), left_out

    def _passages_of(self, request: SearchRequest, selection: Selection) -> ClusterPassages:
        mirror = self._mirror
        return ClusterPassages(
            cluster=self,
            names=self._names,
            mirror=mirror,
            selection=selection,
            filters=filters_of(
                selection,
                known=mirror.catalog.entries.values(),
                scope=current_scope(),
                key=mirror.key,
            ),
            excluded=mirror.hidden | (self._lost - mirror.versions),
            deadline=request.deadline,
            preference=hashlib.sha256(request.query.encode()).hexdigest()[:16],
            clock=self._clock,
        )

    async def _run(self, request: SearchRequest, selection: Selection, index: ClusterPassages) -> RunResult:
        if request.mode == "regex":
            return await self._by_regex.search(request, selection, index)
        near = await self._nearest(request, selection, index) if request.mode == "hybrid" else NearPassages()
        found = await self._by_keyword.search(
            request,
            selection,
            SearchedIndex(passages=index, dialect=index.dialect, around=index.around),
            nearest=near.passages,
        )
        return replace(
            found,
            warnings=(*near.warnings, *found.warnings, *index.warnings),
            embedded=near.embedded,
            embedding_stopped=near.embedding_stopped,
        )

    async def _nearest(
        self, request: SearchRequest, selection: Selection, index: ClusterPassages
    ) -> NearPassages:
        meaning, absent = self._meaning, self._no_semantic
        if meaning is not None:
            await meaning.open()
            absent = meaning.absent
        by_meaning = MeaningSearch(
            pools=self._pools,
            catalog=self._mirror.catalog,
            semantic=None if meaning is None or absent else meaning.of(index),
            no_semantic=absent,
        )
        return await by_meaning.nearest(request, selection)

    async def _outdated(self, suspects: frozenset[str], *, until: float) -> tuple[set[str], list[str]]:
        """Return which of these documents say something else now than what was pushed, and which of those are not known to.

        The latter could not be read before `until`.
        """
        entries = self._mirror.catalog.entries
        found: set[str] = set()
        unchecked: list[str] = []
        for path in sorted(suspects):
            entry = entries.get(path)
            if entry is not None and self._clock() >= until:
                unchecked.append(path)
            elif entry is not None and await self._freshness.text(entry) is not None:
                continue
            found.add(path)
        return found, unchecked

    async def _learn(self, unknown: set[str]) -> None:
        """Look for the records of versions that were found; those without one count for nothing from now on."""
        if not unknown:
            return
        await self._refresh()
        if self._without_record(unknown) and self._clock() - self._reloaded_at >= RELOAD_S:
            self._reloaded_at = self._clock()
            await self._refresh(anew=True)
            self._lost = frozenset()  # those that are still there are found again
        self._lost |= self._without_record(unknown)

    def _without_record(self, versions: set[str]) -> set[str]:
        return versions - self._mirror.versions - self._mirror.hidden

    def _coverage(self, paths: PathChoice, wanted: DocumentFilter) -> IndexCoverage:
        """Return how many of the documents that are chosen and may be seen are in the index as they are in the folder.

        It is `listed` if it is known of each whether it waits. Of a filter, only what the listing tells counts.
        """
        of_listing = DocumentFilter(types=wanted.types, modified=wanted.modified)
        catalog = self._mirror.catalog
        known = catalog.select(paths, current_scope(), of_listing)
        waiting = self._mirror.waiting(paths, current_scope(), of_listing)
        older = [entry for path in waiting if (entry := catalog.entries.get(path)) and entry.id in known.ids]
        done = len(known.readable) - len(older)
        state = self._mirror.state
        return IndexCoverage(
            done=done,
            total=done + len(waiting),
            listed=state is not None and bool(state.told_at or (state.agreed_at and not state.waiting)),
        )

    def _missing(
        self, coverage: IndexCoverage, outdated: list[str], *, partial: bool, unchecked: Sequence[str] = ()
    ) -> list[str]:
        """Return what an answer has to say first: what it does not rest on, of that which may be seen."""
        said = list(self._unpushed(coverage))
        if outdated:
            changed = counted(
                len(outdated),
                "document was changed or removed after it was",
                "documents were changed or removed after they were",
            )
            said.append(f"{changed} pushed to the index; left out: {_first_few(outdated)}")
        if unchecked:
            unread = counted(len(unchecked), "document")
            said.append(f"no time was left to read {unread}; left out: {_first_few(unchecked)}")
        if partial:
            said.append("a part of the index does not answer; repeat in a few seconds")
        return [f"{INCOMPLETE}: {each}" for each in said]

    def _unpushed(self, coverage: IndexCoverage) -> Iterator[str]:
        state = self._mirror.state
        if state is None:
            yield "nothing was pushed to the index yet; the operator has to run research-assistant index push"
            return
        waiting = coverage.total - coverage.done
        silent_since = state.silent_since(self._now(), rescan_s=self._rescan_s)
        if silent_since and (waiting or not coverage.listed):
            what = (
                counted(waiting, "document is", "documents are") if waiting else "some documents are perhaps"
            )
            yield (
                f"{what} not pushed to the index yet, and nothing was pushed since {silent_since:%Y-%m-%d at %H:%M} UTC; "
                "the operator has to run research-assistant index push"
            )
        elif waiting:
            if state.agreed_at:
                said = counted(waiting, "document is", "documents are")
                yield f"{said} still being pushed to the index; repeat in a minute"
            else:
                done = f"{coverage.done} of {counted(coverage.total, 'document')}"
                yield f"the folder is being pushed to the index for the first time: {done} are there; repeat in a minute"
        elif not coverage.listed:
            what = (
                "changes are still being pushed to the index"
                if state.agreed_at
                else "the folder is being pushed to the index for the first time"
            )
            yield f"{what}; repeat in a minute"
        elif state.is_old(self._now(), rescan_s=self._rescan_s):
            agreed = datetime.fromisoformat(state.told_at or state.agreed_at)
            yield f"the index last agreed with the folder on {agreed:%Y-%m-%d at %H:%M} UTC; later changes are missing"

    def _outcome(
        self,
        request: SearchRequest,
        *,
        found: RunResult,
        selection: Selection,
        outdated: list[str],
        unchecked: Sequence[str],
        index: ClusterPassages,
    ) -> SearchOutcome:
        coverage = self._coverage(request.paths, request.wanted)
        missing = self._missing(coverage, outdated, partial=index.partial, unchecked=unchecked)
        if missing:
            log.warning("search answered from an incomplete index", missing=missing[0])
        elif request.mode != "regex" and not self._coverage(EVERY_PATH, EVERY_DOCUMENT).complete:
            found = replace(found, warnings=(*found.warnings, ORDER_MAY_CHANGE))
        warnings = (*self._library.fault_warnings(), *missing, *found.warnings)
        named, more = named_unreadable(selection)
        warnings += more
        if request.start == CursorPosition() and (
            count := self._mirror.catalog.count_unread(request.paths, current_scope())
        ):
            warnings += (count,)
        return SearchOutcome(
            hits=tuple(found.hits),
            total_documents=min(found.covered, len(selection.readable)),
            truncated=found.truncated or bool(missing),
            unreadable=named,
            warnings=warnings,
            next_cursor=cursor_after(request, found),
            indexing=None if coverage.complete else (coverage.done, coverage.total),
            embedded=found.embedded,
            embedding_stopped=found.embedding_stopped,
        )


def _meaning_of(embedder: "Embedder", mirror: DocumentMirror, clock: Callable[[], float]) -> "ClusterMeaning":
    from research_documents.opensearch.meaning.search import ClusterMeaning  # needs NumPy

    return ClusterMeaning(embedder, mirror, clock=clock)


def _first_few(paths: Sequence[str]) -> str:
    return ", ".join(paths[:MOST_NAMED]) + (" and others" if len(paths) > MOST_NAMED else "")
