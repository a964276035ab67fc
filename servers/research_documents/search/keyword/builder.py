"""Builds a tantivy query from a parsed one, without tantivy's own parser."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.keyword import query as q
from research_documents.search.keyword.best_line import HighlightTerms
from research_shared.text.analysis import STOP_WORDS, exact_terms, is_quantity, stems, syllabic, unspaced

_EXPANSIONS: Final = 64
"""Number of words per prefix that contribute to the score."""
_SYLLABLE_RUN: Final = 2
_LETTER_RUN: Final = 4
"""Consecutive characters that are searched for together, in scripts of syllables or ideographs and in alphabets."""


def build(group: q.Group, index: PassageIndex) -> tuple[Any, HighlightTerms]:
    """Return the tantivy query, or None if there is no word to search for, and the terms to highlight."""
    builder = _Builder(index)
    return builder.group(group), HighlightTerms(
        stems=frozenset(builder.stems),
        prefixes=tuple(builder.prefixes),
        phrases=tuple(builder.phrases),
        typed=frozenset(builder.typed),
    )


class _Builder:
    """Builds a query recursively and collects the terms to highlight."""

    def __init__(self, index: PassageIndex) -> None:
        self.stems: set[str] = set()
        self.prefixes: list[str] = []
        self.phrases: list[tuple[str, ...]] = []
        self.typed: set[str] = set()
        self._index = index
        self._schema = index.schema

    def group(self, group: q.Group, *, wanted: bool = True) -> Any:
        """Return the query of a group; None if it has no searchable word."""
        from tantivy import Occur, Query

        occurs = {"should": Occur.Should, "must": Occur.Must, "not": Occur.MustNot}
        ranked = [c for c in group.clauses if not (c.occur == "should" and _is_stop_word(c.node))]
        clauses = []
        for clause in ranked or group.clauses:
            positive = wanted and clause.occur != "not"
            if isinstance(clause.node, q.Group):
                built = self.group(clause.node, wanted=positive)
            else:
                built = self._term(clause.node, clause.occur, wanted=positive)
            if built is not None:
                clauses.append((occurs[clause.occur], built))
        if not clauses:
            return None
        if all(occur == Occur.MustNot for occur, _ in clauses):
            # A constant score: nested in other queries, tantivy scores `all_query` as 1 or 0.
            clauses.append((Occur.Must, Query.const_score_query(Query.all_query(), 1.0)))
        if len(clauses) == 1:
            return clauses[0][1]
        return Query.boolean_query(clauses)

    def _term(self, term: q.Term, occur: q.Occur, *, wanted: bool) -> Any:
        words = exact_terms(term.text)
        if not words:
            return None
        if term.field == "title":
            return self._all("title", stems(term.text))
        if term.field == "path":
            return self._prefix("path", words) if term.prefix else self._phrase("path", words)
        if wanted and not term.prefix:
            self.typed.add(term.text)
        if term.prefix:
            self.prefixes += words[-1:] if wanted else []
            return self._prefix("exact", words)
        if term.quoted or (len(words) > 1 and (occur != "should" or is_quantity(term.text))):
            self.phrases += [tuple(words)] if wanted else []
            return self._phrase("exact", words)
        return (
            self._word(stems(term.text)[0], wanted=wanted)
            if _is_plain(words)
            else self._compound(term.text, words)
        )

    def _word(self, stem: str, *, wanted: bool = True) -> Any:
        from tantivy import Query

        self.stems |= {stem} if wanted else set()
        return Query.term_query(self._schema, "stem", stem, "freq")

    def _compound(self, text: str, words: list[str]) -> Any:
        """Return a query that prefers all words of `state-of-the-art` together and accepts some of them."""
        from tantivy import Occur, Query

        parts = [self._phrase("exact", words)]
        self.phrases.append(tuple(words))
        for run in _runs(words):
            if len(run) < len(words):
                self.phrases.append(run)
                parts.append(self._phrase("exact", run))
        for word, stem in zip(words, stems(text), strict=True):
            if not unspaced(word[0]) and word not in STOP_WORDS:
                parts.append(self._word(stem))
        return Query.boolean_query([(Occur.Should, part) for part in parts])

    def _all(self, field: str, words: Sequence[str]) -> Any:
        from tantivy import Occur, Query

        terms = [Query.term_query(self._schema, field, word, "freq") for word in words]
        return Query.boolean_query([(Occur.Must, term) for term in terms])

    def _phrase(self, field: str, words: Sequence[str]) -> Any:
        from tantivy import Query

        if len(words) == 1:
            return Query.term_query(self._schema, field, words[0])
        return Query.phrase_query(self._schema, field, list(words))

    def _prefix(self, field: str, words: Sequence[str]) -> Any:
        """Return a query for words with a prefix: the most frequent ones contribute to the score, all others match."""
        from tantivy import Occur, Query

        frequent = self._index.searcher.terms_with_prefix(field, words[-1], None, _EXPANSIONS)
        any_word = [(Occur.Should, Query.term_query(self._schema, field, word)) for word, _ in frequent]
        if len(frequent) == _EXPANSIONS:
            # Words consist of letters and digits, so nothing needs escaping.
            others = Query.regex_query(self._schema, field, words[-1] + ".*")
            any_word.append((Occur.Should, Query.const_score_query(others, 0.0)))
        if not any_word:
            return Query.empty_query()
        if len(words) == 1:
            return Query.boolean_query(any_word)
        before = self._phrase(field, words[:-1])
        return Query.boolean_query([(Occur.Must, before), (Occur.Must, Query.boolean_query(any_word))])


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
