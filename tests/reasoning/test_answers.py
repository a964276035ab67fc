"""What counts as the JSON that was asked for."""

import pytest

from research_reasoning.answers import checked_citations, combined, findings, json_object

GOOD = '{"relevant": true, "findings": [{"claim": "c", "quotes": ["q"]}]}'


@pytest.mark.parametrize(
    "answer", [GOOD, f"```json\n{GOOD}\n```", f"Sure {{here}}:\n{GOOD}\nThat is all.", f" {GOOD} {GOOD}"]
)
def test_the_object_is_found_in_a_fence_or_between_words(answer: str) -> None:
    found = findings(answer, 3)
    assert found is not None
    assert (found[0].claim, found[0].quotes) == ("c", ("q",))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no json",
        "[1]",
        '{"findings": 3}',
        '{"findings": [3]}',
        '{"findings": [{"claim": ""}]}',
        '{"findings": [{"claim": 3}]}',
        '{"findings": [{"claim": "c", "quotes": 3}]}',
        '{"findings": [{"claim": "c", "quotes": [3]}]}',
        GOOD[:-3],
        "{" * 50_000,
        '{"a":' * 50_000,
    ],
)
def test_anything_else_is_not_taken_for_findings(answer: str) -> None:
    assert findings(answer, 3) is None


def test_a_document_s_own_references_do_not_become_citations() -> None:
    found = findings('{"findings": [{"claim": "Shown by Chaum [1], and later [2, 3].", "quotes": []}]}', 3)
    assert found is not None
    assert found[0].claim == "Shown by Chaum, and later."


def test_more_than_was_asked_for_is_left_out() -> None:
    many = '{"findings": [' + ",".join(['{"claim": "c", "quotes": ["a", "b", "c", "d", " "]}'] * 9) + "]}"
    found = findings(many, 2)
    assert found is not None
    assert [finding.quotes for finding in found] == [("a", "b", "c"), ("a", "b", "c")]
    single = findings('{"findings": [{"claim": "c", "quotes": "one"}]}', 2)
    assert single is not None
    assert single[0].quotes == ("one",)


@pytest.mark.parametrize(
    "answer",
    [
        "{}",
        '{"synthesis": ""}',
        '{"synthesis": "s"}',
        '{"synthesis": "s", "insights": 3}',
        '{"synthesis": "s", "insights": [3]}',
        '{"synthesis": "s", "insights": [{"claim": " "}]}',
        '{"synthesis": "s", "insights": [{"claim": "c", "evidence": "1.1"}]}',
        '{"synthesis": "s", "insights": [], "answered": "yes"}',
    ],
)
def test_anything_else_is_not_taken_for_a_combination(answer: str) -> None:
    assert combined(answer, 3) is None


def test_a_combination_is_answered_unless_it_says_no() -> None:
    yes = combined('{"synthesis": "s", "insights": [{"claim": " c\\n d ", "evidence": ["[1.1]", 2.1]}]}', 3)
    no = combined('{"synthesis": "s", "insights": [], "answered": false}', 3)
    assert yes is not None
    assert no is not None
    assert (yes.answered, yes.insights, no.answered) == (True, (("c d", ("1.1", "2.1")),), False)


@pytest.mark.parametrize(
    ("text", "checked", "wrong"),
    [
        ("a [1] b [2].", "a [1] b [2].", []),
        ("a [3] b [1, 9; 2]", "a  b [1, 2]", [3, 9]),
        ("[link](x) [0] a[2]", "[link](x)  a[2]", [0]),
        ("[99999] stays, it is no citation", "[99999] stays, it is no citation", []),
    ],
)
def test_citations_of_sources_that_are_not_there_are_removed(
    text: str, checked: str, wrong: list[int]
) -> None:
    assert checked_citations(text, {1, 2}) == (checked, wrong)


def test_the_first_object_counts() -> None:
    assert json_object('{"a": 1} {"b": 2}') == {"a": 1}
