"""Things that change under the server's hands while it looks at them."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastmcp import Client

from research_documents.server import build_documents_server
from research_shared.access.roots import Root, RootsPolicy
from research_shared.errors import DocumentNotFound, DocumentUnreadable, RootUnavailable
from research_shared.reading.library import Library
from research_shared.reading.limits import Limits
from research_shared.settings import Settings
from support import swapper
from support.results import error_of
from support.sizes import FULL
from support.world import CANARY

OPERATIONS = 50_000 if FULL else 4_000
SERVER_OPERATIONS = 600 if FULL else 12
INSIDE = "wombat inside\n"

REFUSALS = (DocumentNotFound, DocumentUnreadable, RootUnavailable)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which `dir` and `leaf.md` have doubles that lead outside."""
    outside, folder = tmp_path / "outside", tmp_path / "research"
    outside.mkdir()
    (folder / "dir").mkdir(parents=True)
    for name in ("a.md", "leaf.md"):
        (outside / name).write_text(CANARY, encoding="utf-8")
    (folder / "dir" / "a.md").write_text(INSIDE, encoding="utf-8")
    (folder / "leaf.md").write_text(INSIDE, encoding="utf-8")
    (tmp_path / "dir-link").symlink_to(outside)
    (tmp_path / "relative-link").symlink_to("../outside")
    (tmp_path / "leaf-link.md").symlink_to(outside / "leaf.md")
    return folder


@contextmanager
def swapping(*pairs: tuple[Path, Path]) -> Iterator[None]:
    """Exchange these names without pause, in a process of its own."""
    script = Path(swapper.__file__)
    arguments = [str(path) for pair in pairs for path in pair]
    process = subprocess.Popen(
        [sys.executable, "-I", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        yield
    finally:
        process.communicate(timeout=60)
    assert process.returncode == 0


def doubles(folder: Path) -> tuple[tuple[Path, Path], ...]:
    """What is inside, and what takes its place and leads outside."""
    base = folder.parent
    return (
        (folder / "dir", base / "dir-link"),
        (folder / "leaf.md", base / "leaf-link.md"),
        (folder / "dir", base / "relative-link"),
    )


def read(policy: RootsPolicy, path: str) -> bytes:
    document = policy.open(path)
    try:
        return os.read(document.fd, 1000)
    finally:
        os.close(document.fd)


def test_this_race_is_lost_by_looking_before_opening(folder: Path) -> None:
    """What the others show is worth something only if the usual way of checking a path does leak here."""
    leaf = folder / "leaf.md"
    with swapping(*doubles(folder)):
        for _ in range(200_000):
            try:
                leaked = leaf.resolve(strict=True).is_relative_to(folder) and CANARY in leaf.read_text(
                    "utf-8"
                )
            except OSError:
                continue
            if leaked:
                return
    pytest.fail("nothing leaked: names are not swapped fast enough to show anything")


@pytest.mark.parametrize("openat2", [True, False], ids=["openat2", "walk"])
def test_nothing_leaks_while_a_directory_and_a_leaf_are_swapped(folder: Path, openat2: bool) -> None:
    policy = RootsPolicy([Root("research", folder)], openat2=openat2)
    size = (folder / "leaf.md").stat().st_size
    done = inside = refused = swaps = 0
    before: dict[str, bool] = {}
    with swapping(*doubles(folder)):
        # As long as it takes: on a single processor, nothing is swapped while this process runs.
        while done < OPERATIONS or min(inside, refused) <= OPERATIONS // 100 or swaps < 20:
            for path in ("dir/a.md", "leaf.md"):
                try:
                    content = read(policy, path)
                except REFUSALS:
                    given = False
                    refused += 1
                else:
                    assert content == INSIDE.encode()
                    given = True
                    inside += 1
                swaps += before.get(path) is not given
                before[path] = given
            for info in policy.walk():
                # The size in a listing would tell about what is outside, too.
                assert info.size_bytes == size
            done += 3


async def test_nothing_leaks_from_the_library_while_names_are_swapped(folder: Path) -> None:
    library = Library(RootsPolicy([Root("research", folder)]), Limits(workers=1))
    seen: set[str] = set()
    with swapping(*doubles(folder)):
        for _ in range(OPERATIONS // 60):
            replies = await asyncio.gather(
                *(library.read(path) for path in ("dir/a.md", "leaf.md") * 5), return_exceptions=True
            )
            for reply in replies:
                assert not isinstance(reply, BaseException) or isinstance(reply, REFUSALS)
                seen.add(reply.text if not isinstance(reply, BaseException) else "refused")
    assert seen <= {INSIDE, "refused"}
    assert INSIDE in seen


async def test_nothing_leaks_from_the_server_while_names_are_swapped(folder: Path) -> None:
    settings = Settings(roots=(Root("research", folder),), watch=False, extract_workers=1)
    async with Client(build_documents_server(settings)) as client:
        with swapping(*doubles(folder)):
            for number in range(SERVER_OPERATIONS):
                mode = "regex" if number % 2 else "keyword"
                for tool, arguments in (
                    ("read_document", {"document_path": "dir/a.md"}),
                    ("read_document", {"document_path": "leaf.md"}),
                    ("list_research_documents", {}),
                    ("search_documents", {"query": "wombat", "mode": mode}),
                    ("search_documents", {"query": CANARY.replace("-", "."), "mode": "regex"}),
                ):
                    result = await client.call_tool(tool, arguments, raise_on_error=False)
                    assert CANARY not in repr(result)
                    if result.is_error:
                        assert error_of(result)["code"] in {
                            "document_not_found",
                            "document_unreadable",
                        }
        found = await client.call_tool("search_documents", {"query": "wombat"})
        assert found.structured_content is not None
        assert {match["document"] for match in found.structured_content["matches"]} <= {"dir/a.md", "leaf.md"}


def test_a_root_that_is_swapped_for_a_link_never_leads_outside(folder: Path) -> None:
    (folder.parent / "outside" / "dir").mkdir()
    (folder.parent / "outside" / "dir" / "a.md").write_text(CANARY, encoding="utf-8")
    link = folder.parent / "root-link"
    link.symlink_to(folder.parent / "outside")
    policy = RootsPolicy([Root("research", folder)])
    tried = unavailable = 0
    with swapping((folder, link)):
        while tried < OPERATIONS // 10 or not unavailable:  # until it was met both ways, on any machine
            tried += 1
            try:
                assert read(policy, "dir/a.md") == INSIDE.encode()
                assert {info.path for info in policy.walk()} <= {"dir/a.md", "leaf.md"}
            except RootUnavailable:
                unavailable += 1


async def test_files_that_change_all_the_time_are_read_whole_or_not_at_all(tmp_path: Path) -> None:
    """A file grows, shrinks, is replaced and vanishes; each text that is given was there at one moment."""
    folder = tmp_path / "research"
    folder.mkdir()
    file = folder / "a.md"
    stop = threading.Event()

    def run() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            letter = "abcdefgh"[number % 8]
            if number % 3:
                fresh = tmp_path / "fresh"
                fresh.write_text(letter * (1000 * (number % 7 + 1)), encoding="utf-8")
                fresh.rename(file)
            else:
                file.unlink(missing_ok=True)

    thread = threading.Thread(target=run)
    library = Library(RootsPolicy([Root("research", folder)]), Limits(workers=1))
    thread.start()
    both = {"missing", "whole"}
    seen: set[str] = set()
    try:
        attempts = 0
        while attempts < OPERATIONS // 20 or seen != both:  # until the file was met both ways, on any machine
            attempts += 1
            try:
                text = (await library.read("a.md")).text
            except DocumentNotFound:
                seen.add("missing")
                continue
            except DocumentUnreadable as refusal:
                assert refusal.reason == "changed while being read"  # noqa: PT017
                continue
            assert len(set(text)) == 1
            assert len(text) % 1000 == 0
            seen.add("whole")
    finally:
        stop.set()
        thread.join()
