"""Plain text in old encodings and with long lines is read, found and shown like any other."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_gateway.app import build_gateway
from research_shared.access.roots import Root
from research_shared.settings import Settings
from support.results import answer_of

CASES = Path(__file__).parents[1] / "data" / "texts"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts") / "research"
    folder.mkdir()
    for case in CASES.glob("*.txt"):
        shutil.copy(case, folder)
    return folder


@pytest.fixture(scope="module")
async def client(folder: Path) -> AsyncIterator[Client[Any]]:
    settings = Settings(
        roots=(Root("research", folder),),
        audit_log=folder.parent / "audit.jsonl",
        watch=False,
        extract_workers=1,
        model_route="extractive",
    )
    async with Client(build_gateway(settings)) as connected:
        yield connected


async def read(client: Client[Any], document: str, **arguments: Any) -> dict[str, Any]:
    return answer_of(await client.call_tool("read_document", {"document_path": document, **arguments}))


async def hits(client: Client[Any], query: str, **arguments: Any) -> list[dict[str, Any]]:
    answer = answer_of(await client.call_tool("search_documents", {"query": query, **arguments}))
    return list(answer["matches"])


@pytest.mark.parametrize("query", ["Café", "Zürich", "naïve", "quoted"])
async def test_text_in_windows_1252_is_found_and_its_encoding_noted(client: Client[Any], query: str) -> None:
    assert [hit["document"] for hit in await hits(client, query)] == ["cp1252.txt"]
    assert (await read(client, "cp1252.txt"))["notes"] == ["decoded from Windows-1252"]


async def test_utf16_without_a_mark_is_read_and_found(client: Client[Any]) -> None:
    excerpt = await read(client, "utf16-no-bom-cjk.txt")
    assert [line["text"] for line in excerpt["lines"]] == ["人工智能研究报告机器学习 zebra"]
    assert excerpt["notes"] == ["decoded from UTF-16"]
    assert [hit["document"] for hit in await hits(client, "机器学习")] == ["utf16-no-bom-cjk.txt"]
