"""Faults of real processes. They take seconds, so that only the long variant tries them."""

import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client

from research_shared.faults import OUT_OF_FILES, WATCHING_FAILED
from support.processes import Server, served
from support.serving import until
from support.sizes import FULL

HELD_COMMIT = Path(__file__).parents[1] / "support" / "held_commit.py"
FOLLOWS = "another process writes the kept index"
TAKEN_OVER = "the process that wrote the kept index has ended; this one writes now"


async def search(client: Client[Any], query: str = "honest") -> dict[str, Any]:
    """The answer to a search, once it is complete."""
    with anyio.fail_after(120):
        while True:
            result = await client.call_tool("search_documents", {"query": query, "limit": 1_000})
            answer: dict[str, Any] = result.structured_content or {}
            if not any(warning.startswith("INCOMPLETE") for warning in answer.get("warnings", ())):
                return answer


def succeeds(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "research"
    folder.mkdir()
    (folder / "a.md").write_text("honest\n", encoding="utf-8")
    return folder


def kept_documents(index: Path) -> int:
    """How many documents have their text in the directory of the index."""
    for place in index.glob("*/texts.sqlite"):
        try:
            with closing(sqlite3.connect(f"{place.as_uri()}?mode=ro", uri=True)) as database:
                count: int = database.execute("SELECT count(*) FROM document").fetchone()[0]
        except sqlite3.Error:
            return 0
        return count
    return 0


def fill(folder: Path, count: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        text = "".join(f"line {line} of document {number} is honest\n" for line in range(2_000))
        (folder / f"{number}.md").write_text(text, encoding="utf-8")
        os.utime(folder / f"{number}.md", (1, 1))


if FULL:

    async def test_three_processes_that_start_at_once_on_a_fresh_index_directory_all_answer(
        folder: Path, tmp_path: Path
    ) -> None:
        fill(folder, 10)
        environment = {"RESEARCH_INDEX_DIR": str(tmp_path / "index")}
        async with AsyncExitStack() as stack:
            servers: list[Server] = []

            async def start() -> None:
                servers.append(await stack.enter_async_context(served(folder, **environment)))

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(start)
                    await anyio.lowlevel.checkpoint()
            for server in servers:
                async with Client(server.url) as client:
                    assert (await search(client))["total_documents"] == 11
                assert await server.faults() == []
            logs = [server.said(FOLLOWS) for server in servers]
        assert sorted(logs) == [0, 1, 1]
        assert kept_documents(tmp_path / "index") == 11

    async def test_a_reader_takes_over_from_a_writer_that_is_killed_while_it_commits(
        folder: Path, tmp_path: Path
    ) -> None:
        fill(tmp_path / "later", 50)  # before the others: old enough to be kept once those are
        fill(folder, 50)
        index, hold, reached = (tmp_path / name for name in ("index", "hold", "reached"))
        environment = {"RESEARCH_INDEX_DIR": str(index), "RESEARCH_RESCAN_INTERVAL_S": "1"}
        prefix = [sys.executable, str(HELD_COMMIT), str(hold), str(reached)]
        async with served(folder, prefix=prefix, **environment) as writer:
            await until(lambda: kept_documents(index) == 51, within_s=120)
            hold.touch()
            (tmp_path / "later").rename(folder / "later")
            await until(reached.exists, within_s=120)
            async with served(folder, **environment) as reader:
                await reader.says(FOLLOWS)
                writer.kill()
                assert kept_documents(index) == 51
                async with Client(reader.url) as client:
                    assert (await search(client))["total_documents"] == 101
                    await reader.says(TAKEN_OVER)
                    await until(lambda: kept_documents(index) == 101, within_s=120)
                    (folder / "new.md").write_text("honest\n", encoding="utf-8")
                    await until(lambda: kept_documents(index) == 102, within_s=120)
                    assert (await search(client))["total_documents"] == 102
                assert await reader.faults() == []
                assert reader.said(TAKEN_OVER) == 1
        async with served(folder, **environment) as last, Client(last.url) as client:
            assert (await search(client))["total_documents"] == 102

    async def test_a_server_without_descriptors_lives_on_and_recovers(folder: Path) -> None:
        prefix = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
        environment = {"RESEARCH_WATCH": "false", "RESEARCH_RESCAN_INTERVAL_S": "0.5"}
        async with served(folder, prefix=prefix, **environment) as server:
            async with Client(server.url) as client:
                assert (await search(client))["total_documents"] == 1
                flood = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(80)]
                await server.says(OUT_OF_FILES.began)
                for connection in flood:
                    connection.close()
                await server.says(OUT_OF_FILES.ended)
            async with Client(server.url) as client:
                assert (await search(client))["total_documents"] == 1
                assert await server.faults() == []
            assert server.said(OUT_OF_FILES.began) == 1

    async def test_a_server_out_of_inotify_watches_scans_and_watches_once_there_are_some(
        folder: Path,
    ) -> None:
        limit = "/proc/sys/user/max_inotify_watches"
        prefix = ["unshare", "-U", "-r", "sh", "-c", f'echo 2 > {limit}; exec "$@"', "sh"]
        if not succeeds(*prefix, "true"):
            pytest.skip("user namespaces are not allowed here")
        (folder / "old").mkdir()
        async with served(folder, prefix=prefix, RESEARCH_RESCAN_INTERVAL_S="1") as server:

            async def allow(watches: int) -> None:
                enter = ["nsenter", "--user", f"--target={server.process.pid}", "--preserve-credentials"]
                assert succeeds(*enter, "sh", "-c", f"echo {watches} > {limit}")

            async with Client(server.url) as client:
                await server.says(WATCHING_FAILED.began)
                assert await server.faults() == [WATCHING_FAILED.name]
                (folder / "old" / "new.md").write_text("honest\n", encoding="utf-8")
                assert (await search(client))["total_documents"] == 2
                await allow(3)
                await server.says(WATCHING_FAILED.ended)
                assert await server.faults() == []
                for name in ("b", "c"):  # the watches are used up, one by one
                    (folder / name).mkdir()
                await until(lambda: server.said(WATCHING_FAILED.began) == 2, within_s=120)
                (folder / "c" / "new.md").write_text("honest\n", encoding="utf-8")
                assert (await search(client))["total_documents"] == 3
                await allow(100)
                await until(lambda: server.said(WATCHING_FAILED.ended) == 2, within_s=120)
                assert (await search(client))["total_documents"] == 3
