"""The query language as queries of OpenSearch, with the meaning and the scores that they have in the embedded index."""

from collections.abc import Sequence
from typing import Any, Final

from research_documents.search.keyword import query as q
from research_documents.search.keyword.builder import EXPANSIONS

ClusterJson = dict[str, Any]

MOST_CLAUSES: Final = 900
"""Words and phrases of one query. A cluster refuses more than 1,024 by default, with what prefixes expand to."""
_FIELDS: Final = {"path": "words_of_path"}
_FOR_PREFIXES: Final = 512

MATCH_NOTHING: Final[ClusterJson] = {"match_none": {}}
TOO_LONG: Final = (
    f"only the first {MOST_CLAUSES - _FOR_PREFIXES} words and pairs of letters of the query were used"
)


class OpenSearchDialect:
    """Makes queries of the index on a cluster. One instance makes one query, and counts what that takes.

    `cut` says that the query had more words, or pairs of letters of a script without spaces, than a cluster takes.
    """

    def __init__(self, group: q.Group) -> None:
        prefixes = _number_of_prefixes(group)
        self._expansions = min(EXPANSIONS, _FOR_PREFIXES // prefixes) if prefixes else 0
        self._left = MOST_CLAUSES - _FOR_PREFIXES
        self.cut = False

    def word(self, field: str, word: str) -> ClusterJson:
        """Return a query for a word."""
        return {"term": {_field(field): {"value": word}}} if self._counted() else MATCH_NOTHING

    def phrase(self, field: str, words: Sequence[str]) -> ClusterJson:
        """Return a query for words in this order; the cluster splits them at the spaces between them."""
        if len(words) == 1:
            return self.word(field, words[0])
        return (
            {"match_phrase": {_field(field): {"query": " ".join(words)}}}
            if self._counted()
            else MATCH_NOTHING
        )

    def prefix(self, field: str, words: Sequence[str]) -> ClusterJson:
        """Return a query for words with a prefix: a few words that begin so contribute to the score, all others match."""
        name = _field(field)
        begins = {"value": words[-1]}
        any_word: ClusterJson = {
            "bool": {
                "should": [
                    {"prefix": {name: {**begins, "rewrite": f"top_terms_{self._expansions}"}}},
                    {"constant_score": {"filter": {"prefix": {name: begins}}, "boost": 0.0}},
                ]
            }
        }
        if len(words) == 1:
            return any_word
        return {"bool": {"must": [self.phrase(field, words[:-1]), any_word]}}

    def boolean(self, clauses: Sequence[tuple[q.Occur, Any]]) -> ClusterJson:
        """Return a boolean query. With a clause that must match, the others only add to the score."""
        names = {"should": "should", "must": "must", "not": "must_not"}
        found: dict[str, list[ClusterJson]] = {}
        for occur, query in clauses:
            if query is not MATCH_NOTHING:  # what there was no room for
                found.setdefault(names[occur], []).append(query)
        return {"bool": dict(found)} if found else MATCH_NOTHING

    def everything(self) -> ClusterJson:
        """Return a query of a constant score."""
        return {"match_all": {}}

    def _counted(self) -> bool:
        self._left -= 1
        self.cut = self.cut or self._left < 0
        return self._left >= 0


def _field(name: str) -> str:
    return _FIELDS.get(name, name)


def _number_of_prefixes(group: q.Group) -> int:
    return sum(
        _number_of_prefixes(clause.node) if isinstance(clause.node, q.Group) else clause.node.prefix
        for clause in group.clauses
    )
