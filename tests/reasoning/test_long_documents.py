"""Long documents: what is shown is counted, and what is not shown is said."""

import json
import random
import re
from pathlib import Path

import pytest

from research_reasoning.models.rounds import MAX_ROUNDS
from research_shared.text.tokens import estimate_tokens
from support.carriers import Session, connected
from support.pdfs import pdf
from support.providers import FakeProvider
from support.scripted import Reply, ScriptedModel, kind_of, material
from support.sizes import FULL

LINES = 60


def book(pages: int) -> bytes:
    sentence = "Relay {n} removes one layer of encryption and learns its neighbours only, said volume {p}."
    return pdf([[sentence.format(n=n, p=page) for n in range(LINES)] for page in range(1, pages + 1)])


@pytest.mark.parametrize("carrier", ["modern-memory", "handshake-memory", "provider-openai"])
async def test_a_book_over_the_budget_is_summarized_within_the_limits(folder: Path, carrier: str) -> None:
    pages = 500 if FULL else 150
    tokens = 400 * pages
    (folder / "book.pdf").write_bytes(book(pages))
    async with connected(carrier, folder, ScriptedModel(), model_request_tokens=tokens) as session:
        result = await session.call("summarize_document", document_path="book.pdf")
    coverage = result["coverage"]
    assert (coverage["pages_total"], coverage["lines_total"]) == (pages, pages * LINES)
    assert result["usage"]["rounds"] <= MAX_ROUNDS
    assert result["usage"]["input_tokens"] <= tokens
    shown = sum(last - first + 1 for first, last in coverage["ranges"])
    assert shown == coverage["lines_shown"]
    assert coverage["complete"] is False
    assert any(f"{shown} of {pages * LINES} lines" in warning for warning in result["warnings"])
    assert pages * 0.2 <= coverage["pages_shown"] < pages


async def test_a_document_over_its_share_is_read_where_it_bears_on_the_question(folder: Path) -> None:
    filler = "Weather over the northern sea stayed calm and grey for many days in a row. " * 6
    chapters = [f"# Chapter {number}\n\n{filler}" for number in range(150)]
    needle = "The lighthouse keeper counted exactly forty migrating penguins near Tromso."
    chapters[110] += f"\n\n{needle}\n"
    (folder / "sea.md").write_text("\n\n".join(chapters), encoding="utf-8")
    async with connected("modern-memory", folder) as session:
        result = await session.call(
            "synthesize_research", document_paths=["sea.md"], research_question="How many migrating penguins?"
        )
    (prompt,) = [text for kind, _, text in session.model.calls if kind == "evidence"]
    assert needle in prompt
    assert "# Chapter 0" in prompt
    assert "Headings: Chapter 0 · Chapter 1" in prompt
    coverage = result["sources"][0]["coverage"]
    assert not coverage["complete"]
    shown = {line for first, last in coverage["ranges"] for line in range(first, last + 1)}
    lines = (folder / "sea.md").read_text("utf-8").split("\n")
    assert lines.index(needle) + 1 in shown
    assert all(line in prompt for number, line in enumerate(lines, 1) if number in shown)


async def test_a_single_endless_line_is_shown_in_parts_that_are_counted(folder: Path) -> None:
    (folder / "line.txt").write_text("word " * 40_000, encoding="utf-8")
    async with connected("modern-memory", folder) as session:
        summary = await session.call("summarize_document", document_path="line.txt")
        synthesis = await session.call(
            "synthesize_research", document_paths=["line.txt"], research_question="Which words are there?"
        )
    whole, part = summary["coverage"], synthesis["sources"][0]["coverage"]
    assert (whole["ranges"], whole["lines_total"], whole["complete"]) == ([[1, 100]], 100, True)
    ((first, last),) = part["ranges"]
    assert (first, part["lines_shown"], part["lines_total"], part["complete"]) == (1, last, 100, False)
    assert 10 < last < 100
    assert whole["clipped_lines"] == part["clipped_lines"] == 0


async def test_notes_that_do_not_fit_one_prompt_are_merged_first(folder: Path) -> None:
    sections = [f"# Part {n}\n\n" + f"Relay {n} removes one layer of encryption. " * 40 for n in range(60)]
    (folder / "long.md").write_text("\n\n".join(sections), encoding="utf-8")
    async with connected("modern-memory", folder, model_call_tokens=2_000) as session:
        result = await session.call("summarize_document", document_path="long.md", summary_length="detailed")
        assert session.model.counts["merge"] >= 2
        assert session.model.counts["reduce"] == 1
    assert result["usage"]["rounds"] <= MAX_ROUNDS
    values = [value for value, _ in session.progress]
    assert values == sorted(set(values))


async def test_findings_that_do_not_fit_the_combination_are_counted(folder: Path) -> None:
    names = [f"n{number}.md" for number in range(40)]
    for name in names:
        text = "Relay nodes remove one layer of encryption each and learn only their neighbours. " * 2
        (folder / name).write_text(
            f"{text}\nThey also never keep any record of what has passed.\n{name}", "utf-8"
        )
    async with connected("provider-openai", folder, model_call_tokens=2_000) as session:
        result = await session.call(
            "synthesize_research", document_paths=names, research_question="What is kept?"
        )
    assert result["sources_used"] == 40
    assert any("findings did not fit the combination" in warning for warning in result["warnings"])
    (prompt,) = [text for kind, _, text in session.model.calls if kind == "combine"]
    firsts = sum(f"\n{number}.1 " in prompt for number in range(1, 41))
    seconds = sum(f"\n{number}.2 " in prompt for number in range(1, 41))
    assert firsts > seconds


async def test_a_line_full_of_blanks_does_not_break_the_limits_of_a_prompt(folder: Path) -> None:
    (folder / "blank.md").write_text("# Blank\n\nRelays remove " + " " * 3_000_000 + "one layer.\n", "utf-8")
    async with connected("modern-memory", folder) as session:
        result = await session.call(
            "synthesize_research", document_paths=["blank.md", "tor.md"], research_question="What is removed?"
        )
    assert max(len(text) for _, _, text in session.model.calls) < 100_000
    coverage = result["sources"][0]["coverage"]
    # Of more than a thousand parts only those with text are shown, and nothing is missing.
    assert coverage["ranges"] == [[1, 3], [coverage["lines_total"], coverage["lines_total"]]]
    assert (coverage["lines_shown"], coverage["complete"]) == (4, True)


def asked_tokens(session: Session) -> list[int]:
    asked = [line for line in session.levels("info") if line.startswith("asking the model")]
    return [int(line.split("about ")[1].split(" ")[0]) for line in asked]


@pytest.mark.parametrize("carrier", ["modern-memory", "provider-openai"])
async def test_the_ceiling_of_a_request_holds_for_a_document_of_very_many_parts(
    folder: Path, carrier: str
) -> None:
    sections = [f"# Part {n}\n\n" + f"Relay {n} removes one layer of encryption. " * 40 for n in range(300)]
    (folder / "long.md").write_text("\n\n".join(sections), encoding="utf-8")
    async with connected(carrier, folder, model_call_tokens=2_000, model_request_tokens=60_000) as session:
        result = await session.call("summarize_document", document_path="long.md", summary_length="detailed")
        asked = asked_tokens(session)
    assert len(asked) > 3
    assert sum(asked) <= 60_000
    assert max(asked) <= 2_000
    assert result["coverage"]["complete"] is False


@pytest.mark.parametrize("carrier", ["modern-memory", "provider-openai"])
async def test_repairs_do_not_break_the_ceiling_of_a_request(folder: Path, carrier: str) -> None:
    names = [f"n{number}.md" for number in range(30)]
    for name in names:
        (folder / name).write_text(f"# Note {name}\n\nRelays remove one layer of encryption each.\n", "utf-8")
    model = ScriptedModel(
        always=lambda _kind, _text: Reply("prose without json and rather long. " * (5_000 if FULL else 1_000))
    )
    ceiling = 54_000
    async with connected(carrier, folder, model, model_request_tokens=ceiling) as session:
        result = await session.call(
            "synthesize_research", document_paths=names, research_question="What is removed?"
        )
        asked = asked_tokens(session)
    assert len(asked) > 31
    assert sum(asked) <= ceiling
    assert (result["sources_used"], result["answered"]) == (30, False)


async def test_a_long_question_takes_its_room_from_the_documents(folder: Path) -> None:
    (folder / "long.md").write_text("Relays remove one layer of encryption each.\n\n" * 2_000, "utf-8")
    async with connected("modern-memory", folder, model_call_tokens=2_000) as session:
        await session.call(
            "synthesize_research", document_paths=["long.md"], research_question="\u8fd9" * 1_000
        )
        assert max(asked_tokens(session)) <= 2_000
        failed = await session.fail(
            "synthesize_research", document_paths=["long.md"], research_question="\u8fd9" * 1_900
        )
    assert failed["code"] == "budget_exceeded"


async def test_findings_none_of_which_fits_the_combination_are_given_as_they_are(folder: Path) -> None:
    names = [f"a-document-with-a-long-name-{number:03}.md" for number in range(150)]
    for name in names:
        (folder / name).write_text(f"# Note {name}\n\nRelays remove one layer of encryption each.\n", "utf-8")
    async with connected("provider-openai", folder, model_call_tokens=2_000) as session:
        result = await session.call(
            "synthesize_research", document_paths=names, research_question="What is removed?"
        )
        assert session.model.counts["combine"] == 0
    assert result["partial"] is True
    assert result["key_insights"]


async def test_notes_that_are_cut_are_told_in_the_result(folder: Path) -> None:
    sections = [f"# Part {n}\n\n" + f"Relay {n} removes one layer of encryption. " * 40 for n in range(12)]
    (folder / "long.md").write_text("\n\n".join(sections), encoding="utf-8")
    notes = "Note, a sentence of some length here. " * 100
    model = ScriptedModel(always=lambda kind, _text: Reply(notes) if kind in {"part", "merge"} else None)
    async with connected("provider-openai", folder, model, model_call_tokens=2_000) as session:
        result = await session.call("summarize_document", document_path="long.md", summary_length="detailed")
    assert any("left out" in warning for warning in result["warnings"])


WORDS = [
    f"{a}{b}{c}"
    for a in ("pro", "in", "re", "con")
    for b in ("tect", "vers", "duct", "form")
    for c in ("ion", "s", "ing")
]


class Talkative(ScriptedModel):
    """Says as much of a document as it may, in different words each time."""

    def answer(self, system: str, text: str) -> Reply:
        if kind_of(system) != "evidence":
            return super().answer(system, text)
        named = next(line for line in text.split("\n") if line.startswith("Document: "))
        rng = random.Random(named)
        sentences = re.findall(r"[A-Z][^.\n]{20,}\.", material(text))
        most = int(re.findall(r"at most (\d+) findings", system)[0])
        found = [
            {"claim": " ".join(rng.choices(WORDS, k=30)), "quotes": rng.sample(sentences, 3)}
            for _ in range(most)
        ]
        return Reply(json.dumps({"relevant": True, "findings": found}))


def honest(model: ScriptedModel) -> FakeProvider:
    """A provider that reports the tokens of each prompt, so that no warning says that it read a part only."""
    return FakeProvider(model, count_input=estimate_tokens)


async def test_many_documents_with_much_to_say_all_count_on_every_route(folder: Path) -> None:
    rng = random.Random(1)
    count, paragraphs, findings = (200, 120, 400) if FULL else (30, 12, 180)
    names = [f"n{number:03}.md" for number in range(count)]
    for name in names:
        body = [" ".join(rng.choices(WORDS, k=18)).capitalize() + "." for _ in range(paragraphs)]
        (folder / name).write_text("\n\n".join([f"# {name}", *body]), encoding="utf-8")
    results = []
    for carrier in ("modern-memory", "provider-openai"):
        async with connected(carrier, folder, Talkative(), new_provider=honest) as session:
            result = await session.call(
                "synthesize_research",
                document_paths=names,
                research_question="What is the protection?",
                depth="detailed",
            )
        assert (result["sources_used"], result["sources_skipped"]) == (count, 0)
        assert result["usage"]["rounds"] <= MAX_ROUNDS
        without = {"route", "model", "usage", "follow_up"}
        results.append({k: v for k, v in result.items() if k not in without})
    assert results[0] == results[1]
    (told,) = [warning for warning in results[0]["warnings"] if "did not fit the combination" in warning]
    assert f"of {findings} findings" in told


@pytest.mark.parametrize("carrier", ["modern-memory", "handshake-memory", "provider-openai"])
async def test_a_part_that_the_model_refuses_is_left_out_and_told(folder: Path, carrier: str) -> None:
    sections = [f"# Part {n}\n\n" + f"Relay {n} removes one layer of encryption. " * 40 for n in range(12)]
    (folder / "long.md").write_text("\n\n".join(sections), encoding="utf-8")
    model = ScriptedModel(
        always=lambda kind, text: Reply("no", "refusal") if kind == "part" and "Relay 7 " in text else None
    )
    async with connected(carrier, folder, model, model_call_tokens=2_000) as session:
        result = await session.call("summarize_document", document_path="long.md")
    coverage = result["coverage"]
    lost = (folder / "long.md").read_text("utf-8").split("\n").index("# Part 7") + 3
    assert coverage["complete"] is False
    assert all(not first <= lost <= last for first, last in coverage["ranges"])
    (told,) = [warning for warning in result["warnings"] if "left out" in warning]
    first, last = map(int, re.findall(r"lines (\d+)-(\d+)", told)[0])
    assert first <= lost <= last
    assert coverage["lines_total"] - coverage["lines_shown"] >= last - first
    assert "refused" in told


@pytest.mark.parametrize("carrier", ["modern-memory", "provider-openai"])
async def test_a_long_document_none_of_whose_parts_is_answered_is_an_error(
    folder: Path, carrier: str
) -> None:
    (folder / "long.md").write_text("Relays remove one layer of encryption each.\n\n" * 800, "utf-8")
    model = ScriptedModel(always=lambda _kind, _text: Reply("no", "refusal"))
    async with connected(carrier, folder, model, model_call_tokens=2_000) as session:
        failed = await session.fail("summarize_document", document_path="long.md")
    assert (failed["code"], failed["reason"]) == ("model_failed", "refused")


async def test_notes_that_cannot_be_merged_are_used_as_they_are(folder: Path) -> None:
    sections = [f"# Part {n}\n\n" + f"Relay {n} removes one layer of encryption. " * 40 for n in range(12)]
    (folder / "long.md").write_text("\n\n".join(sections), encoding="utf-8")
    notes = "Note, a sentence of some length here. " * 60
    replies = {"part": Reply(notes), "merge": Reply("no", "refusal")}
    model = ScriptedModel(always=lambda kind, _text: replies.get(kind))
    async with connected("provider-openai", folder, model, model_call_tokens=2_000) as session:
        result = await session.call("summarize_document", document_path="long.md", summary_length="detailed")
    assert model.counts["merge"] > 0
    assert model.counts["reduce"] == 1
    assert result["coverage"]["complete"] is True
    assert any("too long to be merged whole" in warning for warning in result["warnings"])
