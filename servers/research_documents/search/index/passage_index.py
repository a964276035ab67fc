"""The passage index in tantivy: schema, indexing and queries."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from research_documents.search.index.passage_fields import passage_fields
from research_documents.search.tuning import DEFAULT_TUNING, SearchTuning
from research_shared.documents import DocumentText
from research_shared.text.analysis import EXACT, STEMMED, folded, register
from research_shared.text.passages import spans

HEAP_BYTES: Final = 24_000_000
META: Final = "meta.json"
"""Where tantivy notes the last commit of an index, and which segments it consists of."""
SCHEMA_VERSION: Final = "5"
"""Changes whenever fields, analyzers or passages change."""
_HALF: Final = 32
_LOW_HALF: Final = (1 << _HALF) - 1
_SELECTIVE: Final = 4
"""Literals in more than one of so many passages are not selective enough to narrow a scan."""


class ScoredPassage(NamedTuple):
    """A matching passage: id of the document, byte range, first line (1-based) and score.

    `near_begin` and `near_end` are the byte range of the part that is nearest by meaning; equal if meaning did not find it.
    """

    document: int
    begin: int
    end: int
    line: int
    score: float
    near_begin: int = 0
    near_end: int = 0


def _schema() -> Any:
    from tantivy import SchemaBuilder

    builder = SchemaBuilder()
    builder.add_text_field("stem", tokenizer_name=STEMMED, index_option="freq")
    builder.add_text_field("exact", tokenizer_name=EXACT, index_option="position")
    builder.add_text_field("title", tokenizer_name=STEMMED, index_option="freq")
    builder.add_text_field("path", tokenizer_name=EXACT, index_option="position")
    builder.add_unsigned_field("document", indexed=True)
    # Each column costs a call for every search, so two numbers of 32 bits share one.
    for name in ("place", "range"):
        builder.add_unsigned_field(name, fast=True)
    return builder.build()


def _last_stamp(directory: Path | None) -> int:
    """Return the number of the last commit of an index: what a writer would say, without one.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    if directory is None:
        return 0
    return int(json.loads((directory / META).read_bytes())["opstamp"])


class PassageIndex:
    """Index of the passages of documents, keyed by document id. One thread writes while any number search."""

    def __init__(self, directory: Path | None = None, *, tuning: SearchTuning = DEFAULT_TUNING) -> None:
        from tantivy import Index

        self._tuning = tuning
        self.schema = _schema()
        self._index = Index(self.schema, path=str(directory) if directory else None)
        # Reloading by hand: tantivy's own reload contends for a file lock with ours, at 100 ms a time.
        self._index.config_reader("manual")
        register(self._index)
        self._writer: Any = None
        self._partial: set[int] = set()
        """Documents whose passages are not all added yet."""
        self._view: tuple[Any, frozenset[int]] = (self._index.searcher(), frozenset())
        """(searcher of the last commit, documents that were partial then); replaced atomically."""
        self._unseen: set[int] = set()
        self.stamp = _last_stamp(directory)
        """The number of the last commit."""

    @property
    def writes(self) -> bool:
        """Whether anything was written: what only searches has no writer, with its threads and buffers."""
        return self._writer is not None

    def _open_writer(self) -> Any:
        if self._writer is None:
            self._writer = self._index.writer(HEAP_BYTES, 1)
        return self._writer

    @property
    def searcher(self) -> Any:
        """The state of the last commit."""
        return self._view[0]

    def add(self, document: int, text: DocumentText) -> int:
        """Index the passages of a document and return their number. They are visible after `commit`."""
        return sum(self.adding(document, text))

    def adding(self, document: int, text: DocumentText) -> Iterator[int]:
        """Index a document slice by slice; yield the number of passages of each slice.

        Searches find the document only after the commit that follows the last slice. A caller that stops earlier must
        `remove` it.
        """
        from tantivy import Document

        found = spans(text)
        self._unseen.add(document)
        self._partial.add(document)
        path = folded(text.path)
        slice_bytes = self._tuning.slice_bytes
        first = 0
        for number, (span, searched) in enumerate(zip(found, passage_fields(text, found), strict=True)):
            if span.begin - found[first].begin >= slice_bytes:
                yield number - first
                first = number
            fields = {
                "stem": searched.stem,
                "exact": searched.exact,
                "title": searched.title,
                "path": path,
                "document": document,
                "place": document << _HALF | span.start_line,
                "range": span.begin << _HALF | span.end - span.begin,
            }
            self._open_writer().add_document(Document.from_dict(fields, self.schema))
        self._partial.discard(document)
        yield len(found) - first

    def remove(self, document: int) -> None:
        """Remove a document. Takes effect after `commit`."""
        from tantivy import Query

        self._partial.discard(document)
        # by query: deleting by a term does nothing when the term is a number
        gone = Query.term_query(self.schema, "document", document)
        self._open_writer().delete_documents_by_query(gone)

    def commit(self) -> None:
        """Make all changes visible to searches that start afterwards."""
        self.stamp = int(self._open_writer().commit())
        self._index.reload()
        self._view = (self._index.searcher(), frozenset(self._partial))
        self._unseen = set(self._partial)  # only now: what was added is in one of the two at any time

    @property
    def passages(self) -> int:
        """Return the number of passages in the index."""
        return int(self.searcher.num_docs)

    def close(self) -> None:
        """Wait for merges and release the directory."""
        if self._writer is not None:
            self._writer.wait_merging_threads()

    def search(
        self, query: Any, limit: int, documents: Collection[int] | None = None
    ) -> tuple[list[ScoredPassage], bool]:
        """Return (passages, complete): the best `limit` passages, and all that tie with the last of them.

        `documents` limits the search to these ids. `complete` is False if the tie is too large to fetch whole. The order
        within equal scores is undefined.
        """
        from tantivy import Occur, Query

        if documents is not None:
            within = Query.const_score_query(
                Query.term_set_query(self.schema, "document", list(documents)), 0.0
            )
            query = Query.boolean_query([(Occur.Must, query), (Occur.Must, within)])
        searcher, partial = self._view
        if partial:
            hidden = [
                (Occur.MustNot, Query.term_query(self.schema, "document", number))
                for number in sorted(partial)
            ]
            query = Query.boolean_query([(Occur.Must, query), *hidden])
        fetch, most_ties = limit + self._tuning.tie_margin, self._tuning.most_ties
        hits: list[Any] = searcher.search(query, fetch, count=False).hits
        while len(hits) == fetch and hits[limit - 1][0] == hits[-1][0] and fetch < most_ties:
            fetch = max(8 * fetch, 512)
            hits = searcher.search(query, fetch, count=False).hits
        complete = len(hits) < fetch or hits[limit - 1][0] != hits[-1][0]
        if len(hits) > limit:
            least = hits[limit - 1][0]
            hits = [hit for hit in hits if hit[0] >= least]
        addresses = [address for _, address in hits]
        places: list[Any] = searcher.fast_field_values("place", addresses)
        ranges: list[Any] = searcher.fast_field_values("range", addresses)
        found = [
            ScoredPassage(
                place >> _HALF, at >> _HALF, (at >> _HALF) + (at & _LOW_HALF), place & _LOW_HALF, score
            )
            for (score, _), place, at in zip(hits, places, ranges, strict=True)
        ]
        return found, complete

    def documents_containing_any(self, literals: Collection[str]) -> set[int] | None:
        """Return a superset of the ids of documents with a word that contains one of `literals`; None if there are too many.

        Literals are letters and digits of ASCII in lower case. A document that was added counts until a commit shows it.
        """
        from tantivy import Query

        unseen = set(self._unseen)
        searcher = self.searcher
        words = Query.regex_query(self.schema, "exact", f".*({'|'.join(sorted(literals))}).*")
        most = max(searcher.num_docs // _SELECTIVE, 1)
        hits = searcher.search(words, most + 1, count=False).hits
        if len(hits) > most:
            return None
        places: list[Any] = searcher.fast_field_values("place", [address for _, address in hits])
        return unseen.union(place >> _HALF for place in places)
