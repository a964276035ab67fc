"""Asking the index where an expression can match never loses a match."""
# ruff: noqa: RUF001, ASYNC110  (characters that look alike are the point; the state of the index is polled)

import asyncio
import re
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_documents.search import SearchEngine
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.regex.literals import required_literals
from research_documents.search.regex.pattern import compiled
from research_documents.search.regex.scan import Scan
from research_documents.search.tuning import SearchTuning
from research_shared.access.roots import Root, RootsPolicy
from research_shared.documents import DocumentInfo, DocumentText, Identity
from research_shared.reading.library import Library
from support.sizes import examples

IDENTITY = Identity(1, 1, 1, 1, 1)
ALL = 10**6


def text_of(data: str, path: str = "a.md") -> DocumentText:
    media_type = "text/markdown" if path.endswith(".md") else "text/plain"
    return DocumentText(
        path=path, media_type=media_type, identity=IDENTITY, digest="", engine="text", data=data.encode()
    )


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        ("mutex", {"mutex"}), ("MuTeX", {"mutex"}), (r"\bcells?\b", {"cell"}), ("mutex|ownership|carcinoma", {"mutex", "ownership", "carcinoma"}),
        (r"(?:red|green)-house", {"house"}), (r"(?P<a>red|green)[^x]?", {"red", "green"}), (r"\w+ing\s+\w+ed", {"ing"}),
        ("abcx*def", {"abc"}), ("abcx+def", {"abcx"}), ("abcx{0,3}def", {"abc"}), ("abcx{00}defg", {"defg"}), ("abcx{2}de", {"abcx"}),
        (r"(abc)?", None), (r"(abc)+?d", {"abc"}), ("abc|", None), ("ab", None), ("", None), (r"a\.b\.c", None), (r"\x61bc", {"abc"}),
        (r"[a]bcd", {"bcd"}), ("[[:alpha:]bcd]e", None), ("[]abc]d", None), (r"[^]abc]d", None), (r"[\]abc]d", None), (r"\012abc", {"abc"}),
        (r"\0abc", {"abc"}), (r"\Qabc\E", None), (r"\pLabc", {"abc"}), ("éabc", {"abc"}), ("(?i)abc(?-i:DEFG)", {"defg"}), ("abc{", {"abc"}),
        ("()abc", {"abc"}), ("(a|(b|(cde)))fgh", {"fgh"}), ("x{3", None), ("(abc|[d])", None), ("a" * 50, {"a" * 40}), ("^abc$", {"abc"}),
        ("|".join(f"word{n}" for n in range(20)), None),
    ],
)  # fmt: skip
def test_what_every_match_holds_is_read_from_the_expression(pattern: str, literals: set[str] | None) -> None:
    assert required_literals(pattern) == (frozenset(literals) if literals is not None else None)


ATOM = st.sampled_from(["abc", "bcd", "a", "b", ".", "[abc]", "[[:alpha:]bcd]", "[]ab]", r"\w", r"\x61", "-", r"\b", "^", "$", "é"])  # fmt: skip
REPEAT = st.sampled_from(["", "", "", "*", "+", "?", "{0}", "{2}", "{0,2}", "*?"])
PATTERN = st.recursive(
    st.tuples(ATOM, REPEAT).map(
        lambda parts: parts[0] + (parts[1] if parts[0] not in {"^", "$", r"\b"} else "")
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.tuples(
            st.sampled_from(["(", "(?:", "(?i:", "(?P<n>"]), inner, st.sampled_from([")", ")?", ")+", ")*"])
        ).map("".join),
        st.lists(inner, min_size=1, max_size=3).map("|".join),
    ),
    max_leaves=8,
)
LINE = st.lists(
    st.sampled_from(["abc", "ABC", "bcd", "aa", "b", "é", "-", " ", "c\u017f", "\u212a"]), max_size=8
).map("".join)


@settings(max_examples=examples(500), deadline=None)
@given(PATTERN.filter(lambda pattern: pattern.count("(?P<n>") < 2), LINE)
def test_a_line_that_matches_holds_one_of_the_parts(pattern: str, line: str) -> None:
    literals = required_literals(pattern)
    match = compiled(pattern).find(line.encode(), 0, len(line.encode()))
    if literals is not None and match is not None:
        assert any(literal in line.lower() for literal in literals)


PIECE = st.sampled_from([
    "mutex", "Mutex", "MUTEX", "x1", " ", " ", "\n", "\n\n", "# ", "-\n", "\u00ad\n", "\u00ad", "\u200b", "\u0301", "é", "ﬁ", "ß", "\u212a",
    "\u017f", "и", "東", "ก", "_", "'", ".", "\u2019", "```\n", "\t", "\u00a0", "\ufdfa", "İ", "ẞ", "\u20dd", "𝐀", "٣",
])  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(PIECE, max_size=60).map("".join), st.sampled_from(["a.md", "a.txt"]), st.randoms())
def test_the_index_finds_every_document_that_holds_a_part(text: str, path: str, chance: object) -> None:
    runs = re.findall(r"[A-Za-z0-9]{3,}", text)
    index = PassageIndex()
    for number in range(2, 20):
        index.add(number, text_of("nothing here\n"))
    index.add(1, text_of(text, path))
    index.commit()
    for run in runs:
        cut = chance.randrange(len(run) - 2)  # type: ignore[attr-defined]
        assert (index.documents_containing_any({run[cut:].lower()}) or set()) == {1}


@pytest.mark.parametrize("before", [0, 1_000, *range(1_993, 2_002)])
def test_a_word_of_many_thousand_letters_is_looked_for_in_all_its_parts(before: int) -> None:
    index = PassageIndex()
    for number in range(2, 200):
        index.add(number, text_of("nothing here\n"))
    index.add(1, text_of("a" * before + "needle" + "b" * (70_000 - before) + "\n"))
    index.commit()
    assert index.documents_containing_any({"needle"}) == {1}
    assert index.documents_containing_any({"needles"}) == set()


def test_a_document_counts_as_found_until_the_index_shows_it() -> None:
    index = PassageIndex()
    for number in range(1, 10):
        index.add(number, text_of("nothing here\n"))
    index.commit()
    assert index.documents_containing_any({"needle"}) == set()
    index.add(10, text_of("unrelated\n"))
    assert index.documents_containing_any({"needle"}) == {10}
    index.commit()
    assert index.documents_containing_any({"needle"}) == set()


def test_what_most_passages_hold_is_not_worth_a_list() -> None:
    index = PassageIndex()
    for number in range(12):
        index.add(number, text_of("needle\n" if number < 4 else "hay\n"))
    index.commit()
    assert index.documents_containing_any({"needle"}) is None


def entries_of(texts: list[str]) -> list[CatalogEntry]:
    return [
        CatalogEntry.of(
            number,
            DocumentInfo(
                path=f"{number:03}.md", root="research", media_type="text/markdown", identity=IDENTITY
            ),
            text_of(text),
            0,
        )
        for number, text in enumerate(texts)
    ]


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.sampled_from(["hit\n", "no\n", "no\nhit\nhit\n", "no\n" * 30 + "hit"]), max_size=40),
    st.sets(st.integers(0, 40), max_size=30),
    st.sampled_from([1, 20, 10_000]),
    st.integers(0, 5),
    st.sampled_from([1, 5, ALL]),
)
def test_a_narrowed_scan_finds_what_the_chosen_documents_hold(
    texts: list[str], only: set[int], slice_bytes: int, turns_before: int, wanted: int
) -> None:
    entries = [entry for entry in entries_of(texts) if "hit" in texts[entry.id] or entry.id in only]
    only |= {entry.id for entry in entries if "hit" in texts[entry.id]}
    whole = Scan(entries, compiled("hit"), wanted)
    whole.advance(float("inf"))
    scan = Scan(entries, compiled("hit"), wanted)
    scan._slice = slice_bytes
    for _ in range(turns_before):
        scan.advance(0)
    scan.only = only
    scan.advance(float("inf"))
    assert scan.hits == whole.hits
    assert (scan.covered, scan.ended_early) == (whole.covered, whole.ended_early)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(150):
        rare = f"the needle{number}\n" if number % 25 == 7 else ""
        lines = [f"line {line} of common words\n" for line in range(300)]
        lines.insert(200, rare)
        (tmp_path / f"{number:03}.md").write_text("".join(lines), encoding="utf-8")
    return tmp_path


def engine_of(folder: Path) -> SearchEngine:
    """An engine that asks the index at once."""
    return SearchEngine(
        Library(RootsPolicy([Root("research", folder)])),
        watch=False,
        max_response_bytes=1 << 30,
        tuning=SearchTuning(short_turn_s=0.0),
    )


async def until_indexed(engine: SearchEngine) -> None:
    while engine.indexing or engine.stats.documents < 150:
        await asyncio.sleep(0.01)


async def test_a_rare_word_is_looked_for_in_the_documents_that_hold_it_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[int] | None] = []
    documents_containing_any = PassageIndex.documents_containing_any

    def told(index: PassageIndex, literals: Collection[str]) -> set[int] | None:
        asked.append(documents_containing_any(index, literals))
        return asked[-1]

    monkeypatch.setattr(PassageIndex, "documents_containing_any", told)
    async with engine_of(folder) as engine:
        await until_indexed(engine)
        outcome = await engine.search("NEEDLE\\d+", mode="regex", limit=ALL)
        none = await engine.search("needless", mode="regex", limit=ALL)
        some = await engine.search("needle", mode="regex", limit=2)
        await engine.search("of common", mode="regex", limit=2)
        await engine.search("common +(?:word|words)", mode="regex", limit=ALL)
    expected = [(f"{number:03}.md", 201) for number in range(150) if number % 25 == 7]
    assert [(hit.document, hit.line_number) for hit in outcome.hits] == []
    assert [(hit.document, hit.line_number) for hit in some.hits] == expected[:2]
    assert (outcome.total_documents, none.total_documents) == (150, 150)
    assert (none.hits, none.truncated) == ((), False)
    assert (some.truncated, some.total_documents) == (True, int(expected[2][0][:3]) + 1)
    # What is in every document is not asked for at all.
    assert [len(found) for found in asked if found is not None] == [6, 0, 6]


async def test_an_answer_of_the_index_from_another_time_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(folder)

    def overtaken(index: PassageIndex, literals: Collection[str]) -> set[int] | None:
        engine._catalog.version += 1
        return set()

    monkeypatch.setattr(PassageIndex, "documents_containing_any", overtaken)
    async with engine:
        await until_indexed(engine)
        outcome = await engine.search("needle", mode="regex", limit=ALL)
    assert len(outcome.hits) == 6
