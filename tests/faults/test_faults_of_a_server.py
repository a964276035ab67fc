"""Each fault that a server goes on with, as its operator and its clients see it: said once, and gone when it is gone."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from mcp_types import TextContent

from research_documents.search import SearchEngine
from research_gateway.app import build_gateway
from research_shared.access import beneath
from research_shared.access.roots import Root, RootsPolicy
from research_shared.faults import FAULT_KINDS, FaultKind, Faults
from research_shared.faults import kinds as k
from research_shared.reading.extraction.worker import Worker
from research_shared.reading.library import Library
from research_shared.settings import Settings
from support.asgi import send_request
from support.disks import small_disk
from support.pdf_files import plain_pdf
from support.results import error_of
from support.serving import until
from support.sizes import FULL
from support.tuning import TRUSTING


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Seen:
    """A gateway as its operator and a client see it."""

    app: Any
    client: Client[Any]
    folder: Path
    library: Library
    clock: Clock

    async def get(self, path: str) -> tuple[int, str]:
        answer = await send_request(self.app, b"", {}, method="GET", path=path)
        return answer.status, answer.body.decode()

    async def faults(self) -> tuple[int, list[dict[str, str]]]:
        """Status and faults of `/readyz`, which must be those of the metrics."""
        status, body = await self.get("/readyz")
        shown: list[dict[str, str]] = json.loads(body)["checks"]["faults"]["current"]
        _, figures = await self.get("/metrics")
        lines = dict(line.rsplit(" ", 1) for line in figures.splitlines() if "research_fault{" in line)
        gauges = {kind.name: float(lines[f'research_fault{{fault="{kind.name}"}}']) for kind in FAULT_KINDS}
        assert {name for name, value in gauges.items() if value} == {fault["fault"] for fault in shown}
        return status, shown

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self.client.call_tool(tool, arguments)
        assert result.structured_content is not None
        return result.structured_content

    async def refused(self, tool: str, **arguments: Any) -> dict[str, Any]:
        error: dict[str, Any] = error_of(await self.client.call_tool(tool, arguments, raise_on_error=False))
        return error

    async def found(self, query: str = "owls") -> list[str]:
        return [match["document"] for match in (await self.call("search_documents", query=query))["matches"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "research"
    folder.mkdir()
    (folder / "a.md").write_text("Owls hunt.\n", encoding="utf-8")
    return folder


@asynccontextmanager
async def seen(folder: Path, **changes: Any) -> AsyncIterator[Seen]:
    options: dict[str, Any] = {"watch": False, "extract_workers": 1, "search_deadline_s": 60, **changes}
    settings = Settings(
        roots=(Root("research", folder),),
        audit_log=folder.parent / "audit.jsonl",
        metrics=True,
        **options,
    )
    clock = Clock()
    library = Library(RootsPolicy(settings.roots, faults=Faults(clock)))
    gateway = build_gateway(settings, library=library)
    async with Client(gateway) as client:
        yield Seen(gateway.http_app(), client, folder, library, clock)


def logged(caplog: pytest.LogCaptureFixture, kind: FaultKind) -> list[str]:
    return [record.message for record in caplog.records if record.message in {kind.began, kind.ended}]


@pytest.mark.parametrize("told", [True, False])
async def test_a_folder_that_cannot_be_watched_is_scanned_by_searches_until_it_can(
    told: bool, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`told`: whether watchfiles says that it has left directories out, or only that another one cannot be watched."""
    tried, failing = 0, True

    def watch(
        *_folders: Path, stop_event: Any, recursive: bool = True, **_options: Any
    ) -> Iterator[set[Any]]:
        nonlocal tried
        tried += 1
        if failing and (told or not recursive):
            raise OSError(errno.ENOSPC, "OS file watch limit reached.")
        yield set()
        stop_event.wait()

    monkeypatch.setattr("watchfiles.watch", watch)
    async with seen(folder, watch=True, rescan_interval_s=0.02) as server:
        await until(lambda: tried > 2)
        assert await server.faults() == (200, [{"fault": "watching_failed"}])
        (folder / "b.md").write_text("Owls sleep.\n", encoding="utf-8")
        assert sorted(await server.found()) == ["a.md", "b.md"]
        failing = False
        await until(lambda: not server.library.faults.current)
        assert await server.faults() == (200, [])
        assert sorted(await server.found()) == ["a.md", "b.md"]
    assert logged(caplog, k.WATCHING_FAILED) == [k.WATCHING_FAILED.began, k.WATCHING_FAILED.ended]


async def test_workers_that_cannot_start_are_said_and_plain_texts_are_read_meanwhile(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "b.pdf").write_bytes(plain_pdf("Owls migrate."))
    os.utime(folder / "b.pdf", (1, 1))

    start, failing = Worker.start, True

    async def no_process(*args: Any) -> Worker:
        if failing:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return await start(*args)

    monkeypatch.setattr(Worker, "start", no_process)
    async with seen(folder) as server:
        assert await server.found() == ["a.md"]
        assert await server.faults() == (200, [{"fault": "workers_failed"}])
        for answer in (
            await server.call("list_research_documents"),
            await server.call("search_documents", query="owls"),
        ):
            assert k.WORKERS_FAILED.warning in answer["warnings"]
        error = await server.refused("read_document", document_path="b.pdf")
        assert (error["code"], error["reason"], error["retryable"]) == (
            "document_unreadable",
            "no process",
            True,
        )
        assert (await server.call("read_document", document_path="a.md"))["total_lines"] == 1
        failing = False
        server.clock.now += k.WORKERS_FAILED.settle_s
        assert (await server.call("read_document", document_path="b.pdf"))["pages"] == 1
        assert sorted(await server.found()) == ["a.md", "b.pdf"]
        assert await server.faults() == (200, [])
        assert "warnings" not in await server.call("search_documents", query="owls")
    assert logged(caplog, k.WORKERS_FAILED) == [k.WORKERS_FAILED.began, k.WORKERS_FAILED.ended]


@pytest.mark.parametrize("how", ["a file in its place", *(["others can write to it"] if FULL else [])])
async def test_an_index_directory_that_cannot_be_used_costs_no_answer(
    how: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = folder.parent / "index"
    if how == "a file in its place":
        place.write_text("foreign", encoding="utf-8")
    else:
        async with seen(folder, index_dir=place) as server:
            assert await server.found() == ["a.md"]
            assert await server.faults() == (200, [])
        (kept,) = place.iterdir()
        kept.chmod(0o777)
    async with seen(folder, index_dir=place) as server:
        answer = await server.call("search_documents", query="owls")
        assert (len(answer["matches"]), "warnings" in answer) == (1, False)
        assert await server.faults() == (200, [{"fault": "index_failed"}])
        assert await server.found() == ["a.md"]
    assert logged(caplog, k.INDEX_FAILED) == [k.INDEX_FAILED.began]


async def test_a_disk_that_gets_full_under_the_index_loses_no_document_and_is_used_again_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "research"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.md").write_text(f"honest\n{'all of it again ' * 6_000}\n", encoding="utf-8")
        os.utime(folder / f"{number}.md", (1, 1))
    clock = Clock()
    with small_disk(tmp_path / "index", kib=512) as enlarge:

        def engine() -> SearchEngine:
            return SearchEngine(
                Library(RootsPolicy([Root("research", folder)])),
                watch=False,
                index_dir=tmp_path / "index",
                index_wait_s=60,
                deadline_s=60,
                tuning=replace(TRUSTING, first_commit_s=0.0, commit_every_s=0.0),
                clock=lambda: clock.now + time.monotonic(),
            )

        async with engine() as first:
            outcome = await first.search("honest", limit=50)
            assert (len(outcome.hits), outcome.warnings) == (8, ())
            assert [fault.kind for fault in first._library.faults.current] == [k.INDEX_FAILED]
            enlarge()
            clock.now += TRUSTING.index_retry_s
            await first._updater.scan()
            assert len((await first.search("honest", limit=50)).hits) == 8
            await until(lambda: not first._library.faults.current)
        async with engine() as second:
            assert len((await second.search("honest", limit=50)).hits) == 8
            assert second._library.stats.misses == 0
    assert logged(caplog, k.INDEX_FAILED) == [k.INDEX_FAILED.began, k.INDEX_FAILED.ended]


@contextmanager
def lazily_unmounted(folder: Path) -> Iterator[Any]:
    """A folder that is mounted where that is allowed; otherwise one that is put in the place of an empty one.

    Yields (unmount, mount again).
    """
    below, content = folder.parent / "below", folder.parent / "content"
    shutil.copytree(folder, content)
    shutil.rmtree(folder)
    folder.mkdir()
    mount = ["mount", "--bind", str(content), str(folder)]
    if sys.platform == "linux" and subprocess.run(mount, check=False, capture_output=True).returncode == 0:
        try:
            yield (
                lambda: subprocess.run(["umount", "-l", str(folder)], check=True),
                lambda: subprocess.run(mount, check=True),
            )
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    else:
        folder.rename(below)
        content.rename(folder)

        def swap() -> None:
            folder.rename(content)
            below.rename(folder)
            content.rename(below)

        yield swap, swap


async def test_a_folder_that_was_unmounted_lazily_is_said_to_be_empty(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warning = k.ROOT_EMPTIED.warning.format(about="research")
    with lazily_unmounted(folder) as (unmount, mount):
        async with seen(folder) as server:
            assert await server.found() == ["a.md"]
            assert await server.faults() == (200, [])
            unmount()
            for tool, arguments in (
                ("search_documents", {"query": "owls"}),
                ("list_research_documents", {}),
                ("search_documents", {"query": "owls"}),
            ):
                answer = await server.client.call_tool(tool, arguments)
                assert answer.structured_content is not None
                assert answer.structured_content["warnings"][0] == warning
                (text,) = answer.content
                assert isinstance(text, TextContent)
                assert text.text.startswith("INCOMPLETE")
            error = await server.refused("read_document", document_path="a.md")
            assert (error["code"], warning in error["hint"]) == ("document_not_found", True)
            assert await server.faults() == (503, [{"fault": "root_emptied", "root": "research"}])
            mount()
            assert await server.found() == ["a.md"]
            assert await server.faults() == (200, [])
            assert "warnings" not in await server.call("list_research_documents")
    assert logged(caplog, k.ROOT_EMPTIED) == [k.ROOT_EMPTIED.began, k.ROOT_EMPTIED.ended]


async def test_a_folder_that_is_an_empty_directory_is_named_and_its_server_ready(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "a.md").unlink()
    async with seen(folder) as server:
        answer = await server.call("list_research_documents")
        assert (answer["total"], "warnings" in answer) == (0, False)
        assert await server.faults() == (200, [{"fault": "root_empty", "root": "research"}])
        (folder / "a.md").write_text("Owls hunt.\n", encoding="utf-8")
        assert await server.found() == ["a.md"]
        assert await server.faults() == (200, [])
    assert logged(caplog, k.ROOT_EMPTY) == [k.ROOT_EMPTY.began, k.ROOT_EMPTY.ended]


async def test_a_server_that_starts_before_its_folder_is_mounted_knows_it_from_the_kept_index(
    folder: Path,
) -> None:
    os.utime(folder / "a.md", (1, 1))
    index = folder.parent / "index"
    async with seen(folder, index_dir=index) as server:
        assert await server.found() == ["a.md"]
    (folder / "a.md").unlink()
    async with seen(folder, index_dir=index) as server:
        assert await server.found() == []
        assert await server.faults() == (503, [{"fault": "root_emptied", "root": "research"}])


async def test_a_folder_that_cannot_be_opened_is_named_until_it_can(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with seen(folder) as server:
        assert await server.found() == ["a.md"]
        folder.rename(folder.parent / "away")
        for _ in range(2):
            error = await server.refused("read_document", document_path="a.md")
            assert (error["code"], error["retryable"]) == ("root_unavailable", True)
        assert await server.faults() == (503, [{"fault": "root_unavailable", "root": "research"}])
        (folder.parent / "away").rename(folder)
        assert await server.faults() == (200, [])
        assert await server.found() == ["a.md"]
    assert logged(caplog, k.ROOT_UNAVAILABLE) == [k.ROOT_UNAVAILABLE.began, k.ROOT_UNAVAILABLE.ended]


@pytest.mark.parametrize("number", [errno.ESTALE, *([errno.ENOTCONN, errno.EIO] if FULL else [])])
async def test_a_file_system_that_fails_is_named_until_all_of_the_folder_can_be_listed(
    number: int, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_args: Any, **_options: Any) -> int:
        raise OSError(number, os.strerror(number))

    async with seen(folder) as server:
        assert await server.found() == ["a.md"]
        with monkeypatch.context() as patch:
            patch.setattr(beneath, "open_unlinked", failing)
            patch.setattr(beneath, "open_walking", failing)
            for tool, arguments in (("search_documents", {"query": "owls"}), ("list_research_documents", {})):
                error = await server.refused(tool, **arguments)
                assert (error["code"], error["retryable"]) == ("root_unavailable", True)
            assert await server.faults() == (503, [{"fault": "root_failing", "root": "research"}])
        server.clock.now += k.ROOT_FAILING.settle_s
        assert await server.found() == ["a.md"]
        await server.call("list_research_documents")
        assert await server.faults() == (200, [])
    assert logged(caplog, k.ROOT_FAILING) == [k.ROOT_FAILING.began, k.ROOT_FAILING.ended]


async def test_a_directory_that_fails_while_it_is_listed_is_left_out_and_said(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("broken/b.md", "later/c.md"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("Owls sleep.\n", encoding="utf-8")
    broken, scandir = (folder / "broken").stat().st_ino, os.scandir

    def failing(found: Iterator[Any]) -> Iterator[Any]:
        yield from ()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    @contextmanager
    def scanned(fd: int) -> Iterator[Iterator[Any]]:
        with scandir(fd) as found:
            yield failing(found) if os.fstat(fd).st_ino == broken else found

    async with seen(folder) as server:
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", scanned)
            warning = k.DIRECTORY_FAILING.warning.format(about="research")
            listing = await server.call("list_research_documents")
            assert [document["path"] for document in listing["documents"]] == ["a.md", "later/c.md"]
            assert listing["warnings"][0] == warning
            found = await server.call("search_documents", query="owls")
            assert sorted(match["document"] for match in found["matches"]) == ["a.md", "later/c.md"]
            assert warning in found["warnings"]
            assert await server.faults() == (200, [{"fault": "directory_failing", "root": "research"}])
        assert len((await server.call("list_research_documents"))["documents"]) == 3
        assert await server.faults() == (200, [])
    assert logged(caplog, k.DIRECTORY_FAILING) == [k.DIRECTORY_FAILING.began, k.DIRECTORY_FAILING.ended]
    (told,) = [record for record in caplog.records if record.message == k.DIRECTORY_FAILING.began]
    assert vars(told)["error"] == f"{os.strerror(errno.EIO)} (in 1 of its directories)"


async def test_one_file_that_the_file_system_fails_to_give_leaves_the_server_ready(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "b.md").write_text("Owls sleep.\n", encoding="utf-8")
    originals = {name: getattr(beneath, name) for name in ("open_unlinked", "open_walking")}

    def failing(name: str, root_fd: int, parts: Any, *rest: Any, **options: Any) -> int:
        if parts == (b"b.md",):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return int(originals[name](root_fd, parts, *rest, **options))

    for name in originals:  # before the server indexes the folder
        monkeypatch.setattr(beneath, name, partial(failing, name))
    async with seen(folder) as server:
        error = await server.refused("read_document", document_path="b.md")
        assert (error["code"], error["reason"]) == ("document_unreadable", "not available")
        answer = await server.call("search_documents", query="owls")
        assert [match["document"] for match in answer["matches"]] == ["a.md"]
        assert answer["unreadable"] == [{"path": "b.md", "reason": "not available"}]
        assert await server.faults() == (200, [])


def _take_every_descriptor(held: list[int]) -> None:
    with suppress(OSError):
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))


async def test_a_process_that_can_open_nothing_more_refuses_calls_and_goes_on_when_it_can(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import resource

    async with seen(folder) as server:
        assert await server.found() == ["a.md"]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        held: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        try:
            _take_every_descriptor(held)
            for tool, arguments in (
                ("read_document", {"document_path": "a.md"}),
                ("search_documents", {"query": "owls"}),
                ("list_research_documents", {}),
            ):
                error = await server.refused(tool, **arguments)
                assert (error["code"], error["retryable"]) == ("overloaded", True)
        finally:
            for fd in held:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert await server.faults() == (200, [{"fault": "out_of_files"}])
        server.clock.now += k.OUT_OF_FILES.settle_s
        assert await server.found() == ["a.md"]
        assert await server.faults() == (200, [])
    assert logged(caplog, k.OUT_OF_FILES) == [k.OUT_OF_FILES.began, k.OUT_OF_FILES.ended]
