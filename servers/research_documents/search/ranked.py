"""Keyword search over the passages: the ranked hits from one rank to another, each at its best line."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from research_documents.search.catalog import Entry
from research_documents.search.excerpt import context, cut
from research_documents.search.index import TAIL_BYTES, PassageIndex, Scored
from research_documents.search.lines import Needles, best_line, match_position
from research_documents.search.outcome import Hit
from research_shared.documents import DocumentText


@dataclass(slots=True)
class Ranking:
    """What a ranked search found.

    `entries` are the versions of the documents that the hits are from. `missing` are documents whose text is needed and
    not in memory: the search is to be run again with their `texts`. `outdated` says that the index held versions which
    are known no more: then it is to be run again too.
    """

    hits: list[Hit] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    more: bool = False
    missing: list[Entry] = field(default_factory=list)
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Ranker:
    """A built query and where its hits' texts are."""

    query: Any
    needles: Needles
    index: PassageIndex
    by_id: Mapping[int, Entry]
    documents: Collection[int] | None = None
    context_lines: int = 0

    def rank(self, first: int, limit: int, texts: Mapping[int, DocumentText]) -> Ranking:
        """The hits `first` to `first + limit` in the order of score, path and line; a line is one hit."""
        last = first + limit
        wanted = last + 1
        while True:
            scored = self.index.search(self.query, wanted, self.documents)
            found = self._gathered(scored, last, texts)
            enough = len(found.hits) + len(found.missing) >= last + self._may_repeat
            # Where passages share lines, the best passages may give fewer hits than were wanted.
            if enough or len(scored) < wanted or not self._may_repeat:
                break
            wanted *= 2
        found.more = len(found.hits) > last or (not self._may_repeat and len(scored) > last)
        found.hits = found.hits[first:last]
        return found

    def _gathered(self, scored: list[Scored], last: int, texts: Mapping[int, DocumentText]) -> Ranking:
        """The hits of these passages, best first, up to `last` of them; one more where only this tells if there are more."""
        found = Ranking()
        known = [(s, entry) for s in scored if (entry := self.by_id.get(s.document)) is not None]
        found.outdated = len(known) < len(scored)
        known.sort(key=lambda pair: (-pair[0].score, pair[1].path, pair[0].begin))
        hits: dict[tuple[str, int], Hit] = {}
        for passage, entry in known:
            text = entry.text or texts.get(entry.id)
            if text is None:
                found.missing.append(entry)
            else:
                hit = self._hit(passage, text)
                hits.setdefault((hit.document, hit.line_number), hit)
                found.entries[hit.document] = entry
            if len(hits) + len(found.missing) == last + self._may_repeat:
                break
        found.hits = list(hits.values())
        return found

    @property
    def _may_repeat(self) -> bool:
        """Whether two passages can have their best hit on one line: what is searched exactly runs on into the next."""
        return bool(self.needles.phrases or self.needles.prefixes)

    def _hit(self, passage: Scored, text: DocumentText) -> Hit:
        data = text.data
        content = data[passage.begin : passage.end].decode("utf-8")
        end_line = passage.line + content.count("\n")
        if self._may_repeat:
            # A phrase may run on into what follows, as far as it was indexed with this passage.
            content = data[passage.begin : passage.end + TAIL_BYTES].decode("utf-8", "ignore")
        best = best_line(content, self.needles)
        lines = content.split("\n")
        if self._may_repeat:
            lines[best] = text.line(passage.line + best)
        number = passage.line + best
        before: tuple[str, ...] = ()
        after: tuple[str, ...] = ()
        if self.context_lines:
            begin = passage.begin + sum(len(line.encode()) + 1 for line in lines[:best])
            before, after = context(data, begin, begin + len(lines[best].encode()), self.context_lines)
        return Hit(
            text.path,
            number,
            cut(lines[best], match_position(lines[best], self.needles)),
            text.page_of(number) if text.page_starts else None,
            passage.score,
            before,
            after,
            passage.line,
            end_line,
        )
