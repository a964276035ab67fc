"""Which object of an answer counts, and which of its parts."""

import json
from collections.abc import Sequence

import pytest

from research_reasoning.evidence.answers import (
    combined,
    findings,
    looks_like_json,
    search_queries,
    table_aspects,
    with_citations,
)


def claims(answer: str, most: int = 9) -> list[str] | None:
    found = findings(answer, most)
    return None if found is None else [finding.claim for finding in found]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"claim": "c", "quotes": []}', ["c"]),
        ('{"findings": []} {"claim": "c"}', ["c"]),
        ('{"findings": [{"claim": "a"}, {"claim": "b"', ["a"]),
        ('{"findings": [{"claim": "a"}, 5 6] {"claim": "b"}', ["a", "b"]),
        ('{"findings": [{"claim": "a"}]} {"claim": "b"}', ["b"]),
        ('[{"claim": "a"}, {"claim": "b"}]', ["a", "b"]),
        ('[{"claim": "a"}] {"claim": "b"}', ["b"]),
        ('{"findings": [{"claim": "a"}]} {"synthesis": "s", 5}', ["a"]),
        ("[1, 2]", None),
        ('{"relevant": true}', None),
        ('{"relevant": false, "findings": "none"}', None),
        ('{"a": {"b": {"findings": [{"claim": "c"}]}}}', None),
        ('{"a": {"findings": [{"claim": "c"}]}, "b": 1}', ["c"]),
        ('{"a": {"findings": [{"claim": "c"}]}, "b": {}}', None),
        ('{"findings": [{"claim": "..."}, {"claim": "c"}]}', ["c"]),
        ('{"findings": ["..."]} ', None),
        ('{"findings": [{"claim": "c"}]} {"findings": [{"claim": "One sentence in your words"}]}', ["c"]),
    ],
)
def test_the_last_object_of_the_right_shape_counts(answer: str, expected: list[str] | None) -> None:
    assert claims(answer) == expected


@pytest.mark.parametrize(
    ("quotes", "expected"),
    [
        ('["q"]', ("q",)),
        ('{"text": "q"}', ("q",)),
        ('[{"text": "q"}, {"quote": "r"}, {"content": "s"}]', ("q", "r", "s")),
        ('[{"quote": "r", "text": "q"}]', ("q",)),
        ('["q", 5, "r"]', ("q", "r")),
        ('["q", ...]', ("q",)),
        ('["q", "..."]', ("q",)),
        ("[]", ()),
        ("null", None),
        ("5", None),
        ("[5]", None),
        ("[...]", None),
        ('[{"line": 5}]', None),
    ],
)
def test_quotes_are_texts_or_objects_that_hold_them(quotes: str, expected: tuple[str, ...] | None) -> None:
    found = findings(f'{{"findings": [{{"claim": "c", "quotes": {quotes}}}]}}', 3)
    assert (found[0].quotes if found else None) == expected


@pytest.mark.parametrize(
    ("synthesis", "expected"),
    [
        ('" s "', "s"),
        ('["a", "b"]', "a\n\nb"),
        ('["a", 5]', None),
        ("5", None),
        ('"<one paragraph>"', None),
        ('"..."', None),
        ('"{\\"claim\\": 1}"', None),
    ],
)
def test_a_synthesis_is_a_text_or_a_list_of_paragraphs(synthesis: str, expected: str | None) -> None:
    found = combined(f'{{"synthesis": {synthesis}, "insights": [{{"claim": "c"}}]}}', 3)
    assert (found.synthesis if found else None) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"synthesis": "s", "insights": [{"claim": "c"}], "contradictions": 5}', (1, 0)),
        ('{"synthesis": "s", "insights": {"claim": "c"}}', (1, 0)),
        ('{"synthesis": "s", "insights": [{"claim": "c"}], "contradictions": [{"claim": "d"}]}', (1, 1)),
        ('{"synthesis": "s", "insights": [{"claim": "c"}, {"claim": "d"}, {"claim": "e"}]}', (2, 0)),
        ('{"synthesis": "<a text>", "insights": [{"claim": "<one sentence>"}]}', None),
        ('{"synthesis": "s", "insights": [{"claim": "c"}]} {"claim": "d"}', (1, 0)),
        ('{"synthesis": "s", 5} {"claim": "d"}', (1, 0)),
        ('{"answered": true, 5} {"claim": "d"}', None),
        ('{"synthesis": "s", "insights": 5, 6} {"claim": "d"}', None),
        ('{"synthesis": "s", "insights": [{"claim": "c"}]} {"note": 5, 6}', (1, 0)),
        ('{"synthesis": "s", "insights": [{"claim": "c"}]} [{"claim": "d"}]', (1, 0)),
        ('{"synthesis": "s", "insights": [{"claim": "c"}]} {"synthesis": "...", "insights": []}', (1, 0)),
        ('{"relevant": false, "synthesis": "s"}', None),
        ('[{"claim": "c"}]', None),
        ('{"claim": "c"}', None),
        ('{"synthesis": "s", "insights": [{"claim": "c"}, {"claim": "d", ', (1, 0)),
        ('{"synthesis": "s", "insights": [{"claim": "c"}, 5 6] {"claim": "d"}', (2, 0)),
        ('{"synthesis": "s", "answered": true, ', None),
        ('{"answered": true, "insight', None),
    ],
)
def test_a_combination_holds_its_insights_and_contradictions(
    answer: str, expected: tuple[int, int] | None
) -> None:
    found = combined(answer, 2)
    assert ((len(found.insights), len(found.contradictions)) if found else None) == expected


@pytest.mark.parametrize(
    ("answered", "insights", "expected"),
    [
        ("true", "", True),
        ("false", '{"claim": "c"}', False),
        ('"no"', '{"claim": "c"}', False),
        ('"True"', "", True),
        ('"yes"', "", True),
    ],
)
def test_what_a_combination_says_of_itself_counts(answered: str, insights: str, *, expected: bool) -> None:
    found = combined(f'{{"answered": {answered}, "synthesis": "s", "insights": [{insights}]}}', 3)
    assert found is not None
    assert found.answered is expected


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ('["1.1", 2, 2.1, null, ["3"]]', ("1.1", "2", "2.1")),
        ('"1.1; [2.1]"', ("1.1", "2.1")),
        ("1.1", ("1.1",)),
        ("2", None),
        ("{}", None),
    ],
)
def test_the_marks_of_an_insight_are_texts_or_numbers(
    evidence: str, expected: tuple[str, ...] | None
) -> None:
    found = combined(f'{{"synthesis": "s", "insights": [{{"claim": "c", "evidence": {evidence}}}]}}', 3)
    assert (found.insights[0][1] if found else None) == expected


def test_an_insight_is_cut_at_the_length_of_a_claim() -> None:
    found = combined(json.dumps({"synthesis": "s", "insights": [{"claim": "c" * 601}]}), 3)
    assert found is not None
    assert found.insights[0][0] == "c" * 600


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', True),
        ("[[1]]", True),
        ('```json\n{"a": 1}', True),
        ("It says 'claim': so", True),
        ("[1] says so", False),
        ("{here} it is", False),
        ("The claim: it is so", False),
    ],
)
def test_what_begins_like_json_or_holds_its_names_is_no_prose(text: str, *, expected: bool) -> None:
    assert looks_like_json(text) is expected


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ('"source": 2', 2),
        ('"source": 2.0', 2),
        ('"source": "2"', 2),
        ('"source": "Source 23, p. 4"', 23),
        ('"source": [2]', 2),
        ('"source": []', None),
        ('"source": [2, 3]', None),
        ('"source": "none"', None),
        ('"source": true', None),
        ('"source": null', None),
        ('"source": {"number": 2}', None),
        ('"document": 3', 3),
        ('"document": 3, "source": 2', 2),
        ('"page": 2', None),
    ],
)
def test_a_finding_names_its_source_by_number(member: str, expected: int | None) -> None:
    found = findings(f'{{"findings": [{{"claim": "c", {member}}}]}}', 3)
    assert found is not None
    assert found[0].source == expected


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ('["a", "b"]', ("a", "b")),
        ('"a"', ("a",)),
        ('[" a\\n b ", "a b", "", "..."]', ("a b",)),
        ("[unknown, 5, null]", ()),
        ("null", ()),
        ('["1", "2", "3", "4", "5", "6"]', ("1", "2", "3", "4", "5")),
    ],
)
def test_what_stays_open_is_a_list_of_texts(missing: str, expected: tuple[str, ...]) -> None:
    found = combined(f'{{"synthesis": "s", "insights": [{{"claim": "c"}}], "missing": {missing}}}', 3)
    assert found is not None
    assert found.missing == expected


def test_search_queries_are_the_texts_of_their_list() -> None:
    assert search_queries('So: {"queries": ["a", " b\\tc ", "a", "d"]}', 2) == ["a", "b c"]
    assert search_queries('{"questions": ["a"]} and no more', 2) == []


def test_aspects_of_a_table_are_the_texts_of_their_list() -> None:
    assert table_aspects('{"aspects": ["a", "b", "c"], "queries": ["d"]}', 2) == ["a", "b"]
    assert table_aspects('{"queries": ["d"]}', 2) == []


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ('"claim": 4.5, "aspect": 1', ("4.5", "1", "")),
        ('"claim": 4.5', None),
        ('"claim": true, "aspect": 1', None),
        ('"claim": ["c"], "aspect": 1', None),
        ('"claim": "c", "aspect": " a\\n b ", "date": "2024-03"', ("c", "a b", "2024-03")),
        ('"claim": "c", "date": 2024', ("c", "", "2024")),
        ('"claim": "c", "aspect": true, "date": ["2024"]', ("c", "", "")),
        ('"claim": "c", "aspect": ..., "date": "..."', ("c", "", "")),
        ('"claim": "c", "aspect": unknown', ("c", "", "")),
    ],
)
def test_an_entry_of_a_table_may_be_a_number_and_has_an_aspect_and_a_date(
    members: str, expected: tuple[str, str, str] | None
) -> None:
    found = findings(f'{{"findings": [{{{members}}}]}}', 3)
    told = [(one.claim, one.aspect, one.date) for one in found or []]
    assert told == ([] if expected is None else [expected])


def test_citations_are_written_otherwise_and_code_is_not() -> None:
    asked: list[list[int]] = []

    def write(numbers: Sequence[int]) -> str | None:
        asked.append(list(numbers))
        return f"({numbers[0]})" if numbers[0] < 5 else None

    text = "It is so [1-3], also [4, p. 7], not [5] `[6]`."
    assert with_citations(text, write) == "It is so (1), also (4), p. 7, not [5] `[6]`."
    assert asked == [[1, 2, 3], [4], [5]]
