"""Choosing sentences without a model."""

from pathlib import Path

import pytest

from research_reasoning.models.extractive import best, one_line, sentences
from support.carriers import connected

TEXT = [
    "# Onion routing hides its users",
    "",
    "Onion routing wraps each message in layers of encryption. Every relay",
    "removes one layer of en-",
    "cryption before it forwards the message to the next.",
    "",
    "- a list item about onion routing and encryption that is left alone here",
    "```",
    "onion = encrypt(message, relay)  # Code says nothing about onion routing in words.",
    "```",
    "| table | of | numbers |",
    "cut off by a page without an end and so no whole sentence of onion routing",
    "",
]


def test_only_whole_sentences_of_prose_are_candidates() -> None:
    assert [one_line(sentence) for sentence in sentences(TEXT)] == [
        "Onion routing wraps each message in layers of encryption.",
        "Every relay removes one layer of encryption before it forwards the message to the next.",
    ]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("What does a relay do before it forwards?", ["Every relay"]),
        ("How does onion routing use encryption?", ["Onion routing"]),
        ("What do penguins eat?", []),
        ("Which relay eats penguins in winter storms?", []),
    ],
)
def test_a_sentence_bears_on_a_question_when_it_shares_half_of_it(question: str, found: list[str]) -> None:
    assert [
        sentence[: len(start)] for sentence, start in zip(best(TEXT, question, 3), found, strict=True)
    ] == found


def test_a_sentence_that_repeats_another_is_passed_over() -> None:
    lines = [
        "Relays remove one layer of encryption each.",
        "",
        "Relays remove one layer of encryption each.",
        "",
    ]
    assert len(best(lines, "", 5)) == 1
    assert best([], "", 5) == []


async def test_a_summary_without_whole_sentences_shows_lines_but_no_marks_of_places(folder: Path) -> None:
    (folder / "list.md").write_text("- one thing\n- another thing\n", encoding="utf-8")
    async with connected("extractive-x", folder) as session:
        result = await session.call("summarize_document", document_path="list.md", summary_length="brief")
    assert "one thing" in result["summary"]
    assert "lines 1" not in result["summary"]


async def test_nothing_is_said_of_model_calls_where_no_model_is_used(folder: Path) -> None:
    async with connected("extractive-x", folder) as session:
        result = await session.call(
            "synthesize_research", document_paths=["tor.md"], research_question="Who hides who talks to whom?"
        )
        await session.call("summarize_document", document_path="tor.md")
    assert not any("model call" in line or "the model" in line for _, line in session.logs)
    assert any("no model is used" in line for line in session.levels("info"))
    assert any('chose sentences for the evidence in "tor.md"' in line for line in session.levels("info"))
    assert (result["usage"]["model_calls"], result["usage"]["attempts"]) == (0, 0)
