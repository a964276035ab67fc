"""Runs a keyword search: ranks, reads texts that are not in memory, and checks the files of the hits."""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from research_documents.search.base import TextSearch
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.display import bounded
from research_documents.search.index.passage_index import PassageIndex, ScoredPassage
from research_documents.search.keyword.builder import QueryDialect, TantivyDialect, build_in
from research_documents.search.keyword.fetched import FETCHED_BYTES, fetched_together
from research_documents.search.keyword.query import Group, Query, parse_query
from research_documents.search.keyword.ranking import MadeHits, RankedPassages, Ranker, Ranking, TextOfPassage
from research_documents.search.passages import plain_question, within_tokens
from research_documents.search.request import RunResult, SearchRequest
from research_shared.access.scope import current_scope
from research_shared.documents import DocumentText


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedIndex:
    """An index as keyword search uses it: its passages, what its queries are made of, and the texts that it keeps, if any."""

    passages: RankedPassages
    dialect: Callable[[Group], QueryDialect]
    around: TextOfPassage | None = None


def embedded(index: PassageIndex | None) -> SearchedIndex | None:
    """Return the index of this process as keyword search uses it."""
    return None if index is None else SearchedIndex(passages=index, dialect=lambda _: TantivyDialect(index))


class KeywordSearch(TextSearch):
    """Searches the passages of documents by relevance; answers of at most about `max_response_bytes`."""

    async def search(
        self,
        request: SearchRequest,
        selection: Selection,
        index: SearchedIndex | None,
        *,
        nearest: Sequence[ScoredPassage] = (),
    ) -> RunResult:
        """Return the best passages, each at its best line. Without an index the result is empty and truncated.

        `nearest` are passages of the selection that are near by meaning, best first, to be fused with those by words.
        """
        whole = request.snippet == "passage"
        parsed = parse_query(plain_question(request.query) if whole else request.query)
        if index is None:
            return RunResult(truncated=True, warnings=parsed.warnings)
        covered = len(selection.readable)
        gone: dict[int, str] = {}
        made = MadeHits()
        superseded = self.catalog.version_notes(current_scope())

        def rank(texts: Mapping[int, DocumentText]) -> tuple[Ranking | None, frozenset[str]]:
            return self._rank(
                request,
                parsed=parsed,
                index=index,
                selection=selection,
                texts=texts,
                made=made,
                superseded=superseded,
                nearest=nearest,
            )

        ranking, stale = await self.pools.run("ranking", partial(rank, {}))
        # An index that keeps what hits show is on a cluster: only lines around hits are read here, from files.
        until = math.inf if index.around is None else request.deadline
        # A few texts at a time: what is made of them is kept, and they are not.
        while ranking is not None and (
            unread := [entry for entry in ranking.missing if entry.id not in gone]
        ):
            texts = await self._read(unread, gone, until=until)
            ranking, stale = await self.pools.run("ranking", partial(rank, texts))
        if ranking is None:
            return RunResult(
                covered=covered, warnings=(*parsed.warnings, "the query has no word to search for")
            )
        hits = bounded(ranking.hits, self.max_response_bytes)
        if whole and not request.context_lines:
            hits = within_tokens(hits, request.max_tokens)
        return RunResult(
            hits=hits,
            sources=ranking.entries.values(),
            covered=covered,
            truncated=ranking.more or len(hits) < len(ranking.hits),
            warnings=parsed.warnings,
            stale=stale.union(gone.values()),
            again=ranking.outdated,
        )

    async def _read(
        self, entries: Sequence[CatalogEntry], gone: dict[int, str], *, until: float
    ) -> Mapping[int, DocumentText]:
        """Return the texts of the first of these documents, up to a size; add to `gone` what has none, by id.

        So are all that have not been read at the time `until`.
        """
        texts: dict[int, DocumentText] = {}
        for entry in fetched_together(entries, FETCHED_BYTES):
            if self.clock() >= until:
                gone.update((late.id, late.path) for late in entries if late.id not in texts)
                break
            if (text := await self.freshness.text(entry)) is None:
                gone[entry.id] = entry.path
            else:
                texts[entry.id] = text
        return texts

    def _rank(
        self,
        request: SearchRequest,
        *,
        parsed: Query,
        index: SearchedIndex,
        selection: Selection,
        texts: Mapping[int, DocumentText],
        made: MadeHits,
        superseded: Container[str],
        nearest: Sequence[ScoredPassage],
    ) -> tuple[Ranking | None, frozenset[str]]:
        query, terms = build_in(index.dialect(parsed.group), parsed.group)
        if query is None:
            return None, frozenset()
        ranker = Ranker(
            query=query,
            terms=terms,
            index=index.passages,
            by_id=self.catalog.by_id,
            selection=selection,
            context_lines=request.context_lines,
            snippet=request.snippet,
            superseded=superseded,
            nearest=nearest,
            around=index.around,
            stored=self.freshness.stored,
            made=made,
        )
        ranking = ranker.rank(request.start.rank, request.limit, texts)
        return ranking, self.freshness.changed(ranking.entries.values())
