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


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (
            "Latency was measured by Smith et al. In all networks it was higher than anybody had expected.",
            ["Latency was measured by Smith et al. In all networks it was higher than anybody had expected."],
        ),
        (
            "As Fig. 3 shows, the latency of a mix network is minutes. Dr. Lee measured it in all three networks.",
            [
                "As Fig. 3 shows, the latency of a mix network is minutes.",
                "Dr. Lee measured it in all three networks.",
            ],
        ),
        ('He said "Wait for the mail of the morning." Nobody waited for that mail in the end.', None),
    ],
)
def test_an_abbreviation_ends_no_sentence(text: str, whole: list[str] | None) -> None:
    found = sentences([text])
    assert found == whole if whole is not None else len(found) == 2


def test_a_sentence_that_leans_on_the_one_before_comes_after_one_that_stands_alone() -> None:
    lines = [
        "However, mixing messages costs the latency that all users of networks notice.",
        "",
        "Mixing messages costs latency that the users of such networks notice.",
    ]
    assert best(lines, "What latency does mixing messages cost users?", 1) == [lines[2]]


@pytest.mark.parametrize(
    ("name", "text", "begins"),
    [
        (
            "plain.md",
            "# Mixing mail\n\nMail is mixed by servers, and servers mix mail.\n\nThe aim of this memo is to show what mixing costs.\n",
            "Mixing mail. The aim of this memo is to show what mixing costs.",
        ),
        (
            "front.md",
            "---\ntitle: What does mail cost?\n---\n\nServers mix mail at a cost.\n\nWe show that mail is mixed by servers at a cost in time.\n",
            "What does mail cost? We show that mail is mixed by servers at a cost in time.",
        ),
    ],
)
async def test_a_summary_names_the_title_and_the_aim_first(
    folder: Path, name: str, text: str, begins: str
) -> None:
    (folder / name).write_text(text, "utf-8")
    async with connected("extractive", folder) as session:
        result = await session.call("summarize_document", document_path=name, summary_length="brief")
    assert result["summary"].startswith(begins)
    assert result["summary"].endswith(".")


async def test_a_passage_that_begins_within_a_sentence_is_read_from_where_the_sentence_begins(
    tmp_path: Path,
) -> None:
    filler = "".join(f"Line {number} of a long chapter on gardens and trees.\n" for number in range(200))
    sentence = (
        "The monetary price that all of those famous old\nMix networks pay for the protection of all their\n"
        "Users is about five cents for a message.\n"
    )
    (tmp_path / "long.txt").write_text(filler + sentence + filler, "utf-8")
    async with connected("extractive", tmp_path) as session:
        result = await session.call(
            "synthesize_research",
            research_question="What monetary price do users of mix networks pay for protection?",
        )
    assert result["key_insights"][0]["claim"] == " ".join(sentence.split())
    assert result["key_insights"][0]["verified"]


@pytest.mark.parametrize(
    "question",
    [
        "What is the boiling point of an onion at a relay?",
        "Which salary did the inventor of onion routing earn in 1998?",
        "How many penguins talk to whom?",
        "Who won the football match between relays?",
    ],
)
async def test_what_the_folder_does_not_answer_is_not_answered_with_sentences_that_share_words(
    folder: Path, question: str
) -> None:
    async with connected("extractive", folder) as session:
        result = await session.call("synthesize_research", research_question=question)
    assert (result["answered"], result["key_insights"]) == (False, [])
    assert result["not_answered"]
