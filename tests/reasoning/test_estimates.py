"""What is estimated of a document once, and how a model's own counts correct the estimates of its call."""

import weakref
from pathlib import Path

import anyio
import pytest
from fastmcp import Client

from research_reasoning import build_reasoning_server
from research_reasoning.evidence.prepared import KEPT_S, PreparedDocuments
from research_shared.access.roots import RootsPolicy
from research_shared.reading.library import Library
from research_shared.settings import Settings
from research_shared.text.tokens import estimate_tokens
from support.carriers import connected, settings
from support.scripted import ScriptedModel
from support.serving import until

SECTION = "Relay {n} removes one layer of encryption and learns its neighbours only. " * 40


def long_text(sections: int) -> str:
    return "\n\n".join(f"# Part {n}\n\n" + SECTION.format(n=n) for n in range(sections))


class Counting:
    """Estimates tokens, and counts the characters that it was given."""

    def __init__(self) -> None:
        self.characters = 0

    def __call__(self, text: str) -> int:
        self.characters += len(text)
        return estimate_tokens(text)


@pytest.mark.parametrize("tool", ["summarize_document", "synthesize_research"])
async def test_a_long_text_is_estimated_once_in_all_rounds_and_calls(folder: Path, tool: str) -> None:
    text = long_text(400)
    (folder / "long.md").write_text(text, encoding="utf-8")
    arguments = {
        "summarize_document": {"document_path": "long.md"},
        "synthesize_research": {"document_paths": ["long.md"], "research_question": "What is removed?"},
    }[tool]
    estimate = Counting()
    server = build_reasoning_server(
        settings(folder, model_call_tokens=4_000, model_request_tokens=40_000), estimate=estimate
    )
    rounds = []
    async with Client(server, mode="auto", sampling_handler=ScriptedModel().sample) as client:
        for _ in range(2):
            result = await client.call_tool(tool, arguments)
            rounds.append((result.structured_content or {})["usage"]["rounds"])
    assert min(rounds) >= 2
    # Prompts and answers are estimated too; they are a small part of the text.
    assert len(text) <= estimate.characters < 1.6 * len(text)


async def test_what_is_kept_of_documents_is_bounded(folder: Path) -> None:
    for number in range(6):
        (folder / f"{number}.md").write_text(long_text(20) + f"\n\n{number}\n", encoding="utf-8")
    library = Library(RootsPolicy.from_settings(Settings.load({}, roots=str(folder))))
    estimate = Counting()
    prepared = PreparedDocuments(estimate, max_bytes=60_000)
    async with library:
        texts = [await library.read(f"{number}.md") for number in range(6)]
    first = [prepared.select(text, "What is removed?", 3_000) for text in texts]
    assert 20_000 < prepared.held_bytes <= 60_000
    before = estimate.characters
    assert prepared.select(texts[-1], "What is removed?", 3_000) is first[-1]
    assert estimate.characters == before
    assert prepared.select(texts[0], "What is removed?", 3_000) == first[0]
    assert estimate.characters > before


async def test_what_is_kept_for_questions_that_do_not_come_back_goes_after_a_while(folder: Path) -> None:
    (folder / "a.md").write_text(long_text(20), encoding="utf-8")
    now = 0.0
    prepared = PreparedDocuments(estimate_tokens, clock=lambda: now)
    async with Library(RootsPolicy.from_settings(Settings.load({}, roots=str(folder)))) as library:
        text = await library.read("a.md")
    kept = prepared.select(text, "What is kept?", 3_000)
    once = prepared.held_bytes
    for number in range(50):
        now += KEPT_S / 10
        prepared.select(text, f"What is question {number}?", 3_000)
        assert prepared.select(text, "What is kept?", 3_000) is kept
    assert prepared.held_bytes < 12 * once


@pytest.mark.parametrize(
    ("factor", "corrected"),
    [
        (1.0, 1.0),
        (1.5, 1.5),
        (0.7, 0.7),
        # bounded above; far below, the model read only a part and tells nothing about its tokenizer
        (5.0, 2.0),
        (0.2, 1.0),
    ],
)
async def test_what_a_model_reports_corrects_later_estimates_of_its_call(
    folder: Path, factor: float, corrected: float
) -> None:
    async with connected("provider-openai", folder, ScriptedModel()) as session:
        assert session.provider is not None
        session.provider.count_input = lambda text: round(factor * estimate_tokens(text))
        for _ in range(2):
            # A report corrects the call that it is of, and no other.
            result = await session.call("summarize_document", document_path="tor.md")
            expected = corrected * estimate_tokens(result["summary"])
            assert result["token_estimate"] == pytest.approx(expected, rel=0.02)


async def test_a_model_that_counts_more_is_charged_more_of_the_budget_of_its_call(folder: Path) -> None:
    """Notes of a long document fit one prompt by our estimate, and two by the model's."""
    (folder / "long.md").write_text(long_text(40), encoding="utf-8")

    def twice(text: str) -> int:
        return 2 * estimate_tokens(text)

    merged = []
    for count_input in (estimate_tokens, twice):
        model = ScriptedModel()
        async with connected(
            "provider-openai", folder, model, model_call_tokens=4_000, model_request_tokens=200_000
        ) as session:
            assert session.provider is not None
            session.provider.count_input = count_input
            await session.call("summarize_document", document_path="long.md", summary_length="detailed")
        merged.append(model.counts["merge"])
    assert merged[0] < merged[1]


async def test_what_is_kept_is_let_go_of_also_when_no_question_comes_any_more(folder: Path) -> None:
    (folder / "a.md").write_text(long_text(20), encoding="utf-8")
    async with Library(RootsPolicy.from_settings(Settings.load({}, roots=str(folder)))) as library:
        text = await library.read("a.md")
    prepared = PreparedDocuments(estimate_tokens, kept_s=0.2)
    kept = weakref.ref(prepared.quotes(text))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(prepared.let_go)
        assert kept() is not None
        await until(lambda: kept() is None)
        tasks.cancel_scope.cancel()
