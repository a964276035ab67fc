"""The library: listing, reading, caching, and giving up."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from library.test_pdf import is_alive, until
from research_shared.access.roots import Root, RootsPolicy, Scope, narrowed_scope
from research_shared.errors import DocumentNotFound, DocumentUnreadable, InvalidPattern, RootUnavailable
from research_shared.formats import media_type_of
from research_shared.reading import library as library_module
from research_shared.reading.extraction import Extracted, read_text
from research_shared.reading.library import Library
from research_shared.reading.limits import Limits
from research_shared.settings import Settings
from support.pdf_files import TEXT, plain_pdf

pytestmark = pytest.mark.usefixtures("own_workers")

MIB = 1024 * 1024


class Clock:
    """Time that stands still until it is moved; the wall clock is far from that of any file."""

    def __init__(self) -> None:
        self.now = 0.0
        self.wall = 0

    def __call__(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return self.wall


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., Library]


@pytest.fixture
async def make(folder: Path, clock: Clock) -> AsyncIterator[Make]:
    made: list[Library] = []

    def build(*, max_failures: int = library_module.MAX_FAILURES, **limits: Any) -> Library:
        limits = {"workers": 1, "worker_memory_bytes": 4096 * MIB, **limits}
        library = Library(
            RootsPolicy([Root("research", folder)]),
            Limits(**limits),
            clock=clock,
            wall_ns=clock.wall_ns,
            max_failures=max_failures,
        )
        made.append(library)
        return library

    yield build
    for library in made:
        async with library:
            pass


async def reason(library: Library, path: str) -> str:
    with pytest.raises(DocumentUnreadable) as refusal:
        await library.read(path)
    assert path in refusal.value.message
    return refusal.value.reason


def fds() -> int:
    gc.collect()  # what earlier tests have left is not to go meanwhile
    return len(list(Path("/dev/fd").iterdir()))


async def test_documents_are_listed_in_order_and_by_pattern(make: Make, folder: Path) -> None:
    (folder / "b").mkdir()
    for name in ("c.md", "a.txt", "b/x.md", "B.pdf", "z.png"):
        (folder / name).write_text("text")
    library = make()
    assert [info.path for info in await library.documents()] == ["B.pdf", "a.txt", "b/x.md", "c.md"]
    assert [info.path for info in await library.documents("*.md")] == ["b/x.md", "c.md"]
    with pytest.raises(InvalidPattern):
        await library.documents("x" * 2000)


async def test_a_listing_takes_the_entry_that_is_held_of_an_unchanged_document(
    make: Make, folder: Path
) -> None:
    (folder / "a.md").write_text("a", encoding="utf-8")
    (folder / "b.md").write_text("b", encoding="utf-8")
    library = make()
    held = {info.path: info for info in await library.documents("*.md")}
    library.held_info = held.get
    (folder / "b.md").write_text("longer", encoding="utf-8")
    (folder / "c.md").write_text("new", encoding="utf-8")
    listed = {info.path: info for info in await library.documents("*.md")}
    assert [path for path, info in listed.items() if info is held.get(path)] == ["a.md"]
    assert [info.size_bytes for info in listed.values()] == [1, 6, 3]


async def test_a_document_is_extracted_once_until_it_changes(make: Make, folder: Path) -> None:
    file = folder / "a.md"
    file.write_text("one\ntwo\n")
    library = make()
    text = await library.read("a.md")
    assert (text.path, text.media_type, text.total_lines, text.line(2)) == ("a.md", "text/markdown", 2, "two")
    assert text.identity == (await library.stat("a.md")).identity
    assert await library.read("a.md") is text
    file.write_text("three\n")
    assert (await library.read("a.md")).text == "three\n"
    assert (library.stats.hits, library.stats.misses, library.stats.documents) == (1, 2, 1)


async def test_the_text_of_an_outdated_version_is_not_kept(make: Make, folder: Path) -> None:
    library, file = make(), folder / "a.md"
    file.write_text("one")
    await library.read("a.md")
    first = library.stats.cached_bytes
    for number in range(2, 20):
        file.write_text("more " * number)  # in place
        await library.read("a.md")
    (folder / "new.md").write_text("saved by a rename")
    (folder / "new.md").replace(file)
    await library.read_plain(["a.md"])
    assert (library.stats.documents, library.stats.cached_bytes) == (1, first + len("saved by a rename") - 3)
    file.rename(folder / "b.md")
    assert (await library.read("b.md")).text == "saved by a rename"
    assert library.stats.documents == 1
    (folder / "b.md").write_bytes(b"\0\1\2")
    assert await reason(library, "b.md") == "binary content"
    assert (library.stats.documents, len(library._failures)) == (0, 1)
    (folder / "b.md").write_text("text again")
    assert (await library.read("b.md")).text == "text again"
    assert (library.stats.documents, len(library._failures)) == (1, 0)


async def test_a_document_under_two_names_is_kept_while_one_of_them_leads_to_it(
    make: Make, folder: Path
) -> None:
    library = make()
    (folder / "a.md").write_text("text")
    os.link(folder / "a.md", folder / "b.md")
    await library.read("a.md")
    library.forget_document("b.md")
    assert (await library.read("b.md")).text == "text"
    assert library.stats.misses == 1


async def test_one_file_under_two_names_is_extracted_once_and_named_as_asked(
    make: Make, folder: Path
) -> None:
    (folder / "a.md").write_text("text")
    (folder / "b.md").symlink_to("a.md")
    library = make()
    first, second = await library.read("a.md"), await library.read("b.md")
    assert (first.path, second.path, first.digest) == ("a.md", "b.md", second.digest)
    assert library.stats.misses == 1


async def test_the_type_of_a_file_is_that_of_the_name_it_is_read_by(make: Make, folder: Path) -> None:
    (folder / "a.md").write_text("text")
    os.link(folder / "a.md", folder / "a.pdf")
    library = make()
    assert (await library.read("a.md")).text == "text"
    assert await reason(library, "a.pdf") == "not a PDF"


async def test_requests_for_the_same_cold_document_extract_it_once(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.md").write_text("text")
    (folder / "b.md").symlink_to("a.md")
    go, calls = threading.Event(), 0

    def slow(*args: Any) -> Extracted:
        nonlocal calls
        calls += 1
        go.wait(60)
        return read_text(*args)

    monkeypatch.setattr(library_module, "read_text", slow)
    library = make()
    readers = [asyncio.create_task(library.read(path)) for path in ("a.md", "a.md", "b.md", "a.md")]
    await until(lambda: bool(calls) and sum(f.waiting for f in library._flights.values()) == 4)
    readers[0].cancel()
    readers[3].cancel()
    await until(lambda: sum(f.waiting for f in library._flights.values()) == 2)
    go.set()
    assert [(await reader).path for reader in readers[1:3]] == ["a.md", "b.md"]
    assert calls == 1
    assert all(isinstance(r, asyncio.CancelledError) for r in await asyncio.gather(readers[0], readers[3], return_exceptions=True))  # fmt: skip


async def test_when_the_last_reader_leaves_the_work_ends_and_the_worker_is_free(
    make: Make, folder: Path
) -> None:
    (folder / "slow.pdf").write_bytes(plain_pdf("slow"))
    (folder / "good.pdf").write_bytes(plain_pdf(TEXT))
    library = make()
    await library.read("good.pdf")
    (pid,) = library._pool.pids
    os.kill(pid, signal.SIGSTOP)  # so that it never ends by itself
    before = fds()
    reader = asyncio.create_task(library.read("slow.pdf"))
    await until(lambda: not library._pool._free)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await until(lambda: not is_alive(pid))
    library.forget()
    assert (await library.read("good.pdf")).text == TEXT
    await until(lambda: fds() == before)


async def test_a_reader_that_comes_after_the_last_one_left_starts_anew(make: Make, folder: Path) -> None:
    (folder / "good.pdf").write_bytes(plain_pdf(TEXT))
    library = make()
    first = asyncio.create_task(library.read("good.pdf"))
    while not library._flights:  # noqa: ASYNC110  (without a pause, in which it could be read)
        await asyncio.sleep(0)
    first.cancel()
    assert (await library.read("good.pdf")).text == TEXT


async def test_cancelling_before_the_file_is_open_leaves_nothing_open(make: Make, folder: Path) -> None:
    (folder / "a.md").write_text("text")
    library = make()
    await library.read("a.md")
    before = fds()
    entered, go = threading.Event(), threading.Event()
    original = library.roots.open

    def slow(path: str) -> Any:
        entered.set()
        go.wait(60)
        return original(path)

    library.roots.open = slow  # type: ignore[method-assign]
    reader = asyncio.create_task(library.read("a.md"))
    await until(entered.is_set)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    go.set()
    await until(lambda: fds() == before)


async def test_cancelling_a_listing_ends_its_walk(make: Make, folder: Path) -> None:
    (folder / "a.md").write_text("text")
    library = make()
    entered, ended = threading.Event(), threading.Event()

    def endless(stopped: Callable[[], bool], _unread: Callable[[str], None]) -> Any:
        entered.set()
        while not stopped():
            ended.wait(0.001)
        ended.set()
        return iter(())

    library.roots.walk = endless  # type: ignore[assignment,method-assign]
    listing = asyncio.create_task(library.documents())
    await until(entered.is_set)
    listing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listing
    await until(ended.is_set)


async def test_cancelling_while_text_is_read_stops_reading(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.md").write_text("text")
    entered, ended = threading.Event(), threading.Event()

    def endless(_fd: int, _size: int, _limits: Limits, stopped: Callable[[], bool]) -> Any:
        entered.set()
        while not stopped():
            ended.wait(0.001)
        ended.set()
        raise OSError

    monkeypatch.setattr(library_module, "read_text", endless)
    reader = asyncio.create_task(make().read("a.md"))
    await until(entered.is_set)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await until(ended.is_set)


async def test_texts_are_kept_up_to_a_number_of_bytes_the_oldest_going_first(
    make: Make, folder: Path
) -> None:
    for name in ("a", "b", "c"):
        (folder / f"{name}.md").write_bytes(b"x" * 400_000)
    (folder / "huge.md").write_bytes(b"x" * 2 * MIB)
    library = make(cache_bytes=MIB)
    for name in ("a", "b", "a", "c"):
        await library.read(f"{name}.md")
    await library.read("huge.md")
    assert library.stats.documents == 2
    assert 800_000 < library.stats.cached_bytes <= MIB
    misses = library.stats.misses
    await library.read("a.md")
    await library.read("c.md")
    assert library.stats.misses == misses
    await library.read("b.md")
    assert library.stats.misses == misses + 1


async def test_why_a_document_is_unreadable_is_remembered(make: Make, folder: Path, clock: Clock) -> None:
    (folder / "a.pdf").write_bytes(b"nothing")
    library = make()
    for _ in range(3):
        assert await reason(library, "a.pdf") == "not a PDF"
    clock.now += 10_000
    assert await reason(library, "a.pdf") == "not a PDF"
    assert library.stats.misses == 1
    (folder / "a.pdf").write_bytes(plain_pdf(TEXT))
    assert (await library.read("a.pdf")).text == TEXT


@pytest.mark.usefixtures("workers_stand_still")
async def test_a_document_that_timed_out_is_tried_again_after_a_while(
    make: Make, folder: Path, clock: Clock
) -> None:
    (folder / "slow.pdf").write_bytes(plain_pdf("slow"))
    library = make(document_timeout_s=0.2)
    for expected in (1, 1):
        assert await reason(library, "slow.pdf") == "timed out"
        assert library.stats.misses == expected
    clock.now += library_module.TIMED_OUT_RETRY_S + 1
    assert await reason(library, "slow.pdf") == "timed out"
    assert library.stats.misses == 2


async def test_remembered_failures_are_bounded(make: Make, folder: Path) -> None:
    library = make(max_failures=1)
    for name in ("a.md", "b.md"):
        (folder / name).write_bytes(b"\0\1\2")
        assert await reason(library, name) == "binary content"
    assert len(library._failures) == 1


async def test_a_file_that_was_changed_just_now_is_not_kept(make: Make, folder: Path, clock: Clock) -> None:
    file = folder / "a.md"
    file.write_text("text")
    clock.wall = file.stat().st_ctime_ns + 1_000_000
    library = make()
    await library.read("a.md")
    assert library.stats.documents == 0
    file.write_bytes(b"\0")
    clock.wall = file.stat().st_ctime_ns + 1_000_000
    for _ in range(2):
        assert await reason(library, "a.md") == "binary content"
    assert library.stats.misses == 3


async def test_a_file_that_grows_while_it_is_read_is_read_again(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "a.md"
    file.write_text("one")
    grow = 2

    def growing(*args: Any) -> Extracted:
        nonlocal grow
        extracted = read_text(*args)
        if grow:
            grow -= 1
            with file.open("a") as out:
                out.write(" more")
        return extracted

    monkeypatch.setattr(library_module, "read_text", growing)
    library = make()
    assert (await library.read("a.md")).text == "one more more"
    grow = 99
    with file.open("a") as out:
        out.write("!")
    assert await reason(library, "a.md") == "changed while being read"
    grow = 0
    assert (await library.read("a.md")).text.endswith("more")


async def test_a_file_that_shrinks_while_it_is_read_is_read_again(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "a.md"
    file.write_text("x" * 1000)

    def shrinking(*args: Any) -> Extracted:
        if file.stat().st_size > 10:
            os.truncate(file, 10)
        return read_text(*args)

    monkeypatch.setattr(library_module, "read_text", shrinking)
    assert (await make().read("a.md")).text == "x" * 10


async def test_a_file_that_vanishes_while_it_is_read_is_read_to_its_end(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "a.md"
    file.write_text("text")

    def vanishing(*args: Any) -> Extracted:
        file.unlink(missing_ok=True)
        return read_text(*args)

    monkeypatch.setattr(library_module, "read_text", vanishing)
    library = make()
    assert (await library.read("a.md")).text == "text"
    with pytest.raises(DocumentNotFound):
        await library.read("a.md")


async def test_a_disk_that_fails_is_a_passing_reason(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.md").write_text("text")

    def failing(*_args: Any) -> Extracted:
        raise OSError(5, "Input/output error")

    library = make()
    with monkeypatch.context() as patch:
        patch.setattr(library_module, "read_text", failing)
        assert await reason(library, "a.md") == "not available"
    assert (await library.read("a.md")).text == "text"


async def test_many_small_texts_are_read_in_one_go(make: Make, folder: Path) -> None:
    for name, content in (("a.md", b"one"), ("b.txt", b"two"), ("bad.md", b"\0"), ("c.pdf", b"%PDF")):
        (folder / name).write_bytes(content)
    library = make()
    texts = await library.read_plain(["a.md", "b.txt", "bad.md", "c.pdf", "none.md", "../a.md"])
    assert {path: text.text for path, text in texts.items()} == {"a.md": "one", "b.txt": "two"}
    assert library.stats.documents == 2
    assert await library.read("a.md") is texts["a.md"]


async def test_many_texts_that_are_kept_on_disk_are_not_kept_in_memory_too(make: Make, folder: Path) -> None:
    (folder / "a.md").write_text("one", encoding="utf-8")
    library = make()
    library.read_before = lambda _paths: {}
    await library.read("a.md")
    assert library.stats.documents == 1
    (folder / "a.md").write_text("another", encoding="utf-8")
    (folder / "b.md").write_text("two", encoding="utf-8")
    texts = await library.read_plain(["a.md", "b.md"])
    assert [text.text for text in texts.values()] == ["another", "two"]
    assert library.stats.documents == 0


async def test_cancelling_a_read_of_many_ends_it(make: Make, folder: Path) -> None:
    (folder / "a.md").write_text("text")
    library = make()
    entered, go, opened = threading.Event(), threading.Event(), 0
    original = library.roots.open

    def slow(path: str) -> Any:
        nonlocal opened
        opened += 1
        entered.set()
        go.wait(60)
        return original(path)

    library.roots.open = slow  # type: ignore[method-assign]
    reader = asyncio.create_task(library.read_plain(["a.md"] * 1000))
    await until(entered.is_set)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    go.set()
    await asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 0.01)
    assert opened < 1000


async def test_a_file_above_the_limit_is_too_large(make: Make, folder: Path) -> None:
    for name in ("a.md", "a.pdf"):
        with (folder / name).open("wb") as out:
            out.truncate(10 * 1024**3)
        assert await reason(make(), name) == "too large"


async def test_a_warm_document_is_not_given_to_a_scope_without_it(make: Make, folder: Path) -> None:
    (folder / "a.md").write_text("text")
    library = make()
    await library.read("a.md")
    with narrowed_scope(Scope(("b",))):
        for ask in (library.read, library.stat):
            with pytest.raises(DocumentNotFound):
                await ask("a.md")
        assert await library.documents() == []


async def test_a_warm_document_of_a_missing_root_is_not_given(make: Make, folder: Path) -> None:
    (folder / "a.md").write_text("text")
    library = make()
    await library.read("a.md")
    folder.rename(folder.with_name("gone"))
    for asked in (library.read("a.md"), library.stat("a.md"), library.documents()):
        with pytest.raises(RootUnavailable):
            await asked


async def test_the_last_user_to_leave_closes_the_library(make: Make, folder: Path) -> None:
    (folder / "good.pdf").write_bytes(plain_pdf(TEXT))
    library = make()
    async with library:
        async with library:
            await library.read("good.pdf")
        assert library.stats.workers == 1
        (pid,) = library._pool.pids
    assert not is_alive(pid)
    assert (library.stats.workers, library.stats.documents, library.stats.cached_bytes) == (0, 0, 0)
    assert (await library.read("good.pdf")).text == TEXT  # it can be used again


@pytest.mark.usefixtures("workers_stand_still")
async def test_closing_lets_those_who_wait_know(make: Make, folder: Path) -> None:
    (folder / "slow.pdf").write_bytes(plain_pdf("slow"))
    library = make()
    async with library:
        reader = asyncio.create_task(reason(library, "slow.pdf"))
        await until(lambda: not library._pool._free)
    assert await reader == "not available"


def test_a_library_serves_one_event_loop_after_another(folder: Path) -> None:
    (folder / "a.pdf").write_bytes(plain_pdf(TEXT))
    (folder / "b.pdf").write_bytes(plain_pdf(TEXT))
    library = Library(RootsPolicy([Root("research", folder)]), Limits(workers=1))

    async def both() -> None:
        texts = await asyncio.gather(library.read("a.pdf"), library.read("b.pdf"))
        assert [text.text for text in texts] == [TEXT, TEXT]
        library.forget()

    for _ in range(3):
        asyncio.run(both())

    async def close() -> None:
        async with library:
            pass

    asyncio.run(close())


@pytest.mark.usefixtures("workers_stand_still")
async def test_the_event_loop_goes_on_while_documents_are_read(make: Make, folder: Path) -> None:
    (folder / "slow.pdf").write_bytes(plain_pdf("slow"))
    library = make()
    reader = asyncio.create_task(library.read("slow.pdf"))
    await until(lambda: bool(library._pool.pids))
    for _ in range(20):
        await asyncio.sleep(0.005)
        assert not reader.done()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader


def test_settings_make_roots_and_limits(folder: Path) -> None:
    settings = Settings(
        roots=(Root("research", folder),),
        max_file_bytes=2000,
        max_pages=2,
        max_text_bytes=2001,
        cache_bytes=2 * MIB,
        extract_workers=3,
        extract_timeout_s=4.0,
        page_timeout_s=5.0,
        worker_memory_bytes=200 * MIB,
    )
    library = Library.from_settings(settings)
    assert library.limits == Limits(
        max_file_bytes=2000,
        max_pages=2,
        max_text_bytes=2001,
        cache_bytes=2 * MIB,
        workers=3,
        document_timeout_s=4.0,
        page_timeout_s=5.0,
        worker_memory_bytes=200 * MIB,
    )
    assert Library.from_settings(Settings(roots=(Root("research", folder),))).limits == Limits()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.PDF", "application/pdf"),
        ("b.markdown", "text/markdown"),
        ("b.text", "text/plain"),
        (".md", None),
        ("a/.md", None),
        ("..md", None),
        ("a.md/b", None),
        ("a.md.", None),
        ("a.md ", None),
        ("md", None),
        ("", None),
    ],
)
def test_the_suffix_makes_the_document(path: str, expected: str | None) -> None:
    assert media_type_of(path) == expected
