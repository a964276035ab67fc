"""What both tools do on every route."""

from pathlib import Path

import pytest

from support.carriers import CARRIERS, ROUTES, connected
from support.scripted import MODEL

QUESTION = "How do anonymity networks hide who talks to whom?"


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_summary_has_the_asked_paragraphs_three_steps_and_full_coverage(
    folder: Path, carrier: str
) -> None:
    async with connected(carrier, folder) as session:
        result = await session.call("summarize_document", document_path="tor.md", summary_length="standard")
    assert result["summary"].count("\n\n") == 2
    assert result["word_count"] == len(result["summary"].split())
    assert result["token_estimate"] > 0
    assert (result["route"], result["model"]) == (ROUTES[carrier], MODEL)
    assert result["coverage"] == {
        "lines_shown": 8,
        "lines_total": 8,
        "pages_shown": None,
        "pages_total": None,
        "ranges": [[1, 8]],
        "complete": True,
        "clipped_lines": 0,
    }
    assert session.steps == [(1, 3), (2, 3), (3, 3)]
    asked = [m for m in session.levels("info") if "tokens in" in m and m.startswith("asking the model")]
    answered = [m for m in session.levels("info") if m.startswith("the model answered")]
    assert (len(asked), len(answered)) == (1, 1)


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_synthesis_carries_checked_evidence_from_every_readable_document(
    folder: Path, carrier: str
) -> None:
    paths = ["tor.md", "missing.md", "notes/mix.txt", "broken.pdf", "empty.md"]
    async with connected(carrier, folder) as session:
        result = await session.call("synthesize_research", document_paths=paths, research_question=QUESTION)
    assert result["synthesis"] == "The sources agree [1] [3]."
    assert result["answered"] is True
    assert result["partial"] is False
    assert (result["sources_used"], result["sources_skipped"]) == (2, 3)
    assert [(source["path"], source["status"]) for source in result["sources"]] == [
        ("tor.md", "used"),
        ("missing.md", "skipped"),
        ("notes/mix.txt", "used"),
        ("broken.pdf", "skipped"),
        ("empty.md", "skipped"),
    ]
    assert all(source["reason"] for source in result["sources"] if source["status"] == "skipped")
    first = result["key_insights"][0]
    assert first["verified"] is True
    assert first["evidence"][0] == {
        "document": "tor.md",
        "page": None,
        "lines": [3, 3],
        "quote": "Onion routing hides who talks to whom by wrapping a message in layers of encryption.",
        "verified": True,
    }
    assert result["unverified_quotes"] == 0
    assert session.progress == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert len([message for message in session.levels("warning") if message.startswith("skipping")]) == 3


@pytest.mark.parametrize("carrier", ["modern-memory", "handshake-memory", "extractive"])
async def test_what_the_text_of_a_document_lacks_is_a_warning_of_the_synthesis(
    folder: Path, carrier: str
) -> None:
    for number in range(12):
        text = f"Onion routing hides who talks, voilà: {number}.\n"
        (folder / f"{number:02}.txt").write_bytes(text.encode("latin-1"))
    async with connected(carrier, folder) as session:
        one = await session.call("synthesize_research", document_paths="00.txt", research_question=QUESTION)
        many = await session.call("synthesize_research", document_paths="*.txt", research_question=QUESTION)
    (note,) = [warning for warning in one["warnings"] if warning.startswith('"00.txt": ')]
    assert session.levels("warning").count(note) == 2
    assert len([warning for warning in many["warnings"] if ".txt" in warning]) == 10
    assert "2 more notes on the texts of documents" in many["warnings"]


@pytest.mark.parametrize("carrier", [*CARRIERS, "extractive"])
async def test_without_a_readable_document_the_hint_names_the_listing(folder: Path, carrier: str) -> None:
    async with connected(carrier, folder) as session:
        error = await session.fail(
            "synthesize_research", document_paths=["no.md", "broken.pdf"], research_question=QUESTION
        )
    assert error["code"] == "no_readable_documents"
    assert "list_research_documents" in error["hint"]
    assert session.levels("error")


@pytest.mark.parametrize("carrier", [*CARRIERS, "extractive"])
async def test_a_summary_of_nothing_names_what_is_wrong(folder: Path, carrier: str) -> None:
    async with connected(carrier, folder) as session:
        missing = await session.fail("summarize_document", document_path="no.md")
        empty = await session.fail("summarize_document", document_path="empty.md")
        broken = await session.fail("summarize_document", document_path="broken.pdf")
        wrong = await session.fail("summarize_document", document_path="tor.md", summary_length="huge")
    assert [error["code"] for error in (missing, empty, broken, wrong)] == [
        "document_not_found",
        "document_unreadable",
        "document_unreadable",
        "invalid_arguments",
    ]


@pytest.mark.parametrize(
    "arguments", [{"document_paths": [""] * 501}, {"research_question": ""}, {"depth": "deep"}]
)
async def test_bad_arguments_of_a_synthesis_are_refused(folder: Path, arguments: dict[str, object]) -> None:
    good = {"document_paths": ["tor.md"], "research_question": QUESTION}
    async with connected("extractive", folder) as session:
        error = await session.fail("synthesize_research", **(good | arguments))
    assert error["code"] == "invalid_arguments"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_without_any_model_the_error_names_both_remedies(folder: Path, mode: str) -> None:
    async with connected(f"none-{mode}", folder) as session:
        error = await session.fail("summarize_document", document_path="tor.md")
    assert error["code"] == "model_unavailable"
    assert "sampling" in error["hint"]
    assert "RESEARCH_PROVIDER" in error["hint"]


async def test_without_a_model_sentences_are_chosen_and_labelled(folder: Path) -> None:
    async with connected("extractive", folder) as session:
        summary = await session.call("summarize_document", document_path="tor.md", summary_length="brief")
        result = await session.call(
            "synthesize_research", document_paths=["tor.md", "notes/mix.txt"], research_question=QUESTION
        )
        away = await session.call(
            "synthesize_research",
            document_paths=["cache.md"],
            research_question="Which penguins swim fastest?",
        )
    assert (summary["model"], summary["route"]) == ("extractive", "extractive")
    assert "\n\n" not in summary["summary"]
    assert result["route"] == "extractive"
    assert result["answered"] is True
    assert result["key_insights"]
    assert all(insight["verified"] for insight in result["key_insights"])
    assert (away["answered"], away["key_insights"]) == (False, [])
