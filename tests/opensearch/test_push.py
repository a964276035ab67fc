"""Pushing brings the cluster what the folder holds, once, whatever ends it in between; on a real node where it is asked for."""

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from research_documents.opensearch.client import ClusterClient, ClusterFailed
from research_documents.opensearch.layout import DocumentRecord, IndexNames, PushState, passage_records
from research_documents.opensearch.mirror import DocumentMirror
from research_documents.opensearch.pushing import ClusterIndex, Indexer, IndexLease, PushReport
from research_documents.opensearch.pushing.cluster_index import RecordTaken, SchemaDiffers
from research_documents.opensearch.pushing.lease import IndexHeld, lease_holder
from research_documents.opensearch.pushing.report import FolderAway
from research_documents.opensearch.pushing.run import PushJob
from research_shared.access.globs import PathChoice
from research_shared.access.roots import RootsPolicy, Scope
from research_shared.documents import DocumentInfo
from research_shared.errors import ConfigurationError
from research_shared.faults import DIRECTORY_FAILING
from research_shared.reading.library import Library
from research_shared.reading.limits import Limits
from research_shared.root import Root
from support.fake_cluster import Cluster, FakeCluster

DOCUMENTS = {
    "a.md": "# Latency\n\nMixing adds latency.\n",
    "notes/b.md": "Costs of mixing.\n",
    "notes/c.txt": "Plain words.\n",
}

NO_PROCESS = 2**22 + 1
"""A number that no process can have: Linux gives at most 2²²."""


UNREAD = ("notes/plan.dwg", "photo.png")


@dataclass
class Folder:
    """A research folder, pushed by indexers of its own."""

    path: Path
    cluster: Cluster
    root: str = "r"
    second: Path | None = None
    """The directory of a second root, `s`."""
    folder_id: str = ""

    def write(self, name: str, content: str) -> None:
        """Put a document in its place, whole: whoever watches never sees a part of it."""
        file, written = self.path / name, self.path.parent / "written"
        file.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(content, encoding="utf-8")
        written.replace(file)

    def library(self) -> Library:
        roots = [Root(name=self.root, directory=self.path)]
        if self.second is not None:
            roots.append(Root(name="s", directory=self.second))
        return Library(RootsPolicy(roots), Limits(max_file_bytes=4_096))

    def index(self) -> ClusterIndex:
        return ClusterIndex(self.cluster.client(), self.cluster.names, max_bulk_bytes=2_000)

    async def push(self, *, full: bool = False, index: ClusterIndex | None = None) -> PushReport:
        index = index or self.index()
        index.prepare_state()
        library = self.library()
        async with library:
            indexer = Indexer(library, index, folder_id=self.folder_id)
            await indexer.open(anew=full)
            return await indexer.push_all()

    def records(self) -> dict[str, DocumentRecord]:
        """What searches see of the records, by path."""
        found = (DocumentRecord.from_source(source) for source in self._sources(self.cluster.names.documents))
        return {record.path: record for record in found}

    def texts(self) -> dict[tuple[str, str], list[str]]:
        """The texts of all passages on the cluster, by path and version."""
        found: dict[tuple[str, str], list[tuple[int, str]]] = {}
        for source in self._sources(self.cluster.names.passages):
            found.setdefault((source["path"], source["version"]), []).append(
                (source["begin"], source["text"])
            )
        return {key: [text for _, text in sorted(parts)] for key, parts in found.items()}

    def _sources(self, alias: str) -> list[dict[str, Any]]:
        client = self.cluster.client()
        client.request("POST", f"/{alias}/_refresh")
        body = {"size": 1_000, "query": {"match_all": {}}}
        hits = client.request("POST", f"/{alias}/_search", body)["hits"]["hits"]
        return [hit["_source"] for hit in hits]

    def agrees(self) -> bool:
        """Whether the cluster has exactly the passages that its records name, and nothing is hidden."""
        records = self.records().values()
        named = {(record.path, record.version): record.passages for record in records if record.version}
        return named == {key: len(texts) for key, texts in self.texts().items()} and not any(
            record.hidden for record in records
        )


@pytest.fixture
def folder(tmp_path: Path, cluster_in_use: Cluster, monkeypatch: pytest.MonkeyPatch) -> Folder:
    # Files of a test are all young: none of them is to be read again for that alone.
    monkeypatch.setattr("research_documents.opensearch.pushing.reading.SETTLED_NS", -(10**18))
    made = Folder(tmp_path / "folder", cluster_in_use)
    for name, content in DOCUMENTS.items():
        made.write(name, content)
    return made


async def test_all_of_a_folder_is_pushed_once(folder: Folder) -> None:
    first = await folder.push()
    assert (first.listed, first.pushed, first.passages, first.removed) == (3, 3, 3, 0)
    before = folder.records()
    assert {path: record.complete for path, record in before.items()} == dict.fromkeys(DOCUMENTS, True)
    assert folder.agrees()
    second = await folder.push()
    assert (second.pushed, second.unchanged, second.passages) == (0, 3, 0)
    assert folder.records() == before
    state = folder.index().state()
    assert state is not None
    assert (state.listed, state.waiting, state.failed) == (3, 0, 0)
    assert state.agreed_at == state.begun_at != ""


async def test_files_of_types_that_are_not_read_are_kept_to_be_counted(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = DocumentMirror(folder.cluster.client(), folder.cluster.names)
    monkeypatch.setattr(mirror, "_changed_since", lambda _: ([], ""))  # records are not looked at here
    counted: list[tuple[str | None, bool]] = []

    async def push() -> None:
        await folder.push()
        update = mirror.fetch()
        mirror.apply(update)
        counted.append((mirror.catalog.count_unread(PathChoice(("*",)), Scope()), update.unread is not None))

    await push()
    for name in UNREAD:
        (folder.path / name).write_bytes(b"x")
    await push()
    await push()
    (folder.path / UNREAD[0]).unlink()
    await push()
    (folder.path / UNREAD[1]).unlink()
    await push()
    two, one = "not read: 1 .dwg, 1 .png", "not read: 1 .png"
    assert counted == [(None, False), (two, True), (two, False), (one, True), (None, True)]


async def test_what_changed_is_pushed_and_nothing_else(folder: Folder) -> None:
    await folder.push()
    before = folder.records()
    folder.write("a.md", "# Latency\n\nBatching adds more.\n")
    folder.write("new.md", "New.\n")
    (folder.path / "notes/b.md").unlink()
    report = await folder.push()
    assert (report.pushed, report.removed, report.unchanged) == (2, 1, 1)
    after = folder.records()
    assert after["notes/c.txt"] == before["notes/c.txt"]
    assert after["notes/b.md"].gone
    assert after["notes/b.md"].change > max(record.change for record in before.values())
    assert folder.texts()["a.md", after["a.md"].version] == ["# Latency\n\nBatching adds more."]
    assert folder.agrees()


async def test_a_touched_file_keeps_its_passages(folder: Folder) -> None:
    await folder.push()
    before = folder.records()["a.md"]
    moment = before.info.identity.mtime_ns + 1
    os.utime(folder.path / "a.md", ns=(moment, moment))
    report = await folder.push()
    after = folder.records()["a.md"]
    assert (report.pushed, report.unchanged) == (0, 3)
    assert after.version == before.version
    assert after.info.identity.mtime_ns == moment
    assert after.change > before.change


async def test_a_file_of_another_day_has_passages_of_that_day(folder: Folder) -> None:
    await folder.push()
    day = 86_400 * 10**9
    moment = folder.records()["a.md"].info.identity.mtime_ns - 2 * day
    os.utime(folder.path / "a.md", ns=(moment, moment))
    assert (await folder.push()).pushed == 1
    assert folder.agrees()


async def test_a_file_that_was_just_changed_is_read_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research_documents.opensearch.pushing.reading.SETTLED_NS", 10**18)
    await folder.push()
    before = folder.records()
    assert (await folder.push()).unchanged == 3
    after = folder.records()
    assert all(after[path].change > before[path].change for path in DOCUMENTS)
    assert all(after[path].version == before[path].version for path in DOCUMENTS)


async def test_a_document_without_text_says_why(folder: Folder) -> None:
    folder.write("large.txt", "word " * 1_000)
    report = await folder.push()
    assert report.unreadable == [("large.txt", "too large")]
    record = folder.records()["large.txt"]
    assert (record.reason, record.complete, record.version) == ("too large", True, "")
    assert (await folder.push()).unchanged == 4
    folder.write("a.md", "")
    assert (await folder.push()).pushed == 1
    assert folder.records()["a.md"].passages == 0
    (folder.path / "large.txt").unlink()
    assert (await folder.push()).removed == 1
    assert folder.index().counts() == (3, 0, 2)


class Stopped(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize("step", range(9))
async def test_an_indexer_that_ends_at_any_step_is_continued(step: int, folder: Folder) -> None:
    """The requests of a push are cut after each one: nothing half is ever complete, and the next push mends all."""
    await folder.push()
    old = folder.records()
    folder.write("a.md", "# Latency\n\nNew text.\n")
    folder.write("notes/new.md", "Also new.\n")
    (folder.path / "notes/c.txt").unlink()
    index = folder.index()
    left = [step]

    def cut(name: str) -> None:
        done: Callable[..., Any] = getattr(index, name)

        def until(*given: Any) -> Any:
            if left[0] == 0:
                raise Stopped
            left[0] -= 1
            return done(*given)

        setattr(index, name, until)

    for name in ("write_records", "write_passages", "remove_passages"):
        cut(name)
    with pytest.raises(Stopped):
        await folder.push(index=index)
    texts = folder.texts()
    for record in folder.records().values():
        if record.version:
            assert len(texts[record.path, record.version]) == record.passages
            whole = "".join(texts[record.path, record.version])
            assert whole in {"# Latency\n\nMixing adds latency.", "# Latency\n\nNew text.", "Also new."} | {
                content.strip() for content in DOCUMENTS.values()
            }
        assert record.complete or record.hidden or record.gone or record.waits
    assert any(record.waits for record in folder.records().values()) is (0 < step < 7)
    hidden = {version for record in folder.records().values() for version in record.hidden}
    counting = {record.version for record in folder.records().values()}
    assert {version for _, version in texts} <= hidden | counting
    report = await folder.push()
    assert not report.failed
    assert folder.agrees()
    assert not any(record.waits for record in folder.records().values())
    assert {path for path, record in folder.records().items() if record.complete} == {
        "a.md",
        "notes/b.md",
        "notes/new.md",
    }
    assert folder.records()["notes/b.md"] == old["notes/b.md"]


async def waiting_while(folder: Folder, work: Callable[[ClusterIndex], Any]) -> tuple[set[str], PushState]:
    """Which documents are known to wait when the first passages are written, and how far pushing then was."""
    index = folder.index()
    write, seen = index.write_passages, list[tuple[set[str], PushState | None]]()

    def watched(records: Any) -> dict[str, str]:
        index.write_passages = write  # type: ignore[method-assign]
        seen.append(({path for path, each in folder.records().items() if each.waits}, index.state()))
        return write(records)

    index.write_passages = watched  # type: ignore[method-assign]
    await work(index)
    ((paths, state),) = seen
    assert state is not None
    return paths, state


async def test_each_document_that_waits_is_known_to_wait(folder: Folder) -> None:
    paths, state = await waiting_while(folder, lambda index: folder.push(index=index))
    assert (paths, state.told_at, state.agreed_at) == (set(DOCUMENTS), state.begun_at, "")
    assert not any(record.waits for record in folder.records().values())
    folder.write("a.md", "Changed.\n")
    folder.write("new.md", "New.\n")

    async def follow(index: ClusterIndex) -> None:
        index.prepare_state()
        indexer = Indexer(folder.library(), index)
        await indexer.open()
        await indexer.push_paths({"a.md", "new.md", "notes/b.md"})
        await indexer.keep_agreed(watching=True)

    before = folder.records()
    paths, _ = await waiting_while(folder, follow)
    assert paths == {"a.md", "new.md"}
    after, ended = folder.records(), folder.index().state()
    assert not any(record.waits for record in after.values())
    assert after["notes/b.md"] == before["notes/b.md"]
    assert ended is not None
    assert ended.told_at == ended.agreed_at
    assert folder.agrees()


@pytest.mark.parametrize("later", ["as it was", "gone"])
async def test_a_document_does_not_wait_any_more_when_there_is_nothing_to_push(
    folder: Folder, later: str
) -> None:
    await folder.push()
    kept = (folder.path / "a.md").stat()
    folder.write("a.md", "Changed.\n")
    folder.write("new.md", "New.\n")
    index = folder.index()

    def stop(records: Any) -> dict[str, str]:
        raise Stopped(records)

    index.write_passages = stop  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        await folder.push(index=index)
    assert {path for path, record in folder.records().items() if record.waits} == {"a.md", "new.md"}
    (folder.path / "new.md").unlink()
    if later == "gone":
        (folder.path / "a.md").unlink()
    else:
        folder.write("a.md", DOCUMENTS["a.md"])
        os.utime(folder.path / "a.md", ns=(kept.st_mtime_ns, kept.st_mtime_ns))
    report = await folder.push()
    assert (report.pushed, report.removed) == (0, 1 if later == "gone" else 0)
    assert not any(record.waits for record in folder.records().values())
    assert folder.agrees()
    assert present(folder) == DOCUMENTS.keys() - ({"a.md"} if later == "gone" else set())


async def test_a_document_that_goes_before_it_is_read_does_not_wait_any_more(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await folder.push()
    folder.write("new.md", "New.\n")
    indexer = Indexer(folder.library(), folder.index())
    await indexer.open()
    write = indexer._records.write

    async def vanishing(records: Any) -> None:
        await write(records)
        (folder.path / "new.md").unlink(missing_ok=True)

    monkeypatch.setattr(indexer._records, "write", vanishing)
    report = await indexer.push_all()
    assert (report.pushed, report.removed) == (0, 0)
    record = folder.records()["new.md"]
    assert (record.gone, record.waits) == (True, None)
    folder.write("new.md", "Back.\n")
    assert (await folder.push()).pushed == 1
    assert folder.agrees()


async def test_a_document_that_the_cluster_refuses_is_named_and_the_rest_is_pushed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await folder.push()

    def odd(text: Any, info: Any, version: str) -> Any:
        for key, record in passage_records(text, info, version):
            yield key, {**record, "odd": 1} if info.path == "a.md" else record

    monkeypatch.setattr("research_documents.opensearch.pushing.versions.passage_records", odd)
    for name in ("a.md", "notes/b.md"):
        folder.write(name, "Changed.\n")
    report = await folder.push()
    assert report.failed == [("a.md", "strict_dynamic_mapping_exception")]
    assert report.pushed == 1
    assert folder.records()["a.md"].reason == "could not be indexed"
    assert folder.agrees()
    state = folder.index().state()
    assert state is not None
    assert state.failed == 1
    monkeypatch.undo()
    monkeypatch.setattr("research_documents.opensearch.pushing.reading.SETTLED_NS", -(10**18))
    assert (await folder.push()).pushed == 1
    assert folder.records()["a.md"].reason == ""


async def test_another_schema_asks_for_a_full_push(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    await folder.push()
    old = folder.index().schema()
    for module in ("layout", "pushing.cluster_index"):
        monkeypatch.setattr(f"research_documents.opensearch.{module}.CLUSTER_SCHEMA", "next")
    with pytest.raises(SchemaDiffers, match=f"the schema {old}, and this version needs next.*--full"):
        await folder.push()
    assert (await folder.push(full=True)).pushed == 3
    assert folder.index().schema() == "next"
    assert folder.agrees()


async def test_a_full_push_is_seen_when_it_is_complete(folder: Folder) -> None:
    await folder.push()
    before = folder.records()
    (folder.path / "notes/c.txt").unlink()
    index = folder.index()
    seen: list[dict[str, DocumentRecord]] = []
    swap = index.swap

    def watched() -> None:
        seen.append(folder.records())
        swap()

    index.swap = watched  # type: ignore[method-assign]
    assert (await folder.push(full=True, index=index)).pushed == 2
    assert seen == [before]
    assert set(folder.records()) == {"a.md", "notes/b.md"}
    assert folder.agrees()


async def test_what_a_full_push_left_behind_is_deleted_by_the_next(folder: Folder) -> None:
    await folder.push()
    index = folder.index()
    index.begin_anew()
    client, pattern = folder.cluster.client(), f"/{folder.cluster.names.prefix}-*/_alias"
    assert len(client.request("GET", pattern)) == 5
    await folder.push()
    assert len(client.request("GET", pattern)) == 3
    assert folder.agrees()


async def test_an_empty_folder_does_not_empty_the_index(folder: Folder) -> None:
    await folder.push()
    for name in DOCUMENTS:
        (folder.path / name).unlink()
    with pytest.raises(ConfigurationError, match=r"has no documents, and the index has 3.*--full"):
        await folder.push()
    assert len(folder.texts()) == 3
    assert (await folder.push(full=True)).listed == 0
    assert folder.records() == {}


async def test_new_indices_count_as_empty_until_they_are_filled(folder: Folder) -> None:
    await folder.push()
    client, names = folder.cluster.client(), folder.cluster.names
    (name,) = client.request("GET", f"/{names.documents}/_mapping")
    client.request("DELETE", f"/{name}")  # as one who tidies up would
    index = folder.index()
    states: list[PushState | None] = []
    swap = index.swap

    def watched() -> None:
        states.append(index.state())
        swap()

    index.swap = watched  # type: ignore[method-assign]
    indexer = Indexer(folder.library(), index)
    await indexer.open()
    assert states == [PushState()]
    await indexer.keep_agreed(watching=False)
    kept = index.state()
    assert kept is not None
    assert replace(kept, worked_at="") == PushState()
    assert (await folder.push()).pushed == 3
    assert folder.agrees()


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ({"listed": 3, "agreed_at": "", "of_a_later_version": [1]}, PushState(listed=3)),
        ({"listed": "many"}, None),
        ({"something": "else"}, PushState()),
    ],
)
async def test_a_state_that_another_version_or_program_wrote_does_not_stop_a_push(
    folder: Folder, kept: dict[str, Any], expected: PushState | None
) -> None:
    await folder.push()
    client, address = folder.cluster.client(), f"/{folder.cluster.names.state}/_doc/push?refresh=true"
    client.request("PUT", address, {"push": kept})
    assert folder.index().state() == expected
    assert (await folder.push()).unchanged == 3
    state = folder.index().state()
    assert state is not None
    assert (state.listed, bool(state.agreed_at)) == (3, True)


class Partly:
    """A cluster that answers searches for versions with nothing, because a part of it is away, the first `times`."""

    def __init__(self, cluster: FakeCluster, times: int) -> None:
        self.times = times
        self.asked = 0
        cluster.before = self.answer

    def answer(self, request: httpx.Request) -> httpx.Response | None:
        if not (request.url.path.endswith("/_search") and b'"version"' in request.content):
            return None
        self.asked += 1
        if self.asked > self.times:
            return None
        shards = {"total": 2, "successful": 1, "failed": 1}
        return httpx.Response(200, json={"timed_out": False, "_shards": shards, "hits": {"hits": []}})


@pytest.mark.parametrize(("times", "removed"), [(2, True), (1_000, False)])
async def test_passages_of_a_part_that_does_not_answer_are_removed_later(
    tmp_path: Path, times: int, *, removed: bool
) -> None:
    fake, waits = FakeCluster(), list[float]()
    partly = Partly(fake, times)
    client = ClusterClient("http://fake", transport=fake.transport(), sleep=waits.append, random=lambda: 1.0)
    folder = Folder(tmp_path / "folder", Cluster(IndexNames(prefix="partly"), fake))
    folder.write("a.md", "Old words.\n")
    await folder.push()
    folder.write("a.md", "New words, and more.\n")
    index = ClusterIndex(client, folder.cluster.names, attempts=4)
    if removed:
        await folder.push(index=index)
        assert (partly.asked, waits) == (4, [0.5, 1.0])  # the last of four finds nothing
        assert folder.agrees()
        return
    with pytest.raises(ClusterFailed, match="a part of the index on the search cluster") as failed:
        await folder.push(index=index)
    assert failed.value.retryable
    assert (partly.asked, waits) == (4, [0.5, 1.0, 2.0])
    fake.before = lambda _: None
    await folder.push()
    assert folder.agrees()


def present(folder: Folder) -> set[str]:
    return {path for path, record in folder.records().items() if record.complete and not record.gone}


async def test_an_empty_root_keeps_its_documents_in_the_index_and_the_others_are_pushed(
    folder: Folder,
) -> None:
    folder.second = folder.path.parent / "second"
    folder.second.mkdir()
    (folder.second / "d.md").write_text("Of the second root.\n", encoding="utf-8")
    await folder.push()
    before = folder.index().state()
    assert before is not None
    (folder.second / "d.md").unlink()
    (folder.path / "notes/b.md").unlink()
    folder.write("a.md", "Changed.\n")
    with pytest.raises(FolderAway, match=r"folder 's' has no documents, and the index has 1.*--full") as away:
        await folder.push()
    assert (away.value.report.pushed, away.value.report.removed) == (1, 1)
    assert present(folder) == {"r/a.md", "r/notes/c.txt", "s/d.md"}
    after = folder.index().state()
    assert after is not None
    assert (after.agreed_at, after.waiting) == (before.agreed_at, 0)
    await folder.push(full=True)
    assert present(folder) == {"r/a.md", "r/notes/c.txt"}


async def test_other_folders_do_not_replace_those_of_an_index_by_mistake(folder: Folder) -> None:
    await folder.push()
    before = folder.records()
    other = Folder(folder.path.parent / "other", folder.cluster, root="other")
    other.write("x.md", "Of another folder.\n")
    with pytest.raises(ConfigurationError, match=r"folders r, and these are other: .*SEARCH_INDEX.*--full"):
        await other.push()
    assert folder.records() == before
    await other.push(full=True)
    assert present(folder) == {"x.md"}
    assert (await other.push()).unchanged == 1


def said_by_the_indexer(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "research.opensearch"]


def beside(folder: Folder, files: dict[str, str]) -> Folder:
    """Another folder whose root has the same name, of an indexer for the same index."""
    other = replace(folder, path=folder.path.parent / "other" / "folder")
    other.path.parent.mkdir()
    for name, content in files.items():
        other.write(name, content)
    return other


async def test_another_folder_of_the_same_name_does_not_replace_the_one_of_an_index(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    await folder.push()
    before, state = folder.records(), folder.index().state()
    other = beside(
        folder,
        {"a.md": "Of another folder.\n", "notes/x.md": "New.\n", "notes/b.md": DOCUMENTS["notes/b.md"]},
    )
    with pytest.raises(ConfigurationError) as refused:
        await other.push()
    assert refused.value.message == (
        "of 3 documents that the index has of the research folder 'r', 1 is in this one: it seems to be another folder of the "
        f"same name than the one that was pushed from {socket.gethostname()}:{folder.path}: set RESEARCH_SEARCH_INDEX to another "
        "name for this one, or replace that one with --full"
    )
    assert (folder.records(), folder.index().state()) == (before, state)
    assert said_by_the_indexer(caplog) == []
    assert (await other.push(full=True)).pushed == 3
    assert said_by_the_indexer(caplog) == ["this replaces what was pushed from elsewhere"]
    assert (await other.push()).unchanged == 3
    with pytest.raises(ConfigurationError, match="another folder of the same name"):
        await folder.push()


async def test_changes_of_a_folder_that_was_away_at_first_are_not_pushed_before_it_is_recognized(
    folder: Folder,
) -> None:
    """The documents of another folder would count as those of the index otherwise, and then replace it."""
    await folder.push()
    before = folder.records()
    other = beside(folder, {})
    other.path.mkdir()
    index = other.index()
    index.prepare_state()
    async with (library := other.library()):
        indexer = Indexer(library, index)
        await indexer.open()
        with pytest.raises(FolderAway):
            await indexer.push_all(watching=True)
        names = [f"x{number}.md" for number in range(4)]
        for name in names:
            other.write(name, "Of another folder.\n")
        with pytest.raises(ConfigurationError, match="another folder of the same name"):
            await indexer.push_paths(set(names), watching=True)
        assert folder.records() == before
        for name, content in DOCUMENTS.items():
            other.write(name, content)
        assert (await indexer.push_paths({"a.md"}, watching=True)).listed == 7
        other.write("a.md", "Changed.\n")
        assert (await indexer.push_paths({"a.md"}, watching=True)).listed == 1
        state = index.state()
        assert state is not None
        assert state.watching


async def test_a_folder_that_is_mounted_elsewhere_is_known_by_its_documents(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    await folder.push()
    moved = replace(folder, path=folder.path.parent / "moved")
    folder.path.rename(moved.path)
    moved.write("a.md", "Changed, and longer than it was.\n")
    assert (await moved.push()).pushed == 1
    (said,) = said_by_the_indexer(caplog)
    assert "from another place; most of its documents are here, so it is taken for the same folder" in said
    state = moved.index().state()
    assert state is not None
    assert state.places == (f"{socket.gethostname()}:{moved.path}",)
    for name in DOCUMENTS:  # in one place, a document may say anything
        moved.write(name, f"Changed again: {name}.\n")
    assert (await moved.push()).pushed == 3
    assert said_by_the_indexer(caplog) == [said]
    assert moved.agrees()


async def test_a_folder_that_loses_most_of_its_documents_is_believed_while_it_is_followed(
    folder: Folder,
) -> None:
    index = folder.index()
    index.prepare_state()
    indexer = Indexer(folder.library(), index)
    await indexer.open()
    await indexer.push_all()
    for name in ("a.md", "notes/b.md"):
        (folder.path / name).unlink()
    assert (await indexer.push_all()).removed == 2
    assert present(folder) == {"notes/c.txt"}


@pytest.mark.parametrize(("other_id", "said"), [("", "none is set here"), ("two", "this one has 'two'")])
async def test_a_folder_that_has_an_id_is_known_by_it_alone(folder: Folder, other_id: str, said: str) -> None:
    await folder.push()
    folder.folder_id = "one"
    await folder.push()
    for name in DOCUMENTS:
        folder.write(f"new/{name}", "Changed.\n")
        (folder.path / name).unlink()
    assert (await folder.push()).pushed == 3
    before = folder.records()
    other = replace(folder, folder_id=other_id)
    with pytest.raises(ConfigurationError, match=rf"RESEARCH_SEARCH_FOLDER_ID=one, and {said}: .*--full"):
        await other.push()
    assert folder.records() == before
    await other.push(full=True)
    state = folder.index().state()
    assert state is not None
    assert state.folder_id == other_id


@pytest.mark.parametrize("full", [False, True])
async def test_a_directory_that_fails_while_it_is_listed_keeps_its_documents_in_the_index(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, *, full: bool
) -> None:
    await folder.push()
    survey = Library.survey

    async def partly(library: Library, pattern: str = "*") -> tuple[list[DocumentInfo], list[str]]:
        found, unread = await survey(library, pattern)
        library.faults.begin(DIRECTORY_FAILING, "r")
        return [info for info in found if info.path == "a.md"], unread

    monkeypatch.setattr(Library, "survey", partly)
    with pytest.raises(FolderAway, match="fails to list a directory of the research folder 'r'"):
        await folder.push(full=full)
    assert present(folder) == set(DOCUMENTS)
    monkeypatch.undo()
    assert (await folder.push()).removed == 0


async def test_a_followed_folder_that_is_empty_for_a_while_is_followed_on(folder: Folder) -> None:
    (folder.path / "a.md").unlink()
    await folder.push()
    there, away = folder.path / "notes", folder.path.parent / "away"
    there.rename(away)
    reports: asyncio.Queue[PushReport] = asyncio.Queue()
    stop, looked = asyncio.Event(), asyncio.Event()
    following = job(folder, on_report=reports.put_nowait, rescan_s=0.01)
    push, looks = following.indexer.push_all, 0

    async def counted(*, watching: bool = False) -> PushReport:
        nonlocal looks
        looks += 1
        if looks == 4:
            looked.set()
        return await push(watching=watching)

    following.indexer.push_all = counted  # type: ignore[method-assign]
    running = asyncio.create_task(following.run(stop))
    with anyio.fail_after(120):
        await looked.wait()
        assert present(folder) == {"notes/b.md", "notes/c.txt"}
        away.rename(there)
        folder.write("new.md", "New.\n")
        assert (await reports.get()).pushed == 1
        stop.set()
        await running
    assert present(folder) == {"notes/b.md", "notes/c.txt", "new.md"}


async def test_a_full_disk_is_named(folder: Folder) -> None:
    await folder.push()
    client, alias = folder.cluster.client(), folder.cluster.names.passages
    block = "index.blocks.read_only_allow_delete"
    client.request("PUT", f"/{alias}/_settings", {block: True})
    folder.write("a.md", "Changed.\n")
    with pytest.raises(ClusterFailed, match="the disk of the search cluster is too full") as failed:
        await folder.push()
    assert "Free space" in failed.value.hint
    client.request("PUT", f"/{alias}/_settings", {block: None})
    assert (await folder.push()).pushed == 1
    assert folder.agrees()


async def test_an_indexer_that_was_overtaken_writes_no_record(folder: Folder) -> None:
    await folder.push()
    index = folder.index()
    write = index.write_passages

    def overtaken(records: Any) -> dict[str, str]:
        refused = write(records)
        index.write_passages = write  # type: ignore[method-assign]
        asyncio.run(folder.push())
        return refused

    index.write_passages = overtaken  # type: ignore[method-assign]
    folder.write("a.md", "Changed.\n")
    with pytest.raises(RecordTaken):
        await folder.push(index=index)
    await folder.push()
    assert folder.agrees()
    assert "Changed." in folder.texts()["a.md", folder.records()["a.md"].version]


def lease_of(cluster: Cluster, **given: Any) -> IndexLease:
    return IndexLease(cluster.client(), cluster.names, **given)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make processes not see whether others are there, as on several machines."""
    monkeypatch.setattr("research_documents.opensearch.pushing.lease._this_machine", lambda: "")


def prepared(cluster: Cluster) -> Cluster:
    ClusterIndex(cluster.client(), cluster.names).prepare_state()
    return cluster


@pytest.mark.usefixtures("elsewhere")
def test_a_second_indexer_is_told_who_writes(cluster_in_use: Cluster) -> None:
    first = lease_of(prepared(cluster_in_use))
    first.acquire()
    waited: list[str] = []
    second = lease_of(cluster_in_use, sleep=lambda _: first.renew())
    with pytest.raises(
        IndexHeld, match=f"another indexer writes this index: process {os.getpid()} on "
    ) as held:
        second.acquire(waited.append)
    assert waited[0].partition(", last")[0] in held.value.message
    first.renew()
    first.release()
    second.acquire(waited.append)
    assert len(waited) == 1
    assert lease_holder(cluster_in_use.client(), cluster_in_use.names).startswith("process")
    second.release()
    assert lease_holder(cluster_in_use.client(), cluster_in_use.names) == ""


@pytest.mark.usefixtures("elsewhere")
def test_a_lease_that_is_not_renewed_passes_on_after_its_time(cluster_in_use: Cluster) -> None:
    first = lease_of(prepared(cluster_in_use), lease_s=8.0)
    first.acquire()
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    second = lease_of(cluster_in_use, sleep=sleep, clock=lambda: now[0])
    second.acquire()
    assert now[0] == 8.0
    with pytest.raises(IndexHeld, match="another indexer writes"):
        first.renew()
    first.release()  # of what it has not
    second.renew()


@pytest.mark.usefixtures("elsewhere")
def test_a_lease_that_is_released_is_taken_at_once(cluster_in_use: Cluster) -> None:
    first = lease_of(prepared(cluster_in_use))
    first.acquire()
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        first.release()

    lease_of(cluster_in_use, sleep=sleep, clock=lambda: 0.0).acquire()
    assert len(waits) == 1


def test_the_lease_of_a_process_that_is_gone_is_taken_at_once(cluster_in_use: Cluster) -> None:
    first = lease_of(prepared(cluster_in_use))
    first.acquire()
    client, address = cluster_in_use.client(), f"/{cluster_in_use.names.state}/_doc/lease"
    lease = client.request("GET", address)["_source"]["lease"]
    client.request("PUT", address, {"lease": {**lease, "pid": NO_PROCESS}})
    lease_of(cluster_in_use, sleep=lambda _: pytest.fail("it waited")).acquire()


def job(folder: Folder, **given: Any) -> PushJob:
    index, library = folder.index(), folder.library()
    return PushJob(
        library=library,
        cluster=index,
        lease=lease_of(folder.cluster),
        indexer=Indexer(library, index),
        **given,
    )


async def test_a_job_pushes_once_and_gives_the_lease_back(folder: Folder) -> None:
    reports: list[PushReport] = []
    await job(folder, on_report=reports.append).run()
    assert [report.pushed for report in reports] == [3]
    assert lease_holder(folder.cluster.client(), folder.cluster.names) == ""
    assert folder.agrees()


async def test_a_job_that_loses_its_lease_ends(folder: Folder) -> None:
    lost = job(folder)
    acquire, stop = lost.lease.acquire, asyncio.Event()

    def acquired(on_wait: Callable[[str], None] = lambda _: None) -> None:
        acquire(on_wait)
        lost.lease.lease_s = 0.02  # only now: it limits the time of requests as well

    def taken(*, attempts: int = 1) -> None:
        raise IndexHeld("another indexer writes this index")

    lost.lease.acquire = acquired  # type: ignore[method-assign]
    lost.lease.renew = taken  # type: ignore[method-assign]
    lost.lease.hold = lambda: None  # type: ignore[method-assign]
    with anyio.fail_after(60), pytest.raises(IndexHeld):
        await lost.run(stop)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("full", [False, True])
async def test_a_job_that_lost_its_lease_replaces_neither_the_indices_nor_the_state(
    folder: Folder, *, full: bool
) -> None:
    """As after a pause of the whole machine: the lease has passed on before this indexer has looked at it again."""
    await folder.push()
    state = folder.index().state()
    late = job(folder, full=full)
    folder.write("a.md", "Changed.\n")
    write, taken = late.cluster.write_passages, lease_of(folder.cluster, sleep=lambda _: None)

    def overtaken(records: Any) -> dict[str, str]:
        late.cluster.write_passages = write  # type: ignore[method-assign]
        client, address = folder.cluster.client(), f"/{folder.cluster.names.state}/_doc/lease?refresh=true"
        client.request("PUT", address, {"lease": {}})
        taken.acquire()
        return write(records)

    late.cluster.write_passages = overtaken  # type: ignore[method-assign]
    before = folder.index().schema(), set(folder.records())
    with pytest.raises(IndexHeld):
        await late.run()
    assert (folder.index().schema(), set(folder.records())) == before
    after = folder.index().state()
    assert after is not None
    assert (after == state) is full
    assert after.waiting == (0 if full else 1)  # the state from before the lease was lost


async def test_an_indexer_whose_indices_were_replaced_writes_no_other_ones(folder: Folder) -> None:
    await folder.push()
    index = folder.index()
    write = index.write_passages

    def overtaken(records: Any) -> dict[str, str]:
        index.write_passages = write  # type: ignore[method-assign]
        asyncio.run(folder.push(full=True))
        return write(records)

    index.write_passages = overtaken  # type: ignore[method-assign]
    folder.write("a.md", "Changed.\n")
    with pytest.raises(RecordTaken):
        await folder.push(index=index)
    await folder.push()
    assert folder.agrees()


def test_a_renewal_asks_once_and_not_for_long(cluster_in_use: Cluster) -> None:
    lease = lease_of(prepared(cluster_in_use), lease_s=8.0)
    lease.acquire()
    asked: list[float] = []

    def away(request: httpx.Request) -> httpx.Response:
        asked.append(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("slow", request=request)

    lease._client = ClusterClient("http://fake", transport=httpx.MockTransport(away), sleep=lambda _: None)
    with pytest.raises(ClusterFailed):
        lease.renew()
    assert asked == [2.0]
    with pytest.raises(ClusterFailed):
        lease.hold()
    assert asked == [2.0] * 4


async def test_a_folder_is_followed_until_it_is_told_to_stop(folder: Folder) -> None:
    reports: asyncio.Queue[PushReport] = asyncio.Queue()
    stop = asyncio.Event()
    running = asyncio.create_task(job(folder, on_report=reports.put_nowait, rescan_s=3_600.0).run(stop))
    with anyio.fail_after(120):
        assert (await reports.get()).pushed == 3
        folder.write("notes/new.md", "New words.\n")
        assert (await reports.get()).pushed == 1
        (folder.path / "a.md").unlink()
        assert (await reports.get()).removed == 1
        stop.set()
        await running
    assert folder.agrees()
    assert {path for path, record in folder.records().items() if record.complete} == {
        "notes/b.md",
        "notes/c.txt",
        "notes/new.md",
    }
    state = folder.index().state()
    assert state is not None
    assert not state.watching


async def test_a_cluster_that_was_away_gets_all_that_changed_meanwhile(folder: Folder) -> None:
    reports: asyncio.Queue[PushReport] = asyncio.Queue()
    stop = asyncio.Event()
    away = job(folder, on_report=reports.put_nowait, rescan_s=0.01)
    write, failed = away.cluster.write_passages, asyncio.Event()
    loop = asyncio.get_running_loop()

    def fail_once(records: Any) -> dict[str, str]:
        away.cluster.write_passages = write  # type: ignore[method-assign]
        loop.call_soon_threadsafe(failed.set)
        raise ClusterFailed("away", hint="", retryable=True)

    running = asyncio.create_task(away.run(stop))
    with anyio.fail_after(120):
        await reports.get()
        away.cluster.write_passages = fail_once  # type: ignore[method-assign]
        folder.write("a.md", "Changed meanwhile.\n")
        await failed.wait()
        assert (await reports.get()).pushed == 1
        stop.set()
        await running
    assert folder.agrees()
