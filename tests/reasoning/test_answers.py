"""What counts as the JSON that was asked for."""

import json
import time
from pathlib import Path

import pytest

from research_reasoning.evidence.answers import (
    checked_citations,
    combined,
    findings,
    without_citations,
)
from support.carriers import connected
from support.scripted import Reply, ScriptedModel
from support.sizes import HOSTILE_LETTERS, HOSTILE_LIMIT_S

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
        '{"relevant": true, "findings": [',
        '{"findings": [{"claim": "...", "quotes": ["..."]}]}',
        '{"findings": [{"claim": "<one sentence>", "quotes": ["<words>"]}]}',
        "{" * 50_000,
        '{"a":' * 50_000,
    ],
)
def test_anything_else_is_not_taken_for_findings(answer: str) -> None:
    assert findings(answer, 3) is None


def test_line_breaks_and_tabs_may_stand_in_strings_as_they_are() -> None:
    found = findings('{"findings": [{"claim": "a\nb\tc", "quotes": ["d\ne"]}]}', 3)
    assert found is not None
    assert [(finding.claim, finding.quotes) for finding in found] == [("a b c", ("d\ne",))]
    both = combined('{"synthesis": "one\n\ntwo", "insights": []}', 3)
    assert both is not None
    assert both.synthesis == "one\n\ntwo"


def test_a_claim_and_a_quote_that_are_too_long_are_cut_and_the_quote_says_so() -> None:
    quotes = ["x" * 1_200, "x" * 1_201]
    found = findings(json.dumps({"findings": [{"claim": "c" * 601, "quotes": quotes}]}), 3)
    assert found is not None
    assert found[0].claim == "c" * 600
    assert found[0].quotes == ("x" * 1_200, "x" * 1_199 + "…")


def test_a_document_s_own_references_do_not_become_citations() -> None:
    found = findings('{"findings": [{"claim": "Shown by Chaum [1], and later [2, 3].", "quotes": []}]}', 3)
    assert found is not None
    assert found[0].claim == "Shown by Chaum, and later."


def test_prose_loses_a_document_s_own_references_as_well() -> None:
    assert without_citations("Shown [12], and\n\nagain [3-5].") == "Shown, and\n\nagain."


@pytest.mark.parametrize("none", ['["none"]', "[{}]", "[null]", "[]"])
def test_a_model_that_sees_no_contradiction_may_say_so(none: str) -> None:
    insight = '{"claim": "The pilot cost 4 000 EUR.", "evidence": [1]}'
    found = combined(
        f'{{"synthesis": "It cost 4 000 EUR [1].", "insights": [{insight}], "contradictions": {none}}}', 5
    )
    assert found is not None
    assert found.left_out == 0


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
        '{"synthesis": "s", "insights": [{"claim": "c", "evidence": {}}]}',
        '{"synthesis": "{\\"answered\\": true}", "insights": []}',
        '{"synthesis": "...", "insights": []}',
        '{"answered": true, "synthesis": "half of the answ',
    ],
)
def test_anything_else_is_not_taken_for_a_combination(answer: str) -> None:
    assert combined(answer, 3) is None


def test_an_insight_rests_on_a_bounded_number_of_findings() -> None:
    marks = [f"{number}.1" for number in range(1, 500)]
    found = combined(json.dumps({"synthesis": "s", "insights": [{"claim": "c", "evidence": marks}]}), 3)
    assert found is not None
    assert found.insights == (("c", tuple(marks[:20])),)


def test_a_combination_is_answered_unless_it_says_no() -> None:
    yes = combined('{"synthesis": "s", "insights": [{"claim": " c\\n d ", "evidence": ["[1.1]", 2.1]}]}', 3)
    no = combined('{"synthesis": "s", "insights": [], "answered": false}', 3)
    assert yes is not None
    assert no is not None
    assert (yes.answered, yes.insights, no.answered) == (True, (("c d", ("1.1", "2.1")),), False)


@pytest.mark.parametrize(
    ("value", "insights", "answered"),
    [
        ('"yes"', "", True),
        ('"False"', '{"claim": "c", "evidence": []}', False),
        ("true or false", "", False),
        ("true or false", '{"claim": "c", "evidence": ["1.1"]}', True),
        ("null", "", False),
    ],
)
def test_a_combination_that_does_not_say_whether_it_answers_is_judged_by_its_insights(
    value: str, insights: str, answered: bool
) -> None:
    found = combined(f'{{"answered": {value}, "synthesis": "s", "insights": [{insights}]}}', 3)
    assert found is not None
    assert found.answered is answered


def test_the_marks_of_an_insight_may_be_one_text_and_the_synthesis_a_list_of_paragraphs() -> None:
    found = combined(
        '{"synthesis": ["a", "b"], "insights": [{"claim": "c", "evidence": "1.1, [2.1]"}], '
        '"contradictions": [{"claim": "d", "evidence": ["1.1", "2.1"]}, {"claim": 3}]}',
        3,
    )
    assert found is not None
    assert found.synthesis == "a\n\nb"
    assert found.insights == (("c", ("1.1", "2.1")),)
    assert found.contradictions == (("d", ("1.1", "2.1")),)


@pytest.mark.parametrize(
    ("text", "checked", "wrong"),
    [
        ("a [1] b [2].", "a [1] b [2].", []),
        ("a [3] b [1, 9; 2]", "a b [1, 2]", [3, 9]),
        ("[link](x) [0] a[2]", "[link](x) a[2]", [0]),
        ("so it is [12345].", "so it is.", [12345]),
        ("so [1-2] and [1\u20132] it is", "so [1-2] and [1\u20132] it is", []),
        ("so [1-4], [2\u20143] it is", "so [1, 2], [2] it is", [3, 4, 3]),
        ("so [1-99999999999] it is [9-1]", "so [1] it is [1]", [99999999999, 9]),
        ("so [ 7 ] it [\n7 ] is [ 2 ]", "so it is [ 2 ]", [7, 7]),
        ("so [7, p. 3] it [1, p. 3] is", "so it [1, p. 3] is", [7]),
        ("so [1, 7, lines 3-5] it is [7 § 2] [7: 12]", "so [1, lines 3-5] it is", [7, 7, 7]),
        ("so 【7】 it 【7†source】 is \uff3b7\uff3d【1】", "so it is【1】", [7, 7, 7]),
        ("so [Source 7] it [source 1] is [Sources 1 and 7]", "so it [source 1] is [1]", [7, 7]),
        ("so [Ref. 7; doc 8] it [#7] is", "so it is", [7, 8, 7]),
        ("so [[7]] it [[1]] is [[7], x]", "so it [[1]] is [, x]", [7, 7]),
        ("so \\[7\\] it [7](#seven) is [\u200b7]", "so it(#seven) is", [7, 7, 7]),
        ("so [7]it is", "so it is", [7]),
        ("so [7]a b", "so a b", [7]),
        ("so [8-7] it [2-1] is", "so it [2-1] is", [8, 7]),
        ("so `a[7]` it\n```\nb[7]\n```\nis [7]", "so `a[7]` it\n```\nb[7]\n```\nis", [7]),
        ("so `[7]` it ``[1]`` is [7\n]", "so it [1] is", [7, 7]),
        (
            "kept: [7 of them] [7a] [a 7] [1.7, 2.3] [x] [] [7 [p",
            "kept: [7 of them] [7a] [a 7] [1.7, 2.3] [x] [] [7 [p",
            [],
        ),
    ],
)
def test_citations_of_sources_that_are_not_there_are_removed(
    text: str, checked: str, wrong: list[int]
) -> None:
    assert checked_citations(text, {1, 2}) == (checked, wrong)


def test_a_range_of_up_to_fifty_one_sources_is_counted_out() -> None:
    assert checked_citations("so [1-51] it is", {1, 2}) == ("so [1, 2] it is", list(range(3, 52)))
    assert checked_citations("so [1-52] it is", {1, 2}) == ("so [1] it is", [52])


def test_a_long_row_of_almost_citations_is_read_once() -> None:
    started = time.process_time()
    for shape in ("[", "[7", "[7,", "[7 ", "[[", " ", "[7, p. ", "[source ", "[7-", "1,"):
        text = shape * (HOSTILE_LETTERS // len(shape))
        assert checked_citations(text, {1}) == (text, [])
        checked_citations("[7" + text, {1})
    assert time.process_time() - started < HOSTILE_LIMIT_S


@pytest.mark.parametrize(
    "shape", ["{", "[", '{"a":', '{"a":[', '["', '{"', "['", '{"a":"x "y ', '{"a":"\\\\', "[ ", '"']
)
def test_a_hostile_answer_is_read_once(shape: str) -> None:
    started = time.process_time()
    assert findings((shape * 200_000)[:200_000], 3) is None
    assert combined((shape * 200_000)[:200_000], 3) is None
    assert time.process_time() - started < 5


async def test_citations_of_missing_sources_are_taken_out_of_claims_too_and_told(folder: Path) -> None:
    combination = {
        "synthesis": "It hides [1][Source 9], ht[8]tps://e.example.",
        "insights": [{"claim": "It hides [7, p. 2].", "evidence": ["1.1"]}],
    }
    model = ScriptedModel({"combine": [Reply(json.dumps(combination))]})
    async with connected("handshake-memory", folder, model) as session:
        result = await session.call(
            "synthesize_research", document_paths=["tor.md"], research_question="What does it hide?"
        )
    assert result["synthesis"] == "It hides [1], `https://e.example`."
    assert result["key_insights"][0]["claim"] == "It hides."
    told = " ".join(result["warnings"])
    assert all(numbers in told for numbers in ("[8, 9]", "[7]"))


async def test_prose_that_is_kept_as_notes_cites_nothing(folder: Path) -> None:
    prose = Reply("No JSON, but Chaum [1] and others [2-4] say so.")
    model = ScriptedModel(always=lambda kind, _text: None if kind == "combine" else prose)
    async with connected("handshake-memory", folder, model) as session:
        await session.call(
            "synthesize_research", document_paths=["tor.md"], research_question="What does it hide?"
        )
    (shown,) = [text for kind, _, text in model.calls if kind == "combine"]
    assert "notes without evidence: No JSON, but Chaum and others say so." in shown
