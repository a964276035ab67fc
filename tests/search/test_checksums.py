"""What is recorded of the files of an index, while tantivy merges them."""

import hashlib
import itertools
import json
from pathlib import Path

import pytest

from research_documents.search.index.checksums import checksums
from research_documents.search.index.passage_index import META, PassageIndex
from research_shared.documents import DocumentText, Identity

ONE, TWO = "1" * 32, "2" * 32


def sum_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def written(directory: Path, *segments: dict[str, object]) -> bytes:
    meta = json.dumps({"segments": segments, "opstamp": 9}).encode()
    (directory / META).write_bytes(meta)
    return meta


@pytest.fixture
def index(tmp_path: Path) -> Path:
    for name in (f"{ONE}.idx", f"{ONE}.3.del", f"{ONE}.7.del", f"{TWO}.idx", "other.idx", ".managed.json"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_only_the_files_that_the_index_consists_of_count(index: Path) -> None:
    meta = written(index, {"segment_id": f"{ONE[:8]}-{ONE[8:]}", "deletes": {"opstamp": 7}})
    names = (f"{ONE}.7.del", f"{ONE}.idx")
    assert checksums(index, {}) == {META: sum_of(meta)} | {name: sum_of(name.encode()) for name in names}


def test_segments_are_read_once_and_what_is_noted_of_them_each_time(index: Path) -> None:
    written(index, {"segment_id": ONE, "deletes": None})
    first = checksums(index, {})
    assert first is not None
    (index / f"{ONE}.idx").write_bytes(b"tantivy never does this")
    assert checksums(index, first) == first
    meta = written(index, {"segment_id": TWO, "deletes": None})
    assert checksums(index, first) == {META: sum_of(meta), f"{TWO}.idx": sum_of(f"{TWO}.idx".encode())}


def test_an_index_whose_segments_are_gone_each_time_has_none(index: Path) -> None:
    written(index, {"segment_id": ONE, "deletes": None})
    (index / f"{ONE}.term").symlink_to(index / "gone")
    assert checksums(index, {}) is None


def test_an_index_that_changes_all_the_time_has_none(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(index, {"segment_id": ONE, "deletes": None})
    digest = hashlib.file_digest
    stamps = itertools.count()

    def merging(file: object, kind: str) -> object:
        name = f"{next(stamps):032}"
        (index / f"{name}.idx").write_bytes(b"new")
        written(index, {"segment_id": name, "deletes": None})
        return digest(file, kind)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", merging)
    assert checksums(index, {}) is None
    assert next(stamps) == 3


def test_an_index_that_changes_once_has_those_of_its_last_state(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(index, {"segment_id": ONE, "deletes": None})
    digest = hashlib.file_digest

    def merging(file: object, kind: str) -> object:
        written(index, {"segment_id": TWO, "deletes": None})
        return digest(file, kind)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", merging)
    found = checksums(index, {})
    assert found is not None
    assert list(found) == [META, f"{TWO}.idx"]


@pytest.mark.parametrize(
    "meta",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b'{"segments": 1}',
        b'{"segments": [1]}',
        b'{"segments": [{}]}',
        b'{"segments": [{"segment_id": "a"}]}',
        b'{"segments": [{"segment_id": "a", "deletes": 1}]}',
        b'{"segments": [{"segment_id": 1, "deletes": null}]}',
    ],
)
def test_an_index_that_cannot_be_read_is_a_value_error(index: Path, meta: bytes) -> None:
    (index / META).write_bytes(meta)
    with pytest.raises(ValueError, match=r"."):
        checksums(index, {})


def test_merges_that_go_on_after_commits_disturb_nothing(tmp_path: Path) -> None:
    index = PassageIndex(tmp_path)
    text = DocumentText(
        path="a.md",
        media_type="text/markdown",
        identity=Identity(1, 1, 1, 1, 1),
        digest="",
        engine="text",
        data=b"owl " * 500,
    )
    known: dict[str, str] = {}
    settled = 0
    for number in range(60):
        index.add(number, text)
        if number % 7 == 3:
            index.remove(number - 3)
        index.commit()
        if (found := checksums(tmp_path, known)) is not None:
            known = found
            settled += 1
    index.close()
    last = checksums(tmp_path, known)
    assert last == checksums(tmp_path, {})
    assert last is not None
    segments = {name.partition(".")[0] for name in last} - {"meta"}
    assert len(segments) < 60
    assert settled > 30
