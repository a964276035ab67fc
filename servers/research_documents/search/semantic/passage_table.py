"""The passages of the indexed documents and the rows of their vectors: which passages are nearest to a query.

A passage is embedded in parts, a vector each, and is as near as its nearest part. A model reads no more than the first so many
tokens of a text, and one sentence among many hardly turns the vector of them all.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.index.passage_index import ScoredPassage
from research_documents.search.semantic.vector_file import Keys
from research_documents.search.semantic.vectors import NO_ROW, Rows, Scores, VectorRows, VectorStore, keys_of
from research_shared.documents import DocumentText
from research_shared.text.passages import Span, spans

Numbers = NDArray[Any]


PART_BYTES: Final = 600
"""Bytes of a part at most: 256 tokens of most languages, even for a model with English words only."""
_PART_ENDS: Final = (
    tuple(
        end.encode() for end in (".\n", ". ", "!\n", "! ", "?\n", "? ", "\n\n", "\u3002", "\uff01", "\uff1f")
    ),
    (b"\n",),
    (b" ",),
)
"""Where a part may end, best first."""


class EmbeddedPart(NamedTuple):
    """A part of a passage: what is embedded of it, and its byte range in the document's data."""

    text: str
    begin: int
    end: int


def parts_of(text: DocumentText, span: Span) -> list[EmbeddedPart]:
    """Return the parts of a passage in order, each with the heading that the passage stands under before its text."""
    found: list[EmbeddedPart] = []
    for begin, end in part_ranges(text.data[span.begin : span.end]):
        body = text.data[span.begin + begin : span.begin + end].decode("utf-8").strip()
        if body:
            headed = body if span.heading in body[: len(span.heading) + 8] else f"{span.heading}\n{body}"
            found.append(EmbeddedPart(headed, span.begin + begin, span.begin + end))
    return found


def part_ranges(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield the parts of a passage of UTF-8 as byte ranges: of about the same size, cut behind sentences, lines or words.

    >>> list(part_ranges(b"One sentence. " * 50))
    [(0, 350), (350, 700)]
    """
    begin = 0
    while (left := len(body) - begin) > PART_BYTES:
        share = -(-left // -(-left // PART_BYTES))
        end = _end_of_part(body, begin + share // 2, begin + PART_BYTES, nearest=begin + share)
        yield begin, end
        begin = end
    yield begin, len(body)


def _end_of_part(body: bytes, first: int, last: int, *, nearest: int) -> int:
    """Return where a part ends, from `first` to `last`: the best kind of place there, of these the nearest one."""
    for ends in _PART_ENDS:
        places = [
            at + len(end)
            for end in ends
            for at in (body.rfind(end, first, nearest), body.find(end, nearest - len(end), last))
            if at >= 0
        ]
        if places:
            return min(places, key=lambda place: (abs(place - nearest), place))
    while body[nearest] & 0xC0 == 0x80:  # noqa: PLR2004  (within a character)
        nearest -= 1
    return nearest


@dataclass(frozen=True, eq=False, kw_only=True)
class DocumentPassages:
    """The passages of one version of a document, in order, and their parts with the row of each one's vector."""

    document: int
    begins: Numbers
    ends: Numbers
    lines: Numbers
    passages: Numbers
    """The number of the passage that each part is of, from 0."""
    part_begins: Numbers
    part_ends: Numbers
    keys: Keys
    rows: Rows
    """A key and a row for each part."""

    @classmethod
    def of(cls, document: int, text: DocumentText, store: VectorStore) -> Self:
        """Cut a document into the passages that the index has of it."""
        found = spans(text)
        by_passage = [parts_of(text, span) for span in found]
        parts = [part for some in by_passage for part in some]
        keys = keys_of([part.text for part in parts])
        return cls(
            document=document,
            begins=np.array([span.begin for span in found], dtype=np.uint32),
            ends=np.array([span.end for span in found], dtype=np.uint32),
            lines=np.array([span.start_line for span in found], dtype=np.uint32),
            passages=np.repeat(np.arange(len(found), dtype=np.uint32), list(map(len, by_passage))),
            part_begins=np.array([part.begin for part in parts], dtype=np.uint32),
            part_ends=np.array([part.end for part in parts], dtype=np.uint32),
            keys=keys,
            rows=store.rows_of(keys),
        )

    @cached_property
    def embedded(self) -> int:
        """Number of passages of which all parts have a vector."""
        return len(self.begins) - len(np.unique(self.passages[self.rows == NO_ROW]))

    @property
    def complete(self) -> bool:
        """Whether all parts have a vector."""
        return self.embedded == len(self.begins)

    def looked_up(self, store: VectorStore) -> Self:
        """Return the same passages with the rows that their vectors have now."""
        return replace(self, rows=store.rows_of(self.keys))


def _column(parts: Iterable[Numbers], kind: type[np.generic]) -> Numbers:
    return np.concatenate([np.zeros(0, dtype=kind), *parts]).astype(kind, copy=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class PassageTable:
    """A snapshot of passages and vectors, for searches in any thread."""

    documents: Mapping[int, DocumentPassages]
    vectors: VectorRows

    @cached_property
    def _columns(self) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """Document, begin, end and first line of all passages."""
        some = self.documents.values()
        return (
            _column((np.full(len(each.begins), each.document) for each in some), np.int64),
            _column((each.begins for each in some), np.uint32),
            _column((each.ends for each in some), np.uint32),
            _column((each.lines for each in some), np.uint32),
        )

    @cached_property
    def _parts(self) -> tuple[Rows, Numbers, Numbers, Numbers]:
        """Row, passage, as its number among all, begin and end of all parts that have a vector, in the order of the passages."""
        some = self.documents.values()
        firsts = accumulate((len(each.begins) for each in some), initial=0)
        rows = _column((each.rows for each in some), np.int32)
        numbers = _column(
            (each.passages + first for each, first in zip(some, firsts, strict=False)), np.int64
        )
        begins = _column((each.part_begins for each in some), np.uint32)
        ends = _column((each.part_ends for each in some), np.uint32)
        has = rows != NO_ROW
        return rows[has], numbers[has], begins[has], ends[has]

    def coverage(self, entries: Collection[CatalogEntry]) -> tuple[int, int]:
        """Return (embedded passages, all passages) of these documents."""
        known = self.documents
        done = sum(known[entry.id].embedded for entry in entries if entry.id in known)
        return done, sum(entry.passages for entry in entries)

    def nearest(
        self,
        query: NDArray[np.float32],
        selection: Selection,
        *,
        by_id: Mapping[int, CatalogEntry],
        limit: int,
    ) -> list[ScoredPassage]:
        """Return the `limit` passages of the selected documents whose nearest parts are nearest to the query, best first.

        The score is the cosine. Equal ones come in the order of path and place. Documents that are not selected count for
        nothing: neither for the passages nor for their scores.

        Documents that `by_id` does not have any more are left out: they were read again since they were selected.

        Raises:
            EmbeddingFailed: the query's vector has another size.
        """
        documents, begins, ends, lines = self._columns
        rows, passages, part_begins, part_ends = self._parts
        chosen: Numbers | None = None
        if not self.documents.keys() <= selection.ids:
            ids = np.fromiter(selection.ids, dtype=np.int64, count=len(selection.ids))
            chosen = np.flatnonzero(np.isin(documents, ids)[passages])
            rows, passages = rows[chosen], passages[chosen]
        if not len(rows):
            return []
        first = np.flatnonzero(np.diff(passages, prepend=-1))
        of_parts = self._scores(query, rows)
        scores = np.maximum.reduceat(of_parts, first)
        best = np.arange(len(scores))
        if len(scores) > limit:
            least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
            best = np.flatnonzero(scores >= least)
        places = passages[first[best]]
        ends_of = np.append(first[1:], len(rows))
        nearest = np.array(
            [
                at + int(np.argmax(of_parts[at:end]))
                for at, end in zip(first[best], ends_of[best], strict=True)
            ]
        )
        parts = nearest if chosen is None else chosen[nearest]
        columns = (documents[places], begins[places], ends[places], lines[places], scores[best])
        near = (part_begins[parts], part_ends[parts])
        found = [
            (entry.path, ScoredPassage(*values))
            for values in zip(*(column.tolist() for column in (*columns, *near)), strict=True)
            # Once for each passage: another task may forget documents at any time.
            if (entry := by_id.get(values[0])) is not None
        ]
        found.sort(key=lambda each: (-each[1].score, each[0], each[1].begin))
        return [passage for _, passage in found[:limit]]

    def _scores(self, query: NDArray[np.float32], rows: Rows) -> Scores:
        """Return the similarity of each row: of them alone if they are few, otherwise picked from those of all."""
        if 2 * len(rows) < len(self.vectors):
            return self.vectors.similarities(query, rows)
        return self.vectors.similarities(query)[rows]
