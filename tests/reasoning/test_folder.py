"""Questions over the whole folder: no documents are named, the server chooses the evidence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from mcp_types import InputRequiredResult

from reasoning.test_rounds import driving
from research_gateway import build_gateway
from research_reasoning import build_reasoning_server
from research_reasoning.folder import ScannedPassages
from research_reasoning.requested import MAX_READ_WHOLE
from research_shared.access.globs import EVERY_PATH
from research_shared.access.roots import RootsPolicy
from research_shared.middleware.scope_meta import SCOPE_META_KEY
from research_shared.reading.filters import EVERY_DOCUMENT
from research_shared.reading.library import Library
from support.carriers import CARRIERS, ROUTES, connected, no_wait, settings
from support.results import error_of
from support.scripted import Reply, ScriptedModel

QUESTION = "What is the monetary price of protection in mix networks?"
DOCUMENTS = MAX_READ_WHOLE + 8
LATENCY = "The price of that protection is latency"


@pytest.fixture
def many(folder: Path) -> Path:
    for number in range(MAX_READ_WHOLE + 3):
        text = f"# Chapter {number}\n\nChapter {number} is on gardens, and on trees that grow in them.\n"
        (folder / "notes" / f"chapter-{number:02}.md").write_text(text, "utf-8")
    (folder / "notes" / "mix-copy.txt").write_text((folder / "notes" / "mix.txt").read_text("utf-8"), "utf-8")
    return folder


async def ask(client: Client[Any], **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool("synthesize_research", {"research_question": QUESTION} | arguments)
    assert result.structured_content is not None
    return result.structured_content


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_question_without_paths_is_answered_from_the_folder_on_every_route(
    many: Path, carrier: str
) -> None:
    async with connected(carrier, many) as session:
        result = await session.call("synthesize_research", research_question=QUESTION)
    assert result["route"] == ROUTES[carrier]
    assert session.model.counts == {"queries": 1, "passages": 1, "combine": 1}
    assert result["usage"]["model_calls"] == 3
    assert result["usage"]["input_tokens"] < 10_000
    search = result["selection"]
    assert search["documents_considered"] == DOCUMENTS
    assert search["documents_read"] == len(result["sources"]) == result["sources_used"]
    assert search["queries"] == [QUESTION, "layers of encryption", "latency"]
    paths = [source["path"] for source in result["sources"]]
    # Of two copies the one with the plainer name is shown.
    assert {"tor.md", "notes/mix.txt"} <= set(paths)
    assert "notes/mix-copy.txt" not in paths
    assert "counted once: notes/mix-copy.txt (same content as notes/mix.txt)" in result["warnings"]
    assert all(source["reason"].startswith("chosen for") for source in result["sources"])
    assert result["answered"] is True
    assert all(insight["verified"] for insight in result["key_insights"])
    assert session.progress[-1][0] == session.progress[-1][1] == len(paths) + 1
    assert [value for value, _ in session.progress] == sorted(value for value, _ in session.progress)


@pytest.mark.parametrize("carrier", ["modern-memory", "extractive"])
async def test_in_detail_the_chosen_documents_are_read_like_named_ones(many: Path, carrier: str) -> None:
    async with connected(carrier, many) as session:
        result = await session.call("synthesize_research", research_question=QUESTION, depth="detailed")
    assert result["depth"] == "detailed"
    assert result["selection"]["documents_read"] == result["sources_used"] > 0
    assert all(source["coverage"]["complete"] for source in result["sources"])
    assert all(source["reason"].startswith("chosen for") for source in result["sources"])
    assert session.progress[-1][0] == session.progress[-1][1]


async def test_without_a_model_the_sentences_are_chosen_and_the_open_words_named(many: Path) -> None:
    async with connected("extractive", many) as session:
        result = await session.call("synthesize_research", research_question=QUESTION)
        away = await session.call(
            "synthesize_research", research_question="How fast do penguins swim under water?"
        )
        result_text = await session.client.call_tool("synthesize_research", {"research_question": QUESTION})
    assert result["route"] == "extractive"
    assert LATENCY in result["synthesis"]
    assert result["selection"]["queries"] == [QUESTION]
    assert result["not_answered"] == ["monetary"]
    assert (away["answered"], away["key_insights"], away["sources"]) == (False, [], [])
    assert away["selection"]["documents_considered"] == DOCUMENTS
    (block,) = result_text.content
    assert "\n\nNot answered: monetary" in block.text  # type: ignore[union-attr]
    assert f"Searched {DOCUMENTS} documents, read passages of " in block.text  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ([], True),
        ("", True),
        (None, True),
        (["notes/*"], True),
        (["notes"], True),
        (["*.txt"], False),
        (["notes/*", "tor.md"], False),
    ],
)
async def test_patterns_over_many_documents_limit_the_folder_and_others_name_documents(
    many: Path, given: Any, whole: bool
) -> None:
    async with connected("extractive", many) as session:
        result = await session.call("synthesize_research", document_paths=given, research_question=QUESTION)
    assert (result["selection"] is not None) is whole
    if whole and given:
        assert result["selection"]["documents_considered"] == MAX_READ_WHOLE + 5
        assert {source["path"].split("/")[0] for source in result["sources"]} == {"notes"}


async def test_the_choice_is_that_of_the_first_round(many: Path) -> None:
    arguments = {"research_question": QUESTION}
    async with driving(many) as driver:
        first = await driver.ask(arguments=arguments)
        second = await driver.send(driver.answers(first), first.request_state, arguments=arguments)
        assert isinstance(second, InputRequiredResult)
        (many / "better.md").write_text(f"{QUESTION} {LATENCY}.\n", "utf-8")
        (many / "tor.md").unlink()
        result = await driver.finish(second, arguments=arguments)
    sources = {source["path"]: source["status"] for source in result["sources"]}
    assert "better.md" not in sources
    assert sources["tor.md"] == "skipped"
    assert sources["notes/mix.txt"] == "used"
    assert result["warnings"][0].startswith("INCOMPLETE: 1 of ")


async def test_a_model_that_writes_no_queries_costs_only_its_call(many: Path) -> None:
    model = ScriptedModel({"queries": [Reply("I would rather not."), Reply('{"queries": []}')]})
    async with connected("handshake-memory", many, model) as session:
        result = await session.call("synthesize_research", research_question=QUESTION)
    assert result["selection"]["queries"] == [QUESTION]
    assert LATENCY in str(result["key_insights"])
    assert any("no search queries" in line for line in session.levels("warning"))


async def test_queries_of_a_model_find_what_the_question_s_language_does_not(many: Path) -> None:
    german = "Welchen Preis hat der Schutz der Mischnetze?"
    model = ScriptedModel({"queries": [Reply('{"queries": ["price of protection latency"]}')]})
    async with connected("handshake-memory", many, model) as session:
        result = await session.call("synthesize_research", research_question=german)
    assert LATENCY in str(result["key_insights"])


async def test_a_finding_belongs_to_the_document_that_holds_its_quote(many: Path) -> None:
    answer = (
        '{"relevant": true, "findings": [{"source": 1, "claim": "Latency is the price", "quotes": ["'
        + LATENCY
        + '"]}, {"claim": "Relays learn little", "quotes": ["Each relay removes one layer and learns only its '
        'neighbours"]}, {"source": 99, "claim": "Made up", "quotes": ["nobody has ever written this sentence"]}]}'
    )
    async with connected("modern-memory", many, ScriptedModel({"passages": [Reply(answer)]})) as session:
        result = await session.call("synthesize_research", research_question=QUESTION)
    placed = {
        item["quote"][:20]: (item["document"], item["verified"])
        for insight in result["key_insights"]
        for item in insight["evidence"]
    }
    assert placed[LATENCY[:20]] == ("notes/mix.txt", True)
    assert placed["Each relay removes o"] == ("tor.md", True)
    assert result["unverified_quotes"] == 1


async def test_what_the_model_leaves_open_is_said(many: Path) -> None:
    answer = Reply(
        '{"answered": true, "synthesis": "Latency [1].", "insights": [], "contradictions": [], '
        '"missing": ["the price in money", "<what stays open>"]}'
    )
    async with connected("modern-memory", many, ScriptedModel({"combine": [answer]})) as session:
        result = await session.call("synthesize_research", research_question=QUESTION)
    assert result["not_answered"] == ["the price in money"]


async def test_prose_instead_of_findings_is_an_error_after_one_repair(many: Path) -> None:
    model = ScriptedModel({"passages": [Reply("It is latency.")], "repair": [Reply("It is latency.")]})
    async with connected("modern-memory", many, model) as session:
        error = await session.fail("synthesize_research", research_question=QUESTION)
    assert error["code"] == "model_failed"
    assert model.counts["repair"] == 1


async def test_a_folder_without_a_readable_document_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 not a pdf")
    async with connected("extractive", tmp_path) as session:
        error = await session.fail("synthesize_research", research_question=QUESTION)
    assert error["code"] == "no_readable_documents"
    assert "1 document gives no text" in error["message"]


async def test_only_the_scope_of_the_request_is_searched(many: Path) -> None:
    server = build_reasoning_server(settings(many, model_route="extractive"), retry=no_wait())
    async with Client(server) as client:
        result = await client.call_tool(
            "synthesize_research",
            {"research_question": QUESTION},
            meta={SCOPE_META_KEY: ["tor.md", "notes/chapter-01.md"]},
        )
    structured: Any = result.structured_content
    assert structured["selection"]["documents_considered"] == 2
    assert not {source["path"] for source in structured["sources"]} - {"tor.md", "notes/chapter-01.md"}


async def test_behind_the_gateway_the_index_is_asked_and_gives_the_same_documents(
    many: Path, tmp_path: Path
) -> None:
    chosen = settings(many, model_route="extractive", audit_log=str(tmp_path / "audit.jsonl"), watch=False)
    async with Client(build_gateway(chosen)) as client:
        indexed = await ask(client)
    async with connected("extractive", many) as session:
        scanned = await ask(session.client)
    assert LATENCY in indexed["synthesis"]
    assert indexed["selection"]["documents_considered"] == scanned["selection"]["documents_considered"]
    assert indexed["sources"][0]["path"] == scanned["sources"][0]["path"]


@pytest.mark.parametrize("behind", ["gateway", "reasoning server"])
async def test_filters_choose_among_the_documents(many: Path, tmp_path: Path, behind: str) -> None:
    (many / "dated.md").write_text(
        "---\ntitle: On prices\nauthor: Ann Lee\ndate: 2024-05-01\n---\n\nThe price of protection in mix networks is high.\n",
        "utf-8",
    )
    build = build_gateway if behind == "gateway" else build_reasoning_server
    chosen = settings(many, model_route="extractive", audit_log=str(tmp_path / "audit.jsonl"), watch=False)
    async with Client(build(chosen)) as client:
        by_type = await ask(client, type="txt")
        by_author = await ask(client, author="Lee", document_paths=["*.md"], dated_after="2024")
        nobody = await client.call_tool(
            "synthesize_research", {"research_question": QUESTION, "author": "Nobody"}, raise_on_error=False
        )
        named = await client.call_tool(
            "synthesize_research",
            {"research_question": QUESTION, "document_paths": ["tor.md"], "type": "txt"},
            raise_on_error=False,
        )
    assert {source["path"] for source in by_type["sources"]} == {"notes/mix.txt"}
    assert by_type["selection"]["documents_considered"] == 2
    assert [source["path"] for source in by_author["sources"]] == ["dated.md"]
    assert error_of(nobody)["code"] == "no_readable_documents"
    assert "Ann Lee" in error_of(nobody)["message"]
    assert error_of(named)["code"] == "document_not_found"


async def test_a_version_with_other_numbers_is_not_taken_for_a_copy(folder: Path) -> None:
    text = "The price of protection in mix networks is {} minutes of latency, as all of the users of them know.\n"
    (folder / "v1.md").write_text(text.format(15), "utf-8")
    (folder / "v2.md").write_text(text.format(35), "utf-8")
    (folder / "v3.md").write_text(text.format(35), "utf-8")
    async with connected("extractive", folder) as session:
        result = await session.call("synthesize_research", research_question=QUESTION)
    paths = {source["path"] for source in result["sources"]}
    assert "v1.md" in paths
    assert len(paths & {"v2.md", "v3.md"}) == 1


@pytest.mark.parametrize(
    ("bounds", "looked_into"),
    [({"max_documents": 4}, 4), ({"max_bytes": 1}, 8), ({"time_limit_s": 0}, 0)],
)
async def test_a_scan_says_what_it_did_not_look_into(
    many: Path, bounds: dict[str, Any], looked_into: int
) -> None:
    library = Library(RootsPolicy(settings(many).roots))
    async with library:
        search = ScannedPassages(library, clock=lambda: 0.0, **bounds)
        found = await search.find([QUESTION], paths=EVERY_PATH, wanted=EVERY_DOCUMENT, limit=5)
    documents = len(await documents_of(library))
    assert found.warnings[0].startswith(
        f"INCOMPLETE: {looked_into} of {documents} documents were looked into"
    )


async def documents_of(library: Library) -> Sequence[str]:
    return [info.path for info in await library.documents()]
