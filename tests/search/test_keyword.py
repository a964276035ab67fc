"""Keyword search: the right passages, at the right lines, in every language."""
# ruff: noqa: RUF001  (other scripts are the point)

import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from research_documents.search import DocumentSearch, Hit, SearchEngine, SearchOutcome
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.freshness import FreshnessChecker
from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.keyword.best_line import HighlightTerms, best_line
from research_documents.search.keyword.builder import build
from research_documents.search.keyword.query import parse_query
from research_documents.search.keyword.ranking import Ranker, Ranking
from research_documents.search.tuning import SearchTuning
from research_shared.access.roots import Root, RootsPolicy
from research_shared.documents import DocumentInfo, DocumentText, Identity
from research_shared.reading.library import Library
from research_shared.text.analysis import exact_terms, stems
from support.backends import Backend
from support.tuning import TRUSTING

IDENTITY = Identity(1, 1, 1, 1, 1)


Search = Callable[..., Awaitable[SearchOutcome]]


@pytest.fixture
def search(backend: Backend) -> Search:
    """Write files into a folder and search it: `await search(folder, files, query, **options)`."""

    async def run(folder: Path, files: dict[str, str], query: str, **options: Any) -> SearchOutcome:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return await (await backend.engine(folder)).search(query, **{"limit": 50, **options})

    return run


def ranked(text: DocumentText, query: str) -> list[Hit]:
    """The hits in one document that need not come from a file, such as one with pages."""
    index = PassageIndex()
    entry = CatalogEntry.of(
        1,
        DocumentInfo(path=text.path, root="research", media_type=text.media_type, identity=IDENTITY),
        text,
        index.add(1, text),
    )
    index.commit()
    built, terms = build(parse_query(query).group, index)
    selection = Selection(readable=(entry,), unreadable=(), everything=True)
    ranker = Ranker(query=built, terms=terms, index=index, by_id={1: entry}, selection=selection)
    return ranker.rank(0, 10, {}).hits


MIB = 1024 * 1024


def not_in_memory(number: int, text: DocumentText, passages: int) -> CatalogEntry:
    """The entry of a document that is said to be large, so that few of its kind are fetched together."""
    info = DocumentInfo(path=text.path, root="research", media_type=text.media_type, identity=IDENTITY)
    return replace(CatalogEntry.of(number, info, text, passages), text=None, text_bytes=6 * MIB)


@pytest.mark.parametrize("tied", [True, False])
def test_the_texts_of_many_hits_are_in_memory_a_few_at_a_time(tied: bool) -> None:
    index = PassageIndex()
    given: list[weakref.ref[DocumentText]] = []
    requests: list[int] = []

    def text_of(number: int) -> DocumentText:
        words = "honest words\n" + ("" if tied else "of another length " * number)
        return DocumentText(
            path=f"{number}.md",
            media_type="text/markdown",
            identity=IDENTITY,
            digest="",
            engine="text",
            data=words.encode(),
        )

    def stored(entries: Sequence[CatalogEntry]) -> dict[int, DocumentText]:
        assert not [alive for text in given if (alive := text()) is not None]
        requests.append(sum(entry.text_bytes for entry in entries))
        texts = {entry.id: text_of(entry.id) for entry in entries}
        given.extend(map(weakref.ref, texts.values()))
        return texts

    entries = [
        not_in_memory(number, text_of(number), index.add(number, text_of(number))) for number in range(9)
    ]
    index.commit()
    built, terms = build(parse_query("honest").group, index)
    ranking = Ranker(
        query=built,
        terms=terms,
        index=index,
        by_id={entry.id: entry for entry in entries},
        selection=Selection(readable=tuple(entries), unreadable=(), everything=True),
        snippet="passage",
        stored=stored,
    ).rank(0, 9, {})
    assert [hit.document for hit in ranking.hits] == [f"{number}.md" for number in range(9)]
    assert max(requests) <= 16 * MIB
    assert len(requests) <= (10 if tied else 5)
    assert not [alive for text in given if (alive := text()) is not None]


async def test_texts_that_are_read_from_their_files_for_hits_are_dropped_once_the_hits_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        (tmp_path / f"{number}.md").write_text("honest words\n", encoding="utf-8")
    library = Library(RootsPolicy([Root("research", tmp_path)]))
    engine = SearchEngine(library, watch=False, tuning=TRUSTING)
    expected = await engine.search("honest", limit=8)
    await engine._updater.scan()
    for entry in tuple(engine._catalog.entries.values()):
        engine._catalog.put(replace(entry, text=None, text_bytes=6 * MIB))
    read: list[str] = []
    held: list[int] = []
    rank = Ranker.rank

    async def text(_: FreshnessChecker, entry: CatalogEntry) -> DocumentText:
        read.append(entry.path)
        return await library.read(entry.path)

    def noting(ranker: Ranker, first: int, limit: int, texts: Mapping[int, DocumentText]) -> Ranking:
        held.append(len(texts))
        return rank(ranker, first, limit, texts)

    monkeypatch.setattr(FreshnessChecker, "text", text)
    monkeypatch.setattr(Ranker, "rank", noting)
    assert (await engine.search("honest", limit=8)).hits == expected.hits
    assert sorted(read) == [f"{number}.md" for number in range(9)]
    assert held == [0, 2, 2, 2, 2, 1]


def places(outcome: SearchOutcome) -> list[tuple[str, int]]:
    return [(hit.document, hit.line_number) for hit in outcome.hits]


FILES = {
    "fox.md": "# Animals\n\nThe quick brown fox\njumps over the lazy dog.\n",
    "dogs.md": "# Dogs\n\nMany dogs were running in the park.\n",
    "notes/run.txt": "A runner runs; running is what a runner does.\nfox\n",
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("foxes", {("fox.md", 3), ("notes/run.txt", 2)}),
        ('"brown fox jumps"', {("fox.md", 3)}),
        ('"fox brown"', set()),
        ('"foxes"', set()),
        ("+fox -dog", {("notes/run.txt", 2)}),
        ("+fox +lazy", {("fox.md", 3)}),
        ("jump*", {("fox.md", 4)}),
        ("zzz*", set()),
        ("dogs AND park", {("dogs.md", 3)}),
        ("(park OR lazy) AND NOT fox", {("dogs.md", 3)}),
        ("title:animals", {("fox.md", 1)}),
        ("+fox path:notes", {("notes/run.txt", 2), ("fox.md", 3)}),
        ("+fox +path:notes", {("notes/run.txt", 2)}),
        ("+path:not*", {("notes/run.txt", 1)}),
        ("path:run.txt", {("notes/run.txt", 1)}),
        ("the", {("fox.md", 3), ("dogs.md", 3)}),
        ("-fox", {("dogs.md", 1)}),
        ('"the lazy d"', set()),
        ('"lazy dog*"', {("fox.md", 4)}),
        ("quick-brown", {("fox.md", 3)}),
        ("+quick-brown", {("fox.md", 3)}),
        ("brown-quick fo*", {("fox.md", 3), ("notes/run.txt", 2)}),
    ],
)
async def test_what_a_query_finds(
    search: Search, tmp_path: Path, query: str, expected: set[tuple[str, int]]
) -> None:
    outcome = await search(tmp_path, FILES, query)
    assert set(places(outcome)) == expected
    assert outcome.total_documents == len(FILES)


LANGUAGES = {
    "fr.md": "Introduction\nL'été dernier, la forêt fut étudiée par une équipe française.\n",
    "ru.md": "Введение\nИсследователи изучили поведение пчёл в горах.\n",
    "zh.md": "引言\n研究人员研究了蜜蜂的行为。\n",
    "ja.md": "はじめに\n研究者はミツバチの行動を調べた。\n",
    "ko.md": "서론\n연구자들은 꿀벌의 행동을 연구했다.\n",
    "he.md": "מבוא\nהחוקרים חקרו את התנהגות הדבורים בהרים.\n",
    "ar.md": "مقدمة\nدرس الباحثون سلوك النحل في الجبال.\n",
    "th.md": "บทนำ\nนักวิจัยศึกษาพฤติกรรมของผึ้งในภูเขา\n",
    "hi.md": "परिचय\nशोधकर्ताओं ने मधुमक्खियों का अध्ययन किया।\n",
    "de.md": "Einleitung\nDie Straße führt über große Brücken.\n",
}


@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("forêt", "fr.md"), ("foret", "fr.md"), ("équipe française", "fr.md"), ("пчёл", "ru.md"), ('"поведение пчёл"', "ru.md"),
        ("蜜蜂", "zh.md"), ("研究人员", "zh.md"), ("ミツバチ", "ja.md"), ("행동을", "ko.md"), ("꿀벌", "ko.md"), ("הדבורים", "he.md"),
        ("النحل", "ar.md"), ("ผึ้ง", "th.md"), ("मधुमक्खियों", "hi.md"), ("Strasse", "de.md"), ("Brücken", "de.md"), ("e\u0301quipe", "fr.md"),
    ],
)  # fmt: skip
async def test_every_language_is_found_by_its_own_words(
    search: Search, tmp_path: Path, query: str, document: str
) -> None:
    assert places(await search(tmp_path, LANGUAGES, query))[0] == (document, 2)


@pytest.mark.parametrize(
    ("expression", "document"),
    [
        (r"\bforêt\b", "fr.md"),
        (r"ПЧЁЛ\b|пчёл\b", "ru.md"),
        ("蜜蜂的行为", "zh.md"),
        (r"\bהדבורים\s", "he.md"),
        (r"النحل\b", "ar.md"),
    ],
)
async def test_every_language_is_found_by_an_expression(
    search: Search, tmp_path: Path, expression: str, document: str
) -> None:
    assert places(await search(tmp_path, LANGUAGES, expression, mode="regex")) == [(document, 2)]


async def test_a_phrase_is_found_across_lines_hyphens_and_passages(search: Search, tmp_path: Path) -> None:
    filler = "\n".join(f"filler line {number} with some words" for number in range(80))
    text = f"It was a state\nof great excite-\nment in the well-\nknown city.\n\n{filler}\nthe very\nlast thing\n"
    files = {"a.txt": text}
    assert places(await search(tmp_path, files, '"state of great"')) == [("a.txt", 1)]
    assert places(await search(tmp_path, files, '"great excitement in"')) == [("a.txt", 2)]
    assert places(await search(tmp_path, files, '"well known"')) == [("a.txt", 1)]
    for number in range(79):
        phrase = f'"line {number} with some words filler line {number + 1}"'
        assert places(await search(tmp_path, {}, phrase)) == [("a.txt", number + 6)]


def test_a_phrase_runs_on_over_a_page_break_and_a_hit_knows_its_page() -> None:
    pages = [
        "First page of the report.\nIt ends in the middle of a",
        "sentence that goes on here.\nSecond page.",
    ]
    text = DocumentText(
        path="a.pdf",
        media_type="application/pdf",
        identity=IDENTITY,
        digest="",
        engine="x",
        data="\n".join(pages).encode(),
        page_starts=(1, 3),
    )
    (hit,) = ranked(text, '"middle of a sentence that"')
    assert (hit.line_number, hit.page) == (2, 1)
    (hit,) = ranked(text, "second")
    assert (hit.line_number, hit.page) == (4, 2)


async def test_equal_scores_are_ordered_by_path_and_the_ranks_are_paged_through_once(
    search: Search, backend: Backend, tmp_path: Path
) -> None:
    files = {f"{number:02}.txt": "the same honest words\n" for number in range(30)}
    outcome = await search(tmp_path, files, "honest")
    assert [hit.document for hit in outcome.hits] == sorted(files)
    engine = await backend.engine(tmp_path)
    paged: list[Hit] = []
    cursor = None
    for _ in range(10):
        page = await engine.search("honest", limit=7, cursor=cursor)
        paged += page.hits
        if (cursor := page.next_cursor) is None:
            break
    assert [hit.document for hit in paged] == sorted(files)


def test_passages_of_one_score_are_found_all_or_not_at_all() -> None:
    index = PassageIndex()
    for number in range(200):
        data = b"quokka quokka\n" if number < 3 else b"quokka walks\n"
        index.add(
            number,
            DocumentText(
                path="a.md", media_type="text/markdown", identity=IDENTITY, digest="", engine="", data=data
            ),
        )
    index.commit()
    query, _ = build(parse_query("quokka").group, index)
    found = {limit: index.search(query, limit) for limit in (3, 4)}
    assert {
        limit: sorted(passage.document for passage in passages) for limit, (passages, _) in found.items()
    } == {
        3: [0, 1, 2],
        4: list(range(200)),
    }
    assert all(complete for _, complete in found.values())


@pytest.mark.parametrize("query", ["NOT cat", "-nowhere", "the OR quokka", "qu*", "path:txt"])
@pytest.mark.parametrize("pattern", ["*", "*[13579].txt"])
async def test_however_many_are_equal_the_first_by_path_come_first(
    search: Search, backend: Backend, tmp_path: Path, query: str, pattern: str
) -> None:
    files = {
        f"{number:03}.txt": f"{'cat' if number % 7 == 0 else 'quokka'} {'fox ' * (number % 3)}\n"
        for number in range(300)
    }
    options: dict[str, object] = {"file_pattern": pattern, "limit": 1_000}
    expected = (await search(tmp_path, files, query, **options)).hits
    tuning: dict[str, Any] = (
        {"tuning": SearchTuning(most_ties=50, tie_margin=5)} if backend.name == "embedded" else {}
    )
    engine = await backend.engine(tmp_path, **tuning)
    for limit in (1, 7, 40, 150):
        page = await engine.search(query, limit=limit, file_pattern=pattern)
        assert page.hits == expected[:limit]
        assert page.truncated == (len(expected) > limit)
        if page.next_cursor:
            rest = await engine.search(query, limit=9, file_pattern=pattern, cursor=page.next_cursor)
            assert rest.hits == expected[limit : limit + 9]


async def test_the_same_search_gives_the_same_answer_in_a_new_index(search: Search, tmp_path: Path) -> None:
    first = await search(tmp_path, FILES, "runner dogs quick")
    assert await search(tmp_path, {}, "runner dogs quick") == first


async def test_a_file_pattern_and_a_limit_narrow_the_answer(search: Search, tmp_path: Path) -> None:
    outcome = await search(tmp_path, FILES, "fox OR dogs", file_pattern="*.md", limit=1)
    assert (len(outcome.hits), outcome.truncated, outcome.total_documents) == (1, True, 2)
    assert (await search(tmp_path, {}, "fox", file_pattern="nothing*")).total_documents == 0


async def test_a_query_without_a_word_finds_nothing_and_says_so(search: Search, tmp_path: Path) -> None:
    outcome = await search(tmp_path, FILES, "?! ...")
    assert outcome.hits == ()
    assert "no word" in outcome.warnings[0]


async def test_many_words_with_one_beginning_are_all_found(search: Search, tmp_path: Path) -> None:
    files = {f"{number:03}.txt": f"word{number:03}\n" for number in range(150)}
    assert len((await search(tmp_path, files, "word*", limit=500)).hits) == 150


async def test_the_answer_is_bounded_in_bytes_and_goes_on_with_the_cursor(
    backend: Backend, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("honest words here\n\n" * 200, encoding="utf-8")
    engine = await backend.engine(tmp_path, max_response_bytes=1_000)
    first = await engine.search("honest", mode="regex", limit=150)
    assert 1 <= len(first.hits) < 10
    assert first.truncated
    second = await engine.search("honest", mode="regex", limit=150, cursor=first.next_cursor)
    assert second.hits[0].line_number == first.hits[-1].line_number + 2


async def test_a_long_line_is_cut_around_the_words(search: Search, tmp_path: Path) -> None:
    line = "filler " * 900 + "the honest needle " + "filler " * 900
    for query in ("needle", '"honest needle"', "needl*"):
        (hit,) = (await search(tmp_path, {"a.txt": line}, query)).hits
        assert "needle" in hit.matched_text
        assert len(hit.matched_text) < 600


async def test_texts_that_do_not_fit_in_memory_are_read_again_when_they_are_needed(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(f"honest {number}\n", encoding="utf-8")
    engine = SearchEngine(Library(RootsPolicy([Root("research", tmp_path)])), watch=False, text_budget=10)
    assert len((await engine.search("honest", limit=9)).hits) == 5
    assert len((await engine.search("honest", mode="regex", limit=9)).hits) == 5


async def test_a_phrase_that_two_passages_share_leaves_no_hit_out(search: Search, tmp_path: Path) -> None:
    def filler(number: int) -> str:
        return " ".join([f"filler{number}"] * (3 * number + 4))

    # The passage before one that begins with the phrase holds it too, with a score between those of others.
    parts = [f"# Part {n}\n\n{filler(n)}\n\n# Next {n}\n\nquick fox {filler(n)}\n" for n in range(40)]
    outcome = await search(tmp_path, {"a.md": "\n".join(parts)}, '"quick fox"', limit=10)
    assert len({hit.line_number for hit in outcome.hits}) == 10
    assert outcome.truncated


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(query=st.text(st.sampled_from('fox dg"()+-*:ANDORNOT title:path\\\n東é?'), max_size=60))
async def test_whatever_is_typed_is_answered(engine: DocumentSearch, query: str) -> None:
    assert (await engine.search(query, limit=3)).total_documents == len(FILES)


@pytest.fixture
async def engine(search: Search, backend: Backend, tmp_path: Path) -> DocumentSearch:
    await search(tmp_path, FILES, "x")
    return await backend.engine(tmp_path)


@pytest.mark.parametrize(
    ("lines", "stems", "expected"),
    [
        (["nothing", "general gene", "gene expression"], {"gene", "express"}, 2),
        (["genes", "gene"], {"gene"}, 0),
        (["no", "happiness"], {"happi"}, 1),
        (["nothing", "at all"], {"zebra"}, 0),
        (["le café", "l'équipe"], {"equip"}, 1),
        (["expres-", "sion of it"], {"express"}, 0),
        (["nothing", *["lying"] * 3, "lies"], {"lie"}, 1),
        (["dying", "nothing", "dies", "die"], {"die"}, 0),
    ],
)
def test_the_best_line_of_a_passage(lines: list[str], stems: set[str], expected: int) -> None:
    assert best_line("\n".join(lines), HighlightTerms(stems=frozenset(stems))) == expected


WORDS = ["gene", "genes", "general", "dying", "dies", "lying", "ties", "skies", "happily", "naïve", "β-gene", "größe",
         "x_gene", "co-gene", "é", "“gene”", "gene's", "I", "ОНИ", "日本", "news", "xgene", "ΣΑΣ"]  # fmt: skip


@example(["xgene dies", "gene dies"], {"gene", "die"}, (), ())
@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), min_size=1, max_size=6),
    st.sets(
        st.sampled_from(
            ["gene", "die", "lie", "tie", "sky", "happili", "naiv", "grosse", "i", "они", "news", "σασ"]
        )
    ),
    st.sampled_from([(), ("gen",), ("gene",), ("d", "na")]),
    st.sampled_from([(), (("gene", "gene"),), (("genes", "general"), ("gene", "s"))]),
)
def test_the_best_line_is_the_one_that_the_analyzers_find_most_on(
    lines: list[str], stemmed: set[str], prefixes: tuple[str, ...], phrases: tuple[tuple[str, ...], ...]
) -> None:
    words = [(word, at) for at, line in enumerate(lines) for word in exact_terms(line)]
    expected = [len(stemmed.intersection(stems(line))) for line in lines]
    for at, line in enumerate(lines):
        expected[at] += sum(any(word.startswith(p) for word in exact_terms(line)) for p in prefixes)
    for phrase in phrases:
        for first in range(len(words) - len(phrase) + 1):
            if tuple(word for word, _ in words[first : first + len(phrase)]) == phrase:
                expected[words[first][1]] += len(phrase) + 1
    found = best_line(
        "\n".join(lines), HighlightTerms(stems=frozenset(stemmed), prefixes=prefixes, phrases=phrases)
    )
    assert found == expected.index(max(expected))
