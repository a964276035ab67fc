"""What the query language asks the cluster for."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from research_documents.opensearch.passages import filters_of
from research_documents.opensearch.query import MOST_CLAUSES, OpenSearchDialect
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.keyword.builder import build_in
from research_documents.search.keyword.query import parse_query
from research_shared.access.scope import Scope
from research_shared.documents import DocumentInfo, Identity


def asked(query: str) -> tuple[Any, OpenSearchDialect]:
    group = parse_query(query).group
    dialect = OpenSearchDialect(group)
    return build_in(dialect, group)[0], dialect


def term(field: str, word: str) -> dict[str, Any]:
    return {"term": {field: {"value": word}}}


def phrase(field: str, words: str) -> dict[str, Any]:
    return {"match_phrase": {field: {"query": words}}}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Dances", term("stem", "danc")),
        ('"Dances"', term("exact", "dances")),
        ("title:bees", {"bool": {"must": [term("title", "bee")]}}),
        ("path:reports/2024", phrase("words_of_path", "reports 2024")),
        ("+honey bee", {"bool": {"must": [term("stem", "honey")], "should": [term("stem", "bee")]}}),
        ("honey the bee", {"bool": {"should": [term("stem", "honey"), term("stem", "bee")]}}),
        ("honey -wasp", {"bool": {"should": [term("stem", "honey")], "must_not": [term("stem", "wasp")]}}),
        (
            "-wasp",
            {
                "bool": {
                    "must_not": [term("stem", "wasp")],
                    "must": [{"match_all": {}}],
                }
            },
        ),
        (
            "混合网",
            {
                "bool": {
                    "should": [
                        phrase("exact", "混 合 网"),
                        phrase("exact", "混 合"),
                        phrase("exact", "合 网"),
                    ]
                }
            },
        ),
    ],
)
def test_a_query_is_asked_for_with_the_terms_of_the_index(query: str, expected: dict[str, Any]) -> None:
    assert asked(query)[0] == expected


def test_nothing_is_asked_for_without_a_word() -> None:
    assert asked("?!")[0] is None


def test_a_prefix_ranks_some_words_and_matches_all() -> None:
    any_word = {
        "bool": {
            "should": [
                {"prefix": {"exact": {"value": "bee", "rewrite": "top_terms_64"}}},
                {"constant_score": {"filter": {"prefix": {"exact": {"value": "bee"}}}, "boost": 0.0}},
            ]
        }
    }
    assert asked("bee*")[0] == any_word
    assert asked("honey-bee*")[0] == {"bool": {"must": [term("exact", "honey"), any_word]}}


def test_many_prefixes_stay_within_what_a_cluster_takes() -> None:
    built, _ = asked(" ".join(f"w{number}*" for number in range(100)))
    expansions = [each["bool"]["should"][0]["prefix"]["exact"]["rewrite"] for each in built["bool"]["should"]]
    assert expansions == ["top_terms_5"] * 100


def test_what_is_too_much_for_a_cluster_is_left_out_and_said() -> None:
    built, dialect = asked("+" + "混合网络" * 200 + " " + "安全通信" * 200 + " +honey")
    assert dialect.cut
    assert len(str(built).split("match_phrase")) - 1 <= MOST_CLAUSES
    assert not asked("+混合网络 +honey")[1].cut


def test_a_search_of_everything_does_not_look_at_each_document_that_is_left_out() -> None:
    looks: list[int] = []

    def look() -> Iterator[CatalogEntry]:
        looks.append(1)
        yield meant[0]

    identity = Identity.elsewhere(size=1, mtime_ns=1)
    info = DocumentInfo(path="notes.md", root="r", media_type="text/markdown", identity=identity)
    meant = (CatalogEntry(id=1, info=info),)
    everything = Selection(readable=meant, unreadable=(), everything=True)
    assert filters_of(everything, known=look(), scope=Scope(), key=str) == []
    assert not looks
    assert filters_of(replace(everything, everything=False), known=look(), scope=Scope(), key=str) == []
    assert looks
