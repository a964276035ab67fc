"""Which documents a call is about: paths as models send them, folders and patterns."""

from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from mcp_types import InputRequiredResult

from reasoning.test_rounds import driving
from research_reasoning import build_reasoning_server
from research_reasoning.requested import MAX_REQUESTED_DOCUMENTS
from research_shared.middleware.scope_meta import SCOPE_META_KEY
from support.carriers import MODERN, connected, no_wait, settings

QUESTION = "Who talks to whom?"
NOTES = ["notes/a.md", "notes/b.md", "notes/mix.txt"]


@pytest.fixture
def library(folder: Path) -> Path:
    for name in ("b", "a"):
        (folder / "notes" / f"{name}.md").write_text(f"# {name}\n\nA relay removes one layer.\n", "utf-8")
    return folder


async def sources_of(folder: Path, paths: Any, carrier: str = "extractive") -> list[dict[str, Any]]:
    sources: list[dict[str, Any]] = []
    async with connected(carrier, folder) as session:
        result = await session.call("synthesize_research", document_paths=paths, research_question=QUESTION)
        sources += result["sources"]
        assert result["sources_used"] + result["sources_skipped"] == len(sources)
        assert session.progress[-1][0] == session.progress[-1][1] == len(sources)
    return sources


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ('["tor.md"]', ["tor.md"]),
        ('["tor.md", "notes/a.md"]', ["tor.md", "notes/a.md"]),
        ("tor.md", ["tor.md"]),
        (["./tor.md"], ["tor.md"]),
        (["/notes/mix.txt"], ["notes/mix.txt"]),
        (["mix.txt"], ["notes/mix.txt"]),
        (["Notes/MIX.txt"], ["notes/mix.txt"]),
        (["research://documents/notes/mix.txt"], ["notes/mix.txt"]),
        (["notes/*"], NOTES),
        ("notes/*.md", NOTES[:2]),
        (["notes"], NOTES),
        (["notes/"], NOTES),
        (["notes/**"], NOTES),
        (["*.TXT"], ["notes/mix.txt"]),
        (["research://documents/notes/*.md"], NOTES[:2]),
        (["notes/b.md", "notes/*", "b.md", "./notes/b.md"], ["notes/b.md", "notes/a.md", "notes/mix.txt"]),
    ],
)
async def test_documents_are_named_in_any_spelling_by_folder_or_by_pattern(
    library: Path, given: Any, meant: list[str]
) -> None:
    sources = await sources_of(library, given)
    assert [source["path"] for source in sources] == meant
    assert {source["status"] for source in sources} == {"used"}


@pytest.mark.parametrize("carrier", [*MODERN[:1], "handshake-memory"])
async def test_what_names_no_document_is_skipped_with_what_exists_near_it(
    library: Path, carrier: str
) -> None:
    given = ["papers/*.pdf", "tor.md", "notes/mux.txt", "nowhere.md", "notes/*.md"]
    async with connected(carrier, library) as session:
        result = await session.call("synthesize_research", document_paths=given, research_question=QUESTION)
    assert [source["path"] for source in result["sources"]] == [*given[:4], *NOTES[:2]]
    assert [source["status"] for source in result["sources"]] == [
        "skipped",
        "used",
        "skipped",
        "skipped",
        "used",
        "used",
    ]
    pattern, _, typo, nowhere, *_ = result["sources"]
    assert "notes/ (3)" in pattern["reason"]
    assert "notes/mix.txt" in typo["reason"]
    assert nowhere["reason"].startswith("no document has this path")
    assert "[2]" in result["synthesis"]
    assert len([line for line in session.levels("warning") if line.startswith("skipping")]) == 3
    assert result["warnings"][0] == "INCOMPLETE: 3 of 6 documents were skipped; see their reasons"


async def test_a_name_that_several_documents_have_is_not_guessed(library: Path) -> None:
    (library / "a.md").write_text("Another a.\n", "utf-8")
    (library / "deep").mkdir()
    (library / "deep" / "b.md").write_text("Another b.\n", "utf-8")
    exact, unclear = await sources_of(library, ["a.md", "b.md"])
    assert (exact["path"], exact["status"]) == ("a.md", "used")
    assert unclear["status"] == "skipped"
    assert "deep/b.md, notes/b.md" in unclear["reason"]


async def test_a_document_whose_name_looks_like_a_pattern_is_that_document(library: Path) -> None:
    (library / "notes" / "[ab].md").write_text("# Odd\n\nA relay removes one layer.\n", "utf-8")
    assert [source["path"] for source in await sources_of(library, ["notes/[ab].md"])] == ["notes/[ab].md"]


async def test_a_pattern_that_matches_too_many_documents_beside_a_named_one_says_how_many(
    folder: Path,
) -> None:
    (folder / "many").mkdir()
    for number in range(MAX_REQUESTED_DOCUMENTS + 1):
        (folder / "many" / f"{number}.md").write_text("x\n", "utf-8")
    async with connected("extractive", folder) as session:
        error = await session.fail(
            "synthesize_research", document_paths=["many/*", "tor.md"], research_question=QUESTION
        )
    assert error["code"] == "invalid_arguments"
    assert f"{MAX_REQUESTED_DOCUMENTS + 2} documents" in error["message"]
    assert "patterns alone" in error["hint"]


async def test_a_pattern_names_only_what_the_scope_of_the_request_holds(library: Path) -> None:
    arguments = {"document_paths": ["**/*.md", "mix.txt", "tor.md"], "research_question": QUESTION}
    server = build_reasoning_server(settings(library, model_route="extractive"), retry=no_wait())
    (library / "other").mkdir()
    (library / "other" / "tor-2.md").write_text("A relay removes one layer.\n", "utf-8")
    async with Client(server) as client:
        result = await client.call_tool(
            "synthesize_research", arguments, meta={SCOPE_META_KEY: ["other", "notes/a.md"]}
        )
    sources: Any = (result.structured_content or {})["sources"]
    assert [(source["path"], source["status"]) for source in sources] == [
        ("notes/a.md", "used"),
        ("other/tor-2.md", "used"),
        ("mix.txt", "skipped"),
        ("tor.md", "skipped"),
    ]
    assert "mix" not in sources[2]["reason"]


async def test_a_folder_that_changes_between_rounds_renumbers_nothing(library: Path) -> None:
    arguments = {"document_paths": ["notes/*", "new.md"], "research_question": QUESTION}
    async with driving(library) as driver:
        first = await driver.ask(arguments=arguments)
        assert len(first.input_requests or {}) == 3
        (library / "notes" / "0.md").write_text("# New\n\nA relay removes one layer.\n", "utf-8")
        (library / "new.md").write_text("# New\n\nA relay removes one layer.\n", "utf-8")
        (library / "notes" / "b.md").unlink()
        second = await driver.send(driver.answers(first), first.request_state, arguments=arguments)
        assert isinstance(second, InputRequiredResult)
        result = await driver.finish(second, arguments=arguments)
    assert [(source["path"], source["status"]) for source in result["sources"]] == [
        ("notes/a.md", "used"),
        ("notes/b.md", "skipped"),
        ("notes/mix.txt", "used"),
        ("new.md", "skipped"),
    ]
    assert driver.progress[-1] == (4, 4)


@pytest.mark.parametrize("given", ["./tor.md", "TOR.md", "research://documents/tor.md", ["tor.md"]])
async def test_one_document_is_named_in_any_spelling_too(folder: Path, given: Any) -> None:
    async with connected("extractive", folder) as session:
        result = await session.call("summarize_document", document_path=given)
        error = await session.fail("summarize_document", document_path="tot.md")
    assert result["document_path"] == "tor.md"
    assert error["code"] == "document_not_found"
    assert "tor.md" in error["hint"]


@pytest.mark.parametrize("empty", [None, "", " "])
async def test_nothing_for_an_optional_argument_means_its_default(folder: Path, empty: str | None) -> None:
    async with connected("extractive", folder) as session:
        summary = await session.call("summarize_document", document_path="tor.md", summary_length=empty)
        result = await session.call(
            "synthesize_research", document_paths=["tor.md"], research_question=QUESTION, depth=empty
        )
        loud = await session.call("summarize_document", document_path="tor.md", summary_length="BRIEF")
        schemas = {tool.name: tool.input_schema["properties"] for tool in await session.client.list_tools()}
    assert (summary["summary_length"], result["depth"], loud["summary_length"]) == (
        "standard",
        "overview",
        "brief",
    )
    assert schemas["summarize_document"]["summary_length"]["type"] == "string"
    assert schemas["synthesize_research"]["depth"]["type"] == "string"
    assert schemas["synthesize_research"]["document_paths"]["type"] == "array"


@pytest.fixture
def dated_library(library: Path) -> Path:
    for name, year in (("a", 2021), ("b", 2024)):
        (library / "notes" / f"{name}.md").write_text(
            f"---\nauthor: Ann Lee\ndate: {year}\ntags: [onion]\n---\n# {name}\n\nA relay removes one layer of {year}.\n",
            encoding="utf-8",
        )
    return library


@pytest.mark.parametrize(
    ("filters", "meant"),
    [
        ({"dated_after": "2023"}, ["notes/b.md"]),
        ({"author": "lee", "tags": ["onion"]}, ["notes/a.md", "notes/b.md"]),
        ({"type": "txt", "author": None}, ["notes/mix.txt"]),
        ({"modified_after": "2001", "dated_before": 2021}, ["notes/a.md"]),
    ],
)
async def test_filters_choose_among_the_documents_that_are_named(
    dated_library: Path, filters: dict[str, Any], meant: list[str]
) -> None:
    async with connected("extractive", dated_library) as session:
        result = await session.call(
            "synthesize_research", document_paths=["notes/*"], research_question=QUESTION, **filters
        )
    assert [source["path"] for source in result["sources"]] == meant
    assert {source["status"] for source in result["sources"]} == {"used"}


async def test_a_document_of_which_no_filter_can_tell_is_skipped_with_its_reason(dated_library: Path) -> None:
    (dated_library / "notes" / "broken.pdf").write_bytes(b"%PDF-1.7\nbroken")
    async with connected(MODERN[0], dated_library) as session:
        result = await session.call(
            "synthesize_research", document_paths=["notes/*"], research_question=QUESTION, dated_after="2023"
        )
    assert [(source["path"], source["status"]) for source in result["sources"]] == [
        ("notes/b.md", "used"),
        ("notes/broken.pdf", "skipped"),
    ]
    assert any(warning.startswith("INCOMPLETE") for warning in result["warnings"])


async def test_filters_that_fit_no_document_name_the_nearest(dated_library: Path) -> None:
    async with connected("extractive", dated_library) as session:
        refused = await session.fail(
            "synthesize_research",
            document_paths=["notes/*.md"],
            research_question=QUESTION,
            author="Ann Leigh",
        )
    assert refused["code"] == "document_not_found"
    assert "no document has the author 'Ann Leigh'; nearest: Ann Lee" in refused["message"]
