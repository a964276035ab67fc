"""What people see on the pages of a PDF is its text: its lines, its fields and stamps, and nothing that is no letter."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_gateway.app import build_gateway
from research_shared.access.roots import Root
from research_shared.settings import Settings
from support.results import answer_of, error_of

CASES = Path(__file__).parents[1] / "data" / "texts"
GAP = "page 2 is undecodable: the fonts have no Unicode table"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for a module, so that its server can be shared by its tests."""
    return "asyncio"


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client[Any]]:
    tmp_path = tmp_path_factory.mktemp("pdf-texts")
    folder = tmp_path / "research"
    shutil.copytree(CASES, folder)
    settings = Settings(
        roots=(Root("research", folder),),
        audit_log=tmp_path / "audit.jsonl",
        watch=False,
        extract_workers=1,
        search_deadline_s=60,
        model_route="extractive",
    )
    async with Client(build_gateway(settings)) as connected:
        yield connected


async def lines_of(client: Client[Any], document: str) -> list[str]:
    excerpt = answer_of(await client.call_tool("read_document", {"document_path": document}))
    return [line["text"] for line in excerpt["lines"]]


async def notes_of(client: Client[Any], document: str) -> list[str]:
    excerpt = answer_of(await client.call_tool("read_document", {"document_path": document}))
    return list(excerpt["notes"])


LINES = {
    "rotated90-left-aligned.pdf": [
        "Quarterly revenue by region", "North was up nine percent", "South was down two percent",
        "West was flat", "East grew by four percent", "All regions together", "Total",
    ],
    "rotated270-table.pdf": [
        "Item", "Alpha 12", "Beta 7 and more text here", "C", "Delta long line of text in the table", "Sum 19",
    ],
    "chart-ticks.pdf": ["2", "4", "6", "8", "10", "20", "30", "40"],
    "chart-axis-labels.pdf": ["Norway", "Sweden", "Denmark", "Iceland"],
    "chart-axis-45deg.pdf": ["Feb 13, 2012", "Feb 27, 2012", "Mar 12, 2012", "Mar 26, 2012"],
    "vertical-ja-V.pdf": ["市場調査の結果を報告する", "対象は三百社であった", "来年の予算は増える見込み"],
    "gap-120.pdf": ["cost of capital rises"],
    "two-col-rowwise-12.pdf": [
        "Left one is here and it", "goes on to the second", "line of the left column",
        "Right one begins at top", "and continues with more", "text in right column",
    ],
    "superscript.pdf": ["Revenue grew ¹² in 2019"],
    "form-filled.pdf": ["Company name: Marlowe Consulting GmbH", "Contract value: 48,500 EUR"],
    "freetext-only.pdf": ["Approved with changes by the steering group"],
    "stamp-signature.pdf": [
        "Statement of work, final version", "Signed electronically by R. Example 2026-03-04",
        "CONFIDENTIAL DRAFT",
    ],
    "comment-note.pdf": [
        "The forecast assumes flat demand.", "[comment] Reviewer: this assumption is wrong for Norway",
        "[comment] Check the source of this forecast",
    ],
    "hidden-layer.pdf": ["Current visible text"],
    "garbled-page2.pdf": [
        "Cover page: merger study for the steering group", "The body follows on the next page.",
    ],
}  # fmt: skip
"""The lines that people read on each page, in their order."""


async def test_pages_are_read_line_by_line_as_people_read_them(client: Client[Any]) -> None:
    assert {document: await lines_of(client, document) for document in LINES} == LINES


FOUND = {
    "rotated90-left-aligned.pdf": ["flat", "South", "Total", '"nine percent"'],
    "chart-axis-labels.pdf": ["Norway", "Sweden", "Denmark", "Iceland"],
    "superscript.pdf": ["grew"],
    "form-filled.pdf": ["Marlowe", '"48,500 EUR"'],
    "gap-120.pdf": ["capital"],
    "stamp-signature.pdf": ["confidential"],
    "two-col-rowwise-12.pdf": ['"second line of the left column"'],
}
"""Words of each document that one line has."""


async def search(client: Client[Any], query: str, document: str) -> dict[str, Any]:
    arguments = {"query": query, "file_pattern": document}
    return answer_of(await client.call_tool("search_documents", arguments))


async def test_each_word_on_a_page_is_found_once(client: Client[Any]) -> None:
    found = {
        document: [query for query in queries if len((await search(client, query, document))["matches"]) == 1]
        for document, queries in FOUND.items()
    }
    assert found == FOUND


async def test_words_of_different_lines_do_not_make_another_word(client: Client[Any]) -> None:
    assert (await search(client, "468", "*"))["matches"] == []


async def test_what_is_not_read_is_named(client: Client[Any]) -> None:
    assert await notes_of(client, "xfa-shell.pdf") == ["it is an XFA form: what its fields say is not read"]
    assert await notes_of(client, "portfolio.pdf") == ["1 attachment is not read: terms.txt"]
    assert await notes_of(client, "hidden-layer.pdf") == [
        "text on layers that are switched off is left out: old"
    ]


async def test_a_page_whose_letters_cannot_be_told_is_no_text_and_named(client: Client[Any]) -> None:
    assert await notes_of(client, "garbled-page2.pdf") == [GAP]


async def test_a_document_whose_letters_cannot_be_told_is_undecodable_not_scanned(
    client: Client[Any],
) -> None:
    arguments = {"document_path": "cid-no-tounicode.pdf"}
    error = error_of(await client.call_tool("read_document", arguments, raise_on_error=False))
    assert (error["code"], error["reason"]) == ("document_unreadable", "undecodable")
    assert "no Unicode table" in error["message"]
    assert (await search(client, "forward", "cid-*"))["unreadable"] == [
        {"path": "cid-no-tounicode.pdf", "reason": "undecodable"}
    ]


async def test_a_search_names_the_pages_that_it_could_not_look_at(client: Client[Any]) -> None:
    found = await search(client, "merger", "garbled-page2.pdf")
    assert [match["document"] for match in found["matches"]] == ["garbled-page2.pdf"]
    assert found["unreadable"] == [{"path": "garbled-page2.pdf", "reason": f"in part: {GAP}"}]


@pytest.mark.parametrize("paths", [["garbled-page2.pdf"], ["gap-120.pdf", "cid-no-tounicode.pdf"]])
async def test_an_answer_from_what_can_be_read_does_not_speak_for_the_rest(
    client: Client[Any], paths: list[str]
) -> None:
    question = "Which synergies did penguins expect in Antarctica?"
    arguments = {"document_paths": paths, "research_question": question}
    answer = answer_of(await client.call_tool("synthesize_research", arguments))
    assert not answer["answered"]
    assert "None of the documents" not in answer["synthesis"]
    assert "Not everything was read" in answer["synthesis"]
    told = " ".join([*answer["warnings"], *(source["reason"] or "" for source in answer["sources"])])
    assert "no Unicode table" in told
