"""The query language: whatever is typed is a query."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_documents.search.keyword.query import (
    MAX_NESTING,
    MAX_QUERY_LENGTH,
    MAX_TERMS,
    Clause,
    Group,
    Term,
    parse_query,
)
from support.sizes import examples


def clauses(text: str) -> list[tuple[str, object]]:
    return [(clause.occur, clause.node) for clause in parse_query(text).group.clauses]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red fox", [("should", Term(text="red")), ("should", Term(text="fox"))]),
        ('"red fox" x', [("should", Term(text="red fox", quoted=True)), ("should", Term(text="x"))]),
        (
            "+red -fox NOT dog",
            [("must", Term(text="red")), ("not", Term(text="fox")), ("not", Term(text="dog"))],
        ),
        ("fo*", [("should", Term(text="fo", prefix=True))]),
        (
            "title:intro path:notes/a.md",
            [
                ("should", Term(text="intro", field="title")),
                ("should", Term(text="notes/a.md", field="path")),
            ],
        ),
        ("std::vec a:b", [("should", Term(text="std::vec")), ("should", Term(text="a:b"))]),
        (
            "C++ - item",
            [("should", Term(text="C++")), ("should", Term(text="-")), ("should", Term(text="item"))],
        ),
        ("a OR b", [("should", Term(text="a")), ("should", Term(text="b"))]),
        ("AND OR", []),
        ('"unclosed words', [("should", Term(text="unclosed words", quoted=True))]),
        ("a) b", [("should", Term(text="a")), ("should", Term(text="b"))]),
        ("(", []),
        ("*", [("should", Term(text="*"))]),
    ],
)
def test_what_a_query_means(text: str, expected: list[tuple[str, object]]) -> None:
    assert clauses(text) == expected


def test_and_binds_tighter_than_or_and_parentheses_bind_tighter_still() -> None:
    (both, other) = parse_query("a AND (b OR c) OR d").group.clauses
    inner = Group((Clause("should", Term(text="b")), Clause("should", Term(text="c"))))
    assert both.node == Group((Clause("must", Term(text="a")), Clause("must", inner)))
    assert other == Clause("should", Term(text="d"))


def test_and_not_excludes() -> None:
    (clause,) = parse_query("a AND NOT b").group.clauses
    assert clause.node == Group((Clause("must", Term(text="a")), Clause("not", Term(text="b"))))


def test_the_limits_are_told() -> None:
    assert "terms" in parse_query("x " * (MAX_TERMS + 1)).warnings[0]
    assert "parentheses" in parse_query("(" * (MAX_NESTING + 2) + "x").warnings[0]
    assert "characters" in parse_query("x" * (MAX_QUERY_LENGTH + 1)).warnings[0]


@settings(max_examples=examples(300), deadline=None)
@given(st.text(st.sampled_from('ab "()+-*:ANDORNOT title:path\\\n東é'), max_size=200))
def test_nothing_that_is_typed_fails(text: str) -> None:
    assert isinstance(parse_query(text).group, Group)
