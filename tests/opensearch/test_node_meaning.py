"""Hybrid search on a real node with the k-NN plugin: what it finds, what it may see, and what it rests on."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from research_documents.opensearch.client import ClusterClient
from research_documents.opensearch.engine import OpenSearchEngine
from research_documents.opensearch.layout import IndexNames
from research_documents.opensearch.meaning import field as vector_field
from research_documents.opensearch.meaning.search import NO_VECTORS, OTHER_MODEL
from research_documents.opensearch.pushing import ClusterIndex, Indexer, PushReport
from research_documents.opensearch.pushing.vectors import ModelDiffers, VectorMaker
from research_documents.search import SearchOutcome
from research_documents.search.indexed import IndexedPassages
from research_documents.search.semantic.embedder import EmbeddingFailed
from research_shared.access.globs import EVERY_PATH
from research_shared.access.roots import Scope, narrowed_scope
from research_shared.reading.filters import EVERY_DOCUMENT
from support.backends import PATIENCE_S, library_of
from support.embedding import ConceptEmbedder, embedded, engine_with
from support.hybrid import (
    NEAR_THE_MIDDLE,
    TEXTS,
    assert_a_paraphrase_is_found,
    assert_pages_cover_the_answer,
    assert_the_nearest_part_is_shown,
)
from support.opensearch import cluster_url, new_prefix

AWAY = "the embeddings endpoint cannot be reached"
BY_WORDS = "ranked by words alone"


class AskingEngine(OpenSearchEngine):
    """An engine that keeps what it asked the cluster for. With `misasks`, it asks for vectors as the cluster has none."""

    asked: list[Mapping[str, Any]]
    misasks = False

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if body is not None and "-passages/" in path:
            self.asked = [*getattr(self, "asked", []), body]
            for query in self.vector_queries()[-1:] if self.misasks else ():
                query["vector"] = query["vector"][:-1]
        return super().request(method, path, body)

    def vector_queries(self) -> list[dict[str, Any]]:
        """The queries that compare vectors."""
        musts = (body["query"]["bool"].get("must", []) for body in self.asked)
        return [query["nested"]["query"]["knn"]["parts.vector"] for (query,) in musts if "nested" in query]


@dataclass
class OnCluster:
    """A folder and its index on a cluster."""

    path: Path
    url: str
    embedder: ConceptEmbedder = field(default_factory=ConceptEmbedder)
    names: IndexNames = field(default_factory=lambda: IndexNames(prefix=new_prefix()))

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def client(self) -> ClusterClient:
        return ClusterClient(self.url, timeout_s=PATIENCE_S)

    async def push(self, *, full: bool = False, with_model: bool = True) -> PushReport:
        with closing(self.client()) as client:
            index = ClusterIndex(client, self.names)
            index.prepare_state()
            library = library_of(self.path)
            async with library:
                vectors = VectorMaker(self.embedder) if with_model else None
                indexer = Indexer(library, index, vectors=vectors)
                await indexer.open(anew=full)
                return await indexer.push_all()

    def engine(self, embedder: ConceptEmbedder | None = None) -> AskingEngine:
        """An engine that looks at what was pushed before each search."""
        return AskingEngine(
            library_of(self.path),
            self.names,
            connect=self.client,
            fresh_s=0.0,
            refresh_s=3600.0,
            deadline_s=PATIENCE_S,
            embedder=embedder or self.embedder,
        )

    def delete(self) -> None:
        found = httpx.get(f"{self.url}/_cat/indices/{self.names.prefix}-*?h=index", timeout=PATIENCE_S)
        for index in found.text.split():
            httpx.delete(f"{self.url}/{index}", timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def node() -> str:
    """The address of the node with the plugin."""
    return cluster_url(knn=True)


@pytest.fixture
def place(node: str, tmp_path: Path) -> Iterator[OnCluster]:
    """A folder of three documents, which is not pushed yet."""
    (tmp_path / "research").mkdir()
    made = OnCluster(tmp_path / "research", node)
    made.write(TEXTS)
    yield made
    made.delete()


def long_folder() -> dict[str, str]:
    """Documents of which some say the same in other words, some have several parts, and one several passages."""
    hens = "".join(f"Hen number {number} lays an egg.\n" for number in range(40))
    return {
        **TEXTS,
        "long.md": f"# Hens\n\n{NEAR_THE_MIDDLE}",
        "other.md": f"# Theses\n\n{hens}A doctoral thesis on eggs and hens.\n",
        "notes/doctor.txt": "A doctor on a cat. The vehicle is old.\n",
        "notes/school.txt": "Pupils of the school look at leftovers.\n" * 80,
        "secret/plan.md": "The physician hides an automobile.\n",
        "blank.md": "\n\n",
    }


@pytest.fixture(scope="module")
async def shared(node: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OnCluster]:
    """A folder that is pushed once for the tests that leave it as it is."""
    made = OnCluster(tmp_path_factory.mktemp("meant"), node)
    made.write(long_folder())
    assert (await made.push()).without_vectors == 0
    yield made
    made.delete()


def documents(outcome: SearchOutcome) -> list[str]:
    return [hit.document for hit in outcome.hits]


def scores(outcome: SearchOutcome) -> dict[tuple[str, int], float]:
    return {(hit.document, hit.line_number): hit.score or 0.0 for hit in outcome.hits}


async def test_a_paraphrase_is_found_without_a_word_of_the_query(place: OnCluster) -> None:
    await place.push()
    async with place.engine() as engine:
        await assert_a_paraphrase_is_found(engine)


QUERIES = (
    "doctor",
    "medic foot",
    "car vehicle",
    "child waste",
    "eggs of hens",
)
CHOICES: tuple[dict[str, Any], ...] = (
    {},
    {"snippet": "passage"},
    {"context_lines": 2},
    {"file_pattern": "*.md"},
)
ROUNDED = 0.01
"""The vector of a query is rounded on the cluster, and not here."""
SCOPES = {"everything": Scope(), "a folder": Scope(("notes",)), "nothing": Scope(())}


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
async def test_answers_are_those_of_the_embedded_index(shared: OnCluster, scope: Scope) -> None:
    choices = CHOICES if scope == Scope() else CHOICES[:1]
    async with embedded(engine_with(shared.path, ConceptEmbedder())) as here, shared.engine() as there:
        for query, choice in product(QUERIES, choices):
            with narrowed_scope(scope):
                expected = await here.search(query, mode="hybrid", limit=50, **choice)
                found = await there.search(query, mode="hybrid", limit=50, **choice)
            assert scores(found) == pytest.approx(scores(expected), abs=ROUNDED)
            assert sorted(hit._replace(score=0) for hit in found.hits) == sorted(
                hit._replace(score=0) for hit in expected.hits
            )
            assert (found.embedded, found.warnings) == (expected.embedded, expected.warnings)


async def test_a_hit_by_meaning_is_the_line_where_its_nearest_part_begins(shared: OnCluster) -> None:
    async with shared.engine() as engine:
        with narrowed_scope(Scope(("long.md",))):
            await assert_the_nearest_part_is_shown(engine, line=43)


@pytest.fixture
def few_neighbours(monkeypatch: pytest.MonkeyPatch) -> int:
    """Have the cluster look for so few nearest passages that others can take their places."""
    monkeypatch.setattr(vector_field, "NEIGHBOURS", 5)
    return vector_field.NEIGHBOURS


async def test_documents_that_a_caller_may_not_see_take_no_places(
    place: OnCluster, few_neighbours: int
) -> None:
    """More passages than the cluster looks for are nearer than the one that the caller may see."""
    place.write({f"hidden/{number}.md": "An automobile.\n" for number in range(2 * few_neighbours)})
    place.write({"open/deep/car.md": "The very old automobile.\n"})
    # More than it looks for, so that it follows the graph also within the filter.
    place.write({f"open/{number}.md": f"Hen number {number}.\n" for number in range(2 * few_neighbours)})
    await place.push()
    async with place.engine() as engine:
        whole = await engine.search("car", mode="hybrid", limit=500)
        with narrowed_scope(Scope(("open",))):
            engine.asked = []
            narrow = await engine.search("car", mode="hybrid")
    assert "open/deep/car.md" not in documents(whole)
    assert documents(narrow)[0] == "open/deep/car.md"
    assert len(narrow.hits) == few_neighbours
    assert all(path.startswith("open/") for path in documents(narrow))
    assert narrow.hits[0].score == pytest.approx(0.4)
    assert (narrow.embedded, narrow.warnings) == ((2 * few_neighbours + 1,) * 2, ())
    (asked,) = engine.vector_queries()
    for name in ("folders", "target_folders"):
        assert {"terms": {name: ["open"]}} in asked["filter"]["bool"]["filter"]


async def test_pages_follow_one_another_without_repeats(place: OnCluster) -> None:
    place.write({f"cars/{number:02}.md": f"Automobile {number}.\n" for number in range(12)})
    await place.push()
    async with place.engine() as engine:
        whole = await assert_pages_cover_the_answer(engine, "vehicle", limit=4)
    assert len(set(documents(whole))) == len(whole.hits) == 15


async def test_a_document_that_changed_is_found_by_its_new_meaning_alone(place: OnCluster) -> None:
    await place.push()
    async with place.engine() as engine:
        place.write({"cars.md": "The physician is not in today.\n"})
        assert (
            (await engine.search("vehicle", mode="hybrid"))
            .warnings[0]
            .startswith("INCOMPLETE: 1 document was")
        )
        await place.push()
        for query in ("doctor", "vehicle"):
            outcome = await engine.search(query, mode="hybrid", limit=1)
            near = outcome.hits[0].document if outcome.hits else ""
            assert (near == "cars.md") == (query == "doctor")
        assert outcome.embedded == (3, 3)


async def test_vectors_of_a_version_that_does_not_count_take_no_places(
    place: OnCluster, few_neighbours: int
) -> None:
    copies = {f"many/{number}.md": "An automobile.\n" for number in range(2 * few_neighbours)}
    place.write(copies)
    await place.push()
    client = place.client()
    index = ClusterIndex(client, place.names)
    index.open()
    stored = {each.record.path: each for each in index.records()}
    hidden = [
        replace(
            stored[path].record, version="", hidden=(stored[path].record.version,), change=index.next_change()
        )
        for path in copies
    ]
    index.write_records(hidden, {path: stored[path].seen for path in copies})
    client.close()
    async with place.engine() as engine:
        outcome = await engine.search("car", mode="hybrid")
        (asked,) = engine.vector_queries()
    assert outcome.hits[0].document == "cars.md"
    assert outcome.embedded == (3, 3)
    assert sum(len(each["terms"]["version"]) for each in asked["filter"]["bool"]["must_not"]) == len(copies)


async def test_another_model_is_refused_by_a_push_and_told_by_a_search(place: OnCluster) -> None:
    await place.push()
    other = ConceptEmbedder("others")
    async with place.engine(other) as engine:
        outcome = await engine.search("automobile", mode="hybrid")
        assert (documents(outcome), outcome.embedded) == (["cars.md"], None)
        assert outcome.warnings == (f"hybrid: {OTHER_MODEL}; {BY_WORDS}",)
        assert not engine.ranks_by_meaning
        assert engine.stats.embedded == (0, 3)
        place.embedder = other
        with pytest.raises(ModelDiffers):
            await place.push()
        await place.push(full=True)
        outcome = await engine.search("vehicle", mode="hybrid", limit=1)
        assert (documents(outcome), outcome.warnings) == (["cars.md"], ())


async def test_while_the_model_is_away_a_push_goes_on_and_searches_say_what_they_rest_on(
    place: OnCluster,
) -> None:
    await place.push()
    place.embedder.failure = EmbeddingFailed(AWAY)
    place.write({"vans.md": "Another automobile.\n"})
    report = await place.push()
    assert (report.pushed, report.without_vectors, report.no_vectors) == (1, 1, AWAY)
    async with place.engine() as engine:
        outcome = await engine.search("vehicle", mode="hybrid", limit=10)
        assert outcome.hits[0].document == "cars.md"
        assert "vans.md" not in documents(outcome)
        assert outcome.warnings == (f"hybrid: 3 of 4 passages embedded ({AWAY}); the others are {BY_WORDS}",)
        assert (outcome.embedded, outcome.embedding_stopped) == ((3, 4), True)
        place.embedder.query_failure = EmbeddingFailed(AWAY)
        by_words = await engine.search("automobile", mode="hybrid")
        assert (documents(by_words), by_words.embedded) == (["vans.md", "cars.md"], None)
        assert by_words.warnings == (f"hybrid: {AWAY}; {BY_WORDS}",)
        with narrowed_scope(Scope(("cats.md",))):  # who sees a part is told of that part alone
            assert (await engine.search("mat", mode="hybrid")).warnings == (f"hybrid: {AWAY}; {BY_WORDS}",)
    place.embedder.failure = place.embedder.query_failure = None
    assert (await place.push()).without_vectors == 0
    async with place.engine() as engine:
        outcome = await engine.search("vehicle", mode="hybrid")
        assert {"cars.md", "vans.md"} == set(documents(outcome)[:2])


async def test_a_question_over_the_folder_is_answered_by_meaning(shared: OnCluster) -> None:
    async with shared.engine() as engine:
        await engine.search("x")
        found = await IndexedPassages(engine).find(
            ["Which medic left?"], paths=EVERY_PATH, wanted=EVERY_DOCUMENT, limit=3
        )
    assert (found.by_query[0][0].path, found.warnings) == ("long.md", ())
    assert found.by_query[0][0].near is not None


async def test_a_cluster_that_refuses_to_compare_vectors_leaves_the_ranking_to_words(
    place: OnCluster,
) -> None:
    await place.push()
    async with place.engine() as engine:
        engine.misasks = True
        outcome = await engine.search("automobile", mode="hybrid")
    assert documents(outcome) == ["cars.md"]
    assert outcome.warnings == (f"hybrid: the search cluster refuses to compare vectors; {BY_WORDS}",)


async def test_on_a_cluster_without_the_plugin_words_are_pushed_and_ranked(
    tmp_path: Path, cluster: str
) -> None:
    place = OnCluster(tmp_path, cluster)
    place.write(TEXTS)
    try:
        report = await place.push()
        assert (report.pushed, report.without_vectors, report.embedding_failed) == (3, 3, False)
        assert report.no_vectors == "the search cluster has no k-NN plugin"
        assert (await place.push()).unchanged == 3
        async with place.engine() as engine:
            outcome = await engine.search("automobile", mode="hybrid")
    finally:
        place.delete()
    assert documents(outcome) == ["cars.md"]
    assert outcome.warnings == (f"hybrid: {NO_VECTORS}; {BY_WORDS}",)


async def test_a_push_without_a_model_leaves_what_is_there(place: OnCluster) -> None:
    await place.push()
    place.write({"cats.md": "The dog barks at an automobile.\n"})
    assert (await place.push(with_model=False)).pushed == 1
    async with place.engine() as engine:
        outcome = await engine.search("vehicle", mode="hybrid", limit=1)
    assert (documents(outcome), outcome.embedded) == (["cars.md"], (2, 3))
