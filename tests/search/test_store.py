"""Text and index on disk: kept across restarts, checked, disposable, shared."""

import asyncio
import errno
import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from research_documents.search import SearchEngine, SearchOutcome
from research_documents.search.catalog import entry as entry_module
from research_documents.search.catalog.catalog import Catalog
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.index import store as store_module
from research_documents.search.index.directories import IndexCopy, locked
from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.index.store import DiskStore
from research_documents.search.tuning import SearchTuning
from research_shared.access.roots import Root, RootsPolicy
from research_shared.documents import DocumentInfo, DocumentText, Identity
from research_shared.errors import RootUnavailable
from research_shared.reading.library import Library
from research_shared.reading.limits import Limits
from research_shared.settings import Settings
from support.serving import until
from support.tuning import TRUSTING


class Counting(Library):
    """A library that notes what is read."""

    def __init__(self, roots: RootsPolicy) -> None:
        super().__init__(roots)
        self.paths: list[str] = []

    async def read_plain(self, paths: list[str]) -> dict:  # type: ignore[override, type-arg]
        self.paths += paths
        return await super().read_plain(paths)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "research"
    folder.mkdir()
    for number in range(8):
        path = folder / f"{number}.md"
        path.write_text(f"honest words{number}\n", encoding="utf-8")
    return folder


async def run(folder: Path, store: Path, query: str = "honest") -> tuple[list[str], list[str]]:
    """The documents found, and those that were read for it."""
    library = Counting(RootsPolicy([Root("research", folder)]))
    async with SearchEngine(library, watch=False, index_dir=store, tuning=TRUSTING) as engine:
        outcome = await engine.search(query, limit=50)
        await engine._updater.scan()
        outcome = await engine.search(query, limit=50)
    return [hit.document for hit in outcome.hits], library.paths


def last_commit(store: Path) -> tuple[int, bytes]:
    """What tells an index that was used from one that was built anew."""
    (meta,) = store.glob("*/index/meta.json")
    return meta.stat().st_ino, meta.read_bytes()


ALL = [f"{number}.md" for number in range(8)]


async def test_a_restart_reads_only_what_has_changed(folder: Path, tmp_path: Path) -> None:
    assert await run(folder, tmp_path / "store") == (ALL, ALL)
    assert await run(folder, tmp_path / "store") == (ALL, [])
    (folder / "3.md").write_text("clever\n", encoding="utf-8")
    (folder / "4.md").unlink()
    left = [name for name in ALL if name not in {"3.md", "4.md"}]
    assert await run(folder, tmp_path / "store") == (left, ["3.md"])
    assert await run(folder, tmp_path / "store", "clever") == (["3.md"], [])


@pytest.mark.parametrize(
    "pattern", ["*/index/*.pos", "*/index/meta.json", "*/texts.sqlite", "*/index/*.store"]
)
async def test_damage_costs_time_and_nothing_else(folder: Path, tmp_path: Path, pattern: str) -> None:
    store = tmp_path / "store"
    await run(folder, store)
    for path in store.glob(pattern):
        data = bytearray(path.read_bytes())
        data[len(data) // 4 : len(data) // 2] = b"\xff" * (len(data) // 2 - len(data) // 4)
        path.write_bytes(data)
    found, _ = await run(folder, store)
    assert found == ALL
    assert await run(folder, store) == (ALL, [])


async def test_what_a_merge_that_was_broken_off_leaves_behind_does_not_cost_the_index(
    folder: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    await run(folder, store)
    before = last_commit(store)
    (index,) = store.glob("*/index")
    (index / f"{'a' * 32}.idx").write_bytes(b"half a segment")
    assert await run(folder, store) == (ALL, [])
    assert last_commit(store) == before


async def test_many_small_changes_leave_an_index_that_the_next_start_uses(
    folder: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    library = Library(RootsPolicy([Root("research", folder)]))
    async with SearchEngine(library, watch=False, index_dir=store, tuning=TRUSTING) as engine:
        for number in range(40):
            (folder / "new.md").write_text(f"owl{number}\n", encoding="utf-8")
            assert [hit.document for hit in (await engine.search(f"owl{number}")).hits] == ["new.md"]
        assert not library.faults.current
    before = last_commit(store)
    assert await run(folder, store, "owl39") == (["new.md"], [])
    assert last_commit(store) == before


@pytest.mark.parametrize("written", [b"{}", b'{"segments": [{"segmenu_id": "a"}]}', b"[", b""])
async def test_a_damaged_note_of_the_segments_costs_time_and_nothing_else(
    folder: Path, tmp_path: Path, written: bytes
) -> None:
    store = tmp_path / "store"
    await run(folder, store)
    (meta,) = store.glob("*/index/meta.json")
    meta.write_bytes(written)
    assert await run(folder, store) == (ALL, [])
    assert await run(folder, store) == (ALL, [])


async def test_the_order_in_which_files_were_recorded_costs_nothing(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    await run(folder, store)
    before = last_commit(store)
    (texts,) = store.glob("*/texts.sqlite")
    with closing(sqlite3.connect(texts)) as database:
        (files,) = database.execute("SELECT value FROM state WHERE name = 'files'").fetchone()
        reversed_order = json.dumps(dict(reversed(json.loads(files).items())))
        database.execute("UPDATE state SET value = ? WHERE name = 'files'", (reversed_order,))
        database.commit()
    assert await run(folder, store) == (ALL, [])
    assert last_commit(store) == before


async def test_texts_of_documents_that_are_gone_are_dropped_also_when_an_engine_begins_again(
    folder: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    library = Library(RootsPolicy([Root("research", folder)]))
    engine = SearchEngine(library, watch=False, index_dir=store, tuning=TRUSTING)
    for left in (8, 7):
        async with engine:
            await engine.search("honest")
            await engine._updater.scan()
        (texts,) = store.glob("*/texts.sqlite")
        with closing(sqlite3.connect(texts)) as database:
            assert database.execute("SELECT count(*) FROM document").fetchone() == (left,)
        (folder / "7.md").unlink(missing_ok=True)
        for index in store.glob("*/index"):
            shutil.rmtree(index)


async def test_deleting_the_index_keeps_the_texts(folder: Path, tmp_path: Path) -> None:
    await run(folder, tmp_path / "store")
    for path in (tmp_path / "store").glob("*/index"):
        shutil.rmtree(path)
    assert await run(folder, tmp_path / "store") == (ALL, [])


@pytest.mark.parametrize("second", [False, True])
async def test_an_index_that_cannot_be_opened_keeps_the_texts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: bool
) -> None:
    store = tmp_path / "store"
    await run(folder, store)
    failures = [ValueError("Too many open files")]

    class Failing(PassageIndex):
        def __init__(self, *args: Any, **options: Any) -> None:
            if failures:
                raise failures.pop()
            super().__init__(*args, **options)

    async with AsyncExitStack() as engines:
        if second:
            library = Library(RootsPolicy([Root("research", folder)]))
            writer = SearchEngine(library, watch=False, index_dir=store, tuning=TRUSTING)
            await engines.enter_async_context(writer)
            await writer.search("honest")
        monkeypatch.setattr(store_module, "PassageIndex", Failing)
        assert await run(folder, store) == (ALL, [])
    assert not failures
    assert await run(folder, store) == (ALL, [])


async def test_texts_are_kept_over_a_failure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(folder, tmp_path / "store")
    (index,) = (tmp_path / "store").glob("*/index")
    shutil.rmtree(index)
    listing, failures = Library.survey, [RootUnavailable("away"), None]

    async def failing_once(library: Library, pattern: str = "*") -> tuple[list[DocumentInfo], list[str]]:
        if failure := failures.pop(0) if failures else None:
            raise failure
        return await listing(library, pattern)

    monkeypatch.setattr(Library, "survey", failing_once)
    library = Counting(RootsPolicy([Root("research", folder)]))
    async with SearchEngine(library, watch=False, index_dir=tmp_path / "store", tuning=TRUSTING) as engine:
        with pytest.raises(RootUnavailable):
            await engine.search("honest")
        assert len((await engine.search("honest", limit=50)).hits) == len(ALL)
    assert library.paths == []


async def test_a_text_with_a_wrong_checksum_is_read_again(folder: Path, tmp_path: Path) -> None:
    await run(folder, tmp_path / "store")
    (place,) = (tmp_path / "store").glob("*/texts.sqlite")
    database = sqlite3.connect(place)
    database.execute("UPDATE document SET data = ? WHERE path = '5.md'", (b"forged honest\n",))
    database.commit()
    database.close()
    assert await run(folder, tmp_path / "store") == (ALL, ["5.md"])
    assert await run(folder, tmp_path / "store") == (ALL, [])


def rows_of(store: Path) -> dict[str, int]:
    """The row of each stored text: a row that is written again has another number."""
    (place,) = store.glob("*/texts.sqlite")
    with closing(sqlite3.connect(place)) as database:
        return dict(database.execute("SELECT path, rowid FROM document ORDER BY path").fetchall())


async def test_an_index_that_is_built_again_writes_no_stored_text_again(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    await run(folder, store)
    rows = rows_of(store)
    for path in store.glob("*/index"):
        shutil.rmtree(path)
    (folder / "3.md").write_text("honest again\n", encoding="utf-8")
    assert await run(folder, store) == (ALL, ["3.md"])
    now = rows_of(store)
    assert [path for path in ALL if now[path] != rows[path]] == ["3.md"]
    assert await run(folder, store) == (ALL, [])


async def test_a_reader_that_takes_over_writes_no_stored_text_again(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    library = Library(RootsPolicy([Root("research", folder)]))
    reader, writer = (
        SearchEngine(library, watch=False, index_dir=store, rescan_interval_s=86_400, tuning=TRUSTING)
        for _ in range(2)
    )
    async with AsyncExitStack() as readers:
        async with writer:
            await writer._updater.scan()
            await readers.enter_async_context(reader)
            await reader._updater.scan()
        rows = rows_of(store)
        (folder / "8.md").write_text("honest words8\n", encoding="utf-8")
        await reader._updater.scan()
        await until(lambda: "8.md" in rows_of(store))
        assert {**rows_of(store), **rows} == rows_of(store)
    assert await run(folder, store) == ([*ALL, "8.md"], [])


def test_the_journal_of_the_stored_texts_shrinks_after_a_large_change(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "store", [Root("research", tmp_path)], Limits())
    index = store.open().index
    large = [kept_document(f"{number}.pdf", b"word " * 400_000, number) for number in range(9)]
    (place,) = (tmp_path / "store").glob("*/texts.sqlite")
    store.save(large, ())
    store.commit(index)
    for number in range(3):  # the first one moves the journal into the database, the next begins it anew
        store.save([kept_document("0.pdf", b"%d" % number, 0)], ())
        store.commit(index)
    assert place.with_name("texts.sqlite-wal").stat().st_size <= 16 * 1024 * 1024
    store.close(index)


def test_a_text_that_is_not_held_has_no_line_breaks_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    held = kept_document("a.pdf", b"one\ntwo\n")
    assert held.text is not None
    assert held.breaks
    monkeypatch.setattr(entry_module, "breaks_of", None)
    assert CatalogEntry.of(1, held.info, held.text, 0, holds_text=False) == held.without_text()


class Ending(PassageIndex):
    """An index that runs `at_end` when its threads are waited for."""

    at_end: Callable[[], None]

    def close(self) -> None:
        self.at_end()
        super().close()


@pytest.mark.parametrize("writes", [True, False])
def test_a_directory_is_left_only_after_the_threads_of_its_index_have_ended(
    tmp_path: Path, writes: bool
) -> None:
    roots = [Root("research", tmp_path)]
    first, second = (DiskStore(tmp_path / "store", roots, Limits()) for _ in range(2))
    opened = first.open().index
    store, index = (first, opened) if writes else (second, second.open().index)
    seen: list[tuple[bool, int]] = []

    def at_end() -> None:
        taken = locked(store.directory / "lock")
        if taken is not None:
            os.close(taken)
        copies = [path for path in store.directory.glob("copy-*") if path.is_dir()]
        seen.append((taken is None, len(copies)))

    index.__class__ = Ending
    index.at_end = at_end  # type: ignore[attr-defined]
    store.leave(index, OSError("the disk is full"))
    assert seen == [(True, 0 if writes else 1)]
    assert not [path for path in store.directory.glob("copy-*") if path.is_dir()]
    if not writes:
        first.close(opened)
    freed = locked(store.directory / "lock")
    assert freed is not None
    os.close(freed)


async def test_two_processes_share_the_texts(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    library = Library(RootsPolicy([Root("research", folder)]))
    first = SearchEngine(library, watch=False, index_dir=store, tuning=TRUSTING)
    async with first:
        await first.search("honest")
        await first._updater.scan()
        assert await run(folder, store) == (ALL, [])
        (folder / "9.md").write_text("honest\n", encoding="utf-8")
        assert sorted((await run(folder, store))[0]) == [*ALL, "9.md"]
        assert len((await first.search("honest", limit=50)).hits) == 9


async def test_a_directory_that_cannot_be_used_leaves_everything_in_memory(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a directory", encoding="utf-8")
    assert (await run(folder, tmp_path / "file"))[0] == ALL


async def test_the_directory_is_for_its_owner_only(folder: Path, tmp_path: Path) -> None:
    await run(folder, tmp_path / "store")
    (place,) = (tmp_path / "store").iterdir()
    assert place.stat().st_mode & 0o077 == 0


async def test_directories_that_did_not_exist_are_for_their_owner_only(folder: Path, tmp_path: Path) -> None:
    await run(folder, tmp_path / "cache" / "research")
    (place,) = (tmp_path / "cache" / "research").iterdir()
    assert (place.stat().st_mode & 0o777, place.parent.stat().st_mode & 0o777) == (0o700, 0o700)


async def test_a_directory_that_others_can_write_to_is_not_used(folder: Path, tmp_path: Path) -> None:
    await run(folder, tmp_path / "store")
    (place,) = (tmp_path / "store").iterdir()
    place.chmod(0o770)
    assert await run(folder, tmp_path / "store") == (ALL, ALL)


async def test_other_limits_of_texts_have_a_directory_of_their_own(folder: Path, tmp_path: Path) -> None:
    def directory(limits: Limits, *names: str) -> Path:
        roots = [Root(name, folder / name) for name in names]
        return DiskStore(tmp_path, roots, limits).directory

    usual = directory(Limits(), "a", "b")
    assert directory(Limits(workers=7, cache_bytes=1), "a", "b") == usual
    others = [
        directory(Limits(max_pages=1), "a", "b"),
        directory(Limits(max_text_bytes=9_999), "a", "b"),
        directory(Limits(page_timeout_s=1.0), "a", "b"),
        directory(Limits(), "a"),
        directory(Limits(), "b", "a"),
    ]
    assert len({usual, *others}) == 6


async def test_a_process_that_finds_the_directory_in_use_says_so_once(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "research.search")
    store = tmp_path / "store"
    async with SearchEngine(
        Library(RootsPolicy([Root("research", folder)])), watch=False, index_dir=store
    ) as first:
        await first.search("honest")
        assert (await run(folder, store))[0] == ALL
    said = "another process writes the kept index; this one has an index of its own"
    assert [record.message for record in caplog.records].count(said) == 1


async def test_processes_that_start_at_once_on_a_fresh_directory_all_work(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "research.search")
    store = tmp_path / "store"
    found = await asyncio.gather(*(run(folder, store) for _ in range(3)))
    assert [documents for documents, _ in found] == [ALL, ALL, ALL]
    assert not [record.message for record in caplog.records if "cannot be used" in record.message]
    assert await run(folder, store) == (ALL, [])


async def test_a_writer_that_has_kept_nothing_yet_is_no_fault(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "research.search")
    store = tmp_path / "store"
    assert await run(folder, store) == (ALL, ALL)
    (place,) = store.iterdir()
    for path in place.glob("texts.sqlite*"):
        path.unlink()
    (place / "texts.sqlite").touch()
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert await run(folder, store) == (ALL, ALL)
    said = [record.message for record in caplog.records]
    assert "the writer of the kept index has kept nothing to read yet" in said
    assert not [message for message in said if "cannot be used" in message]


async def test_a_reader_takes_over_when_the_writer_ends(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "research.search")
    store = tmp_path / "store"
    library = Library(RootsPolicy([Root("research", folder)]))
    reader = SearchEngine(library, watch=False, index_dir=store, tuning=TRUSTING)
    writer = SearchEngine(library, watch=False, index_dir=store, tuning=TRUSTING)
    async with AsyncExitStack() as readers:
        async with writer:
            await writer.search("honest")
            await readers.enter_async_context(reader)
            assert len((await reader.search("honest", limit=50)).hits) == 8
            (folder / "8.md").write_text("honest\n", encoding="utf-8")
            await reader._updater.scan()
        (folder / "9.md").write_text("honest\n", encoding="utf-8")
        (folder / "0.md").unlink()
        assert len((await reader.search("honest", limit=50)).hits) == 9
        await reader._updater.scan()
        third = await run(folder, store)
        assert sorted(third[0]) == [*ALL[1:], "8.md", "9.md"]
        assert third[1] == []
    said = "the process that wrote the kept index has ended; this one writes now"
    assert [record.message for record in caplog.records].count(said) == 1
    again = await run(folder, store)
    assert (sorted(again[0]), again[1]) == ([*ALL[1:], "8.md", "9.md"], [])


async def test_a_reader_that_cannot_take_over_goes_on_in_memory(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    library = Library(RootsPolicy([Root("research", folder)]))
    reader = SearchEngine(library, watch=False, index_dir=store, tuning=TRUSTING)
    async with AsyncExitStack() as readers:
        async with SearchEngine(library, watch=False, index_dir=store, tuning=TRUSTING) as writer:
            await writer.search("honest")
            await readers.enter_async_context(reader)
            await reader.search("honest")
        (place,) = store.iterdir()
        for path in place.glob("texts.sqlite*"):
            path.unlink()
        (place / "texts.sqlite").mkdir()
        await reader._updater.scan()
        assert len((await reader.search("honest", limit=50)).hits) == 8
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == ["the index directory cannot be used; the index is kept in memory"]


def test_texts_share_one_budget() -> None:
    catalog = Catalog(11)

    def put(path: str, data: bytes) -> None:
        identity = Identity(0, 0, len(data), 0, 0)
        text = DocumentText(
            path=path, media_type="text/plain", identity=identity, digest="0", engine="text", data=data
        )
        info = DocumentInfo(path=path, root="research", media_type="text/plain", identity=identity)
        catalog.put(CatalogEntry.of(catalog.new_id(), info, text, 1))

    def held() -> list[str]:
        return sorted(path for path, entry in catalog.entries.items() if entry.text is not None)

    put("a", b"123456")
    put("b", b"123456")
    assert (held(), catalog.text_bytes) == (["a"], 12)
    put("b", b"12345")
    assert (held(), catalog.text_bytes) == (["a", "b"], 11)
    put("c", b"1")
    assert held() == ["a", "b"]
    catalog.remove("b")
    put("c", b"12345")
    assert (held(), catalog.text_bytes) == (["a", "c"], 11)


def test_a_lock_that_a_file_system_refuses_leaves_no_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def no_locks(fd: int, _operation: int) -> None:
        asked.append(fd)
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(OSError, match="no locks"):
        locked(tmp_path / "lock")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(asked[0])


QUERIES: list[dict[str, Any]] = [
    {"query": "honest"},
    {"query": '"honest words3"', "context_lines": 2},
    {"query": "words*", "snippet": "context"},
    {"query": "hon.st", "mode": "regex", "context_lines": 1},
    {"query": "words[3-5]", "mode": "regex", "limit": 2},
    {"query": r"^honest words6\nline 399$", "mode": "regex"},
]


async def answers(engine: SearchEngine) -> list[SearchOutcome]:
    return [await engine.search(**query) for query in QUERIES]


async def test_with_an_index_directory_no_text_is_held_and_the_answers_are_the_same(
    folder: Path, tmp_path: Path
) -> None:
    # One document is larger than what is fetched together, with hits far into it.
    (folder / "large.txt").write_text(
        "".join(f"line {number}\nhonest words{number % 9}\n" for number in range(12_000)), encoding="utf-8"
    )
    library = Library(RootsPolicy([Root("research", folder)]))
    async with SearchEngine(library, watch=False, tuning=TRUSTING) as in_memory:
        expected = await answers(in_memory)
        assert all(outcome.hits for outcome in expected[:5])
    for index in ("built here", "ready"):
        async with SearchEngine(
            library, watch=False, index_dir=tmp_path / "store", tuning=TRUSTING
        ) as engine:
            assert await answers(engine) == expected
            await engine._updater.scan()
            assert await answers(engine) == expected
            entries = engine._catalog.entries
            assert sorted(entries) == [*ALL, "large.txt"]
            assert not [path for path, entry in entries.items() if entry.text is not None or entry.breaks]
            assert engine._updater.index is not None
            assert engine._updater.index.writes == (index == "built here")


async def test_a_text_that_may_change_unseen_is_held_until_it_is_stored(folder: Path, tmp_path: Path) -> None:
    wary = SearchTuning(settled_ns=1 << 62)  # no file is ever old enough
    library = Library(RootsPolicy([Root("research", folder)]))
    async with SearchEngine(library, watch=False, index_dir=tmp_path / "store", tuning=wary) as engine:
        await engine.search("honest")
        assert all(entry.text is not None for entry in engine._catalog.entries.values())
        engine._updater._readers._tuning = TRUSTING
        await engine._updater.scan()
        assert len((await engine.search("hon.st", mode="regex")).hits) == 8
        assert all(entry.text is None for entry in engine._catalog.entries.values())
    assert await run(folder, tmp_path / "store") == (ALL, [])


async def test_a_stored_text_that_was_damaged_meanwhile_is_read_from_its_file(
    folder: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    library = Library(RootsPolicy([Root("research", folder)]))
    async with SearchEngine(library, watch=False, index_dir=store, tuning=TRUSTING) as engine:
        await engine.search("honest")
        await engine._updater.scan()
        (place,) = store.glob("*/texts.sqlite")
        with closing(sqlite3.connect(place)) as database:
            database.execute("UPDATE document SET data = ? WHERE path = '5.md'", (b"forged honest\n",))
            database.commit()
        for mode in ("keyword", "regex"):
            found = await engine.search("honest", mode=mode, limit=50)
            assert [hit.matched_text for hit in found.hits] == [
                f"honest words{number}" for number in range(8)
            ]


async def test_a_kept_text_that_takes_a_process_to_read_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "research").mkdir()
    (tmp_path / "research/report.pdf").write_bytes(b"%PDF-1.4 of which nothing can be read")
    roots = RootsPolicy([Root("research", tmp_path / "research")])
    library = Library(roots)
    info = await library.stat("report.pdf")
    text = DocumentText(
        path=info.path,
        media_type=info.media_type,
        identity=info.identity,
        digest="0",
        engine="e",
        data=b"x\n",
    )
    store = DiskStore(tmp_path / "store", roots.roots, Limits())
    index = store.open().index
    store.save([CatalogEntry.of(1, info, text, 0)], ())
    store.commit(index)
    library.read_before = store.read_before
    assert await library.read("report.pdf") == text
    assert library.stats.started == 0
    store.close(index)


def kept_document(path: str, data: bytes, number: int = 1, **facts: Any) -> CatalogEntry:
    identity = Identity(1, 1, 1, 1, 1)
    info = DocumentInfo(path=path, root="research", media_type="application/pdf", identity=identity)
    text = DocumentText(
        path=path,
        media_type=info.media_type,
        identity=identity,
        digest="of the file",
        engine="e",
        data=data,
        **facts,
    )
    return CatalogEntry.of(number, info, text, 0)


async def test_a_stored_text_is_given_only_for_the_extraction_that_was_indexed(tmp_path: Path) -> None:
    roots = [Root("research", tmp_path)]
    writer, reader = (DiskStore(tmp_path / "store", roots, Limits()) for _ in range(2))
    index, own = writer.open().index, reader.open().index
    facts: dict[str, Any] = {"page_starts": (1, 2), "missing_pages": (2,), "notes": ("page 2 is missing",)}
    stored = kept_document("a.pdf", b"one\ntwo\n", **facts)
    writer.save([stored], ())
    writer.commit(index)
    others = [
        kept_document("a.pdf", b"one\nand more\n", **facts),
        kept_document("a.pdf", b"one\n222\n", **facts),
        kept_document("a.pdf", b"one\ntwo\n", page_starts=(1, 2)),
    ]
    for store in (writer, reader):
        assert store.texts([stored.without_text()]) == {1: stored.text}
        assert [store.texts([entry.without_text()]) for entry in others] == [{}, {}, {}]
    assert reader.kept_by_another([stored]) == {1}
    assert [reader.kept_by_another([entry]) for entry in others] == [frozenset()] * 3
    reader.close(own)
    writer.close(index)


def test_beside_an_index_directory_the_library_keeps_little_text(tmp_path: Path) -> None:
    def kept(**settings: Any) -> int:
        return Limits.from_settings(Settings(roots=(Root("research", tmp_path),), **settings)).cache_bytes

    mib = 1024 * 1024
    assert (kept(), kept(index_dir=tmp_path / "store")) == (1024 * mib, 32 * mib)
    assert kept(index_dir=tmp_path / "store", cache_bytes=mib) == mib


def inodes(directory: Path) -> set[int]:
    return {path.stat().st_ino for path in directory.iterdir() if path.suffix in {".term", ".idx", ".pos"}}


async def test_a_second_process_shares_the_files_of_a_complete_index(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    await run(folder, store)
    library = Library(RootsPolicy([Root("research", folder)]))
    writer, reader = (SearchEngine(library, watch=False, index_dir=store, tuning=TRUSTING) for _ in range(2))
    async with writer:
        expected = await answers(writer)
        (place,) = store.iterdir()
        # What a process that was killed has left.
        (place / "copy-0").mkdir()
        (place / "copy-0.lock").touch()
        async with reader:
            assert await answers(reader) == expected
            assert not [entry for entry in reader._catalog.entries.values() if entry.text is not None]
            (copy,) = (path for path in place.glob("copy-*") if path.is_dir())
            assert copy.name != "copy-0"
            assert inodes(copy) == inodes(place / "index") != set()
            # Each goes on with its own from here.
            (folder / "3.md").write_text("clever\n", encoding="utf-8")
            await reader._updater.scan()
            assert [hit.document for hit in (await reader.search("clever")).hits] == ["3.md"]
            assert len((await reader.search("hon.st", mode="regex", limit=50)).hits) == 7
            assert await answers(writer) == await answers(reader)
        assert not list(place.glob("copy-*"))
    assert await run(folder, store, "clever") == (["3.md"], [])


def test_a_lock_of_a_file_that_was_deleted_meanwhile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock, opened = tmp_path / "copy-0.lock", fcntl.flock, []

    def deleting(fd: int, operation: int) -> None:
        opened.append(fd)
        if len(opened) == 1:
            path.unlink()
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", deleting)
    fd = locked(path)
    assert fd is not None
    assert len(opened) == 2
    assert os.fstat(fd).st_ino == path.stat().st_ino
    os.close(fd)


def test_a_directory_for_a_copy_that_cannot_be_created_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(directory: Path, **_: Any) -> None:
        (tmp_path / "same lock").hardlink_to(directory.with_suffix(".lock"))
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="no space left"):
        IndexCopy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["same lock"]
    freed = locked(tmp_path / "same lock")
    assert freed is not None
    os.close(freed)


def test_a_copy_that_cannot_be_deleted_is_deleted_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = [Root("research", tmp_path)]
    first, second = (DiskStore(tmp_path / "store", roots, Limits()) for _ in range(2))
    index, own = first.open().index, second.open().index
    (copy,) = (path for path in first.directory.glob("copy-*") if path.is_dir())
    with monkeypatch.context() as failing:
        failing.setattr(shutil, "rmtree", lambda *_, **__: None)
        second.close(own)
    assert copy.is_dir()
    third = DiskStore(tmp_path / "store", roots, Limits())
    other = third.open().index
    assert not copy.exists()
    third.close(other)
    (first.directory / "copy-1").mkdir()  # its lock file is gone
    (first.directory / "copy-2").mkdir()  # its process was killed
    (first.directory / "copy-2.lock").touch()
    first.close(index)
    first.close(first.open().index)
    assert not list(first.directory.glob("copy-*"))


async def test_a_second_process_holds_no_text_that_the_writer_has_stored(
    folder: Path, tmp_path: Path
) -> None:
    library = Library(RootsPolicy([Root("research", folder)]))
    store = tmp_path / "store"
    async with AsyncExitStack() as engines:
        writer, reader = [
            SearchEngine(library, watch=False, index_dir=store, rescan_interval_s=86_400, tuning=TRUSTING)
            for _ in range(2)
        ]
        for engine in (writer, reader):
            await engines.enter_async_context(engine)
            await engine._updater.scan()
        (folder / "8.md").write_text("honest words8\n", encoding="utf-8")
        await reader._updater.scan()
        assert reader._catalog.entries["8.md"].text is not None
        await writer._updater.scan()
        await reader._updater.scan()
        await until(lambda: reader._catalog.entries["8.md"].text is None)
        assert await answers(reader) == await answers(writer)
