"""Searches of a watched folder that is moved, replaced, linked and emptied while it is served."""

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_documents.search import SearchEngine
from research_documents.server import build_documents_server
from research_shared.access.roots import Root
from research_shared.reading.library import Library
from research_shared.settings import Settings
from support.results import answer_of

BOTH_MODES = ("keyword", "regex")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for number in range(6):
        (tmp_path / "data" / f"c{number}.md").write_text("canaryword here\n", encoding="utf-8")
    (tmp_path / "data" / "sub" / "s.md").write_text("subword\n", encoding="utf-8")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "s.md").write_text("subword of somebody else\n", encoding="utf-8")
    return tmp_path / "data"


@pytest.fixture
def engine(data: Path) -> SearchEngine:
    settings = Settings(roots=(Root("data", data),), extract_workers=1)
    return SearchEngine.from_settings(Library.from_settings(settings), settings)


@pytest.fixture
async def client(data: Path, engine: SearchEngine) -> AsyncIterator[Client[Any]]:
    settings = Settings(roots=(Root("data", data),), extract_workers=1)
    server = build_documents_server(settings, library=engine._library, engine=engine)
    async with Client(server) as connected:
        assert await found(connected, "canaryword") == 6
        yield connected


async def search(client: Client[Any], query: str, mode: str = "keyword", **more: Any) -> dict[str, Any]:
    arguments = {"query": query, "mode": mode, **more}
    result = await client.call_tool("search_documents", arguments, raise_on_error=False)
    return answer_of(result)


async def found(client: Client[Any], query: str, mode: str = "keyword") -> int | str:
    """How many hits there are, all of them, or the code of the error."""
    answer = await search(client, query, mode)
    if "error" in answer:
        return str(answer["error"]["code"])
    assert answer["truncated"] is False
    return len(answer["matches"])


async def eventually(client: Client[Any], query: str, hits: int) -> None:
    async with asyncio.timeout(60):
        while True:
            answer = await search(client, query)
            # Meanwhile an answer may say that it rests on a part of the folder.
            if "error" not in answer and not answer["truncated"] and len(answer["matches"]) == hits:
                return


async def test_a_document_that_is_gone_leaves_the_index_too(
    client: Client[Any], data: Path, engine: SearchEngine
) -> None:
    (data / "c0.md").unlink()
    assert await found(client, "canaryword") == 5
    index = engine._updater.index
    assert index is not None
    assert index.passages == 6
    (data / "c0.md").write_text("canaryword here\n", encoding="utf-8")
    await eventually(client, "canaryword", 6)
    assert index.passages == 7


@pytest.mark.parametrize("mode", BOTH_MODES)
async def test_a_directory_that_became_a_link_is_not_searched_from_memory(
    client: Client[Any], data: Path, mode: str
) -> None:
    assert await found(client, "subword", mode) == 1
    (data / "sub").rename(data.parent / "sub")
    (data / "sub").symlink_to(data.parent / "outside")
    assert await found(client, "subword", mode) == 0


@pytest.mark.parametrize("mode", BOTH_MODES)
async def test_a_folder_that_is_gone_or_became_a_link_fails_closed_and_recovers(
    client: Client[Any], data: Path, mode: str
) -> None:
    away = data.parent / "away"
    data.rename(away)
    assert await found(client, "canaryword", mode) == "root_unavailable"
    assert await found(client, "nothing holds this", mode) == "root_unavailable"
    data.symlink_to(away)
    assert await found(client, "canaryword", mode) == "root_unavailable"
    data.unlink()
    away.rename(data)
    assert await found(client, "canaryword", mode) == 6


async def test_a_folder_put_in_the_place_of_another_is_watched(client: Client[Any], data: Path) -> None:
    data.rename(data.parent / "old")
    shutil.copytree(data.parent / "old", data)
    assert await found(client, "canaryword") == 6
    (data / "new.md").write_text("canaryword anew\n", encoding="utf-8")
    await eventually(client, "canaryword", 7)


@pytest.mark.parametrize("query", ["\\", "alpha\\", r".\C"])
async def test_what_is_no_expression_of_this_engine_is_a_warning(client: Client[Any], query: str) -> None:
    answer = await search(client, query, "regex")
    assert answer["matches"] == []
    assert answer["warnings"]


@pytest.mark.parametrize("mode", BOTH_MODES)
async def test_a_cursor_made_to_hurt_is_refused(client: Client[Any], mode: str) -> None:
    cursor = base64.urlsafe_b64encode(b"[" * 100_000).decode()
    assert (await search(client, "canaryword", mode, cursor=cursor))["error"]["code"] == "invalid_cursor"
