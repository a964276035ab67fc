"""Keyword search over the passages: the ranked hits from one rank to another, each at its best line."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from research_documents.search.display import MAX_LINE, context, cut
from research_documents.search.index.catalog import CatalogEntry, Selection
from research_documents.search.index.passage_index import TAIL_BYTES, PassageIndex, ScoredPassage
from research_documents.search.keyword.best_line import HighlightTerms, best_line, match_position
from research_documents.search.keyword.snippets import snippet_bytes, with_neighbours
from research_documents.search.outcome import Hit
from research_shared.documents import DocumentText

_OVERLAP_MARGIN: Final = 12
"""Passages that are asked for beyond those wanted where some may give no hit of their own."""
_TOGETHER: Final = 64
"""Documents that are asked first for passages of one score; then twice as many each time."""
_NEARLY: Final = 1e-6
"""Of a score: what it may be off by and still count as equal."""


@dataclass(slots=True)
class Ranking:
    """What a ranked search found.

    `entries` are the versions of the documents that the hits are from, `places` the passage and the text of each hit.
    `missing` are documents whose text is needed and not in memory: the search is to be run again with their `texts`.
    `outdated` says that the index held versions which are known no more: then it is to be run again too.
    """

    hits: list[Hit] = field(default_factory=list)
    entries: dict[str, CatalogEntry] = field(default_factory=dict)
    places: list[tuple[ScoredPassage, DocumentText]] = field(default_factory=list)
    more: bool = False
    missing: list[CatalogEntry] = field(default_factory=list)
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Ranker:
    """A built query and where its hits' texts are."""

    query: Any
    terms: HighlightTerms
    index: PassageIndex
    by_id: Mapping[int, CatalogEntry]
    selection: Selection
    context_lines: int = 0
    passages: bool = False
    """Whether a hit shows the lines around it that belong to its passage, where no context lines are asked for."""

    def rank(self, first: int, limit: int, texts: Mapping[int, DocumentText]) -> Ranking:
        """The hits `first` to `first + limit` in the order of score, path and line; a line is one hit."""
        last = first + limit
        wanted = last + 1 + (_OVERLAP_MARGIN if self._may_repeat else 0)
        while True:
            scored = self._best(wanted)
            found = self._gathered(scored, last, texts)
            enough = len(found.hits) + len(found.missing) >= last + self._may_repeat
            # Where passages share lines, the best passages may give fewer hits than were wanted.
            if enough or len(scored) < wanted or not self._may_repeat:
                break
            wanted *= 2
        found.more = len(found.hits) > last or (not self._may_repeat and len(scored) > last)
        found.hits, found.places = found.hits[first:last], found.places[first:last]
        if self.passages and not self.context_lines:
            found.hits = [
                self._with_passage(hit, passage, text, snippet_bytes(position))
                for position, (hit, (passage, text)) in enumerate(zip(found.hits, found.places, strict=True))
            ]
        return found

    def _with_passage(self, hit: Hit, passage: ScoredPassage, text: DocumentText, most: int) -> Hit:
        lines = text.data[passage.begin : passage.end].decode("utf-8").split("\n") if most else ()
        return with_neighbours(hit, lines, self.terms, most)

    def _best(self, wanted: int) -> list[ScoredPassage]:
        """The best passages, so many or more; of too many equal ones those of the first documents by path."""
        scored, complete = self.index.search(self.query, wanted, self._allowed)
        if complete:
            return scored
        least = scored[wanted - 1].score
        # Scores may differ in their last digit where they were summed up in another order.
        near = abs(least) * _NEARLY
        found = [passage for passage in scored if passage.score > least + near]
        entries = self.selection.readable
        at, size = 0, _TOGETHER
        while at < len(entries):
            some = entries[at : at + size]
            at, size = at + size, 2 * size
            most = sum(entry.passages for entry in some)
            passages, _ = self.index.search(self.query, max(most, 1), [entry.id for entry in some])
            found += [passage for passage in passages if abs(passage.score - least) <= near]
            if len(found) >= wanted:
                return found
        return scored  # some are of versions that are gone, so that this search is run again

    @property
    def _allowed(self) -> Collection[int] | None:
        return None if self.selection.everything else self.selection.ids

    def _gathered(self, scored: list[ScoredPassage], last: int, texts: Mapping[int, DocumentText]) -> Ranking:
        """The hits of these passages, best first, up to `last` of them; one more where only this tells if there are more."""
        found = Ranking()
        by_id = self.by_id
        known = [
            (-passage.score, entry.info.path, passage.begin, passage, entry)
            for passage in scored
            if (entry := by_id.get(passage.document)) is not None
        ]
        found.outdated = len(known) < len(scored)
        known.sort()  # an entry is never compared: two passages of one document begin apart
        hits: dict[tuple[str, int], tuple[Hit, tuple[ScoredPassage, DocumentText]]] = {}
        enough = last + self._may_repeat
        for _, path, _, passage, entry in known:
            text = entry.text or texts.get(entry.id)
            if text is None:
                found.missing.append(entry)
            else:
                hit = self._hit(passage, text)
                hits.setdefault((path, hit.line_number), (hit, (passage, text)))
                found.entries[path] = entry
            if len(hits) + len(found.missing) == enough:
                break
        found.hits = [hit for hit, _ in hits.values()]
        found.places = [place for _, place in hits.values()]
        return found

    @property
    def _may_repeat(self) -> bool:
        """Whether two passages can have their best hit on one line: what is searched exactly runs on into the next."""
        return bool(self.terms.phrases or self.terms.prefixes)

    def _hit(self, passage: ScoredPassage, text: DocumentText) -> Hit:
        data = text.data
        content = data[passage.begin : passage.end].decode("utf-8")
        end_line = passage.line + content.count("\n")
        if self._may_repeat:
            # A phrase may run on into what follows, as far as it was indexed with this passage.
            content = data[passage.begin : passage.end + TAIL_BYTES].decode("utf-8", "ignore")
        best = best_line(content, self.terms)
        lines = content.split("\n", best + 1)
        line = lines[best]
        number = passage.line + best
        if self._may_repeat and best + 1 == len(lines):
            line = text.line(number)  # there it may have been cut
        before: tuple[str, ...] = ()
        after: tuple[str, ...] = ()
        if self.context_lines:
            begin = passage.begin + sum(len(above.encode()) + 1 for above in lines[:best])
            before, after = context(data, begin, begin + len(line.encode()), self.context_lines)
        if len(line) > MAX_LINE:
            line = cut(line, match_position(line, self.terms))
        return Hit(
            text.path,
            number,
            line,
            text.page_of(number) if text.page_starts else None,
            passage.score,
            before,
            after,
            passage.line,
            end_line,
        )
