import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_shared.settings import Settings
from support.clients import MARKDOWN, PDFS, Observer, connected
from support.results import error_of

DOCUMENTS = [*PDFS, *MARKDOWN]
QUESTION = "What did the pilot cost?"
EVERYWHERE = pytest.mark.parametrize(
    ("transport", "mode"), [("memory", "auto"), ("memory", "legacy"), ("http", "auto"), ("http", "legacy")]
)


async def answer(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert result.structured_content is not None
    return result.structured_content


async def refusal(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments, raise_on_error=False)
    return error_of(result)


def rises(observer: Observer) -> bool:
    values = [progress for progress, _total, _message in observer.progress]
    return all(before < after for before, after in pairwise(values))


@EVERYWHERE
async def test_a_summary_borrows_the_clients_model_in_three_steps(
    settings: Settings, observer: Observer, transport: str, mode: str
) -> None:
    async with connected(settings, observer, transport=transport, mode=mode) as client:
        result = await answer(client, "summarize_document", document_path="results-report.pdf")
    assert result["document_path"] == "results-report.pdf"
    assert result["summary"] == "One paragraph.\n\nAnother one."
    assert result["word_count"] == 4
    assert result["token_estimate"] > 0
    assert result["route"] == "client"
    assert result["coverage"]["complete"] is True
    assert [progress for progress, _, _ in observer.progress if progress == int(progress)] == [1, 2, 3]
    assert {total for _, total, _ in observer.progress} == {3}
    assert rises(observer)
    told = [message for level, message in observer.logs if level == "info"]
    assert sum("token" in message for message in told) >= 2


@EVERYWHERE
async def test_a_synthesis_takes_one_step_a_document_and_checks_its_quotes(
    settings: Settings, observer: Observer, transport: str, mode: str
) -> None:
    async with connected(settings, observer, transport=transport, mode=mode) as client:
        result = await answer(
            client,
            "synthesize_research",
            document_paths=DOCUMENTS,
            research_question=QUESTION,
            depth="detailed",
        )
    assert result["research_question"] == QUESTION
    assert (result["sources_used"], result["sources_skipped"], result["partial"]) == (5, 0, False)
    assert [source["path"] for source in result["sources"]] == DOCUMENTS
    (insight,) = result["key_insights"]
    (evidence,) = insight["evidence"]
    assert evidence["verified"] is True
    assert evidence["document"] == DOCUMENTS[0]
    assert evidence["page"] == 1
    assert [progress for progress, _, _ in observer.progress] == [1, 2, 3, 4, 5]
    assert rises(observer)
    assert result["route"] == "client"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_missing_documents_are_warned_of_skipped_and_counted(
    settings: Settings, observer: Observer, mode: str
) -> None:
    async with connected(settings, observer, mode=mode) as client:
        result = await answer(
            client,
            "synthesize_research",
            document_paths=["results-report.pdf", "missing.pdf", "../outside.md"],
            research_question=QUESTION,
        )
    assert (result["sources_used"], result["sources_skipped"]) == (1, 2)
    assert [source["status"] for source in result["sources"]] == ["used", "skipped", "skipped"]
    assert result["sources"][1]["reason"]
    warnings = [message for level, message in observer.logs if level == "warning"]
    assert any("missing.pdf" in message for message in warnings)


@pytest.mark.parametrize("samples", [True, False])
async def test_if_all_documents_are_missing_the_error_says_to_list_them(
    settings: Settings, observer: Observer, samples: bool
) -> None:
    provided = settings if samples else settings.model_copy(update={"model_route": "extractive"})
    async with connected(provided, observer, samples=samples) as client:
        error = await refusal(
            client, "synthesize_research", document_paths=["a.pdf", "b.md"], research_question=QUESTION
        )
    assert error["code"] == "no_readable_documents"
    assert "list_research_documents" in error["hint"]
    assert observer.asked == []


async def test_without_any_model_the_error_names_both_remedies(
    settings: Settings, observer: Observer
) -> None:
    async with connected(settings, observer, samples=False) as client:
        error = await refusal(client, "summarize_document", document_path="results-report.pdf")
        assert error["code"] == "model_unavailable"
        assert "sampling" in error["hint"]
        assert "RESEARCH_PROVIDER" in error["hint"]
        error = await refusal(
            client, "synthesize_research", document_paths=DOCUMENTS, research_question=QUESTION
        )
        assert error["code"] == "model_unavailable"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_failing_model_gets_three_attempts_then_the_summary_is_a_clear_error(
    settings: Settings, observer: Observer, mode: str
) -> None:
    observer.failing = True
    async with connected(settings, observer, mode=mode) as client:
        error = await refusal(client, "summarize_document", document_path="pilot-design.md")
    assert error["code"] == "model_failed"
    assert error["retryable"] is True
    assert len(observer.asked) == 3
    assert any(level == "error" for level, _ in observer.logs)


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("summarize_document", {"document_path": "missing.md"}, "document_not_found"),
        ("summarize_document", {"document_path": "../secret.md"}, "document_not_found"),
        (
            "summarize_document",
            {"document_path": "pilot-design.md", "summary_length": "epic"},
            "invalid_arguments",
        ),
        ("summarize_document", {}, "invalid_arguments"),
        ("synthesize_research", {"document_paths": DOCUMENTS, "research_question": ""}, "invalid_arguments"),
        (
            "synthesize_research",
            {"document_paths": DOCUMENTS, "research_question": QUESTION, "depth": "abyss"},
            "invalid_arguments",
        ),
    ],
)
async def test_bad_input_is_named_and_costs_no_model_call(
    settings: Settings, observer: Observer, tool: str, arguments: dict[str, Any], code: str
) -> None:
    async with connected(settings, observer) as client:
        error = await refusal(client, tool, **arguments)
    assert error["code"] == code
    assert error["hint"]
    assert observer.asked == []


async def test_an_empty_document_cannot_be_summarized_and_costs_no_model_call(
    settings: Settings, observer: Observer, tmp_path: Path
) -> None:
    from research_shared.access.roots import Root

    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "empty.md").write_text("\n\n", encoding="utf-8")
    there = settings.model_copy(update={"roots": (Root("folder", folder),)})
    async with connected(there, observer) as client:
        error = await refusal(client, "summarize_document", document_path="empty.md")
    assert error["code"] == "document_unreadable"
    assert observer.asked == []


async def test_every_call_is_in_the_audit_trail_with_a_start_and_an_end(
    settings: Settings, observer: Observer
) -> None:
    async with connected(settings, observer) as client:
        await answer(client, "list_research_documents")
        await answer(client, "summarize_document", document_path="results-report.pdf")
        await refusal(client, "read_document", document_path="missing.md")
    assert settings.audit_log is not None
    records = [json.loads(line) for line in settings.audit_log.read_text(encoding="utf-8").splitlines()]
    ends = [record for record in records if record["event"] == "end" and record.get("tool")]
    outcomes = [(record["tool"], record["outcome"]) for record in ends]
    assert outcomes == [
        ("list_research_documents", "ok"),
        ("summarize_document", "input_required"),
        ("summarize_document", "ok"),
        ("read_document", "error"),
    ]
    rounds = [record for record in ends if record["tool"] == "summarize_document"]
    assert rounds[0]["logical_call_id"] == rounds[1]["logical_call_id"]
    assert rounds[1]["route"] == "client"
    starts = [record["call_id"] for record in records if record["event"] == "start"]
    assert set(starts) == {record["call_id"] for record in records if record["event"] == "end"}
    assert len(starts) == len(set(starts))
