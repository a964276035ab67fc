"""The search engine as the source of evidence for questions over the whole folder."""

from collections.abc import Sequence

from research_documents.search.contract import DocumentSearch
from research_documents.search.outcome import SearchOutcome
from research_documents.search.request import Mode
from research_shared.access.globs import PathChoice
from research_shared.reading.filters import DocumentFilter
from research_shared.reading.passage_search import FoundPassage, FoundPassages, counted_once
from research_shared.text.questions import asked_words
from research_shared.text.sizes import counted
from research_shared.tools.names import INCOMPLETE


class IndexedPassages:
    """Finds passages in the index, by meaning too where there are vectors, see `research_shared.reading.passage_search.PassageSearch`."""

    def __init__(self, engine: DocumentSearch) -> None:
        self._engine = engine

    async def find(
        self, queries: Sequence[str], *, paths: PathChoice, wanted: DocumentFilter, limit: int
    ) -> FoundPassages:
        """Return the passages that the index ranks highest for each query.

        If one of the queries cannot be ranked by meaning, none is: the scores of all have one scale.
        """
        mode: Mode = "hybrid" if self._engine.ranks_by_meaning else "keyword"
        outcomes = await self._outcomes(queries, mode=mode, paths=paths, wanted=wanted, limit=limit)
        warnings: dict[str, None] = {}
        if mode == "hybrid" and (
            by_words := [each for each in outcomes if each.embedded is None or not each.embedded[0]]
        ):
            warnings.update((warning, None) for each in by_words for warning in each.warnings)
            if any(each.hits for each in by_words):
                outcomes = await self._outcomes(
                    queries, mode="keyword", paths=paths, wanted=wanted, limit=limit
                )
        found: list[tuple[FoundPassage, ...]] = []
        silent: set[str] = set()
        same: dict[str, str] = {}
        for outcome in outcomes:
            silent.update(path for path, _ in outcome.unreadable)
            warnings.update(dict.fromkeys(outcome.warnings))
            passages: dict[tuple[str, int], FoundPassage] = {}
            for hit in outcome.hits:
                passage = FoundPassage(
                    path=hit.document,
                    start_line=hit.start_line,
                    end_line=hit.end_line,
                    score=hit.score or 0.0,
                    near=hit.near,
                )
                passages.setdefault((passage.path, passage.start_line), passage)
            same |= self._leave_out_copies(passages)
            found.append(
                tuple(sorted(passages.values(), key=lambda each: (-each.score, each.path, each.start_line)))
            )
        considered = outcomes[-1].total_documents if outcomes else 0
        if not considered and not wanted.admits_everything:
            told = [(each.info, each.metadata) for each in self._engine.entries() if not each.reason]
            warnings[wanted.why_nothing(told)] = None
        if same:
            warnings[counted_once(same)] = None
        if silent:
            count = counted(len(silent), "document gives", "documents give")
            warnings[f"{count} no text, or not all of it"] = None
        return FoundPassages(
            by_query=tuple(found),
            considered=considered,
            warnings=tuple(sorted(warnings, key=lambda warning: not warning.startswith(INCOMPLETE))),
        )

    async def _outcomes(
        self, queries: Sequence[str], *, mode: Mode, paths: PathChoice, wanted: DocumentFilter, limit: int
    ) -> list[SearchOutcome]:
        return [
            await self._engine.search(
                " ".join(asked_words(query)),
                mode=mode,
                meant=query,
                limit=limit,
                file_pattern=paths,
                wanted=wanted,
            )
            for query in queries
        ]

    def _leave_out_copies(self, passages: dict[tuple[str, int], FoundPassage]) -> dict[str, str]:
        """Remove the passages of documents whose content stands in another one of them; return which, each with that one."""
        notes = self._engine.version_notes()
        copies: dict[str, str] = {}
        for path, line in list(passages):
            first = note.same_content_as if (note := notes.get(path)) is not None else ""
            if first and (first, line) in passages:
                del passages[path, line]
                copies[path] = first
        return copies
