"""The matrix fails where it should: its cells are judged by what a caller got."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.matrix import (
    NOT_APPLICABLE,
    OK,
    PROVIDER,
    ROUNDS,
    ROUTES,
    SUMMARIZE,
    SYNTHESIZE,
    Row,
    ask,
    make_folder,
    passed,
    rows,
    wrong_answer,
)
from support.stand_ins import MODES, Habit

PLAIN = Row(name="plain", habit=Habit(), wire_format="openai", of_a_server=False)
COVERED = {"complete": True}
SOURCE = {"coverage": COVERED}
ANSWER: dict[str, Any] = {
    "route": "provider",
    "answered": True,
    "partial": False,
    "sources": [SOURCE] * 6,
    "sources_used": 6,
    "key_insights": [{"verified": True}],
    "warnings": [],
}


def test_every_habit_has_a_row_and_every_row_a_route() -> None:
    assert {row.name for row in rows()} >= set(MODES)
    assert all(any(row.applies(route) for route in ROUTES) for row in rows())
    assert {row.wire_format for row in rows()} == {"openai", "anthropic"}


def test_a_whole_answer_has_nothing_wrong() -> None:
    assert wrong_answer(PLAIN, SYNTHESIZE, PROVIDER, ANSWER) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"route": "extractive"}, "the route is"),
        ({"sources_used": 5}, "only 5 of 6"),
        ({"answered": False}, "not combined"),
        ({"partial": True}, "not combined"),
        ({"key_insights": [{"verified": False}]}, "no insight is verified"),
        (
            {"sources": [{"coverage": {"complete": False}}], "warnings": ["1 document was used in part"]},
            "that fits was left out",
        ),
    ],
)
def test_what_is_missing_in_an_answer_is_found(change: dict[str, Any], what: str) -> None:
    (wrong,) = wrong_answer(PLAIN, SYNTHESIZE, PROVIDER, ANSWER | change)
    assert what in wrong


def test_what_is_left_out_or_cut_without_a_word_is_found() -> None:
    short = replace(PLAIN, habit=Habit(context=8_000))
    left_out = ANSWER | {"sources": [{"coverage": {"complete": False}}]}
    assert wrong_answer(short, SYNTHESIZE, PROVIDER, left_out) == ["a part was left out without a word"]
    cuts = replace(PLAIN, habit=Habit(reads=0.2))
    summary = {"route": "provider", "coverage": COVERED, "warnings": ["INCOMPLETE: something"]}
    (wrong,) = wrong_answer(cuts, SUMMARIZE, PROVIDER, summary)
    assert "cut silently" in wrong


def test_a_cell_passes_only_with_what_is_wanted_of_its_row() -> None:
    remedy = replace(PLAIN, habit=Habit(never_ends="", remedy="RESEARCH_THINKING_TOKENS"))
    assert passed(PLAIN, OK)
    assert passed(PLAIN, NOT_APPLICABLE)
    assert not passed(PLAIN, "RESEARCH_THINKING_TOKENS")
    assert passed(remedy, "RESEARCH_THINKING_TOKENS")
    assert not passed(remedy, OK)
    assert not passed(remedy, "RESEARCH_MODEL_CALL_TOKENS")


@pytest.mark.parametrize("route", [PROVIDER, ROUNDS])
async def test_a_cell_says_what_became_of_a_call(tmp_path: Path, route: str) -> None:
    texts = make_folder(tmp_path)
    assert await ask(PLAIN, SUMMARIZE, route, tmp_path, texts) == OK
    endless = replace(PLAIN, habit=Habit(never_ends=""))
    cell = await ask(endless, SUMMARIZE, route, tmp_path, texts)
    assert cell.startswith("model_failed")
    assert not passed(endless, cell)
