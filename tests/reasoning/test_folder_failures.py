"""What becomes of a question over the folder when the model, the documents or the budget fail."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client

from research_gateway import build_gateway
from research_reasoning.folder.scanning import MAX_SCANNED_DOCUMENTS
from research_shared.documents import DocumentText
from research_shared.errors import DocumentNotFound, ResearchError
from research_shared.reading.library import Library
from support.carriers import CARRIERS, connected, no_wait, settings
from support.scripted import Reply, ScriptedModel
from support.sizes import FULL

QUESTION = "What is the price of protection in mix networks?"
LATENCY = "The price of that protection is latency"
ROUTES = CARRIERS if FULL else ("modern-memory",)
EVERY_ROUTE = (*CARRIERS, "extractive") if FULL else ("handshake-memory", "extractive")
NOTHING = Reply("")


def never(*kinds: str) -> ScriptedModel:
    """A model that answers nothing to prompts of these kinds."""
    return ScriptedModel(always=lambda kind, _text: NOTHING if kind in kinds else None)


async def asked(
    folder: Path, carrier: str, model: ScriptedModel | None = None, **arguments: Any
) -> dict[str, Any]:
    async with connected(carrier, folder, model, retry=no_wait()) as session:
        result: dict[str, Any] = await session.call(
            "synthesize_research", **({"research_question": QUESTION} | arguments)
        )
        values = [value for value, _ in session.progress]
        assert values == sorted(values)
        assert session.progress[-1][0] == session.progress[-1][1]
    return result


@pytest.mark.parametrize("carrier", ROUTES)
async def test_without_queries_of_the_model_the_question_is_searched_for(folder: Path, carrier: str) -> None:
    result = await asked(folder, carrier, never("queries"))
    assert result["selection"]["queries"] == [QUESTION]
    assert LATENCY in str(result["key_insights"])


@pytest.mark.parametrize("carrier", ROUTES)
async def test_without_evidence_of_the_model_the_call_fails_and_says_after_what(
    folder: Path, carrier: str
) -> None:
    async with connected(carrier, folder, never("passages"), retry=no_wait()) as session:
        error = await session.fail("synthesize_research", research_question=QUESTION)
    assert (error["code"], error["retryable"]) == ("model_failed", True)
    assert session.model.counts["passages"] == 3


@pytest.mark.parametrize("carrier", ROUTES)
@pytest.mark.parametrize("layout", ["table", "timeline"])
async def test_without_evidence_a_table_and_a_timeline_fail_alike(
    folder: Path, carrier: str, layout: str
) -> None:
    async with connected(carrier, folder, never("rows", "dated"), retry=no_wait()) as session:
        error = await session.fail("synthesize_research", research_question=QUESTION, format=layout)
    assert error["code"] == "model_failed"


@pytest.mark.parametrize("carrier", ROUTES)
async def test_of_evidence_that_was_cut_the_whole_findings_are_kept(folder: Path, carrier: str) -> None:
    whole = {"source": 1, "claim": "It is latency.", "quotes": [LATENCY]}
    cut = json.dumps({"relevant": True, "findings": [whole, whole]})[:-30]
    result = await asked(folder, carrier, ScriptedModel({"passages": [Reply(cut, "maxTokens")] * 3}))
    assert LATENCY in str(result["key_insights"])
    assert result["answered"] is True


@pytest.mark.parametrize("carrier", ROUTES)
async def test_without_a_combination_the_findings_come_back(folder: Path, carrier: str) -> None:
    result = await asked(folder, carrier, never("combine"))
    assert result["partial"] is True
    assert f"It says: {LATENCY}" in result["synthesis"]
    assert result["warnings"][0].startswith("INCOMPLETE: the combination failed")


@pytest.mark.parametrize("carrier", ROUTES)
async def test_in_detail_a_document_whose_evidence_fails_is_skipped(folder: Path, carrier: str) -> None:
    model = ScriptedModel({'Document: "tor.md"': [NOTHING] * 3})
    result = await asked(folder, carrier, model, depth="detailed")
    status = {source["path"]: source["status"] for source in result["sources"]}
    assert status["tor.md"] == "skipped"
    assert status["notes/mix.txt"] == "used"
    assert result["warnings"][0].startswith("INCOMPLETE: 1 of ")


@pytest.mark.parametrize("carrier", ROUTES)
async def test_in_detail_a_row_whose_evidence_fails_is_missing_from_the_table(
    folder: Path, carrier: str
) -> None:
    model = ScriptedModel({'Document: "tor.md"': [NOTHING] * 3})
    result = await asked(folder, carrier, model, depth="detailed", aspects=["timing", "price"])
    assert "tor.md" not in {row["document"] for row in result["table"]["rows"]}
    assert result["sources_skipped"] == 1


@pytest.mark.parametrize("carrier", EVERY_ROUTE)
async def test_a_folder_of_broken_documents_is_an_error_that_costs_no_evidence(
    tmp_path: Path, carrier: str
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.pdf").write_bytes(b"%PDF-1.4 not a pdf")
    async with connected(carrier, tmp_path, retry=no_wait()) as session:
        error = await session.fail("synthesize_research", research_question=QUESTION)
    assert error["code"] == "no_readable_documents"
    assert "3 documents give no text" in error["message"]
    assert session.model.counts["passages"] == 0


@pytest.mark.parametrize("carrier", EVERY_ROUTE)
@pytest.mark.parametrize("layout", ["prose", "table", "timeline"])
async def test_nothing_found_is_not_answered_in_any_form(folder: Path, carrier: str, layout: str) -> None:
    silent = ScriptedModel({"queries": [Reply('{"queries": ["penguins"]}')]})
    result = await asked(
        folder,
        carrier,
        silent,
        research_question="Do penguins swim?",
        format=layout,
        aspects=["penguins"] if layout == "table" else [],
    )
    assert (result["answered"], result["sources"], result["key_insights"]) == (False, [], [])
    assert result["selection"]["documents_considered"] == 4  # an empty one, too
    assert silent.counts["passages"] + silent.counts["rows"] + silent.counts["dated"] == 0
    assert "follow_up" not in result


@pytest.mark.parametrize("carrier", ROUTES)
async def test_a_used_up_budget_is_an_error_that_names_it(folder: Path, carrier: str) -> None:
    async with connected(
        carrier, folder, retry=no_wait(), model_request_tokens=4_000, model_call_tokens=2_000
    ) as session:
        error = await session.fail("synthesize_research", research_question=f"{QUESTION} {'x y ' * 450}")
    assert error["code"] in {"model_failed", "budget_exceeded"}
    assert "token" in error["message"]


async def test_a_document_that_breaks_between_search_and_choice_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: dict[str, int] = {}
    read: Callable[..., Any] = Library.read

    async def once(library: Library, path: str, *arguments: Any, **options: Any) -> DocumentText:
        reads[path] = reads.get(path, 0) + 1
        if path == "tor.md" and reads[path] > 1:
            gone: ResearchError = DocumentNotFound("there is no such document")
            raise gone
        text: DocumentText = await read(library, path, *arguments, **options)
        return text

    monkeypatch.setattr(Library, "read", once)
    result = await asked(folder, "extractive", research_question=f"{QUESTION} Timing?")
    assert '"tor.md" is left out: there is no such document' in result["warnings"]
    assert LATENCY in result["synthesis"]


# ---- a large folder

MANY = 5_000 if FULL else 40
MAX_TOKENS_IN, MAX_TOKENS_OUT, MAX_CALLS, MAX_ROUNDS, MAX_SECONDS = 15_000, 5_000, 3, 3, 30.0


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("large")
    for number in range(MANY):
        text = (
            f"# Note {number}\n\nPlot {number} of the garden bore {number % 97} apples under its old trees.\n"
            * 3
        )
        path = root / f"{number % 50:02}" / f"note-{number:05}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "zz-mix.md").write_text(f"{LATENCY}, which grows with the number of users.\n", encoding="utf-8")
    return root


async def test_a_large_folder_is_asked_within_its_budget_and_the_answer_states_what_was_left(
    large: Path, tmp_path: Path
) -> None:
    """The budget of a question over an indexed folder, whatever its size: tokens, calls, rounds, seconds."""
    model = ScriptedModel()
    built = build_gateway(
        settings(large, audit_log=tmp_path / "audit.jsonl", index_dir=tmp_path / "index", watch=False)
    )
    async with Client(built, sampling_handler=model.sample) as client:
        with anyio.fail_after(900):
            while True:  # until the index is complete
                found = await client.call_tool("search_documents", {"query": "latency"})
                assert found.structured_content is not None
                if "indexing" not in found.structured_content or not found.structured_content["indexing"]:
                    break
                await anyio.sleep(0.05)
        began = time.process_time()
        answer = await client.call_tool("synthesize_research", {"research_question": QUESTION})
        seconds = time.process_time() - began
    result = answer.structured_content
    assert result is not None
    usage = result["usage"]
    assert usage["input_tokens"] <= MAX_TOKENS_IN
    assert usage["output_tokens"] <= MAX_TOKENS_OUT
    assert usage["model_calls"] <= MAX_CALLS
    assert usage["rounds"] <= MAX_ROUNDS
    assert seconds <= MAX_SECONDS
    assert result["selection"]["documents_considered"] == MANY + 1
    assert result["selection"]["documents_read"] == result["sources_used"] <= 20
    assert LATENCY in str(result["key_insights"])
    text: str = answer.content[0].text
    assert f"Searched {MANY + 1} documents, read passages of {result['sources_used']}." in text


if FULL:

    async def test_a_scan_of_a_large_folder_begins_with_what_it_did_not_look_into(large: Path) -> None:
        began = time.process_time()
        result = await asked(large, "extractive")
        assert time.process_time() - began <= 90.0
        assert result["warnings"][0].startswith(
            f"INCOMPLETE: {MAX_SCANNED_DOCUMENTS} of {MANY + 1} documents were looked into"
        )
        assert result["selection"]["documents_considered"] == MAX_SCANNED_DOCUMENTS
