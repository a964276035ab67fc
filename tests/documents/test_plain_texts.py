"""Plain text in old encodings and with long lines is read, found and shown like any other."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from mcp_types import TextContent

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
    sentences = [f"Sentence number {n} says that the market grew by {n} percent." for n in range(1_000)]
    sentences[700] = "The zirconium surcharge was the reason."
    (folder / "one-line.txt").write_text(" ".join(sentences), encoding="utf-8")
    (folder / "no-spaces.txt").write_text("ACGTé漢" * 9_000, encoding="utf-8")
    lines = "\n".join(" ".join(sentences[first : first + 60]) for first in range(0, 900, 60))
    (folder / "long-lines-default-read.md").write_text(f"{lines}\n" * 12, encoding="utf-8")
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


async def all_lines(client: Client[Any], document: str) -> list[dict[str, Any]]:
    """What a client reads that goes on until there is no more."""
    lines: list[dict[str, Any]] = []
    start: int | None = 1
    while start is not None:
        excerpt = await read(client, document, start_line=start)
        lines += excerpt["lines"]
        start = excerpt["next_start_line"]
    return lines


@pytest.mark.parametrize(
    "document", ["single-line-5k.txt", "single-line-24k.txt", "one-line.txt", "no-spaces.txt"]
)
async def test_every_character_of_a_long_line_can_be_read(
    client: Client[Any], folder: Path, document: str
) -> None:
    lines = await all_lines(client, document)
    assert [line["number"] for line in lines] == list(range(1, len(lines) + 1))
    assert "".join(line["text"] for line in lines) == (folder / document).read_text(encoding="utf-8").rstrip(
        "\n"
    )
    assert (await read(client, document))["notes"] == [
        "lines of more than 4,000 bytes are continued under the next numbers"
    ]


@pytest.mark.parametrize("mode", ["keyword", "regex"])
@pytest.mark.parametrize("document", ["single-line-5k.txt", "single-line-24k.txt", "one-line.txt"])
async def test_a_hit_in_a_long_line_has_the_number_under_which_it_is_read(
    client: Client[Any], document: str, mode: str
) -> None:
    (hit,) = await hits(client, "zirconium", mode=mode, file_pattern=document)
    assert "zirconium" in hit["matched_text"]
    excerpt = await read(client, document, start_line=hit["line_number"], max_lines=1)
    assert "zirconium" in excerpt["lines"][0]["text"]


async def test_lines_around_a_hit_are_the_parts_around_it(client: Client[Any]) -> None:
    for mode in ("keyword", "regex"):
        (hit,) = await hits(client, "zirconium", mode=mode, file_pattern="one-line.txt", context_lines=1)
        number = hit["line_number"]
        around = (await read(client, "one-line.txt", start_line=number - 1, max_lines=3))["lines"]
        assert hit["before"][0].rstrip("…") == around[0]["text"][: len(hit["before"][0].rstrip("…"))]
        assert hit["after"][0].rstrip("…") == around[2]["text"][: len(hit["after"][0].rstrip("…"))]


async def test_each_part_of_a_long_line_is_a_hit_of_a_pattern_and_the_cursor_goes_on_behind_it(
    client: Client[Any],
) -> None:
    parts = [line["number"] for line in await all_lines(client, "one-line.txt")]
    found: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = answer_of(
            await client.call_tool(
                "search_documents",
                {
                    "query": "percent",
                    "mode": "regex",
                    "file_pattern": "one-line.txt",
                    "limit": 7,
                    "cursor": cursor,
                },
            )
        )
        found += [match["line_number"] for match in answer["matches"]]
        cursor = answer.get("next_cursor")
    assert found == parts


@pytest.mark.parametrize("query", ['"{}"', "{}"])
async def test_words_over_the_border_of_two_parts_are_found(client: Client[Any], query: str) -> None:
    lines = await all_lines(client, "one-line.txt")
    border = f"{lines[4]['text'].split()[-2]} {lines[4]['text'].split()[-1]} {lines[5]['text'].split()[0]}"
    mode = "keyword" if '"' in query else "regex"
    numbers = [
        hit["line_number"]
        for hit in await hits(client, query.format(border), mode=mode, file_pattern="one-line.txt", limit=100)
    ]
    assert 5 in numbers


async def test_what_a_long_line_says_late_is_evidence_with_its_number(client: Client[Any]) -> None:
    answer = answer_of(
        await client.call_tool(
            "synthesize_research",
            {
                "document_paths": ["single-line-24k.txt"],
                "research_question": "What was the reason for leaving (zirconium surcharge)?",
            },
        )
    )
    assert answer["answered"]
    evidence = [
        quote
        for insight in answer["key_insights"]
        for quote in insight["evidence"]
        if "zirconium" in quote["quote"]
    ]
    (hit,) = await hits(client, "zirconium", file_pattern="single-line-24k.txt")
    assert {(*quote["lines"], quote["verified"]) for quote in evidence} == {
        (hit["line_number"],) * 2 + (True,)
    }


async def test_a_default_read_of_long_lines_is_small(client: Client[Any]) -> None:
    result = await client.call_tool("read_document", {"document_path": "long-lines-default-read.md"})
    assert sum(len(content.text) for content in result.content if isinstance(content, TextContent)) < 60_000
    assert result.structured_content is not None
    assert result.structured_content["next_start_line"] is not None
