"""The index follows the folder: while it is watched, while it is not, and under load."""

import asyncio
import os
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from research_documents.search import SearchEngine, SearchOutcome
from research_documents.search.catalog.catalog import Catalog
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.freshness import FreshnessChecker
from research_documents.search.index import writer as writer_module
from research_documents.search.index.reader import Readers
from research_documents.search.request import Mode
from research_documents.search.tuning import DEFAULT_TUNING, SearchTuning
from research_shared.access.roots import Root, RootsPolicy
from research_shared.documents import DocumentInfo, DocumentText
from research_shared.errors import Overloaded, RootUnavailable
from research_shared.reading.library import Library
from research_shared.serving.memory import trim_memory
from support.sizes import FULL
from support.tuning import TRUSTING

MODES: tuple[Mode, ...] = ("keyword", "regex")
SOAK_S = 60.0 if FULL else 2.0


def engine_of(
    folder: Path,
    *,
    watch: bool = False,
    library: Library | None = None,
    rescan_interval_s: float = 30.0,
    tuning: SearchTuning = DEFAULT_TUNING,
) -> SearchEngine:
    library = library or Library(RootsPolicy([Root("research", folder)]))
    return SearchEngine(library, watch=watch, rescan_interval_s=rescan_interval_s, tuning=tuning)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the engine shows something."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110  (the engine has no event for it)
            await asyncio.sleep(0.005)


async def watching(engine: SearchEngine) -> None:
    async def ready() -> bool:
        return engine.stats.watching and not engine.stats.building

    await until(ready)
    await engine.search("anything")


def documents(outcome: SearchOutcome) -> list[str]:
    return [hit.document for hit in outcome.hits]


@pytest.mark.parametrize("mode", MODES)
async def test_without_watching_the_next_search_sees_every_change(tmp_path: Path, mode: Mode) -> None:
    engine = engine_of(tmp_path)

    async def found(word: str) -> list[str]:
        return documents(await engine.search(word, mode=mode, limit=9))

    assert await found("honest") == []
    (tmp_path / "a.md").write_text("honest\n", encoding="utf-8")
    assert await found("honest") == ["a.md"]
    (tmp_path / "a.md").write_text("clever\n", encoding="utf-8")
    assert (await found("honest"), await found("clever")) == ([], ["a.md"])
    (tmp_path / "a.md").rename(tmp_path / "b.md")
    assert await found("clever") == ["b.md"]
    (tmp_path / "b.md").unlink()
    assert await found("clever") == []


async def test_the_text_of_a_removed_document_is_not_kept(tmp_path: Path) -> None:
    library = Library(RootsPolicy([Root("research", tmp_path)]), wall_ns=lambda: 0)
    engine = engine_of(tmp_path, library=library)
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text("honest\n", encoding="utf-8")
    assert documents(await engine.search("honest")) == ["a.md", "b.md"]
    assert library.stats.documents == 2
    (tmp_path / "a.md").unlink()
    assert documents(await engine.search("honest")) == ["b.md"]
    assert library.stats.documents == 1


async def test_watching_sees_files_and_whole_directories_come_and_go(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    elsewhere.mkdir()
    for number in range(5):
        (elsewhere / f"{number}.md").write_text("honest\n", encoding="utf-8")
    # no scan comes that could find what watching has missed
    async with engine_of(folder, watch=True, rescan_interval_s=3600) as engine:
        await watching(engine)

        def count(expected: int) -> Callable[[], Awaitable[bool]]:
            async def same() -> bool:
                return len((await engine.search("honest", limit=9)).hits) == expected

            return same

        (folder / "a.md").write_text("honest\n", encoding="utf-8")
        await until(count(1))
        shutil.move(elsewhere, folder / "moved.dir")
        await until(count(6))
        shutil.rmtree(folder / "moved.dir")
        await until(count(1))
        (folder / "a.md").unlink()
        await until(count(0))


async def test_a_change_that_nobody_told_of_is_never_answered_from_the_old_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.md").write_text("honest words\n", encoding="utf-8")
    (tmp_path / "b.md").write_text("honest words\n", encoding="utf-8")
    engine = engine_of(tmp_path)
    await engine.search("honest")

    monkeypatch.setattr(engine, "_update_index", nothing)
    (tmp_path / "a.md").write_text("clever words\n", encoding="utf-8")
    (tmp_path / "b.md").unlink()
    for mode in MODES:
        assert documents(await engine.search("honest", mode=mode)) == []
    assert documents(await engine.search("clever")) == ["a.md"]


async def test_a_file_rewritten_within_one_clock_tick_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    engine = engine_of(tmp_path)
    for number in range(20):
        path.write_text(f"word{number:02}\n", encoding="utf-8")
        assert documents(await engine.search(f"word{number:02}")) == ["a.md"]


async def nothing(_request: object) -> None:
    """Instead of bringing the index up to date."""


def noted_touches(engine: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    touched: list[set[str]] = []
    touch = engine._updater.refresh_now

    def noting(paths: Iterable[str]) -> "asyncio.Future[None]":
        touched.append(set(paths))
        return touch(paths)

    monkeypatch.setattr(engine._updater, "refresh_now", noting)
    return touched


@pytest.mark.parametrize("mode", MODES)
async def test_a_hit_in_a_file_too_young_to_be_trusted_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    (tmp_path / "a.md").write_text("honest words\n", encoding="utf-8")
    engine = engine_of(tmp_path, tuning=TRUSTING)
    await engine.search("honest")
    monkeypatch.setattr(engine, "_update_index", nothing)
    engine._catalog.put(replace(engine._catalog.entries["a.md"], mtime_reliable=False))
    touched = noted_touches(engine, monkeypatch)
    for _ in range(2):
        assert documents(await engine.search("honest", mode=mode)) == ["a.md"]
    assert touched == [{"a.md"}]


async def test_a_change_seen_in_any_turn_of_a_search_makes_it_look_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        (tmp_path / f"{number}.md").write_text("honest words\n" + "other\n" * 4_000, encoding="utf-8")
    engine = engine_of(tmp_path, tuning=replace(TRUSTING, short_turn_s=0.0, turn_s=0.0))
    await engine.search("honest")
    monkeypatch.setattr(engine, "_update_index", nothing)
    touched = noted_touches(engine, monkeypatch)
    calls: list[list[str]] = []

    def changed(_: FreshnessChecker, entries: Iterable[CatalogEntry]) -> frozenset[str]:
        calls.append([entry.path for entry in entries])
        return frozenset(calls[0]) if len(calls) == 1 else frozenset()

    monkeypatch.setattr(FreshnessChecker, "changed", changed)
    assert len(documents(await engine.search("honest", mode="regex"))) == 6
    assert len(calls) > 2
    assert touched == [set(calls[0])]


async def test_a_text_read_again_is_given_only_if_it_is_the_one_that_was_searched(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("honest words\n", encoding="utf-8")
    library = Library(RootsPolicy([Root("research", tmp_path)]))
    freshness = FreshnessChecker(library)
    text = await library.read("a.md")
    entry = CatalogEntry.of(1, await library.stat("a.md"), text, 1)
    assert await freshness.text(entry) == text
    path.write_text("clever words\n", encoding="utf-8")
    assert await freshness.text(entry) is None
    path.unlink()
    assert await freshness.text(entry) is None


async def test_a_text_read_again_with_another_page_missing_is_not_the_one_that_was_searched(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.md").write_text("honest words\n", encoding="utf-8")
    library = Library(RootsPolicy([Root("research", tmp_path)]))
    text = await library.read("a.md")
    info = await library.stat("a.md")
    for other in (
        replace(text, data=b"clever words\n"),
        replace(text, data=b"honest\n"),
        replace(text, missing_pages=(2,)),
        replace(text, ocr_pages=(1,)),
    ):
        assert other.digest == text.digest
        assert await FreshnessChecker(library).text(CatalogEntry.of(1, info, other, 1)) is None


class Patchy(Library):
    """A library that leaves words out of every text that it reads, until it is `whole`."""

    whole = False

    async def read_plain(self, paths: Sequence[str]) -> dict[str, DocumentText]:
        texts = await super().read_plain(paths)
        if self.whole:
            return texts
        return {path: replace(text, data=b"in part\n") for path, text in texts.items()}


async def test_a_touched_file_of_which_more_could_be_read_is_indexed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("the first line\nhonest words\n", encoding="utf-8")
    library = Patchy(RootsPolicy([Root("research", tmp_path)]))
    engine = engine_of(tmp_path, library=library, tuning=TRUSTING)
    assert documents(await engine.search("part")) == ["a.md"]
    library.whole = True
    os.utime(path, ns=(1, 1))
    for mode in MODES:
        (hit,) = (await engine.search("honest", mode=mode)).hits
        assert (hit.document, hit.line_number, hit.matched_text) == ("a.md", 2, "honest words")
    assert not (await engine.search("part")).hits


async def test_what_is_being_read_is_known_with_what_it_was_listed_as(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.md").write_text("honest\n", encoding="utf-8")
    library = Library(RootsPolicy([Root("research", tmp_path)]))
    readers = Readers(library, Catalog(0), asyncio.Event())
    infos = {info.path: info for info in await library.documents()}
    readers.queue = dict(infos)
    busy = []
    async with asyncio.TaskGroup() as tasks:
        readers.start(tasks)
        busy.append(readers.busy)
    busy.append(readers.busy)
    assert busy == [True, False]
    assert {path: identity for path, (identity, _) in readers.in_progress.items()} == {
        path: info.identity for path, info in infos.items()
    }
    assert sorted(reading.path for reading in readers.batch()) == [f"{number}.md" for number in range(5)]
    assert readers.batch() == []


class Busy(Library):
    """A library that cannot open files for a while."""

    busy = True

    async def read_plain(self, paths: object) -> dict[str, object]:  # type: ignore[override]
        return {}

    async def read(self, path: str) -> object:  # type: ignore[override]
        if self.busy:
            raise Overloaded("no more files can be opened")
        return await super().read(path)


async def test_what_could_not_be_read_is_tried_again_later(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("honest\n", encoding="utf-8")
    library = Busy(RootsPolicy([Root("research", tmp_path)]))
    engine = engine_of(tmp_path, library=library, tuning=SearchTuning(retry_unreadable_s=-1.0))
    assert (await engine.search("honest")).unreadable == (("a.md", "overloaded"),)
    library.busy = False
    assert documents(await engine.search("honest")) == ["a.md"]


async def test_an_unexpected_failure_reaches_the_search_and_the_next_one_starts_anew(tmp_path: Path) -> None:
    class Failing(Library):
        fails = True

        async def survey(self, pattern: str = "*") -> tuple[list[DocumentInfo], list[str]]:
            if self.fails:
                raise OSError("the disk is gone")
            return await super().survey(pattern)

    (tmp_path / "a.md").write_text("honest\n", encoding="utf-8")
    library = Failing(RootsPolicy([Root("research", tmp_path)]))
    engine = engine_of(tmp_path, library=library)
    with pytest.raises(OSError, match="disk"):
        await engine.search("honest")
    library.fails = False
    assert documents(await engine.search("honest")) == ["a.md"]


def test_one_engine_serves_one_event_loop_after_another(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("honest\n", encoding="utf-8")
    engine = engine_of(tmp_path)
    for _ in range(2):
        assert documents(asyncio.run(engine.search("honest"))) == ["a.md"]


async def test_entering_twice_closes_once(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("honest\n", encoding="utf-8")
    engine = engine_of(tmp_path)
    async with engine:
        async with engine:
            await engine.search("honest")
        assert engine.stats.documents == 1
    assert engine.stats.documents == 0
    assert documents(await engine.search("honest")) == ["a.md"]


async def test_many_touched_paths_become_one_scan(tmp_path: Path) -> None:
    for number in range(400):
        (tmp_path / f"{number}.md").write_text("honest\n", encoding="utf-8")
    engine = engine_of(tmp_path)
    await engine._updater.refresh_now({f"{number}.md" for number in range(400)})
    assert engine.stats.documents == 400


async def test_a_folder_that_cannot_be_watched_is_scanned_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_watches(*_directories: Path, **_options: object) -> Iterator[set[tuple[int, str]]]:
        raise OSError("no space left for watches")

    monkeypatch.setattr("watchfiles.watch", out_of_watches)
    async with engine_of(tmp_path, watch=True) as engine:
        (tmp_path / "a.md").write_text("honest\n", encoding="utf-8")
        assert documents(await engine.search("honest")) == ["a.md"]
        assert not engine.stats.watching


async def test_a_hundred_searches_at_once_are_each_right(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number:02}.md").write_text(f"common word{number:02}\n", encoding="utf-8")
    async with engine_of(tmp_path, watch=True) as engine:
        await watching(engine)
        outcomes = await asyncio.gather(
            *(engine.search(f"word{number:02}", mode=MODES[number % 2]) for number in range(100))
        )
    assert [documents(outcome) for outcome in outcomes] == [[f"{number:02}.md"] for number in range(100)]


async def test_under_constant_change_no_hit_is_stale_and_no_file_is_missed(tmp_path: Path) -> None:
    chance = random.Random(11)
    versions: dict[str, int] = {}
    history: dict[str, dict[int, float]] = {}  # document → version → when it was replaced

    def change(now: float) -> None:
        name = f"d{chance.randrange(3)}/f{chance.randrange(12)}.md"
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if name in versions:
            history.setdefault(name, {})[versions[name]] = now
        if name in versions and chance.random() < 0.3:
            path.unlink()
            del versions[name]
            return
        versions[name] = max([*history.get(name, {0: 0.0}), 0]) + 1
        path.write_text(f"common text\nversion v{versions[name]:05}\n", encoding="utf-8")

    async with engine_of(tmp_path, watch=True, rescan_interval_s=3600) as engine:
        await watching(engine)
        end = time.monotonic() + SOAK_S
        searches = 0
        while time.monotonic() < end or searches <= 20:
            change(time.monotonic())
            mode = MODES[searches % 2]
            started = time.monotonic()
            outcome = await engine.search(
                "v0* version" if mode == "keyword" else r"v0\d+", mode=mode, limit=99
            )
            searches += 1
            for hit in outcome.hits:
                shown = int(hit.matched_text.partition(" v")[2])
                replaced = history.get(hit.document, {}).get(shown)
                assert replaced is None or replaced >= started, (
                    f"{hit.document} has not held version {shown} any more"
                )

        async def complete() -> bool:
            outcome = await engine.search(r"v0\d+", mode="regex", limit=99)
            shown = {hit.document: int(hit.matched_text.partition(" v")[2]) for hit in outcome.hits}
            return shown == versions

        await until(complete)


async def test_memory_is_given_back_once_after_much_was_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    engine = engine_of(tmp_path, tuning=SearchTuning(trim_every_bytes=20))

    def give() -> None:
        trim_memory()
        given.append(engine.stats.text_bytes)

    monkeypatch.setattr(writer_module, "trim_memory", give)
    (tmp_path / "a.md").write_text("an honest word", encoding="utf-8")
    await engine.search("honest")
    (tmp_path / "b.md").write_text("more honest words", encoding="utf-8")
    await engine.search("honest")
    assert len((await engine.search("honest")).hits) == 2
    assert given == [31]


async def test_freed_memory_is_given_back_whenever_the_index_is_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    engine = engine_of(tmp_path)
    monkeypatch.setattr(writer_module, "return_freed_memory", lambda: given.append(engine.stats.text_bytes))
    (tmp_path / "a.md").write_text("an honest word", encoding="utf-8")
    await engine.search("honest")
    assert set(given) == {14}


class SlowListings:
    """Listings that take a time on a clock of their own, and how many there were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, listing_s: float) -> None:
        self.now = 0.0
        self.count = 0
        survey = Library.survey

        async def slow(library: Library, pattern: str) -> tuple[list[DocumentInfo], list[str]]:
            self.count += 1
            self.now += listing_s
            return await survey(library, pattern)

        monkeypatch.setattr(Library, "survey", slow)

    def engine(self, folder: Path) -> SearchEngine:
        (folder / "a.md").write_text("owl\n", encoding="utf-8")
        library = Library(RootsPolicy([Root("research", folder)]))
        return SearchEngine(library, watch=False, rescan_interval_s=3600, clock=lambda: self.now)


@pytest.mark.parametrize(("listing_s", "scans"), [(0.05, 10), (10.0, 2), (100.0, 0)])
async def test_scans_for_what_watching_missed_take_a_tenth_of_the_time_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listing_s: float, scans: int
) -> None:
    listings = SlowListings(monkeypatch, listing_s)
    async with (engine := listings.engine(tmp_path)):
        await engine.search("owl")
        before = listings.count
        for _ in range(10):
            listings.now += 20.0
            engine._rescan()
            while engine._updater.working:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    assert listings.count - before == scans


async def test_an_engine_that_begins_again_lists_the_folder_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = SlowListings(monkeypatch, 100.0)
    engine = listings.engine(tmp_path)

    await engine.search("owl")
    for begun in range(1, 3):

        async def listed(least: int = 1 + begun) -> bool:
            return listings.count >= least and engine.stats.documents == 1 and engine.indexing is None

        async with engine:
            await until(listed)
    assert listings.count == 3


async def test_after_a_failed_scan_a_search_that_scans_makes_the_index_current_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.md").write_text("owl\n", encoding="utf-8")
    survey = Library.survey
    away = False
    listings = 0

    async def failing(library: Library, pattern: str) -> tuple[list[DocumentInfo], list[str]]:
        nonlocal listings
        listings += 1
        if away:
            raise RootUnavailable("away")
        return await survey(library, pattern)

    monkeypatch.setattr(Library, "survey", failing)
    async with engine_of(tmp_path, watch=True, rescan_interval_s=3600) as engine:
        await watching(engine)
        away = True
        engine._scan_now()

        async def outdated() -> bool:
            return not engine._is_current

        await until(outdated)
        away = False
        await engine.search("owl")
        listings = 0
        for _ in range(5):
            await engine.search("owl")
    assert listings == 0
