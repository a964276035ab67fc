"""The search engine as the source of evidence for questions over the whole folder."""

from collections.abc import Sequence

from research_documents.search.engine import SearchEngine
from research_documents.search.request import Mode
from research_shared.reading.filters import DocumentFilter
from research_shared.reading.passage_search import FoundPassage, FoundPassages, counted_once
from research_shared.text.questions import asked_words
from research_shared.tools.names import INCOMPLETE


class IndexedPassages:
    """Finds passages in the index, by meaning too where there are vectors, see `research_shared.reading.passage_search.PassageSearch`."""

    def __init__(self, engine: SearchEngine) -> None:
        self._engine = engine

    async def find(
        self, queries: Sequence[str], *, patterns: Sequence[str], wanted: DocumentFilter, limit: int
    ) -> FoundPassages:
        """Return the passages that the index ranks highest for each query."""
        found: list[tuple[FoundPassage, ...]] = []
        warnings: dict[str, None] = {}
        considered: dict[str, int] = {}
        silent: set[str] = set()
        same: dict[str, str] = {}
        mode: Mode = "hybrid" if self._engine.ranks_by_meaning else "keyword"
        for query in queries:
            words = " ".join(asked_words(query))
            passages: dict[tuple[str, int], FoundPassage] = {}
            for pattern in patterns:
                outcome = await self._engine.search(
                    words, mode=mode, meant=query, limit=limit, file_pattern=pattern, wanted=wanted
                )
                considered[pattern] = outcome.total_documents
                silent.update(path for path, _ in outcome.unreadable)
                warnings.update(dict.fromkeys(outcome.warnings))
                for hit in outcome.hits:
                    passage = FoundPassage(
                        path=hit.document,
                        start_line=hit.start_line,
                        end_line=hit.end_line,
                        score=hit.score or 0.0,
                    )
                    passages.setdefault((passage.path, passage.start_line), passage)
            same |= self._leave_out_copies(passages)
            best = sorted(passages.values(), key=lambda each: (-each.score, each.path, each.start_line))
            found.append(tuple(best[:limit]))
        if not any(considered.values()) and not wanted.admits_everything:
            told = [(each.info, each.metadata) for each in self._engine.entries() if not each.reason]
            warnings[wanted.why_nothing(told)] = None
        if same:
            warnings[counted_once(same)] = None
        if silent:
            few = len(silent) == 1
            warnings[
                f"{len(silent)} document{'' if few else 's'} give{'s' if few else ''} no text, or not all of it"
            ] = None
        return FoundPassages(
            by_query=tuple(found),
            considered=self._number_of(patterns, wanted) if len(considered) > 1 else sum(considered.values()),
            warnings=tuple(sorted(warnings, key=lambda warning: not warning.startswith(INCOMPLETE))),
        )

    def _number_of(self, patterns: Sequence[str], wanted: DocumentFilter) -> int:
        """Return how many documents with a text match at least one of the patterns."""
        return len(
            {
                each.path
                for pattern in patterns
                for each in self._engine.entries(pattern)
                if not each.reason and wanted.admits(each.info, each.metadata)
            }
        )

    def _leave_out_copies(self, passages: dict[tuple[str, int], FoundPassage]) -> dict[str, str]:
        """Remove the passages of documents whose content stands in another one of them; return which, each with that one."""
        notes = self._engine.version_notes()
        copies: dict[str, str] = {}
        for path, line in list(passages):
            first = notes[path].same_content_as if path in notes else ""
            if first and (first, line) in passages:
                del passages[path, line]
                copies[path] = first
        return copies
