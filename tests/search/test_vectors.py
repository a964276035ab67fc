"""Where vectors are kept: files that are checked, one that writes and others that map, and similarities that are exact."""

import errno
import fcntl
import os
from pathlib import Path

import numpy as np
import pytest

from research_documents.search.semantic.embedder import EmbeddingFailed, Vectors
from research_documents.search.semantic.vector_file import MAGIC
from research_documents.search.semantic.vectors import NO_ROW, VectorStore, keys_of
from research_shared.faults import VECTORS_FAILED, Faults
from support.embedding import IMPATIENT, ConceptEmbedder, embedded, engine_with, until

MODEL = "model"


def texts(count: int) -> list[str]:
    return [f"text {number}" for number in range(count)]


def random_vectors(count: int, dimension: int = 384, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def opened(directory: Path | None, identity: str = MODEL) -> VectorStore:
    store = VectorStore(directory, identity)
    store.open()
    return store


@pytest.mark.parametrize("kept", [True, False])
def test_vectors_keep_their_rows_while_they_are_added_and_saved(tmp_path: Path, *, kept: bool) -> None:
    store = opened(tmp_path if kept else None)
    keys = keys_of(texts(300))
    vectors = random_vectors(300)
    rows = []
    for begin in range(0, 300, 3):
        store.add(keys[begin : begin + 3], vectors[begin : begin + 3])
        if begin % 90 == 0:
            rows.append(store.rows_of(keys[:1]))
            store.save()
    found = store.rows_of(keys)
    assert {int(row[0]) for row in rows} == {0}
    assert np.array_equal(found, np.arange(300))
    assert store.rows_of(keys_of(["another"]))[0] == NO_ROW
    query = vectors[17]
    similar = store.rows.similarities(query)[found]
    assert int(similar.argmax()) == 17
    assert float(similar[17]) == pytest.approx(1.0, abs=0.01)
    store.close()


def test_a_similarity_depends_on_its_own_two_vectors_only() -> None:
    query = random_vectors(1, seed=1)[0]
    for dimension in (8, 384, 1024):
        vectors = random_vectors(700, dimension)
        vectors[0] = 1.0  # the largest codes in all components
        part = query[np.arange(dimension) % 384]
        whole, reverse = opened(None), opened(None)
        keys = keys_of(texts(700))
        whole.add(keys, vectors)
        reverse.add(keys[:1], vectors[:1])
        reverse.add(keys[:0:-1], vectors[:0:-1])
        together = whole.rows.similarities(part)
        apart = reverse.rows.similarities(part)[reverse.rows_of(keys)]
        alone = [whole.rows.similarities(part, np.array([row], dtype=np.int32))[0] for row in (0, 1, 699)]
        assert np.array_equal(together, apart)
        assert alone == [together[0], together[1], together[699]]
        exact = vectors @ part / np.linalg.norm(vectors, axis=1) / np.linalg.norm(part)
        assert float(np.abs(together - exact).max()) < 0.02


def test_keys_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    store = opened(tmp_path)
    keys = keys_of(texts(6)).copy()
    keys["high"][:] = 7
    store.add(keys[:5], random_vectors(5))
    store.save()
    assert [int(row) for row in store.rows_of(keys)] == [0, 1, 2, 3, 4, NO_ROW]
    store.close()


@pytest.mark.parametrize("damage", ["cut", "flipped", "grown", "head", "magic", "older", "empty"])
def test_a_file_that_is_damaged_or_of_another_version_is_not_used(tmp_path: Path, damage: str) -> None:
    store = opened(tmp_path)
    keys = keys_of(texts(10))
    store.add(keys, random_vectors(10))
    store.save()
    store.close()
    (file,) = tmp_path.glob("vectors-*.bin")
    data = bytearray(file.read_bytes())
    match damage:
        case "cut":
            del data[-10:]
        case "flipped":
            data[-10] ^= 1
        case "grown":
            data += b"\0"
        case "head":
            data[20] ^= 0xFF
        case "magic":
            data[0] ^= 1
        case "older":
            data[: len(MAGIC)] = b"RAVECTR1"
        case _:
            data.clear()
    file.write_bytes(data)
    again = opened(tmp_path)
    assert len(again.rows) == 0
    again.add(keys, random_vectors(10))
    again.save()
    again.close()
    assert len(opened(tmp_path).rows) == 10


def test_vectors_of_another_size_or_no_numbers_are_refused() -> None:
    store = opened(None)
    store.add(keys_of(["a"]), random_vectors(1, 8))
    for wrong in (random_vectors(1, 9), np.full((1, 8), np.nan, dtype=np.float32)):
        with pytest.raises(EmbeddingFailed):
            store.add(keys_of(["b"]), wrong)
    with pytest.raises(EmbeddingFailed):
        store.rows.similarities(random_vectors(1, 9)[0])
    assert len(store.rows) == 1


def test_a_vector_without_a_direction_is_like_nothing() -> None:
    store = opened(None)
    store.add(keys_of(["a"]), np.zeros((1, 8), dtype=np.float32))
    assert store.rows.similarities(np.ones(8, dtype=np.float32))[0] == 0.0
    assert store.rows.similarities(np.zeros(8, dtype=np.float32))[0] == 0.0


def test_one_process_writes_and_the_others_map_until_it_ends(tmp_path: Path) -> None:
    writer, reader = opened(tmp_path), opened(tmp_path)
    keys = keys_of(texts(20))
    assert (writer.writes, reader.writes) == (True, False)
    writer.add(keys[:10], random_vectors(10))
    assert not reader.look()
    writer.save()
    mapped = writer.rows
    assert reader.look()
    assert np.array_equal(reader.rows_of(keys) != NO_ROW, np.arange(20) < 10)
    before = reader.rows.similarities(random_vectors(1)[0])
    writer.add(keys[10:], random_vectors(10, seed=2))
    writer.save()
    assert np.array_equal(mapped.similarities(random_vectors(1)[0]), before)  # the old map outlives its file
    writer.close()
    assert reader.look()
    assert reader.writes
    assert len(reader.rows) == 20
    reader.keep_only(reader.rows_of(keys[5:15]))
    assert np.array_equal(reader.rows_of(keys) != NO_ROW, (np.arange(20) >= 5) & (np.arange(20) < 15))
    reader.close()


def test_a_directory_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    store = opened(tmp_path)
    store.add(keys_of(["a"]), random_vectors(1))
    store.save()
    assert store.writes
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_written_to_again_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    now, faults = [0.0], Faults()
    store = VectorStore(tmp_path, MODEL, faults=faults, retry_s=60, clock=lambda: now[0])
    store.open()
    keys = keys_of(texts(20))
    store.add(keys[:10], random_vectors(10))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert not store.save()
    left = [path.name for path in tmp_path.iterdir()]
    store.add(keys[10:], random_vectors(10))
    began = faults.current
    assert not store.save()  # not before its time
    now[0] = 60.0
    assert store.save()
    assert np.array_equal(store.rows_of(keys), np.arange(20))
    store.close()
    assert left == ["lock"]
    assert ([fault.kind for fault in began], faults.current) == ([VECTORS_FAILED], ())
    assert len(opened(tmp_path).rows) == 20


def test_a_directory_that_becomes_usable_is_written_to_by_one_process(tmp_path: Path) -> None:
    now = [0.0]
    tmp_path.chmod(0o777)
    store = VectorStore(tmp_path, MODEL, clock=lambda: now[0])
    store.open()
    store.add(keys_of(["a", "b"]), random_vectors(2))
    tmp_path.chmod(0o700)
    other = opened(tmp_path)
    now[0] = 60.0
    assert not store.save()
    store.keep_only(store.rows_of(keys_of(["a"])))
    assert ([*store.rows_of(keys_of(["a", "b"]))], store.failed) == ([0, 1], True)
    other.close()
    assert store.save(at_once=True)
    assert not store.failed
    store.close()
    assert len(opened(tmp_path).rows) == 2


async def test_an_engine_maps_what_another_process_embeds_and_takes_over_when_that_ends(
    tmp_path: Path,
) -> None:
    folder, kept = tmp_path / "research", tmp_path / "kept"
    for directory in (folder, kept):
        directory.mkdir(mode=0o700)
    (folder / "cars.md").write_text("The automobile needs new tyres.\n", encoding="utf-8")
    other = opened(kept, "concepts")  # as another process would: it holds the lock
    embedder = ConceptEmbedder()
    engine = engine_with(folder, embedder, kept_in=kept, pace=IMPATIENT)
    async with engine:
        waiting = await engine.search("vehicle", mode="hybrid")
        other.add(
            keys_of(["The automobile needs new tyres."]),
            await embedder.embed(["The automobile needs new tyres."], query=True),
        )
        other.save()
        await until(lambda: engine.stats.embedded == (1, 1))
        found = await engine.search("vehicle", mode="hybrid")
        other.close()
        (folder / "doctor.md").write_text("The physician is at home.\n", encoding="utf-8")
        await engine.search("physician")
        await until(lambda: engine.stats.embedded == (2, 2))
    assert waiting.warnings[0].startswith("hybrid: none of 1 passage is")
    assert found.hits[0].document == "cars.md"
    assert embedder.passages == ["The physician is at home."]


async def test_vectors_are_kept_when_the_engine_is_closed_in_between(tmp_path: Path) -> None:
    folder, kept = tmp_path / "research", tmp_path / "kept"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.md").write_text(f"number {number}\n", encoding="utf-8")
    embedder = ConceptEmbedder(batch=2)
    engine = engine_with(folder, embedder, kept_in=kept)
    async with engine:
        await engine.search("x")
        await until(lambda: (engine.stats.embedded or (0, 0))[0] >= 4)
    async with embedded(engine_with(folder, embedder, kept_in=kept)):
        pass
    assert sorted(embedder.passages) == [f"number {number}" for number in range(8)]
    with (kept / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds it any more
