"""Answers as models write them: what is whole in them is kept, and nothing that is not in them is made up."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from research_reasoning.evidence.answers import (
    combined,
    findings,
    findings_left_out,
    looks_like_json,
    prose,
)
from research_reasoning.evidence.lenient import Broken, values
from research_reasoning.models.thinking import refuses, without_thinking
from support.carriers import connected
from support.scripted import Reply, ScriptedModel
from support.sizes import examples

CASES = Path(__file__).parents[1] / "data" / "models"
EXAMPLE = '{"relevant": true, "findings": [{"claim": "...", "quotes": ["..."]}]}'


def read(answer: str, most: int = 9) -> list[tuple[str, tuple[str, ...]]] | None:
    found = findings(answer, most)
    return None if found is None else [(finding.claim, finding.quotes) for finding in found]


EXPECTED: dict[str, list[tuple[str, tuple[str, ...]]] | None] = {
    "thinking draft before the answer": [("c", ("a quote that stands in the document",))],
    "example first": [("c", ("q",))],
    "trailing comma": [],
    "one bad item of two": [("good", ("q",))],
    "quotes as objects": [("c", ("q",))],
    "bare array": [("c", ("q",))],
    "cut at the limit": [("c", ("q",))],
    "refusal in words": None,
}


@pytest.mark.parametrize(
    "case", json.loads((CASES / "answers.json").read_text("utf-8")), ids=lambda case: case["name"]
)
def test_an_answer_in_a_form_that_models_give_is_read(case: dict[str, str]) -> None:
    assert read(case["answer"]) == EXPECTED[case["name"]]
    assert refuses(case["answer"]) is (case["name"] == "refusal in words")


def test_what_cannot_be_read_of_an_answer_is_counted() -> None:
    good = {"claim": "A", "quotes": ["a quote of the document"], "evidence": ["1.1"]}
    bad = [{"quotes": ["no claim"]}, "prose", {"claim": "B", "quotes": 7, "evidence": 7}]
    example = {"claim": "<one sentence>", "quotes": ["..."]}
    assert findings_left_out(json.dumps({"relevant": True, "findings": [good, *bad, example]}), 5) == 3
    assert findings_left_out(json.dumps({"relevant": True, "findings": [good] * 9}), 5) == 4
    insights = {
        "answered": True,
        "synthesis": "Yes.",
        "insights": [good, *bad, example],
        "contradictions": bad[:1],
    }
    read = combined(json.dumps(insights), 5)
    assert read is not None
    assert (len(read.insights), read.left_out) == (1, 4)


PILOT = ("No client left during the pilot.",)
FRIDAY = ("messages that arrived on a Friday waited a median of 21 hours in Bristol",)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("cut-after-two", [("A", PILOT), ("B", ("none complained in writing",))]),
        ("one-bad-item", [("A", PILOT), ("B", PILOT)]),
        ("think-close-only", [("Waiting rose.", FRIDAY)]),
        ("think-draft", [("Waiting rose.", FRIDAY)]),
        ("think-unclosed", None),
        (
            "true-or-false",
            [
                (
                    "Clients asked for a Friday contact.",
                    (
                        "A way to reach somebody on Friday for urgent matters, without having to know who is in.",
                    ),
                )
            ],
        ),
    ],
)
def test_an_answer_with_thinking_a_cut_or_a_fault_keeps_its_whole_findings(
    name: str, found: list[tuple[str, tuple[str, ...]]] | None
) -> None:
    assert read((CASES / f"{name}.txt").read_text("utf-8")) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        pytest.param("{'findings': [{'claim': 'It's so', 'quotes': [\"a b\"],}]}", [("It's so", ("a b",))], id="Python"),
        pytest.param('{findings: [{claim: "c", quote: "q"}]}', [("c", ("q",))], id="bare names"),
        pytest.param('{"answer": {"findings": [{"claim": "c"}]}}', [("c", ())], id="within another object"),
        pytest.param('{"findings": {"claim": "c", "quotes": "q"}}', [("c", ("q",))], id="one without a list"),
        pytest.param('{"claim": "c", "quotes": ["q"]}\n{"claim": "d"}', [("c", ("q",)), ("d", ())], id="in a row"),
        pytest.param('{"relevant": false}', [], id="not relevant"),
        pytest.param(
            '{"findings": [{"claim": "He said "no", twice", "quotes": ["the "no" of it"]}]}',
            [('He said "no", twice', ('the "no" of it',))],
            id="marks within",
        ),
        pytest.param(
            '{"findings": [{"claim": "A, "quotes": ["q"]}, {"claim": "B", "quotes": ["r"]}]}',
            [("B", ("r",))],
            id="a string that does not end",
        ),
        pytest.param('{"findings": [{"claim": "a\\_b \\d"}]}', [("a\\_b \\d", ())], id="escapes of others"),
        pytest.param(EXAMPLE, None, id="the example alone"),
        pytest.param('{"findings": [{"claim": "c"}]} as in ' + EXAMPLE, [("c", ())], id="the example last"),
        pytest.param('{"findings": [{"claim": "draft"}]} No: {"findings": []}', [], id="a draft"),
    ],
)  # fmt: skip
def test_what_is_well_formed_by_other_rules_is_read_too(
    answer: str, found: list[tuple[str, tuple[str, ...]]] | None
) -> None:
    assert read(answer) == found


def test_a_combination_that_was_cut_keeps_its_synthesis_and_its_whole_insights() -> None:
    cut = combined(
        '{"answered": true, "synthesis": "s", "insights": [{"claim": "c", "evidence": ["1.1"]}, {"cl', 3
    )
    assert cut is not None
    assert (cut.answered, cut.synthesis, cut.insights) == (True, "s", (("c", ("1.1",)),))
    early = combined('{"answered": true, "synthesis": "s", "insi', 3)
    assert early is None


TEXT = st.text(st.sampled_from("abc äß“ .,:'\"{}[]\\\n<>/"), min_size=1, max_size=24).map(
    lambda text: f"w{text}x"
)
FINDING = st.fixed_dictionaries({"claim": TEXT, "quotes": st.lists(TEXT, min_size=1, max_size=2)})
GOOD = st.lists(FINDING, min_size=1, max_size=4).map(lambda found: {"relevant": True, "findings": found})
WRAPS = st.sampled_from(
    [
        ("", ""),
        ("```json\n", "\n```"),
        ("Sure, here {it} is [1]:\n", "\nI hope that it's useful!"),
        ('<think>\nMaybe {"findings": []}?\n</think>\n', ""),
        ('draft {"findings": [{"claim": "draft"}]}\n</think>\n', ""),
        (f"Format: {EXAMPLE}\n", ""),
        ("<|channel|>analysis<|message|>{<|end|><|start|>assistant<|channel|>final<|message|>", "<|return|>"),
        ('{"answer": ', "}"),
    ]
)
STRUCTURE = '{}[]":,'


def structure(text: str) -> list[int]:
    """Where the marks of JSON stand, those within strings left out."""
    found: list[int] = []
    within = False
    for index, char in enumerate(text):
        mark = char == '"' and (len(text[:index]) - len(text[:index].rstrip("\\"))) % 2 == 0
        if mark or (char in STRUCTURE and not within):
            found.append(index)
        within ^= mark
    return found


@st.composite
def mutations(draw: st.DrawFn) -> tuple[dict[str, Any], str, bool]:
    """A good answer, what became of it on its way, and whether all of it is still there."""
    good = draw(GOOD)
    text = json.dumps(good, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    before, after = draw(WRAPS)
    whole = True
    for change in draw(
        st.lists(st.sampled_from(["cut", "drop", "add", "swap", "comma", "break"]), max_size=2)
    ):
        at = draw(st.integers(0, max(len(text) - 1, 0)))
        marks = structure(text) or [0]
        mark = draw(st.sampled_from(marks))
        if change not in {"comma", "break"} and not whole:
            continue
        if change == "add":
            # In front of the end of a string it would belong to the string.
            mark = draw(st.sampled_from([index for index in marks if text[index] != '"']))
            text, whole = text[:mark] + draw(st.sampled_from(STRUCTURE)) + text[mark:], False
        elif change == "cut":
            text, after, whole = text[:at], "", False
        elif change == "drop":
            text, whole = text[:mark] + text[mark + 1 :], False
        elif change == "swap":
            text, whole = text[:mark] + draw(st.sampled_from(STRUCTURE)) + text[mark + 1 :], False
        elif change == "comma":
            text = text[:-1] + ("," if text.endswith("}") else "") + text[-1:]
        elif whole:
            text = text.replace("\\n", "\n")
    return good, before + text + after, whole


def one_line(text: str) -> str:
    return " ".join(text.split())


@given(mutations())
@settings(
    max_examples=examples(1_000),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_no_mutation_of_a_good_answer_raises_or_makes_up_a_finding(
    case: tuple[dict[str, Any], str, bool],
) -> None:
    good, answer, whole = case
    found = findings(answer, 9)
    combined(answer, 9)
    prose(answer)
    claims = {one_line(item["claim"]) for item in good["findings"]}
    quotes = {one_line(quote) for item in good["findings"] for quote in item["quotes"]}
    for finding in found or ():
        assert finding.claim in claims
        assert {one_line(quote) for quote in finding.quotes} <= quotes
    if whole:
        assert found is not None
        assert [finding.claim for finding in found] == [one_line(item["claim"]) for item in good["findings"]]


def test_json_is_never_prose() -> None:
    assert prose('Here it is: {"findings": [{"claim": "c", "quo') == ""
    assert prose('```json\n{"x": 1}\n```') == ""
    assert prose("<think>{}</think>The set {a, b} is [1] small.") == "The set {a, b} is [1] small."
    assert looks_like_json("[{")
    assert not looks_like_json("[1] says so")


def test_an_object_that_was_cut_is_marked() -> None:
    (value,) = values('{"a": [1, 2], "b": {"c": "d')
    assert isinstance(value, Broken)
    assert value["a"] == [1, 2]
    assert isinstance(value["b"], Broken)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>a</think>b", "b"),
        ("<THINKING>\na\n</THINKING>\n\nb", "b"),
        ("<reasoning>a</reasoning><think>c</think>b", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("\u25c1think\u25b7a\u25c1/think\u25b7b", "b"),
        ("a\n</think>\n\nb", "b"),
        ("a</think>{}", "{}"),
        ("<think>a", ""),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>",
            "b",
        ),
        ("<|channel|>analysis<|message|>a", ""),
        ("b\n<think>\na\n</think>\nc", "b\n\nc"),
        ("Models write <think> and </think> around it.", "Models write <think> and </think> around it."),
        ('{"quote": "it ends with </think>"}', '{"quote": "it ends with </think>"}'),
    ],
)
def test_thinking_is_no_part_of_an_answer(text: str, answer: str) -> None:
    assert without_thinking(text) == (answer, answer == "")


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot provide that.", True),
        ("Leider kann ich diese Frage nicht beantworten.", True),
        ("Je suis d\u00e9sol\u00e9, mais je ne peux pas vous aider.", True),
        ("Unfortunately, the trial was stopped early.", False),
        ("I cannot be everywhere, the author writes.", False),
        ("Sorry, I cannot help. " + "But the document says more. " * 30, False),
        ("I'm sorry, but I can't do better: {\"findings\": []}", False),
    ],
)
def test_a_refusal_in_words_is_told_from_an_answer(text: str, refused: bool) -> None:
    assert refuses(text) is refused


QUESTION: dict[str, Any] = {
    "document_paths": ["tor.md", "notes/mix.txt"],
    "research_question": "What does it hide?",
}
REFUSAL = Reply("I'm sorry, but I can't help with that.")


@pytest.mark.parametrize(
    "carrier", ["modern-memory", "handshake-memory", "provider-openai", "provider-anthropic"]
)
async def test_a_document_that_the_model_refuses_is_skipped_with_the_reason(
    folder: Path, carrier: str
) -> None:
    model = ScriptedModel({"evidence": [REFUSAL]})
    async with connected(carrier, folder, model) as session:
        result = await session.call("synthesize_research", **QUESTION)
    assert (result["sources_used"], result["sources_skipped"]) == (1, 1)
    (reason,) = [source["reason"] for source in result["sources"] if source["status"] == "skipped"]
    assert "the model refused to answer" in reason
    assert model.counts["repair"] == 0


async def test_a_refusal_is_no_summary(folder: Path) -> None:
    model = ScriptedModel(always=lambda _kind, _text: REFUSAL)
    async with connected("handshake-memory", folder, model) as session:
        failed = await session.fail("summarize_document", document_path="tor.md")
    assert failed["code"] == "model_failed"
    assert "the model refused to answer" in failed["message"]


async def test_a_refused_combination_is_not_answered(folder: Path) -> None:
    model = ScriptedModel({"combine": [REFUSAL]})
    async with connected("handshake-memory", folder, model) as session:
        result = await session.call("synthesize_research", **QUESTION)
    assert (result["answered"], result["partial"]) == (False, True)
    assert "sorry" not in result["synthesis"]
    assert result["key_insights"]


async def test_thinking_is_in_no_summary(folder: Path) -> None:
    model = ScriptedModel({"summary": [Reply("<think>\nLet me see.\n</think>\n\nIt hides who talks.")]})
    async with connected("handshake-memory", folder, model) as session:
        result = await session.call("summarize_document", document_path="tor.md", summary_length="brief")
    assert result["summary"] == "It hides who talks."


CUT = '{"relevant": true, "findings": [{"claim": "It hides.", "quotes": ["Onion routing hides who talks to whom"]}, {"cl'


async def test_a_cut_answer_gives_its_whole_findings_without_another_call(folder: Path) -> None:
    model = ScriptedModel({"evidence": [Reply(CUT, "maxTokens")]})
    async with connected("handshake-memory", folder, model) as session:
        result = await session.call(
            "synthesize_research", document_paths=["tor.md"], research_question="What?"
        )
    assert model.counts == {"evidence": 1, "combine": 1}
    assert result["key_insights"][0]["verified"] is True
    assert any("cut at their length limit" in warning for warning in result["warnings"])


async def test_json_that_cannot_be_read_is_shown_nowhere(folder: Path) -> None:
    broken = Reply('{"answered": true, "synthesis": "They ag')
    model = ScriptedModel(always=lambda kind, _text: broken if kind in {"combine", "repair"} else None)
    async with connected("handshake-memory", folder, model) as session:
        result = await session.call("synthesize_research", **QUESTION)
    assert (result["answered"], result["partial"]) == (False, True)
    assert '"synthesis"' not in result["synthesis"]
    unread = ScriptedModel(
        always=lambda kind, text: (
            Reply('{"findings": [{"claim') if kind == "repair" or "Mix" in text else None
        )
    )
    async with connected("handshake-memory", folder, unread) as session:
        result = await session.call("synthesize_research", **QUESTION)
    (skipped,) = [source for source in result["sources"] if source["status"] == "skipped"]
    assert "not in the format" in skipped["reason"]


async def test_prose_in_place_of_a_combination_is_not_answered(folder: Path) -> None:
    model = ScriptedModel(
        always=lambda kind, _text: Reply("They agree.") if kind in {"combine", "repair"} else None
    )
    async with connected("handshake-memory", folder, model) as session:
        result = await session.call("synthesize_research", **QUESTION)
    assert (result["synthesis"], result["answered"], result["partial"]) == ("They agree.", False, False)
    assert any("its prose is kept without insights" in warning for warning in result["warnings"])


async def test_answers_of_which_none_can_be_read_are_an_error_and_not_a_finding_of_nothing(
    folder: Path,
) -> None:
    model = ScriptedModel(always=lambda _kind, _text: Reply('{"findings": [{"claim'))
    async with connected("handshake-memory", folder, model) as session:
        failed = await session.fail("synthesize_research", **QUESTION)
    assert failed["code"] == "model_failed"
    assert "not in the format" in failed["message"]
