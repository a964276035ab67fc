"""The passages of the indexed documents and the rows of their vectors: which passages are nearest to a query."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from research_documents.search.index.catalog import CatalogEntry, Selection
from research_documents.search.index.passage_index import ScoredPassage
from research_documents.search.semantic.vector_file import Keys
from research_documents.search.semantic.vectors import NO_ROW, Rows, Scores, VectorRows, VectorStore, keys_of
from research_shared.documents import DocumentText
from research_shared.text.passages import Span, spans

Numbers = NDArray[Any]


def embedded_text(text: DocumentText, span: Span) -> str:
    """Return what is embedded of a passage: its text, after the heading that it stands under."""
    body = text.data[span.begin : span.end].decode("utf-8")
    return body if span.heading in body[: len(span.heading) + 8] else f"{span.heading}\n{body}"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DocumentPassages:
    """The passages of one version of a document, in order, with the row of each one's vector."""

    document: int
    begins: Numbers
    ends: Numbers
    lines: Numbers
    keys: Keys
    rows: Rows
    embedded: int
    """Number of passages that have a vector."""

    @classmethod
    def of(cls, document: int, text: DocumentText, store: VectorStore) -> Self:
        """Cut a document into the passages that the index has of it."""
        found = spans(text)
        keys = keys_of([embedded_text(text, span) for span in found])
        rows = store.rows_of(keys)
        return cls(
            document=document,
            begins=np.array([span.begin for span in found], dtype=np.uint32),
            ends=np.array([span.end for span in found], dtype=np.uint32),
            lines=np.array([span.start_line for span in found], dtype=np.uint32),
            keys=keys,
            rows=rows,
            embedded=int(np.count_nonzero(rows != NO_ROW)),
        )

    @property
    def complete(self) -> bool:
        """Whether all passages have a vector."""
        return self.embedded == len(self.rows)

    def looked_up(self, store: VectorStore) -> Self:
        """Return the same passages with the rows that their vectors have now."""
        rows = store.rows_of(self.keys)
        return replace(self, rows=rows, embedded=int(np.count_nonzero(rows != NO_ROW)))


@dataclass(frozen=True, eq=False, kw_only=True)
class PassageTable:
    """A snapshot of passages and vectors, for searches in any thread."""

    documents: Mapping[int, DocumentPassages]
    vectors: VectorRows

    @cached_property
    def _columns(self) -> tuple[Numbers, Numbers, Numbers, Numbers, Rows]:
        """Document, begin, end, first line and row of all passages that have a vector."""
        some = [each for each in self.documents.values() if len(each.rows)]
        if not some:
            nothing = np.zeros(0, dtype=np.uint32)
            return nothing.astype(np.int64), nothing, nothing, nothing, nothing.astype(np.int32)
        counts = [len(each.rows) for each in some]
        documents = np.repeat(np.array([each.document for each in some], dtype=np.int64), counts)
        rows = np.concatenate([each.rows for each in some])
        has = rows != NO_ROW
        begins, ends, lines = (
            np.concatenate(parts)[has]
            for parts in zip(*((each.begins, each.ends, each.lines) for each in some), strict=True)
        )
        return documents[has], begins, ends, lines, rows[has]

    def coverage(self, entries: Collection[CatalogEntry]) -> tuple[int, int]:
        """Return (passages that have a vector, all passages) of these documents."""
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
        """Return the `limit` passages of the selected documents whose vectors are nearest to the query's, best first.

        The score is the cosine. Equal ones come in the order of path and place. Documents that are not selected count for
        nothing: neither for the passages nor for their scores.

        Documents that `by_id` does not have any more are left out: they were read again since they were selected.

        Raises:
            EmbeddingFailed: the query's vector has another size.
        """
        documents, begins, ends, lines, rows = self._columns
        chosen: Numbers | None = None
        if not self.documents.keys() <= selection.ids:
            ids = np.fromiter(selection.ids, dtype=np.int64, count=len(selection.ids))
            chosen = np.flatnonzero(np.isin(documents, ids))
        scores = self._scores(query, rows if chosen is None else rows[chosen])
        if not len(scores):
            return []
        best = np.arange(len(scores))
        if len(scores) > limit:
            least = np.partition(scores, len(scores) - limit)[len(scores) - limit]
            best = np.flatnonzero(scores >= least)
        places = best if chosen is None else chosen[best]
        found = [
            (entry.path, ScoredPassage(document, begin, end, line, score))
            for document, begin, end, line, score in zip(
                documents[places].tolist(),
                begins[places].tolist(),
                ends[places].tolist(),
                lines[places].tolist(),
                scores[best].tolist(),
                strict=True,
            )
            # Once for each passage: another task may forget documents at any time.
            if (entry := by_id.get(document)) is not None
        ]
        found.sort(key=lambda each: (-each[1].score, each[0], each[1].begin))
        return [passage for _, passage in found[:limit]]

    def _scores(self, query: NDArray[np.float32], rows: Rows) -> Scores:
        """Return the similarity of each row: of them alone if they are few, otherwise picked from those of all."""
        if 2 * len(rows) < len(self.vectors):
            return self.vectors.similarities(query, rows)
        return self.vectors.similarities(query)[rows]
