"""Builds the query of an index from a parsed one, without the parser of the index: for tantivy, or in another dialect."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final, Protocol

from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.keyword import query as q
from research_documents.search.keyword.best_line import HighlightTerms
from research_shared.text.analysis import STOP_WORDS, exact_terms, is_quantity, stems, syllabic, unspaced

EXPANSIONS: Final = 64
"""Number of words per prefix that contribute to the score."""
_SYLLABLE_RUN: Final = 2
_LETTER_RUN: Final = 4
"""Consecutive characters that are searched for together, in scripts of syllables or ideographs and in alphabets."""


class QueryDialect(Protocol):
    """Makes the queries of one index out of words. The fields are those of the passage index, the words its terms."""

    def word(self, field: str, word: str) -> Any:
        """Return a query for a word."""

    def phrase(self, field: str, words: Sequence[str]) -> Any:
        """Return a query for words in this order, one after the other; of one word, for that word."""

    def prefix(self, field: str, words: Sequence[str]) -> Any:
        """Return a query for words of which the last one is the beginning of any word."""

    def boolean(self, clauses: Sequence[tuple[q.Occur, Any]]) -> Any:
        """Return a query that ranks clauses together: those that should match count if they do, and one must if none has to."""

    def everything(self) -> Any:
        """Return a query that gives every passage the score 1."""


def build(group: q.Group, index: PassageIndex) -> tuple[Any, HighlightTerms]:
    """Return the tantivy query, or None if there is no word to search for, and the terms to highlight."""
    return build_in(TantivyDialect(index), group)


def build_in(dialect: QueryDialect, group: q.Group) -> tuple[Any, HighlightTerms]:
    """Return the query in this dialect, or None if there is no word to search for, and the terms to highlight."""
    builder = _Builder(dialect)
    return builder.group(group), HighlightTerms(
        stems=frozenset(builder.stems),
        prefixes=tuple(builder.prefixes),
        phrases=tuple(builder.phrases),
        typed=frozenset(builder.typed),
    )


class TantivyDialect:
    """Makes queries of the embedded index."""

    def __init__(self, index: PassageIndex) -> None:
        self._index = index
        self._schema = index.schema

    def word(self, field: str, word: str) -> Any:
        """Return a term query; fields of stems have no positions."""
        from tantivy import Query

        if field in {"stem", "title"}:
            return Query.term_query(self._schema, field, word, "freq")
        return Query.term_query(self._schema, field, word)

    def phrase(self, field: str, words: Sequence[str]) -> Any:
        """Return a phrase query, or that of the only word."""
        from tantivy import Query

        return (
            self.word(field, words[0])
            if len(words) == 1
            else Query.phrase_query(self._schema, field, list(words))
        )

    def prefix(self, field: str, words: Sequence[str]) -> Any:
        """Return a query for words with a prefix: the most frequent ones contribute to the score, all others match."""
        from tantivy import Occur, Query

        frequent = self._index.searcher.terms_with_prefix(field, words[-1], None, EXPANSIONS)
        any_word = [(Occur.Should, Query.term_query(self._schema, field, word)) for word, _ in frequent]
        if len(frequent) == EXPANSIONS:
            # Words consist of letters and digits, so nothing needs escaping.
            others = Query.regex_query(self._schema, field, words[-1] + ".*")
            any_word.append((Occur.Should, Query.const_score_query(others, 0.0)))
        if not any_word:
            return Query.empty_query()
        if len(words) == 1:
            return Query.boolean_query(any_word)
        before = self.phrase(field, words[:-1])
        return Query.boolean_query([(Occur.Must, before), (Occur.Must, Query.boolean_query(any_word))])

    def boolean(self, clauses: Sequence[tuple[q.Occur, Any]]) -> Any:
        """Return a boolean query."""
        from tantivy import Occur, Query

        occurs = {"should": Occur.Should, "must": Occur.Must, "not": Occur.MustNot}
        return Query.boolean_query([(occurs[occur], query) for occur, query in clauses])

    def everything(self) -> Any:
        """Return a query of a constant score: nested in other queries, tantivy scores `all_query` as 1 or 0."""
        from tantivy import Query

        return Query.const_score_query(Query.all_query(), 1.0)


class _Builder:
    """Builds a query recursively and collects the terms to highlight."""

    def __init__(self, dialect: QueryDialect) -> None:
        self.stems: set[str] = set()
        self.prefixes: list[str] = []
        self.phrases: list[tuple[str, ...]] = []
        self.typed: set[str] = set()
        self._dialect = dialect

    def group(self, group: q.Group, *, wanted: bool = True) -> Any:
        """Return the query of a group; None if it has no searchable word."""
        ranked = [c for c in group.clauses if not (c.occur == "should" and _is_stop_word(c.node))]
        clauses: list[tuple[q.Occur, Any]] = []
        for clause in ranked or group.clauses:
            positive = wanted and clause.occur != "not"
            if isinstance(clause.node, q.Group):
                built = self.group(clause.node, wanted=positive)
            else:
                built = self._term(clause.node, clause.occur, wanted=positive)
            if built is not None:
                clauses.append((clause.occur, built))
        if not clauses:
            return None
        if all(occur == "not" for occur, _ in clauses):
            clauses.append(("must", self._dialect.everything()))
        if len(clauses) == 1:
            return clauses[0][1]
        return self._dialect.boolean(clauses)

    def _term(self, term: q.Term, occur: q.Occur, *, wanted: bool) -> Any:
        words = exact_terms(term.text)
        if not words:
            return None
        dialect = self._dialect
        if term.field == "title":
            return dialect.boolean([("must", dialect.word("title", stem)) for stem in stems(term.text)])
        if term.field == "path":
            return dialect.prefix("path", words) if term.prefix else dialect.phrase("path", words)
        if wanted and not term.prefix:
            self.typed.add(term.text)
        if term.prefix:
            self.prefixes += words[-1:] if wanted else []
            return dialect.prefix("exact", words)
        if term.quoted or (len(words) > 1 and (occur != "should" or is_quantity(term.text))):
            self.phrases += [tuple(words)] if wanted else []
            return dialect.phrase("exact", words)
        return (
            self._word(stems(term.text)[0], wanted=wanted)
            if _is_plain(words)
            else self._compound(term.text, words)
        )

    def _word(self, stem: str, *, wanted: bool = True) -> Any:
        self.stems |= {stem} if wanted else set()
        return self._dialect.word("stem", stem)

    def _compound(self, text: str, words: list[str]) -> Any:
        """Return a query that prefers all words of `state-of-the-art` together and accepts some of them."""
        parts = [self._dialect.phrase("exact", words)]
        self.phrases.append(tuple(words))
        for run in _runs(words):
            if len(run) < len(words):
                self.phrases.append(run)
                parts.append(self._dialect.phrase("exact", run))
        for word, stem in zip(words, stems(text), strict=True):
            if not unspaced(word[0]) and word not in STOP_WORDS:
                parts.append(self._word(stem))
        return self._dialect.boolean([("should", part) for part in parts])


def _runs(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the runs of unspaced characters that mean something together: pairs of syllables, four letters of an alphabet."""
    for is_unspaced, group in groupby(words, key=lambda word: unspaced(word[0])):
        run = tuple(group)
        if is_unspaced:
            size = min(_SYLLABLE_RUN if all(syllabic(word[0]) for word in run) else _LETTER_RUN, len(run))
            if size > 1:
                yield from (run[at : at + size] for at in range(len(run) - size + 1))


def _is_plain(words: Sequence[str]) -> bool:
    return len(words) == 1 and not unspaced(words[0][0])


def _is_stop_word(node: q.Term | q.Group) -> bool:
    return (
        isinstance(node, q.Term)
        and node.field == "text"
        and not node.quoted
        and node.text.lower() in STOP_WORDS
    )
