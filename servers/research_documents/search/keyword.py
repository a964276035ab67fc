"""The keyword index: passages in tantivy, queries of our own grammar, and the best line of each hit."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

from research_documents.search import query as q
from research_documents.search.excerpt import MAX_LINE
from research_shared.analysis import (
    EXACT,
    STEMMED,
    STOP_WORDS,
    analyzer,
    exact_terms,
    folded,
    line_end_hyphens,
    register,
    stems,
    unspaced,
)
from research_shared.documents import DocumentText
from research_shared.passages import Span, spans

_HEAP: Final = 40_000_000
_TAIL_WORDS: Final = 12
_TAIL_BYTES: Final = 200
_BREAK: Final = "0qzx0"
"""A term that stands for a line break while a passage is searched for its best line."""
_TITLE_BOOST: Final = 0.5
_EXPANSIONS: Final = 64
"""How many words a prefix stands for."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A passage that matches: the document's id, the byte range, its first line and the BM25 score."""

    document: int
    begin: int
    end: int
    line: int
    score: float


@dataclass(frozen=True, slots=True)
class Needles:
    """What to look for in a passage's lines: stems, prefixes of words, and phrases of exact words."""

    stems: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()


class KeywordIndex:
    """Passages of documents by id. Not thread-safe for writing; searches may run meanwhile."""

    def __init__(self, directory: Path | None = None) -> None:
        from tantivy import Index, SchemaBuilder

        builder = SchemaBuilder()
        builder.add_text_field("stem", tokenizer_name=STEMMED, index_option="freq")
        builder.add_text_field("exact", tokenizer_name=EXACT, index_option="position")
        builder.add_text_field("title", tokenizer_name=STEMMED, index_option="freq")
        builder.add_text_field("path", tokenizer_name=EXACT, index_option="position")
        builder.add_unsigned_field("document", indexed=True, fast=True)
        for name in ("begin", "end", "line"):
            builder.add_unsigned_field(name, fast=True)
        self.schema = builder.build()
        self.index = Index(self.schema, path=str(directory) if directory else None)
        # Reloading by hand: tantivy's own reload contends for a file lock with ours, at 100 ms a time.
        self.index.config_reader("manual")
        register(self.index)
        self._writer = self.index.writer(_HEAP, 1)

    def add(self, document: int, text: DocumentText) -> int:
        """Index a document's passages; gives their number. Visible after `commit`."""
        from tantivy import Document

        found = spans(text)
        path = folded(text.path)
        for number, span in enumerate(found):
            body = folded(text.data[span.begin : span.end].decode("utf-8"))
            following = found[number + 1].begin if number + 1 < len(found) else None
            exact = " ".join([body, tail(text, span, following)])
            self._writer.add_document(
                Document.from_dict(
                    {
                        "stem": body,
                        "exact": exact,
                        "title": folded(span.heading),
                        "path": path,
                        "document": document,
                        "begin": span.begin,
                        "end": span.end,
                        "line": span.start_line,
                    },
                    self.schema,
                )
            )
        return len(found)

    def remove(self, document: int) -> None:
        """Take a document out. Visible after `commit`."""
        self._writer.delete_documents_by_term("document", document)

    def commit(self) -> None:
        """Make all changes visible to the searches that start after it."""
        self._writer.commit()
        self.index.reload()

    def search(self, query: Any, limit: int, documents: Collection[int] | None = None) -> list[Scored]:
        """The best `limit` passages, within `documents` if given; equal scores are in no particular order."""
        from tantivy import Occur, Query

        if limit < 1 or (documents is not None and not documents):
            return []
        if documents is not None:
            within = Query.const_score_query(
                Query.term_set_query(self.schema, "document", list(documents)), 0.0
            )
            query = Query.boolean_query([(Occur.Must, query), (Occur.Must, within)])
        searcher = self.index.searcher()
        hits = searcher.search(query, limit, count=False).hits
        addresses = [address for _, address in hits]
        columns = [
            searcher.fast_field_values(name, addresses) for name in ("document", "begin", "end", "line")
        ]
        return [
            Scored(int(document), int(begin), int(end), int(line), score)
            for (score, _), document, begin, end, line in zip(hits, *columns, strict=True)
        ]

    def query(self, group: q.Group) -> tuple[Any, Needles]:
        """The tantivy query of a parsed one, or None when it has no words, and what its hits' lines are found by."""
        needles = _Gathered()
        built = self._group(group, needles, wanted=True)
        return built, Needles(frozenset(needles.stems), tuple(needles.prefixes), tuple(needles.phrases))

    def _group(self, group: q.Group, needles: "_Gathered", *, wanted: bool) -> Any:
        from tantivy import Occur, Query

        occurs = {"should": Occur.Should, "must": Occur.Must, "not": Occur.MustNot}
        ranked = [
            c for c in group.clauses if not (c.occur == "should" and _is_stop_word(c.node))
        ] or group.clauses
        clauses = []
        for clause in ranked:
            positive = wanted and clause.occur != "not"
            if isinstance(clause.node, q.Group):
                built = self._group(clause.node, needles, wanted=positive)
            else:
                built = self._term(clause.node, needles if positive else _Gathered(), clause.occur)
            if built is not None:
                clauses.append((occurs[clause.occur], built))
        if not clauses:
            return None
        if all(occur == Occur.MustNot for occur, _ in clauses):
            clauses.append((Occur.Must, Query.all_query()))
        return clauses[0][1] if len(clauses) == 1 else Query.boolean_query(clauses)

    def _term(self, term: q.Term, needles: "_Gathered", occur: q.Occur) -> Any:
        words = exact_terms(term.text)
        if not words:
            return None
        if term.field == "title":
            return self._all("title", stems(term.text))
        if term.field == "path":
            return self._prefix("path", words) if term.prefix else self._phrase("path", words)
        if term.prefix:
            needles.prefixes.append(words[-1])
            return self._prefix("exact", words)
        if term.quoted or (len(words) > 1 and occur != "should"):
            needles.phrases.append(tuple(words))
            return self._phrase("exact", words)
        return self._bare(term.text, words, needles)

    def _bare(self, text: str, words: list[str], needles: "_Gathered") -> Any:
        from tantivy import Occur, Query

        if len(words) == 1 and not unspaced(words[0][0]):
            found = stems(text)
            needles.stems.update(found)
            return self._word(found[0])
        # `state-of-the-art`, `foo.bar` or a run of an unspaced script: together is best, in part will do.
        needles.phrases.append(tuple(words))
        parts = [self._phrase("exact", words)]
        for left, right in pairwise(words):
            if unspaced(left[0]) and unspaced(right[0]) and words[2:]:
                needles.phrases.append((left, right))
                parts.append(self._phrase("exact", [left, right]))
        for word, stem in zip(words, stems(text), strict=True):
            if not unspaced(word[0]) and word not in STOP_WORDS:
                needles.stems.add(stem)
                parts.append(self._word(stem))
        return Query.boolean_query([(Occur.Should, part) for part in parts])

    def _word(self, stem: str) -> Any:
        from tantivy import Occur, Query

        in_title = Query.boost_query(Query.term_query(self.schema, "title", stem, "freq"), _TITLE_BOOST)
        in_text = Query.term_query(self.schema, "stem", stem, "freq")
        return Query.boolean_query([(Occur.Should, in_text), (Occur.Should, in_title)])

    def _all(self, field: str, words: list[str]) -> Any:
        from tantivy import Occur, Query

        return Query.boolean_query(
            [(Occur.Must, Query.term_query(self.schema, field, word, "freq")) for word in words]
        )

    def _phrase(self, field: str, words: Sequence[str]) -> Any:
        from tantivy import Query

        if len(words) == 1:
            return Query.term_query(self.schema, field, words[0])
        return Query.phrase_query(self.schema, field, list(words))

    def _prefix(self, field: str, words: list[str]) -> Any:
        from tantivy import Occur, Query

        matches = self.index.searcher().terms_with_prefix(field, words[-1], None, _EXPANSIONS)
        any_word = Query.boolean_query(
            [(Occur.Should, Query.term_query(self.schema, field, word)) for word, _ in matches]
        )
        if len(words) == 1:
            return any_word
        return Query.boolean_query([(Occur.Must, self._phrase(field, words[:-1])), (Occur.Must, any_word)])


class _Gathered:
    """Needles while they are being collected."""

    def __init__(self) -> None:
        self.stems: set[str] = set()
        self.prefixes: list[str] = []
        self.phrases: list[tuple[str, ...]] = []


def _is_stop_word(node: q.Term | q.Group) -> bool:
    return (
        isinstance(node, q.Term)
        and node.field == "text"
        and not node.quoted
        and node.text.lower() in STOP_WORDS
    )


def tail(text: DocumentText, span: Span, following: int | None) -> str:
    """What is added to a passage's exact words: the beginning of the next one, and words split at line ends."""
    parts = []
    if following is not None:
        after = text.data[following : following + _TAIL_BYTES].decode("utf-8", "ignore")
        parts.append(" ".join(folded(after).split()[:_TAIL_WORDS]))
    if apart := line_end_hyphens(text.data[span.begin : span.end].decode("utf-8")):
        parts.append(". " + folded(apart))
    return " ".join(parts)


def best_line(text: str, needles: Needles) -> int:
    """The index of the line of a passage that holds the most of what was searched for; the first one of equals."""
    lines = folded(text).replace("\n", f"\n{_BREAK}\n")
    score: dict[int, int] = {}
    if needles.stems:
        for number, words in _by_line(analyzer(STEMMED).analyze(lines)):
            score[number] = len(needles.stems.intersection(words))
    if needles.phrases or needles.prefixes:
        exact = analyzer(EXACT).analyze(lines)
        for number, words in _by_line(exact):
            found = sum(1 for prefix in needles.prefixes if any(word.startswith(prefix) for word in words))
            score[number] = score.get(number, 0) + found
        for phrase in needles.phrases:
            for number in _phrase_lines(exact, phrase):
                score[number] = score.get(number, 0) + len(phrase) + 1
    return max(score, key=lambda number: (score[number], -number), default=0)


def _by_line(words: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    line: list[str] = []
    number = 0
    for word in words:
        if word == _BREAK:
            yield number, line
            line, number = [], number + 1
        else:
            line.append(word)
    yield number, line


def _phrase_lines(words: Sequence[str], phrase: tuple[str, ...]) -> Iterator[int]:
    """The lines on which a phrase begins."""
    flat: list[str] = []
    lines: list[int] = []
    for number, line in _by_line(words):
        flat += line
        lines += [number] * len(line)
    for at in range(len(flat) - len(phrase) + 1):
        if flat[at] == phrase[0] and tuple(flat[at : at + len(phrase)]) == phrase:
            yield lines[at]


def match_position(line: str, needles: Needles) -> int:
    """About where in a long line the most of what was searched for is, in characters."""
    if len(line) <= MAX_LINE:
        return 0
    step = MAX_LINE // 2
    starts = range(0, len(line), step)
    weights = [(_weight(line[start : start + step], needles), -start) for start in starts]
    return -max(weights)[1]


def _weight(text: str, needles: Needles) -> int:
    exact = exact_terms(text)
    return (
        len(needles.stems.intersection(stems(text)))
        + sum(1 for prefix in needles.prefixes if any(word.startswith(prefix) for word in exact))
        + sum(
            len(phrase) + 1
            for phrase in needles.phrases
            if any(True for _ in islice(_phrase_lines(exact, phrase), 1))
        )
    )
