"""Files of types that are not read: counted in listing and search, named when asked for, and never told beyond the scope."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_documents.server import build_documents_server
from research_shared.access.roots import Root
from research_shared.access.scope import Scope, narrowed_scope
from research_shared.access.unread import count_of_unread, remedy
from research_shared.errors import DocumentNotFound
from research_shared.reading.library import Library
from research_shared.settings import Settings
from support.backends import IN_EACH_PLACE
from support.office_files import COMPOUND_FILE, paragraph, word
from support.results import answer_of, error_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "research"
    (root / "plans").mkdir(parents=True)
    (root / "letters").mkdir()
    (root / "notes.md").write_text("the hall is wide")
    for name in ("plans/hall.dwg", "plans/roof.DWG", "letters/old.doc", "letters/.hidden.doc", "README"):
        (root / name).write_bytes(b"x")
    (root / "plans" / "linked.dwg").symlink_to("hall.dwg")
    return root


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[Client[Any]]:
    settings = Settings(
        roots=(Root("research", folder),),
        watch=False,
        extract_workers=1,
        index_wait_s=600,
        search_deadline_s=60,
    )
    async with Client(build_documents_server(settings)) as connected:
        await connected.call_tool("search_documents", {"query": "hall"})  # everything is read
        yield connected


async def warnings(client: Client[Any], tool: str, **arguments: Any) -> list[str]:
    answer = answer_of(await client.call_tool(tool, arguments, raise_on_error=False))
    found: list[str] = answer.get("warnings", [])
    return found


@IN_EACH_PLACE
async def test_listing_and_search_say_how_many_files_are_not_read(client: Client[Any]) -> None:
    everything = ["not read: 2 .dwg, 1 .doc, 1 without a suffix"]
    assert await warnings(client, "list_research_documents") == everything
    assert await warnings(client, "search_documents", query="hall") == everything
    assert await warnings(client, "search_documents", query="hall", mode="regex") == everything


@IN_EACH_PLACE
async def test_only_files_that_the_pattern_matches_are_counted(client: Client[Any], folder: Path) -> None:
    (folder / "plans" / "hall.md").write_text("hall")
    assert await warnings(client, "list_research_documents", file_pattern="plans/**") == ["not read: 2 .dwg"]
    assert await warnings(client, "search_documents", query="hall", file_pattern="plans/**") == [
        "not read: 2 .dwg"
    ]
    assert await warnings(client, "list_research_documents", file_pattern="*.md") == []


@IN_EACH_PLACE
async def test_documents_without_text_are_counted_with_the_reason_as_soon_as_it_is_known(
    client: Client[Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "research_shared.reading.library.SETTLED_NS", -1
    )  # of a young file no reading is remembered
    for name in ("a.docx", "b.docx", "c.pptx"):
        (folder / "letters" / name).write_bytes(COMPOUND_FILE + "EncryptedPackage".encode("utf-16-le"))
    (folder / "letters" / "cut.xlsx").write_bytes(word(paragraph("cut off"))[:200])
    counted = "not read: 2 .docx (password), 1 .doc, 1 .pptx (password), 1 .xlsx (damaged)"
    assert await warnings(client, "search_documents", query="hall", file_pattern="letters/*") == [counted]
    assert await warnings(client, "list_research_documents", file_pattern="letters/*") == [counted]
    (folder / "letters" / "a.docx").unlink()
    assert await warnings(client, "search_documents", query="hall", file_pattern="*.docx") == [
        "not read: 1 .docx (password)"
    ]


async def test_the_bare_name_of_such_a_file_is_enough(client: Client[Any], folder: Path) -> None:
    async def code(given: str) -> str:
        result = await client.call_tool("read_document", {"document_path": given}, raise_on_error=False)
        told: str = error_of(result)["code"]
        return told

    assert await code("old.doc") == "unsupported_type"
    assert await code("ROOF.dwg") == "unsupported_type"
    assert await code(".hidden.doc") == "document_not_found"
    (folder / "old.doc").write_bytes(b"x")
    assert await code("./plans/../old.doc") == "document_not_found"


async def test_a_path_of_such_a_file_says_that_its_type_is_not_read(client: Client[Any]) -> None:
    result = await client.call_tool(
        "read_document", {"document_path": "letters/old.doc"}, raise_on_error=False
    )
    error = error_of(result)
    assert (error["code"], error["reason"], error["retryable"]) == (
        "unsupported_type",
        "unsupported type",
        False,
    )
    assert error["message"] == "letters/old.doc is there, but files of type .doc are not read"
    assert error["hint"] == "Save it as .docx in the program that wrote it. Other documents can be read."
    for missing in ("letters/new.doc", "letters/.hidden.doc", "letters", "../research/letters/old.doc"):
        result = await client.call_tool("read_document", {"document_path": missing}, raise_on_error=False)
        assert error_of(result)["code"] == "document_not_found", missing


async def test_nothing_beyond_the_scope_is_counted_or_told_from_nothing(folder: Path) -> None:
    library = Library.from_settings(Settings(roots=(Root("research", folder),)))
    with narrowed_scope(Scope(("plans",))):
        assert await library.survey() == ([], ["plans/hall.dwg", "plans/roof.DWG"])
        told = []
        for path in ("letters/old.doc", "letters/none.doc"):
            with pytest.raises(DocumentNotFound) as refusal:
                await library.stat(path)
            told.append(refusal.value.payload())
        assert told[0] == told[1]


def test_a_count_names_the_most_frequent_types() -> None:
    paths = [f"{n}.{kind}" for kind, many in (("aa", 1), ("bb", 3), ("cc", 2)) for n in range(many)]
    assert count_of_unread(paths) == "not read: 3 .bb, 2 .cc, 1 .aa"
    assert count_of_unread([f"x.t{n:02}" for n in range(13)]) == (
        f"not read: {', '.join(f'1 .t{n:02}' for n in range(10))}, 3 of other types"
    )
    assert count_of_unread([]) is None


@pytest.mark.parametrize(
    ("path", "start"),
    [("a.XLS", "Save it as .xlsx"), ("a.png", "Save the text"), ("a.zip", "Unpack"), ("a", "Save it as PDF")],
)
def test_each_type_has_a_remedy(path: str, start: str) -> None:
    assert remedy(path).startswith(start)
