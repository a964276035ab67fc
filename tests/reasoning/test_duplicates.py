"""The same content counts once as evidence, and a version that is not the newest is said to be none."""

import shutil
from pathlib import Path

import pytest

from research_documents.search import SearchEngine
from research_documents.search.indexed import IndexedPassages
from research_shared.access.globs import EVERY_PATH, PathChoice
from research_shared.access.roots import Root, RootsPolicy
from research_shared.reading.filters import EVERY_DOCUMENT
from research_shared.reading.library import Library
from support.carriers import MODERN, connected

QUESTION = "How many layers of the onion does a relay remove?"


@pytest.fixture
def library(folder: Path) -> Path:
    notes = folder / "notes"
    (notes / "relay v1.md").write_text(
        "# Relays\n\nA relay removes two layers of the onion.\n", encoding="utf-8"
    )
    (notes / "relay v2.md").write_text(
        "# Relays\n\nA relay removes one layer of the onion.\n", encoding="utf-8"
    )
    shutil.copy(notes / "relay v2.md", folder / "another name.md")
    return folder


@pytest.mark.parametrize("carrier", ["extractive", MODERN[0]])
async def test_the_same_content_counts_once_and_an_older_version_is_named(
    library: Path, carrier: str
) -> None:
    given = ["notes/relay v2.md", "another name.md", "notes/relay v1.md"]
    async with connected(carrier, library) as session:
        result = await session.call("synthesize_research", document_paths=given, research_question=QUESTION)
        assert session.progress[-1][0] == session.progress[-1][1] == len(given)
    newest, same, older = result["sources"]
    assert (newest["status"], newest["reason"]) == ("used", None)
    assert (same["status"], same["reason"]) == ("duplicate", "same content as notes/relay v2.md")
    assert (older["status"], older["reason"]) == ("used", "older version of notes/relay v2.md")
    assert (result["sources_used"], result["sources_skipped"]) == (2, 0)
    evidence = [item["document"] for insight in result["key_insights"] for item in insight["evidence"]]
    assert evidence
    assert "another name.md" not in evidence
    assert [warning for warning in result["warnings"] if "relay" in warning] == [
        '1 document has the content of another one and counts once: "another name.md" (same content as notes/relay v2.md)',
        '1 document has another version in the folder: "notes/relay v1.md" (older version of notes/relay v2.md)',
    ]
    assert not any(warning.startswith("INCOMPLETE") for warning in result["warnings"])


async def test_the_newer_version_need_not_be_asked_for(library: Path) -> None:
    async with connected("extractive", library) as session:
        result = await session.call(
            "synthesize_research", document_paths=["notes/relay v1.md"], research_question=QUESTION
        )
    (source,) = result["sources"]
    assert (source["status"], source["reason"]) == ("used", "older version of notes/relay v2.md")


async def test_a_question_over_the_folder_finds_the_same_content_once_and_names_the_copy(
    tmp_path: Path,
) -> None:
    for name, words in (
        ("plan (1).md", "onion relay"),
        ("plan.md", "onion relay"),
        ("other.md", "onion skin"),
    ):
        (tmp_path / name).write_text(f"# Layers\n\nThe {words} is one layer.\n", encoding="utf-8")
    library = Library(RootsPolicy((Root("research", tmp_path),)))
    async with library, SearchEngine(library, watch=False) as engine:
        found = await IndexedPassages(engine).find(
            ["onion relay"], paths=EVERY_PATH, wanted=EVERY_DOCUMENT, limit=5
        )
        copy = await IndexedPassages(engine).find(
            ["onion relay"], paths=PathChoice(("plan (*).md",)), wanted=EVERY_DOCUMENT, limit=5
        )
    assert [passage.path for passage in found.by_query[0]] == ["plan.md", "other.md"]
    assert found.warnings == ("counted once: plan (1).md (same content as plan.md)",)
    assert ([passage.path for passage in copy.by_query[0]], copy.warnings) == (["plan (1).md"], ())


@pytest.mark.parametrize("carrier", ["extractive", MODERN[0]])
async def test_a_question_over_the_folder_hears_the_newer_version_alone_where_both_speak(
    library: Path, carrier: str
) -> None:
    (library / "another name.md").unlink()
    (library / "notes" / "guard v1.md").write_text("# Guards\n\nA guard relay removes a layer.\n", "utf-8")
    (library / "notes" / "guard v2.md").write_text("# Gardens\n\nTrees grow in them.\n", "utf-8")
    async with connected(carrier, library) as session:
        result = await session.call("synthesize_research", research_question=QUESTION)
    reasons = {source["path"]: source["reason"] for source in result["sources"]}
    assert "notes/relay v1.md" not in reasons
    assert "notes/relay v2.md" in reasons
    assert reasons["notes/guard v1.md"].endswith("; older version of notes/guard v2.md")
    (warning,) = (warning for warning in result["warnings"] if "newer version" in warning)
    assert warning == (
        'left out, because the newer version is heard: "notes/relay v1.md" (older version of notes/relay v2.md); '
        "name a version in document_paths to hear it"
    )
