"""Ranks the passages of a keyword search and turns a range of ranks into hits, each at its best line."""

import math
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, Final, Protocol

from research_documents.search.catalog.entry import CatalogEntry, StoredTexts, none_stored
from research_documents.search.catalog.selection import Selection
from research_documents.search.display import MAX_LINE, context, cut, lines_around
from research_documents.search.index.passage_fields import TAIL_BYTES
from research_documents.search.index.passage_index import ScoredPassage
from research_documents.search.keyword.best_line import (
    HighlightTerms,
    best_line,
    held_as_typed,
    held_by_line,
    match_position,
)
from research_documents.search.keyword.fetched import FetchedTexts
from research_documents.search.keyword.snippets import snippet_bytes, with_neighbours
from research_documents.search.outcome import Hit
from research_documents.search.passages import with_whole_passage
from research_documents.search.request import Snippet
from research_documents.search.semantic.fusion import FUSED, fused
from research_shared.documents import DocumentText

_OVERLAP_MARGIN: Final = 12
"""Extra passages fetched where two passages can show the same line and so give one hit."""
_FIRST_DOCUMENTS: Final = 64
"""Documents queried first to resolve a tie; the number doubles with each further query."""
_MOST_COMPARED: Final = 64
"""A larger tie is ordered by path and line alone, without a look at the passages."""
_SCORE_TOLERANCE: Final = 1e-6
"""Relative difference up to which scores count as equal."""

_RankedPassage = tuple[float, str, int, ScoredPassage, CatalogEntry]
"""A passage in the order of hits: score with a minus sign, path, first byte; then the passage and its document."""


TextOfPassage = Callable[[ScoredPassage], tuple[ScoredPassage, DocumentText] | None]
"""Gives the text around a passage, and where the passage is in it; None if that is not known."""


class RankedPassages(Protocol):
    """An index that ranks its passages for a query of its own dialect."""

    def search(
        self, query: Any, limit: int, documents: Collection[int] | None = None
    ) -> tuple[list[ScoredPassage], bool]:
        """Return (passages, complete), see `PassageIndex.search`."""


@dataclass(slots=True)
class MadeHits:
    """What was made of passages, so that their texts need not stay in memory.

    `hits` holds the hit of each, with the passage itself where the hit is to show more of it; `as_typed` how many words it
    holds as they were typed.
    """

    hits: dict[ScoredPassage, tuple[Hit, str]] = field(default_factory=dict)
    as_typed: dict[ScoredPassage, int] = field(default_factory=dict)


@dataclass(slots=True)
class Ranking:
    """Hits of a ranked search.

    `entries` are the document versions the hits are from, `passages` what the hits are to show more of. `more` says that
    there are further hits. If documents are `missing`, their text is neither in memory nor in the store: run `rank` again with `texts`
    of some of them, until all were given once; what is `made` of them is kept.
    If `outdated`, the index held versions the catalog no longer knows: run the search again.
    """

    hits: list[Hit] = field(default_factory=list)
    entries: dict[str, CatalogEntry] = field(default_factory=dict)
    passages: list[str] = field(default_factory=list)
    more: bool = False
    missing: list[CatalogEntry] = field(default_factory=list)
    outdated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranker:
    """Ranks the passages of one built query."""

    query: Any
    terms: HighlightTerms
    index: RankedPassages
    by_id: Mapping[int, CatalogEntry]
    selection: Selection
    context_lines: int = 0
    snippet: Snippet = "line"
    """What hits show of their passage, if `context_lines` is 0."""
    superseded: Container[str] = ()
    """Paths of documents of which there is a newer version or the original."""
    nearest: Sequence[ScoredPassage] = ()
    """The passages of the selection nearest by meaning, best first, to be fused with the ranking by words."""
    around: TextOfPassage | None = None
    """Gives texts of passages that the index keeps, for documents whose text is not in memory; without `context_lines`."""
    stored: StoredTexts = none_stored
    """Returns texts that are not held in memory, but in the store of the index."""
    made: MadeHits = field(default_factory=MadeHits)
    """What this search has made of passages before."""

    def rank(self, first: int, limit: int, texts: Mapping[int, DocumentText]) -> Ranking:
        """Return the hits `first` to `first + limit` in the order of score, words as typed, path and line, one per line."""
        last = first + limit
        fetched = FetchedTexts(self.stored, texts, most=last + self._may_repeat)
        wanted = last + 1 + (_OVERLAP_MARGIN if self._may_repeat else 0)
        while True:
            scored, open_tie = self._fused(wanted) if self.nearest else self._best(wanted)
            found = self._gathered(scored, last, fetched, open_tie)
            enough = len(found.hits) + len(found.missing) >= last + self._may_repeat
            # Passages that share lines give fewer hits than passages: fetch more of them.
            if enough or len(scored) < wanted or not self._may_repeat:
                break
            wanted *= 2
        found.more = len(found.hits) > last or (not self._may_repeat and len(scored) > last)
        found.hits, found.passages = found.hits[first:last], found.passages[first:last]
        if self._shows_passages:
            found.hits = [
                self._with_passage(hit, passage=passage, most=snippet_bytes(position))
                for position, (hit, passage) in enumerate(zip(found.hits, found.passages, strict=True))
            ]
        return found

    @property
    def _shows_passages(self) -> bool:
        return self.snippet != "line" and not self.context_lines

    def _with_passage(self, hit: Hit, *, passage: str, most: int) -> Hit:
        if self.snippet == "passage":
            return with_whole_passage(hit, passage=passage.split("\n"))
        return with_neighbours(hit, passage=passage.split("\n") if most else (), terms=self.terms, most=most)

    def _fused(self, wanted: int) -> tuple[list[ScoredPassage], float]:
        """Return at least `wanted` passages of both rankings, if there are so many, and the score of an open tie as `_best`."""
        scored, open_tie = self._best(max(wanted, FUSED))
        known: list[tuple[str, ScoredPassage]] = []
        lost: list[ScoredPassage] = []  # the index is outdated
        for passage in scored:
            # Once for each passage: another task may forget documents at any time.
            if (entry := self.by_id.get(passage.document)) is None:
                lost.append(passage)
            else:
                known.append((entry.path, passage))
        known.sort(key=lambda each: (-each[1].score, each[0], each[1].begin))
        together = fused([passage for _, passage in known], self.nearest, open_tie=open_tie)
        return [*together.passages, *lost], together.open_tie

    def _best(self, wanted: int) -> tuple[list[ScoredPassage], float]:
        """Return at least `wanted` of the best passages; of a large tie, those of the first documents by path.

        The second value is the score of a tie of which only a part is returned; infinite if there is none.
        """
        scored, complete = self.index.search(self.query, wanted, self._allowed)
        if complete:
            return scored, math.inf
        least = scored[wanted - 1].score
        # Scores can differ in their last digit, depending on the order of summation.
        near = abs(least) * _SCORE_TOLERANCE
        found = [passage for passage in scored if passage.score > least + near]
        entries = self.selection.readable
        at, size = 0, _FIRST_DOCUMENTS
        while at < len(entries):
            some = entries[at : at + size]
            at, size = at + size, 2 * size
            most = sum(entry.passages for entry in some)
            passages, _ = self.index.search(self.query, max(most, 1), [entry.id for entry in some])
            found += [passage for passage in passages if abs(passage.score - least) <= near]
            if len(found) >= wanted:
                return found, least + near
        return scored, least + near  # the index holds removed versions: the search runs again

    @property
    def _allowed(self) -> Collection[int] | None:
        # Not the set, which the selection would keep: 32 selections of 100,000 documents are kept for later searches.
        return None if self.selection.everything else [entry.id for entry in self.selection.readable]

    def _gathered(
        self, scored: list[ScoredPassage], last: int, fetched: FetchedTexts, open_tie: float
    ) -> Ranking:
        """Return up to `last` hits of these passages, best first; one more if that is needed to tell whether there are more."""
        found = Ranking()
        by_id = self.by_id
        known = [
            (-passage.score, entry.info.path, passage.begin, passage, entry)
            for passage in scored
            if (entry := by_id.get(passage.document)) is not None
        ]
        found.outdated = len(known) < len(scored)
        known.sort()  # entries are never compared: passages of one document begin at different bytes
        hits: dict[tuple[str, int], tuple[Hit, str]] = {}
        enough = last + self._may_repeat
        missing: dict[int, CatalogEntry] = {}
        for passage, entry, following in self._in_order(known, fetched, missing, open_tie):
            made = self._made(passage, entry, fetched, following)
            if made is None:
                missing[entry.id] = entry
            else:
                path = entry.info.path
                hits.setdefault((path, made[0].line_number), made)
                found.entries[path] = entry
            if len(hits) + len(missing) >= enough:
                break
        found.missing = list(missing.values())
        found.hits = [hit for hit, _ in hits.values()]
        found.passages = [passage for _, passage in hits.values()]
        return found

    def _made(
        self,
        passage: ScoredPassage,
        entry: CatalogEntry,
        fetched: FetchedTexts,
        following: Iterator[CatalogEntry],
    ) -> tuple[Hit, str] | None:
        """Return the hit of a passage, with the passage where it is to show more of it; None if its text has to be read first."""
        if (known := self.made.hits.get(passage)) is not None:
            return known
        if (place := self._place(passage, entry, fetched, following)) is None:
            return None
        inside, text = place
        shown = text.data[inside.begin : inside.end].decode("utf-8") if self._shows_passages else ""
        made = self.made.hits[passage] = self._hit(inside, text), shown
        return made

    def _in_order(
        self,
        known: Sequence[_RankedPassage],
        fetched: FetchedTexts,
        missing: dict[int, CatalogEntry],
        open_tie: float,
    ) -> Iterator[tuple[ScoredPassage, CatalogEntry, Iterator[CatalogEntry]]]:
        """Yield the passages, those of equal score that hold more words as they were typed first, older versions last.

        With each come the documents of those behind it. Documents whose text is needed for the order and not in memory are
        added to `missing`.
        """
        behind = 0
        for minus_score, group in groupby(known, key=itemgetter(0)):
            tie = [(passage, entry) for *_, passage, entry in group]
            behind += len(tie)
            if 1 < len(tie) <= _MOST_COMPARED and (open_tie == math.inf or -minus_score > open_tie):
                held: list[int] = []
                for at, (passage, entry) in enumerate(tie):
                    following = _behind(tie, at, known, behind)
                    count = self._words_as_typed(passage, entry, fetched, following)
                    if count is None:
                        missing[entry.id] = entry
                    elif entry.id in fetched.given:
                        self._made(passage, entry, fetched, following)  # it is not given again
                    held.append(count or 0)
                order = sorted(
                    range(len(tie)), key=lambda at: (-held[at], tie[at][1].path in self.superseded)
                )
                tie = [tie[at] for at in order]
            for at, (passage, entry) in enumerate(tie):
                yield passage, entry, _behind(tie, at, known, behind)

    def _words_as_typed(
        self,
        passage: ScoredPassage,
        entry: CatalogEntry,
        fetched: FetchedTexts,
        following: Iterator[CatalogEntry],
    ) -> int | None:
        """Return how many words a passage holds as they were typed; None if its text has to be read first."""
        if (known := self.made.as_typed.get(passage)) is not None:
            return known
        if (place := self._place(passage, entry, fetched, following)) is None:
            return None
        inside, text = place
        count = held_as_typed(text.data[inside.begin : inside.end].decode("utf-8"), self.terms)
        self.made.as_typed[passage] = count
        return count

    def _place(
        self,
        passage: ScoredPassage,
        entry: CatalogEntry,
        fetched: FetchedTexts,
        following: Iterator[CatalogEntry],
    ) -> tuple[ScoredPassage, DocumentText] | None:
        """Return the text that a passage is in, and where it is in it; None if that text has to be read first."""
        text = fetched.of(entry, following)
        if text is not None:
            return passage, text
        return None if self.around is None or self.context_lines else self.around(passage)

    @property
    def _may_repeat(self) -> bool:
        """Return whether two passages can share a best line: phrases and prefixes match into the next passage."""
        return bool(self.terms.phrases or self.terms.prefixes)

    def _hit(self, passage: ScoredPassage, text: DocumentText) -> Hit:
        data = text.data
        content = data[passage.begin : passage.end].decode("utf-8")
        end_line = passage.line + content.count("\n")
        if self._may_repeat:
            # A phrase may end in the next passage, within the tail that was indexed with this one.
            content = _with_tail(passage, text)
        near = _near_lines(passage, data)
        best = best_line(content, self.terms)
        if near is not None and not held_by_line([content.split("\n")[best]], self.terms)[0]:
            best = near[0] - passage.line  # found by its meaning alone
        lines = content.split("\n", best + 1)
        line = lines[best]
        number = passage.line + best
        if self._may_repeat and best + 1 == len(lines):
            line = text.line(number)  # the tail may cut this line
        before: tuple[str, ...] = ()
        after: tuple[str, ...] = ()
        if self.context_lines and text.continued:
            before, after = lines_around(text, number, self.context_lines)
        elif self.context_lines:
            begin = passage.begin + sum(len(above.encode()) + 1 for above in lines[:best])
            before, after = context(
                data, begin=begin, end=begin + len(line.encode()), lines=self.context_lines
            )
        if len(line) > MAX_LINE:
            line = cut(line, match_position(line, self.terms))
        page = text.page_of(number) if text.page_starts else None
        return Hit(
            document=text.path,
            line_number=number,
            matched_text=line,
            page=page,
            score=passage.score,
            before=before,
            after=after,
            start_line=passage.line,
            end_line=end_line,
            ocr=text.is_ocr(page),
            near=near,
        )


def _behind(
    tie: Sequence[tuple[ScoredPassage, CatalogEntry]], at: int, known: Sequence[_RankedPassage], end: int
) -> Iterator[CatalogEntry]:
    """Return the documents of the passages behind the one `at` in a tie, which ends before `end` of those that are `known`."""
    return chain(
        (entry for _, entry in islice(tie, at + 1, None)), (row[-1] for row in islice(known, end, None))
    )


def _near_lines(passage: ScoredPassage, data: bytes) -> tuple[int, int] | None:
    """Return the first and the last line of the part that is nearest by meaning, without blank ones; None without one."""
    part = data[passage.near_begin : passage.near_end]
    if not part.strip():
        return None
    begin = passage.near_begin + len(part) - len(part.lstrip())
    end = passage.near_begin + len(part.rstrip())
    first = passage.line + data.count(b"\n", passage.begin, begin)
    return first, first + data.count(b"\n", begin, end)


def _with_tail(passage: ScoredPassage, text: DocumentText) -> str:
    """Return a passage and the beginning of the next one, with a line break where a long line is continued."""
    data, end = text.data, passage.end + TAIL_BYTES
    part = text.continues_after(passage.end)
    if part is None or part >= end:
        return data[passage.begin : end].decode("utf-8", "ignore")
    return data[passage.begin : part].decode("utf-8") + "\n" + data[part:end].decode("utf-8", "ignore")
