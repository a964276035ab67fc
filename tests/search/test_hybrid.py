"""Hybrid search: by words and by meaning together, with vectors that the tests make themselves."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from research_documents.search import SearchEngine
from research_documents.search.semantic.embedder import EmbeddingFailed, Vectors
from research_documents.search.semantic.passage_table import PART_BYTES, part_ranges
from research_documents.search.semantic.semantic_index import SemanticIndex
from research_documents.search.semantic.updater import EmbeddingPace
from research_shared.access.roots import Root, RootsPolicy, Scope, narrowed_scope
from research_shared.documents import DocumentText
from research_shared.errors import BackendUnavailable
from research_shared.reading.library import Library
from support.embedding import IMPATIENT, ConceptEmbedder, embedded, engine_with, until
from support.hybrid import (
    NEAR_THE_MIDDLE,
    TEXTS,
    assert_a_paraphrase_is_found,
    assert_pages_cover_the_answer,
    assert_the_nearest_part_is_shown,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "research"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


async def test_a_passage_is_found_by_its_meaning_without_a_word_of_the_query(folder: Path) -> None:
    async with embedded(engine_with(folder, ConceptEmbedder())) as engine:
        await assert_a_paraphrase_is_found(engine)


async def test_a_passage_is_as_near_as_its_nearest_part_wherever_that_stands(folder: Path) -> None:
    hens = " ".join(f"Hen number {number} lays an egg." for number in range(50))
    (folder / "long.md").write_text(f"{hens} The physician came on foot.\n", encoding="utf-8")
    (folder / "other.md").write_text(f"{hens} A doctoral thesis on eggs and hens.\n", encoding="utf-8")
    embedder = ConceptEmbedder()
    async with embedded(engine_with(folder, embedder)) as engine:
        outcome = await engine.search("medic foot", mode="hybrid", limit=100)
        nearest = await engine.search("medic", mode="hybrid", limit=1)
    assert nearest.hits[0].document == "long.md"
    assert sum(hit.document == "long.md" for hit in outcome.hits) == 1
    assert outcome.embedded == (5, 5)
    assert len(embedder.passages) == 3 + 3 + 1, "a part that two passages have in common is embedded twice"
    assert max(map(len, embedder.passages)) <= PART_BYTES


async def test_a_hit_that_shares_no_word_with_the_query_is_the_line_where_its_nearest_part_begins(
    folder: Path,
) -> None:
    (folder / "long.md").write_text(NEAR_THE_MIDDLE, encoding="utf-8")
    async with embedded(engine_with(folder, ConceptEmbedder())) as engine:
        await assert_the_nearest_part_is_shown(engine, line=41)


async def test_a_passage_counts_as_embedded_when_all_of_its_parts_are(tmp_path: Path) -> None:
    hens = " ".join(f"Hen number {number} lays an egg." for number in range(50))
    (tmp_path / "long.md").write_text(f"{hens}\n", encoding="utf-8")
    embedder = ConceptEmbedder(batch=1)
    embedder.turns = asyncio.Semaphore(2)
    async with engine_with(tmp_path, embedder) as engine:
        await engine.search("x")
        await until(lambda: len(embedder.passages) == 2)
        assert engine.stats.embedded == (0, 1)
        embedder.turns.release()
        await until(lambda: engine.stats.embedded == (1, 1))
    assert len(embedder.passages) == 3


@pytest.mark.parametrize(
    "body",
    [
        "One sentence. " * 130,
        "word " * 400,
        "x" * 2_000,
        "\u4e16\u754c" * 300,
        "a line\n" * 250,
        ". " * 700,
        "",
    ],
)
def test_the_parts_of_a_passage_are_all_of_it_and_about_the_same_size(body: str) -> None:
    data = body.encode()
    parts = list(part_ranges(data))
    assert b"".join(data[begin:end] for begin, end in parts) == data
    sizes = [end - begin for begin, end in parts]
    assert max(sizes) <= PART_BYTES
    assert min(sizes) >= min(len(data), PART_BYTES // 4)
    assert "".join(data[begin:end].decode() for begin, end in parts) == body


async def test_words_count_more_than_meaning(folder: Path) -> None:
    (folder / "shop.md").write_text("A car shop: car, car, car.\n", encoding="utf-8")
    async with embedded(engine_with(folder, ConceptEmbedder())) as engine:
        outcome = await engine.search("car tyres", mode="hybrid")
    scores = {hit.document: hit.score or 0.0 for hit in outcome.hits}
    assert scores["shop.md"] > 0.4 > scores["cats.md"]
    assert all(0 <= score <= 1 for score in scores.values())
    assert [*scores.values()] == sorted(scores.values(), reverse=True)


async def test_the_same_search_gives_the_same_answer_and_pages_cover_it_without_repeats(folder: Path) -> None:
    for number in range(30):
        (folder / f"{number:02}.md").write_text(f"Egg number {number} of the hens.\n", encoding="utf-8")
    async with embedded(engine_with(folder, ConceptEmbedder())) as engine:
        whole = await assert_pages_cover_the_answer(engine, "hens egg vehicle", limit=7)
    assert len(whole.hits) == 33


async def test_documents_outside_the_scope_change_neither_results_nor_scores(folder: Path) -> None:
    (folder / "open").mkdir()
    for name in ("cars.md", "hens.md"):
        (folder / name).rename(folder / "open" / name)
    scope = Scope(("open",))
    async with embedded(engine_with(folder, ConceptEmbedder())) as engine:
        with narrowed_scope(scope):
            alone = await engine.search("vehicle eggs", mode="hybrid")
    (folder / "secret").mkdir()
    for number in range(120):
        (folder / "secret" / f"{number}.md").write_text(f"vehicle car eggs {number}\n", encoding="utf-8")
    async with embedded(engine_with(folder, ConceptEmbedder(batch=64))) as engine:
        with narrowed_scope(scope):
            beside = await engine.search("vehicle eggs", mode="hybrid")
            only = await engine.search("vehicle eggs", mode="hybrid", file_pattern="open/hens.md")
    assert {hit.document for hit in beside.hits} == {"open/cars.md", "open/hens.md"}
    meaning = {hit.document: hit.score for hit in alone.hits}
    assert meaning["open/cars.md"] == {hit.document: hit.score for hit in beside.hits}["open/cars.md"]
    assert (beside.embedded, only.embedded) == ((2, 2), (1, 1))
    assert [hit.document for hit in only.hits] == ["open/hens.md"]


async def test_a_query_with_operators_is_ranked_by_its_words(folder: Path) -> None:
    embedder = ConceptEmbedder()
    async with embedded(engine_with(folder, embedder)) as engine:
        for query in ("+automobile", '"new tyres"', "auto*", "eggs -cat", "path:cars", "a AND automobile"):
            outcome = await engine.search(query, mode="hybrid")
            by_words = await engine.search(query)
            assert outcome.hits == by_words.hits, query
            assert outcome.warnings[0] == "hybrid: the query has operators; ranked by words alone"
            assert outcome.embedded is None
        plain = await engine.search("CD4+ cells (the automobile)", mode="hybrid")
    assert plain.warnings == ()
    assert embedder.queries == ["CD4+ cells (the automobile)"]


async def test_an_answer_says_how_much_is_embedded(folder: Path) -> None:
    embedder = ConceptEmbedder(batch=1)
    embedder.turns = asyncio.Semaphore(0)
    engine = engine_with(folder, embedder)
    async with engine:
        before = await engine.search("vehicle tyres", mode="hybrid")
        embedder.turns.release()
        await until(lambda: engine.stats.embedded == (1, 3))
        during = await engine.search("vehicle tyres", mode="hybrid")
    assert before.warnings[0] == "hybrid: none of 3 passages is embedded yet; ranked by words alone"
    assert [hit.document for hit in before.hits] == ["cars.md"]
    assert during.embedded == (1, 3)
    assert during.warnings == ("hybrid: 1 of 3 passages embedded; the others are ranked by words alone",)


async def test_without_an_embedder_hybrid_is_keyword_with_a_warning(folder: Path) -> None:
    engine = SearchEngine(Library(RootsPolicy([Root("research", folder)])), watch=False)
    outcome = await engine.search("automobile", mode="hybrid")
    by_words = await engine.search("automobile")
    assert outcome.hits == by_words.hits
    assert "[semantic]" in outcome.warnings[0]
    assert "ranked by words alone" in outcome.warnings[0]


async def test_a_query_that_cannot_be_embedded_is_ranked_by_its_words(folder: Path) -> None:
    embedder = ConceptEmbedder()
    async with embedded(engine_with(folder, embedder)) as engine:
        embedder.query_failure = EmbeddingFailed("the embeddings endpoint cannot be reached")
        outcome = await engine.search("automobile", mode="hybrid")
        embedder.query_failure = None
        left_alone = await engine.search("vehicle", mode="hybrid")
    told = "hybrid: the embeddings endpoint cannot be reached; ranked by words alone"
    assert outcome.warnings == left_alone.warnings == (told,)
    assert [hit.document for hit in outcome.hits] == ["cars.md"]
    assert embedder.queries == []


async def test_a_changed_document_is_embedded_anew_and_only_where_it_changed(folder: Path) -> None:
    embedder = ConceptEmbedder()
    async with embedded(engine_with(folder, embedder)) as engine:
        embedder.passages.clear()
        (folder / "copy.md").write_text(TEXTS["cats.md"], encoding="utf-8")
        (folder / "cars.md").write_text("The physician is at home.\n", encoding="utf-8")
        await engine.search("physician")
        await until(lambda: engine.stats.embedded == (4, 4))
        outcome = await engine.search("doctor", mode="hybrid")
        gone = await engine.search("vehicle", mode="hybrid", limit=1)
    assert embedder.passages == ["The physician is at home."]
    assert outcome.hits[0].document == "cars.md"
    assert gone.embedded == (4, 4)


async def test_a_passage_that_the_model_fails_with_does_not_keep_the_others(folder: Path) -> None:
    embedder = ConceptEmbedder(batch=3)
    embedder.poison = "Hens"
    engine = engine_with(folder, embedder)
    async with engine:
        while not (outcome := await engine.search("vehicle eggs", mode="hybrid")).embedding_stopped:
            pass
    assert sorted(each for each in embedder.passages if each != "test") == [
        text.strip() for name, text in TEXTS.items() if name != "hens.md"
    ]
    assert {hit.document for hit in outcome.hits} == set(TEXTS)
    assert outcome.embedded == (2, 3)
    assert outcome.warnings == (
        "hybrid: 2 of 3 passages embedded (the model fails with the others); the others are ranked by words alone",
    )


async def test_a_model_that_fails_with_everything_is_asked_again_later(folder: Path) -> None:
    embedder = ConceptEmbedder()
    embedder.poison = ""
    engine = engine_with(folder, embedder, pace=IMPATIENT)
    async with engine:
        await engine.search("x")
        told = ""
        while "the model failed" not in told:
            told = (await engine.search("vehicle", mode="hybrid")).warnings[0]
        embedder.poison = None
        await until(lambda: engine.stats.embedded == (3, 3))
    assert told == "hybrid: none of 3 passages is embedded yet (the model failed); ranked by words alone"


async def test_kept_vectors_are_used_after_a_restart_and_those_of_another_model_are_not(
    folder: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    first, second, other = ConceptEmbedder(), ConceptEmbedder(), ConceptEmbedder("another model")
    results = []
    for embedder in (first, second, other):
        async with embedded(engine_with(folder, embedder, kept_in=kept)) as engine:
            results.append(await engine.search("vehicle", mode="hybrid"))
    assert [len(each.passages) for each in (first, second, other)] == [3, 0, 3]
    assert results[0] == results[1] == results[2]
    assert len(list(kept.glob("vectors-*.bin"))) == 1


class AwaitedEmbedder(ConceptEmbedder):
    """Says when a query is asked for, and answers when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        if query:
            self.asked.set()
            await self.may_answer.wait()
        return await super().embed(texts, query=query)


@pytest.mark.parametrize("pattern", ["*", "c*.md"])
async def test_a_document_that_is_read_again_while_the_query_is_embedded_is_found_by_its_new_words(
    folder: Path, pattern: str
) -> None:
    embedder = AwaitedEmbedder()
    async with embedded(engine_with(folder, embedder)) as engine:
        embedder.turns = asyncio.Semaphore(0)  # the vectors stay those of the former version
        search = asyncio.create_task(
            engine.search("vehicle physician", mode="hybrid", file_pattern=pattern, limit=1)
        )
        await embedder.asked.wait()
        (folder / "cars.md").write_text("The physician is at home.\n", encoding="utf-8")
        await engine.search("physician")
        embedder.may_answer.set()
        outcome = await search
    assert [(hit.document, hit.matched_text) for hit in outcome.hits] == [
        ("cars.md", "The physician is at home.")
    ]


class FailingLibrary(Library):
    """Cannot read one document the n-th time."""

    def __init__(self, folder: Path, path: str, *, fails: int) -> None:
        super().__init__(RootsPolicy([Root("research", folder)]))
        self._path, self._fails = path, fails

    async def read(self, path: str) -> DocumentText:
        if path == self._path:
            self._fails -= 1
            if not self._fails:
                raise BackendUnavailable("too many files are open")
        return await super().read(path)


@pytest.mark.parametrize("fails", [1, 2])
async def test_a_document_that_cannot_be_read_for_a_moment_is_embedded_later(
    folder: Path, fails: int
) -> None:
    semantic = SemanticIndex(ConceptEmbedder(), pace=EmbeddingPace(longest_wait_s=0.005))
    library = FailingLibrary(folder, "cars.md", fails=fails)
    async with SearchEngine(library, watch=False, semantic=semantic, text_budget=0) as engine:
        await engine.search("x")
        await until(lambda: engine.stats.embedded == (3, 3))
