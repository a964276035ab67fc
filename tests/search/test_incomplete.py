"""An answer never quietly rests on a part of the folder: searches wait for the rest, or say that it is missing."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fastmcp import Client

from research_documents.search import SearchEngine, SearchOutcome
from research_documents.search.index.passage_index import PassageIndex
from research_documents.search.index.reader import reading_order
from research_documents.search.keyword.search import KeywordSearch
from research_documents.search.request import Mode, RunResult, SearchRequest
from research_documents.search.tuning import SearchTuning
from research_documents.server import build_documents_server
from research_shared.access.roots import Root, RootsPolicy, Scope, narrowed_scope
from research_shared.documents import DocumentInfo, DocumentText, Identity
from research_shared.reading.library import Library
from research_shared.settings import Settings
from support.tuning import TRUSTING

MODES: tuple[Mode, ...] = ("keyword", "regex")
LISTING = "INCOMPLETE: the folder is still being listed; repeat in a few seconds"
CHANGES = "INCOMPLETE: changes of the folder are still being looked for; repeat in a few seconds"
NEVER = 3_600.0
EAGER = replace(TRUSTING, read_together=1, progress_every_s=0.005, first_commit_s=0.05, commit_every_s=0.05)
"""Documents are read one by one, and a waiting search looks often how far that is."""
IN_SLICES = replace(EAGER, large_bytes=5_000, slice_bytes=3_000)
"""A text of a few pages is indexed slice by slice."""


def partly(done: int, total: int) -> str:
    return f"INCOMPLETE: {done} of {total} document{'s' * (total != 1)} {'is' if 1 in {done, total} else 'are'} indexed yet; repeat in a few seconds"


class Held(Library):
    """A library that lists the folder, and reads documents whose names begin so, only when it is let go."""

    def __init__(self, folder: Path, *, listing: bool = True) -> None:
        super().__init__(RootsPolicy([Root("research", folder)]))
        self.listing, self.let_go = asyncio.Event(), asyncio.Event()
        if listing:
            self.listing.set()
        self.asked: list[str] = []

    async def survey(self, pattern: str = "*") -> tuple[list[DocumentInfo], list[str]]:
        await self.listing.wait()
        return await super().survey(pattern)

    async def read_plain(self, paths: Sequence[str]) -> dict[str, DocumentText]:
        await self._hold(*paths)
        return await super().read_plain(paths)

    async def read(self, path: str) -> DocumentText:
        await self._hold(path)
        return await super().read(path)

    async def _hold(self, *paths: str) -> None:
        self.asked += paths
        if any(path.rpartition("/")[2].startswith("held") for path in paths):
            await self.let_go.wait()


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("honest\n", encoding="utf-8")


def engine_of(
    library: Library,
    *,
    index_wait_s: float,
    watch: bool = False,
    deadline_s: float = 5.0,
    tuning: SearchTuning = EAGER,
    clock: Callable[[], float] = time.monotonic,
) -> SearchEngine:
    return SearchEngine(
        library,
        watch=watch,
        index_wait_s=index_wait_s,
        deadline_s=deadline_s,
        tuning=tuning,
        clock=clock,
    )


@asynccontextmanager
async def entered(engine: SearchEngine, *, really: bool) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        if really:
            await stack.enter_async_context(engine)
        yield


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  (the engine has no event for it)
            await asyncio.sleep(0.005)


def documents(outcome: SearchOutcome) -> list[str]:
    return sorted(hit.document for hit in outcome.hits)


def facts(outcome: SearchOutcome) -> tuple[bool, int, tuple[int, int] | None, str | None]:
    return outcome.truncated, outcome.total_documents, outcome.indexing, outcome.next_cursor


async def looked_at(engine: SearchEngine, mode: Mode, expected: list[str], *warnings: str) -> SearchOutcome:
    """The first answer that has hits in these documents, and these warnings."""
    found: list[SearchOutcome] = []
    async with asyncio.timeout(60):
        while not found or (documents(found[-1]), found[-1].warnings) != (expected, warnings):
            found.append(await engine.search("honest", mode=mode))
            await asyncio.sleep(0.005)
    return found[-1]


@pytest.mark.parametrize("really", [True, False])
@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_before_the_folder_is_listed_says_so(
    tmp_path: Path, mode: Mode, really: bool
) -> None:
    write(tmp_path, "a.md")
    library = Held(tmp_path, listing=False)
    engine = engine_of(library, index_wait_s=0)
    async with entered(engine, really=really):
        outcome = await engine.search("honest", mode=mode)
        assert (outcome.hits, outcome.warnings) == ((), (LISTING,))
        assert facts(outcome) == (True, 0, (0, 0), None)
        library.listing.set()
        outcome = await looked_at(engine, mode, ["a.md"])
        assert facts(outcome) == (False, 1, None, None)


@pytest.mark.parametrize("really", [True, False])
@pytest.mark.parametrize("mode", MODES)
async def test_what_is_not_indexed_yet_is_said_first_and_counted_everywhere_alike(
    tmp_path: Path, mode: Mode, really: bool
) -> None:
    write(tmp_path, "a.md", "b.md", "held.md")
    library = Held(tmp_path)
    engine = engine_of(library, index_wait_s=0)
    async with entered(engine, really=really):
        outcome = await looked_at(engine, mode, ["a.md", "b.md"], partly(2, 3))
        assert facts(outcome) == (True, 2, (2, 3), None)
        limited = await engine.search("honest", mode=mode, limit=1)
        assert limited.next_cursor is not None
        rest = await engine.search("honest", mode=mode, limit=1, cursor=limited.next_cursor)
        assert documents(limited) + documents(rest) == ["a.md", "b.md"]
        await until(lambda: engine.indexing == (2, 3))
        library.let_go.set()
        outcome = await looked_at(engine, mode, ["a.md", "b.md", "held.md"])
        assert facts(outcome) == (False, 3, None, None)
        assert engine.indexing is None


async def test_a_client_is_told_that_an_answer_is_incomplete(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "held.md")
    library = Held(tmp_path)
    engine = engine_of(library, index_wait_s=0)
    settings = Settings.load({}, roots=(Root("research", tmp_path),))
    async with Client(build_documents_server(settings, library=library, engine=engine)) as client:
        await until(lambda: engine.indexing == (1, 2))
        result = await client.call_tool("search_documents", {"query": "honest"})
    found = result.structured_content
    assert found is not None
    assert found["warnings"] == [partly(1, 2)]
    assert (found["truncated"], found["total_documents"], found["indexing"]) == (
        True,
        1,
        {"done": 1, "total": 2},
    )
    assert "next_cursor" not in found
    assert result.content[0].text.splitlines()[0] == partly(1, 2)


@pytest.mark.parametrize("mode", MODES)
async def test_the_warning_comes_before_all_others(tmp_path: Path, mode: Mode) -> None:
    write(tmp_path, "held.md")
    library = Held(tmp_path)
    query = "the(" if mode == "regex" else "..."
    engine = engine_of(library, index_wait_s=0)
    async with entered(engine, really=True):
        await until(lambda: engine.indexing == (0, 1))
        outcome = await engine.search(query, mode=mode)
    assert outcome.warnings[0] == partly(0, 1)
    assert len(outcome.warnings) > 1


@pytest.mark.parametrize("really", [True, False])
@pytest.mark.parametrize("mode", MODES)
async def test_a_search_waits_for_what_was_never_indexed_and_tells_how_far_that_is(
    tmp_path: Path, mode: Mode, really: bool
) -> None:
    write(tmp_path, "a.md", "b.md", "held.md")
    library = Held(tmp_path, listing=False)
    told: list[tuple[int, int, str]] = []

    async def tell(*progress: object) -> None:
        told.append(progress)  # type: ignore[arg-type]
        library.listing.set()
        if progress[:2] == (2, 3):
            library.let_go.set()

    engine = engine_of(library, index_wait_s=NEVER)
    async with entered(engine, really=really):
        outcome = await engine.search("honest", mode=mode, on_progress=tell)
    assert documents(outcome) == ["a.md", "b.md", "held.md"]
    assert (outcome.warnings, facts(outcome)) == ((), (False, 3, None, None))
    assert told[0] == (0, 0, "listing the folder")
    assert (2, 3, "indexed 2 of 3 documents") in told


async def test_what_waiting_takes_is_not_taken_from_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "held.md")
    library, now = Held(tmp_path), 1_000.0
    deadlines: list[float] = []
    search = KeywordSearch.search

    async def noting(self: KeywordSearch, request: SearchRequest, *rest: object) -> RunResult:
        deadlines.append(request.deadline)
        return await search(self, request, *rest)  # type: ignore[arg-type]

    async def tell(*_: object) -> None:
        nonlocal now
        now += 3.0
        if now > 1_015.0:
            library.let_go.set()

    monkeypatch.setattr(KeywordSearch, "search", noting)
    engine = engine_of(library, index_wait_s=100.0, clock=lambda: now)
    outcome = await engine.search("honest", on_progress=tell)
    assert documents(outcome) == ["held.md"]
    assert set(deadlines) == {now + 5.0}
    assert now > 1_015.0


@pytest.mark.parametrize("mode", MODES)
async def test_a_new_version_is_waited_for_no_longer_than_half_of_a_search(
    tmp_path: Path, mode: Mode
) -> None:
    write(tmp_path, "a.md", "held.md")
    library = Held(tmp_path)
    library.let_go.set()
    engine = engine_of(library, index_wait_s=NEVER, deadline_s=5.0)
    await engine.search("honest", mode=mode)
    library.let_go.clear()
    (tmp_path / "held.md").write_text("other honest\n", encoding="utf-8")
    engine._deadline_s = 0.02
    async with asyncio.timeout(60):
        outcome = await engine.search("hones[t]" if mode == "regex" else "honest", mode=mode)
    assert documents(outcome) == ["a.md"]
    assert (outcome.warnings[0], facts(outcome)[:3]) == (partly(1, 2), (True, 1, (1, 2)))
    library.let_go.set()
    engine._deadline_s = 60.0
    assert documents(await engine.search("honest", mode=mode)) == ["a.md", "held.md"]


@pytest.mark.parametrize("mode", MODES)
async def test_in_a_watched_folder_only_what_has_waited_for_a_while_is_missed(
    tmp_path: Path, mode: Mode
) -> None:
    write(tmp_path, "a.md")
    library, passed = Held(tmp_path), 0.0
    engine = engine_of(
        library,
        index_wait_s=0,
        watch=True,
        tuning=replace(EAGER, recent_change_s=NEVER),
        clock=lambda: time.monotonic() + passed,
    )
    async with entered(engine, really=True):
        await until(lambda: engine.stats.watching and not engine.stats.building)
        await looked_at(engine, mode, ["a.md"])
        await until(lambda: engine._is_current)
        write(tmp_path, "held.md")
        await until(lambda: "held.md" in library.asked)
        outcome = await engine.search("honest", mode=mode)
        assert (documents(outcome), outcome.warnings, facts(outcome)) == (
            ["a.md"],
            (),
            (False, 1, None, None),
        )
        passed = 2 * NEVER
        outcome = await engine.search("honest", mode=mode)
        assert (documents(outcome), outcome.warnings) == (["a.md"], (partly(1, 2),))
        assert facts(outcome) == (True, 1, (1, 2), None)
        library.let_go.set()
        assert documents(await looked_at(engine, mode, ["a.md", "held.md"])) == ["a.md", "held.md"]


async def test_counts_and_progress_are_those_of_the_scope(tmp_path: Path) -> None:
    write(tmp_path, "in/a.md", "in/held.md", "out/a.md", "out/b.md")
    library = Held(tmp_path)
    told: set[tuple[object, ...]] = set()

    async def tell(*progress: object) -> None:
        told.add(progress)

    engine = engine_of(library, index_wait_s=0)
    async with entered(engine, really=True):
        await until(lambda: engine.indexing == (3, 4))
        engine._index_wait_s = 0.05
        with narrowed_scope(Scope(("in",))):
            outcome = await engine.search("honest", on_progress=tell)
        assert (outcome.warnings, facts(outcome)) == ((partly(1, 2),), (True, 1, (1, 2), None))
        assert told == {(1, 2, "indexed 1 of 2 documents")}
        with narrowed_scope(Scope(("out",))):
            outcome = await engine.search("honest", file_pattern="a*")
        assert (documents(outcome), outcome.warnings) == (["out/a.md"], ())
        assert facts(outcome) == (False, 1, None, None)


async def test_documents_that_are_not_asked_for_do_not_make_an_answer_incomplete(tmp_path: Path) -> None:
    write(tmp_path, "notes/a.md", "held.md")
    library = Held(tmp_path)
    engine = engine_of(library, index_wait_s=0)
    async with entered(engine, really=True):
        await until(lambda: engine.indexing == (1, 2))
        engine._index_wait_s = 0.05
        keyword = await engine.search("honest", file_pattern="notes/*")
        engine._index_wait_s = NEVER
        regex = await engine.search("honest", mode="regex", file_pattern="notes/*")  # waits for nothing
    for outcome in (keyword, regex):
        assert (documents(outcome), facts(outcome)) == (["notes/a.md"], (False, 1, None, None))
    assert keyword.warnings == ("the order may still change: other documents are not indexed yet",)
    assert regex.warnings == ()


@pytest.mark.parametrize("mode", MODES)
async def test_a_folder_that_takes_long_to_list_is_read_meanwhile(tmp_path: Path, mode: Mode) -> None:
    write(tmp_path, "a.md", "held.md")
    library = Held(tmp_path)
    engine = engine_of(library, index_wait_s=0, deadline_s=0.02)
    async with entered(engine, really=True):
        await until(lambda: engine.indexing == (1, 2))
        library.listing.clear()
        await engine.search("honest", mode=mode)  # lists the folder once more
        library.let_go.set()
        await until(lambda: engine.indexing is None)
        outcome = await engine.search("honest", mode=mode)
        assert (documents(outcome), outcome.warnings) == (["a.md", "held.md"], (CHANGES,))
        assert facts(outcome) == (True, 2, None, None)
        library.listing.set()
        engine._deadline_s = 60.0
        assert (await engine.search("honest", mode=mode)).warnings == ()


async def test_a_document_that_is_being_read_is_not_read_twice_because_others_search(tmp_path: Path) -> None:
    write(tmp_path, "held.md")
    library = Held(tmp_path)
    engine = engine_of(library, index_wait_s=0)
    async with entered(engine, really=True):
        await until(lambda: "held.md" in library.asked)
        for _ in range(3):
            assert (await engine.search("honest")).warnings[0].startswith("INCOMPLETE: ")
            await until(lambda: engine._updater._listing is None)
        library.let_go.set()
        await until(lambda: engine.indexing is None)
    assert library.asked == ["held.md"]


async def test_a_document_that_gives_no_text_is_not_missed_while_it_is_tried_again(tmp_path: Path) -> None:
    write(tmp_path, "a.md")
    (tmp_path / "held.md").write_bytes(bytes(range(256)) * 40)
    library = Held(tmp_path)
    library.let_go.set()
    tuning = replace(EAGER, retry_unreadable_s=-1.0)
    engine = engine_of(library, index_wait_s=0, deadline_s=0.02, tuning=tuning)
    async with entered(engine, really=True):
        await until(lambda: engine.stats.unreadable == 1 and engine.indexing is None)
        library.let_go.clear()
        asked = len(library.asked)
        outcome = await engine.search("honest")
        await until(lambda: len(library.asked) > asked)
        assert (documents(outcome), outcome.indexing, outcome.total_documents) == (["a.md"], None, 1)
        assert [path for path, _ in outcome.unreadable] == ["held.md"]


def info(path: str, size: int) -> DocumentInfo:
    media_type = "application/pdf" if path.endswith(".pdf") else "text/plain"
    return DocumentInfo(
        path=path, root="research", media_type=media_type, identity=Identity(1, 1, size, 1, 1)
    )


def test_small_texts_come_first_then_everything_else_by_size() -> None:
    mib = 1024 * 1024
    infos = [
        info("large.txt", 63 * mib),
        info("b.pdf", 40 * mib),
        info("a.pdf", 9),
        info("b.txt", 5),
        info("a.txt", 5),
        info("c.txt", mib),
        info("0.txt", 6),
    ]
    assert [one.path for one in sorted(infos, key=lambda info: reading_order(info, mib))] == [
        "a.txt",
        "b.txt",
        "0.txt",
        "c.txt",
        "a.pdf",
        "b.pdf",
        "large.txt",
    ]


class Slow:
    """Indexing of large documents (see `IN_SLICES`) that stands still after the first slice until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.let_go = False
        self.begun: list[int] = []
        adding = PassageIndex.adding

        def slowly(index: PassageIndex, document: int, text: DocumentText) -> Iterator[int]:
            slices = adding(index, document, text)
            yield next(slices)
            if len(text.data) > 5_000:
                self.begun.append(document)
                while not self.let_go:
                    yield 0
            yield from slices

        monkeypatch.setattr(PassageIndex, "adding", slowly)


def write_large(folder: Path) -> None:
    lines = [f"honest line {number} of very many\n" for number in range(1_000)]
    (folder / "0-large.txt").write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize("mode", MODES)
async def test_a_large_document_holds_up_no_other_and_is_found_as_a_whole(
    tmp_path: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    write_large(tmp_path)
    write(tmp_path, "a.md", "b.md")
    library = Library(RootsPolicy([Root("research", tmp_path)]))
    engine = engine_of(library, index_wait_s=0, tuning=IN_SLICES)
    async with entered(engine, really=True):
        outcome = await looked_at(engine, mode, ["a.md", "b.md"], partly(2, 3))
        assert facts(outcome) == (True, 2, (2, 3), None)
        await until(lambda: bool(slow.begun))
        write(tmp_path, "c.md")
        outcome = await looked_at(
            engine, mode, ["a.md", "b.md", "c.md"], partly(3, 4)
        )  # after another commit
        assert facts(outcome) == (True, 3, (3, 4), None)
        slow.let_go = True
        await until(lambda: engine.indexing is None)
        outcome = await engine.search("honest", mode=mode, limit=2_000)
        assert len(outcome.hits) > 3
        assert (outcome.warnings, facts(outcome)) == ((), (False, 4, None, None))
        index = engine._updater.index
        assert index is not None
        assert index.passages == engine.stats.passages > 20


async def test_a_large_document_that_changes_while_it_is_indexed_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    write_large(tmp_path)
    library = Library(RootsPolicy([Root("research", tmp_path)]))
    engine = engine_of(library, index_wait_s=NEVER, tuning=IN_SLICES)
    async with entered(engine, really=True):
        await until(lambda: bool(slow.begun))
        (tmp_path / "0-large.txt").write_text("honest and short\n", encoding="utf-8")
        outcome = await engine.search("honest")
        assert [hit.matched_text for hit in outcome.hits] == ["honest and short"]
        assert facts(outcome) == (False, 1, None, None)
        index = engine._updater.index
        assert index is not None
        await until(lambda: index.passages == 1)


async def test_what_was_indexed_in_part_when_the_engine_stops_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "research"
    folder.mkdir()
    slow = Slow(monkeypatch)
    write_large(folder)
    write(folder, "a.md")
    library = Held(folder)
    engine = SearchEngine(library, watch=False, index_dir=tmp_path / "kept", index_wait_s=0, tuning=IN_SLICES)
    async with entered(engine, really=True):
        await until(lambda: bool(slow.begun))
    slow.let_go = True
    library.asked.clear()
    engine._index_wait_s = NEVER
    async with entered(engine, really=True):
        outcome = await engine.search("honest", limit=2_000)
    assert "0-large.txt" in documents(outcome)
    assert facts(outcome) == (False, 2, None, None)
    assert library.asked == ["0-large.txt"]
