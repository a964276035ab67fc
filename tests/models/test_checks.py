"""The checks of real models' answers find what they are there to find."""

from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from models.checks import stands_in, wrong_error, wrong_synthesis
from models.smoke import Smoke, read, smoke
from research_documents.server import build_documents_server
from research_shared.settings import Settings
from support.carriers import no_wait
from support.providers import FakeProvider, fake_provider
from support.results import answer_of
from support.scripted import Reply, ScriptedModel

TEXT = (
    "# Trial\n\nThe new filter cut response time by 20 percent\non average. It was not\n"
    "significant [12] for `small` clinics, which some called a non-\nresult.\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trial.md").write_text(TEXT, encoding="utf-8")
    (tmp_path / "other.md").write_text("# Other\n\nNothing was measured in the other office at all.\n")
    return tmp_path


def settings(folder: Path, provider: FakeProvider, **changes: Any) -> Settings:
    return Settings.load(
        {},
        roots=str(folder),
        model_route="provider",
        provider="openai",
        provider_url=provider.base_url("openai"),
        provider_model="a-model",
        retry_base_s=0.0,
        **changes,
    )


@pytest.mark.parametrize(
    "quote",
    [
        "The new filter cut response time by 20 percent on average.",
        "the new filter cut response time by 20 percent",
        "It was not significant for small clinics, which some called a nonresult",
        "It was not significant for small clinics, which some called a non-result",
        "The new filter cut response time … significant for **small** clinics",
    ],
)
def test_a_quote_stands_in_a_text_whatever_its_dress(quote: str) -> None:
    assert stands_in(quote, TEXT)


@pytest.mark.parametrize(
    "quote",
    [
        "The new filter cut response time by 21 percent on average.",
        "The new filter cut response time by 2 percent on average.",
        "It was significant for small clinics",
        "significant for small clinics … The new filter",
        "response time cut the new filter",
        "new filt",
        "…",
    ],
)
def test_a_changed_quote_does_not_stand_in_a_text(quote: str) -> None:
    assert not stands_in(quote, TEXT)


async def synthesized(folder: Path) -> dict[str, Any]:
    async with fake_provider(ScriptedModel()) as provider:
        from research_reasoning import build_reasoning_server

        server = build_reasoning_server(settings(folder, provider), retry=no_wait())
        async with Client(server) as client:
            arguments = {"document_paths": ["trial.md"], "research_question": "What was cut?"}
            return answer_of(await client.call_tool("synthesize_research", arguments))


async def test_a_true_answer_has_nothing_wrong(folder: Path) -> None:
    answer = await synthesized(folder)
    assert answer["key_insights"][0]["evidence"][0]["verified"]
    assert wrong_synthesis(answer, {"trial.md": TEXT}) == []


async def test_a_verified_quote_that_is_not_in_its_lines_is_found(folder: Path) -> None:
    answer = await synthesized(folder)
    for change in (
        {"quote": "It was significant for small clinics."},
        {"lines": [1, 2]},
        {"document": "x.md"},
    ):
        changed = answer | {"key_insights": [dict(insight) for insight in answer["key_insights"][:1]]}
        (insight,) = changed["key_insights"]
        insight["evidence"] = [insight["evidence"][0] | change]
        (wrong,) = wrong_synthesis(changed, {"trial.md": TEXT})
        assert "a quote is verified" in wrong


async def test_machine_text_in_prose_and_wrong_numbers_are_found(folder: Path) -> None:
    answer = await synthesized(folder)
    for change, what in (
        ({"synthesis": '{"findings": []}'}, "meant for machines"),
        ({"synthesis": "<think>Let me see.</think> It fell."}, "meant for machines"),
        ({"synthesis": "It fell [7]."}, "not there"),
        ({"sources_used": 2}, "numbers of sources"),
    ):
        (wrong,) = wrong_synthesis(answer | change, {"trial.md": TEXT})
        assert what in wrong


def test_an_error_has_to_name_a_setting() -> None:
    error = {
        "code": "model_failed",
        "message": "no",
        "hint": "Have the operator raise RESEARCH_THINKING_TOKENS.",
    }
    assert wrong_error(error) == []
    assert wrong_error(error | {"hint": "Call again later."})
    assert wrong_error(error | {"code": "internal_error"})


async def test_the_whole_text_is_read_in_pieces(folder: Path) -> None:
    long = "\n".join(f"line {number}" for number in range(1, 1_203))
    (folder / "long.md").write_text(long, encoding="utf-8")
    async with Client(build_documents_server(Settings.load({}, roots=str(folder)))) as client:
        assert await read(client, "long.md") == long


async def run_smoke(folder: Path, model: ScriptedModel) -> Smoke:
    async with fake_provider(model) as provider:
        return await smoke(
            settings(folder, provider, audit_log=folder.parent / "audit.jsonl"), questions=["What fell?"]
        )


async def test_an_honest_model_passes(folder: Path) -> None:
    found = await run_smoke(folder, ScriptedModel())
    assert (found.failures, found.answered, found.failed) == ([], 3, 0)
    assert found.verified_quotes
    assert not found.other_quotes


async def test_a_model_that_talks_nonsense_passes_with_no_verified_quote(folder: Path) -> None:
    found = await run_smoke(folder, ScriptedModel(always=lambda _kind, _text: Reply("Blue, blue, and blue.")))
    assert found.failures == []
    assert found.verified_quotes == 0


async def test_a_model_that_never_answers_fails(folder: Path) -> None:
    found = await run_smoke(folder, ScriptedModel(always=lambda _kind, _text: RuntimeError()))
    assert found.failures[-1] == "nothing was answered"
