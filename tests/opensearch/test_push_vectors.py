"""A push makes the vectors of passages where there is a model and the cluster takes them, and says what lacks them."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest

from research_documents.opensearch.client import ClusterFailed
from research_documents.opensearch.layout import DocumentRecord, IndexNames, PushState
from research_documents.opensearch.meaning.field import IndexedModel
from research_documents.opensearch.meaning.search import ClusterMeaning
from research_documents.opensearch.mirror import DocumentMirror, MirrorUpdate
from research_documents.opensearch.pushing import ClusterIndex, Indexer, IndexLease, PushReport
from research_documents.opensearch.pushing import vectors as vectors_module
from research_documents.opensearch.pushing.run import PushJob
from research_documents.opensearch.pushing.vectors import (
    PASSAGES_LEFT_ALONE_S,
    ModelDiffers,
    VectorMaker,
)
from research_documents.search.request import path_choice
from research_documents.search.semantic.embedder import HARMLESS, EmbeddingFailed
from research_documents.search.semantic.passage_table import PART_BYTES
from research_shared.access.roots import Root, RootsPolicy
from research_shared.access.scope import Scope
from research_shared.base_errors import ConfigurationError
from research_shared.reading.library import Library
from support.embedding import DIMENSION, ConceptEmbedder, vector_of
from support.fake_cluster import Cluster, FakeCluster, FakeIndex
from support.opensearch import new_prefix

AWAY = "the embeddings endpoint cannot be reached"


@dataclass
class Folder:
    """A folder that is pushed to a cluster in memory, by an indexer of its own each time."""

    path: Path
    fake: FakeCluster = field(default_factory=lambda: FakeCluster(knn=True))
    embedder: ConceptEmbedder = field(default_factory=ConceptEmbedder)
    names: IndexNames = field(default_factory=lambda: IndexNames(prefix=new_prefix()))
    now: float = 0.0

    def write(self, name: str, content: str) -> None:
        (self.path / name).write_text(content, encoding="utf-8")

    def index(self) -> ClusterIndex:
        return ClusterIndex(Cluster(self.names, self.fake).client(), self.names)

    async def push(self, *, full: bool = False, with_model: bool = True) -> PushReport:
        index = self.index()
        index.prepare_state()
        vectors = VectorMaker(self.embedder, clock=lambda: self.now) if with_model else None
        library = Library(RootsPolicy([Root("r", self.path)]))
        async with library:
            indexer = Indexer(library, index, vectors=vectors)
            await indexer.open(anew=full)
            return await indexer.push_all()

    def index_of(self, alias: str) -> FakeIndex:
        return self.fake.indices[self.fake.aliases[alias]]

    def passages(self) -> list[dict[str, Any]]:
        return [stored.source for stored in self.index_of(self.names.passages).visible.values()]

    def records(self) -> dict[str, DocumentRecord]:
        stored = self.index_of(self.names.documents).visible.values()
        return {
            record.path: record for record in (DocumentRecord.from_source(each.source) for each in stored)
        }

    def state(self) -> PushState:
        found = self.index().state()
        assert found is not None
        return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    # Files of a test are all young: none of them is to be read again for that alone.
    monkeypatch.setattr("research_documents.opensearch.pushing.reading.SETTLED_NS", -(10**18))
    made = Folder(tmp_path)
    made.write("cars.md", "The automobile needs new tyres.\n")
    made.write("cats.md", "The cat sleeps on the mat.\n")
    return made


def direction(numbers: list[int] | list[float]) -> np.ndarray[Any, Any]:
    whole: np.ndarray[Any, Any] = np.array(numbers, dtype=np.float64)
    whole /= np.sqrt((whole**2).sum())
    return whole


async def test_each_part_of_a_passage_gets_its_vector_and_its_place(folder: Folder) -> None:
    hens = " ".join(f"Hen number {number} lays an egg." for number in range(50))
    folder.write("hens.md", f"# Hens\n\n{hens}\n")
    report = await folder.push()
    assert (report.pushed, report.without_vectors, report.no_vectors) == (3, 0, "")
    (passage,) = (each for each in folder.passages() if each["path"] == "hens.md")
    text = (folder.path / "hens.md").read_bytes()
    assert len(passage["parts"]) == 3
    assert "".join(text[part["begin"] : part["end"]].decode() for part in passage["parts"]) == passage["text"]
    for part in passage["parts"]:
        body = text[part["begin"] : part["end"]].decode().strip()
        assert len(body) <= PART_BYTES
        meant = body if body.startswith("# Hens") else f"Hens\n{body}"
        assert direction(part["vector"]) @ direction(vector_of(meant)) > 0.999
        assert max(map(abs, part["vector"])) == 127
    mapping = folder.index_of(folder.names.passages).body["mappings"]
    field_of_vectors = mapping["properties"]["parts"]["properties"]["vector"]
    assert (field_of_vectors["dimension"], field_of_vectors["method"]["engine"]) == (DIMENSION, "lucene")
    assert mapping["_meta"]["embedding"] == {"identity": "concepts", "dimension": DIMENSION}
    assert {(record.embedded, record.passages) for record in folder.records().values()} == {(1, 1)}


async def test_a_push_without_a_model_makes_an_index_as_ever(folder: Folder) -> None:
    report = await folder.push(with_model=False)
    body = folder.index_of(folder.names.passages).body
    assert "parts" not in body["mappings"]["properties"]
    assert "knn" not in body["settings"]["index"]
    assert (report.pushed, report.without_vectors) == (2, 0)
    assert folder.state().embedding_problem == ""


async def test_only_what_changed_is_embedded_and_its_old_vectors_go(folder: Folder) -> None:
    await folder.push()
    folder.embedder.passages.clear()
    folder.write("cats.md", "The dog barks.\n")
    report = await folder.push()
    assert (report.pushed, folder.embedder.passages) == (1, ["The dog barks."])
    found = {passage["path"]: passage["parts"][0]["vector"] for passage in folder.passages()}
    assert len(folder.passages()) == 2
    assert direction(found["cats.md"]) @ direction(vector_of("The dog barks.")) > 0.999


async def test_while_the_model_is_away_documents_are_pushed_and_later_get_their_vectors(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await folder.push()
    folder.embedder.failure = EmbeddingFailed(AWAY)
    folder.write("dogs.md", "The dog barks.\n")
    folder.write("hens.md", "Hens lay eggs.\n")
    report = await folder.push()
    assert (report.pushed, report.without_vectors, report.no_vectors) == (2, 2, AWAY)
    assert report.embedding_failed
    assert folder.state().embedding_problem == AWAY
    assert sum("parts" in passage for passage in folder.passages()) == 2
    again = await folder.push()  # still away: nothing is pushed again for that
    assert (again.pushed, again.unchanged, again.without_vectors) == (0, 4, 2)
    folder.embedder.failure = None
    written: list[DocumentRecord] = []
    states: list[PushState] = []
    write, save = ClusterIndex.write_records, ClusterIndex.save_state

    def keep(self: ClusterIndex, records: Any, seen: Any) -> Any:
        written.extend(records)
        return write(self, records, seen)

    def keep_state(self: ClusterIndex, state: PushState) -> None:
        states.append(state)
        save(self, state)

    monkeypatch.setattr(ClusterIndex, "write_records", keep)
    monkeypatch.setattr(ClusterIndex, "save_state", keep_state)
    monkeypatch.setattr("research_documents.opensearch.pushing.indexer._SAVE_EVERY_S", 0.0)
    monkeypatch.setattr("research_documents.opensearch.pushing.vector_plan._EMBEDDED_FILES", 1)
    healed = await folder.push()
    assert written
    assert all(record.waits is None for record in written), "searches miss none of the words meanwhile"
    assert {state.waiting for state in states} == {0}
    assert (healed.pushed, healed.unchanged, healed.without_vectors) == (2, 2, 0)
    assert all("parts" in passage for passage in folder.passages())
    assert folder.state().embedding_problem == ""


async def test_a_model_that_fails_in_between_is_left_alone_for_a_while(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors_module, "PASSAGES_TOGETHER", 1)
    await folder.push()
    asked: list[int] = []
    embed = folder.embedder.embed

    async def failing(texts: Any, *, query: bool) -> Any:
        asked.append(len(texts))
        if len(asked) == 2:
            raise EmbeddingFailed(AWAY)
        if len(asked) == 4:
            raise AssertionError("it is asked again at once")
        return await embed(texts, query=query)

    for number in range(4):
        folder.write(f"dog{number}.md", f"Dog {number} barks.\n")
    folder.embedder.embed = failing  # type: ignore[method-assign]
    report = await folder.push()
    assert (report.pushed, report.without_vectors, len(asked)) == (4, 3, 2)
    folder.now += PASSAGES_LEFT_ALONE_S
    folder.embedder.embed = embed  # type: ignore[method-assign]
    assert (await folder.push()).without_vectors == 0


async def test_a_passage_that_the_model_fails_with_is_not_pushed_again_for_that(folder: Folder) -> None:
    folder.embedder.poison = "cat"
    report = await folder.push()
    assert (report.pushed, report.without_vectors, report.embedding_failed) == (2, 0, False)
    record = folder.records()["cats.md"]
    assert (record.passages, record.embedded, record.unembeddable) == (1, 0, 1)
    assert folder.state().embedding_problem == "the model fails with the others"
    assert (await folder.push()).unchanged == 2


async def test_vectors_of_another_model_are_refused_until_everything_is_pushed_anew(folder: Folder) -> None:
    await folder.push()
    folder.embedder = ConceptEmbedder("others")
    with pytest.raises(ModelDiffers, match="--full"):
        await folder.push()
    report = await folder.push(full=True)
    assert (report.pushed, report.without_vectors) == (2, 0)
    meta = folder.index_of(folder.names.documents).body["mappings"]["_meta"]
    assert meta["embedding"]["identity"] == "others"


@pytest.mark.parametrize("back_as", ["concepts", "others"])
async def test_a_model_that_could_not_be_read_is_compared_before_it_makes_vectors(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, back_as: str
) -> None:
    await folder.push()
    folder.embedder = ConceptEmbedder(back_as)
    identity = folder.embedder.identity

    async def unreadable() -> str:
        raise EmbeddingFailed(AWAY)

    monkeypatch.setattr(folder.embedder, "identity", unreadable)
    folder.write("dogs.md", "The dog barks.\n")
    vectors = VectorMaker(folder.embedder, clock=lambda: folder.now)
    async with (library := Library(RootsPolicy([Root("r", folder.path)]))):
        indexer = Indexer(library, folder.index(), vectors=vectors)
        await indexer.open()
        assert (await indexer.push_all()).no_vectors == AWAY
        folder.now += PASSAGES_LEFT_ALONE_S
        assert (await indexer.push_all()).no_vectors == AWAY
        folder.now += PASSAGES_LEFT_ALONE_S
        monkeypatch.setattr(folder.embedder, "identity", identity)
        if back_as == "concepts":
            assert (await indexer.push_all()).without_vectors == 0
        else:
            with pytest.raises(ModelDiffers, match="--full"):
                await indexer.push_all()
    assert bool(folder.embedder.passages) is (back_as == "concepts")


async def test_vectors_of_another_size_are_not_pushed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await folder.push()
    embed = folder.embedder.embed

    async def shorter(texts: Any, *, query: bool) -> Any:
        return (await embed(texts, query=query))[:, :-1]

    monkeypatch.setattr(folder.embedder, "embed", shorter)
    folder.write("dogs.md", "The dog barks.\n")
    report = await folder.push()
    assert (report.pushed, report.without_vectors, report.embedding_failed) == (1, 1, True)
    assert report.no_vectors == "the embedding model gives vectors of another size than before"
    assert (await folder.push(full=True)).without_vectors == 0


async def test_where_there_can_be_no_vectors_words_are_pushed_and_the_report_says_why(folder: Folder) -> None:
    folder.fake.knn = False
    report = await folder.push()
    assert (report.pushed, report.without_vectors, report.embedding_failed) == (2, 2, False)
    assert report.no_vectors == "the search cluster has no k-NN plugin"
    assert folder.embedder.passages == []
    folder.fake.knn = True
    report = await folder.push()
    assert (report.pushed, report.no_vectors) == (
        0,
        "the index was made without them; push with --full to have them",
    )
    assert (await folder.push(full=True)).without_vectors == 0


async def test_a_cluster_that_does_not_tell_its_plugins_is_asked_for_the_field(folder: Folder) -> None:
    def hide(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/_nodes/plugins":
            return httpx.Response(403, json={"error": {"type": "security_exception", "reason": "no"}})
        return None

    folder.fake.before = hide
    assert (await folder.push()).without_vectors == 0
    other = Folder(folder.path, fake=FakeCluster())
    other.fake.before = hide
    report = await other.push()
    assert (report.pushed, report.no_vectors) == (2, "the search cluster has no k-NN plugin")


async def test_a_push_without_a_model_says_what_lacks_vectors(folder: Folder) -> None:
    await folder.push()
    folder.write("dogs.md", "The dog barks.\n")
    report = await folder.push(with_model=False)
    assert (report.pushed, report.without_vectors, report.embedding_failed) == (1, 1, False)
    assert report.no_vectors == folder.state().embedding_problem == "the last push had no embedding model"
    assert (await folder.push()).pushed == 1


async def test_without_an_answer_of_the_model_no_new_index_is_made(folder: Folder) -> None:
    folder.embedder.failure = EmbeddingFailed(AWAY)
    with pytest.raises(ConfigurationError, match=AWAY) as refused:
        await folder.push()
    assert "RESEARCH_EMBEDDING_DIR" in refused.value.message
    assert folder.names.passages not in folder.fake.aliases


async def test_the_words_of_many_documents_count_before_their_vectors_are_made(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await folder.push()
    embed, seen = folder.embedder.embed, list[tuple[int, int, str]]()

    async def look(texts: Any, *, query: bool) -> Any:
        complete = sum(record.complete and record.waits is None for record in folder.records().values())
        state = folder.state()
        seen.append((complete, state.waiting, state.embedding_problem))
        return await embed(texts, query=query)

    monkeypatch.setattr(folder.embedder, "embed", look)
    for number in range(17):
        folder.write(f"dog{number}.md", f"Dog {number} barks.\n")
    report = await folder.push()
    assert set(seen) == {(19, 0, "they are still being made")}
    assert (report.pushed, report.passages, report.without_vectors) == (17, 17, 0)
    assert all("parts" in passage for passage in folder.passages())
    assert (len(folder.passages()), folder.state().embedding_problem) == (19, "")
    report = await folder.push(full=True)
    assert (report.pushed, report.without_vectors) == (19, 0)
    assert seen[-1] == (19, 0, ""), "what is searched meanwhile has its vectors"


async def test_vectors_are_made_in_rounds_so_that_changes_are_seen_between_them(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = folder.embedder.embed

    async def slow(texts: Any, *, query: bool) -> Any:
        folder.now += len(texts)
        return await embed(texts, query=query)

    for number in range(40):
        folder.write(f"dog{number}.md", f"Dog {number} barks.\n")
    index, clock = folder.index(), lambda: folder.now
    index.prepare_state()
    async with (library := Library(RootsPolicy([Root("r", folder.path)]))):
        indexer = Indexer(library, index, vectors=VectorMaker(folder.embedder, clock=clock), clock=clock)
        indexer.vectors.round_s = 10.0
        await indexer.open()
        monkeypatch.setattr(folder.embedder, "embed", slow)
        first = await indexer.push_all()
        assert (first.pushed, first.without_vectors, first.embedding_failed) == (42, 26, False)
        assert first.no_vectors == folder.state().embedding_problem == "they are still being made"
        assert indexer.vectors.has_more
        folder.write("cats.md", "The cat is awake.\n")
        second = await indexer.push_all()
        assert second.without_vectors == 10
        assert any("awake" in passage["text"] for passage in folder.passages())
        assert indexer.vectors.has_more
        third = await indexer.push_all()
        assert (third.without_vectors, indexer.vectors.has_more) == (0, False)
        folder.embedder.failure = EmbeddingFailed(AWAY)
        for number in range(40):
            folder.write(f"dog{number}.md", f"Dog {number} barks again.\n")
        failed = await indexer.push_all()
        assert (failed.pushed, failed.no_vectors, indexer.vectors.has_more) == (40, AWAY, False)


async def test_an_indexer_that_follows_a_folder_makes_all_vectors_without_waiting_for_a_listing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research_documents.opensearch.pushing.run.VECTORS_ROUND_S", 0.0)
    for number in range(40):
        folder.write(f"dog{number}.md", f"Dog {number} barks.\n")
    index, library = folder.index(), Library(RootsPolicy([Root("r", folder.path)]))
    reports: asyncio.Queue[PushReport] = asyncio.Queue()
    job = PushJob(
        library=library,
        cluster=index,
        lease=IndexLease(Cluster(folder.names, folder.fake).client(), folder.names),
        indexer=Indexer(library, index, vectors=VectorMaker(folder.embedder)),
        rescan_s=3600.0,
        on_report=reports.put_nowait,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(job.run(stop))
    with anyio.fail_after(120):
        lacking = [(await reports.get()).without_vectors]
        while lacking[-1]:
            lacking.append((await reports.get()).without_vectors)
        stop.set()
        await running
    assert lacking[0] == 26  # one batch of vectors after the words
    assert all("parts" in passage for passage in folder.passages())


async def test_a_push_that_was_ended_goes_on_with_what_has_no_vectors_yet(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research_documents.opensearch.pushing.vector_plan._EMBEDDED_FILES", 1)
    write = ClusterIndex.write_passages
    written: list[Any] = []

    def end(self: ClusterIndex, records: Any) -> dict[str, str]:
        written.append(list(records))
        if len(written) == 3:  # the words of both, the vectors of one
            raise ClusterFailed("away", hint="")
        return write(self, written[-1])

    monkeypatch.setattr(ClusterIndex, "write_passages", end)
    with pytest.raises(ClusterFailed):
        await folder.push()
    embedded = list(folder.embedder.passages)
    report = await folder.push()
    assert (report.pushed, report.unchanged, report.without_vectors) == (1, 1, 0)
    assert folder.embedder.passages[len(embedded) :] == [HARMLESS, *embedded[-1:]]
    assert all("parts" in passage for passage in folder.passages())


async def test_the_passages_of_a_selection_are_counted_once_for_each_change_of_the_records(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = DocumentMirror(Cluster(folder.names, folder.fake).client(), folder.names)
    record, looks = mirror.record, list[int]()

    def looked_at(number: int) -> DocumentRecord | None:
        looks.append(number)
        return record(number)

    monkeypatch.setattr(mirror, "record", looked_at)
    meaning = ClusterMeaning(folder.embedder, mirror)
    await meaning.open()

    async def coverage(*, full: bool = False) -> tuple[int, int]:
        await folder.push(full=full)
        records = tuple(folder.records().values())
        change = max(each.change for each in records)
        model = IndexedModel(identity="concepts", dimension=DIMENSION)
        mirror.apply(
            MirrorUpdate(state=folder.state(), records=records, anew=full, change=change, model=model)
        )
        looks.clear()
        first = meaning.coverage_of_all
        assert not looks
        chosen = mirror.catalog.select(path_choice("*"), Scope()).readable
        for _ in range(3):
            assert meaning.coverage(chosen) == first
        assert len(looks) == len(chosen)
        return first

    assert await coverage(full=True) == (2, 2)
    folder.embedder.failure = EmbeddingFailed(AWAY)
    folder.write("dogs.md", "The dog barks.\n")
    folder.write("hens.md", "Hens lay eggs.\n")
    assert await coverage() == (2, 4)
    (folder.path / "cars.md").unlink()
    assert await coverage() == (1, 3)
    folder.embedder.failure = None
    assert await coverage() == (3, 3)
    assert await coverage(full=True) == (3, 3)
