"""A kept index, as a client that starts the server over stdio again and again meets it."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.client.transports import StdioTransport

import research_documents.cli
import research_gateway.cli
from research_shared.errors import ConfigurationError
from research_shared.settings import Settings
from support.sizes import FULL

BIN = Path(sys.executable).parent
SAMPLES = Path(__file__).parents[2] / "gateway" / "research_gateway" / "samples"
CACHE = "research-assistant-mcp"
APPS = {"research-assistant": research_gateway.cli.app, "research-documents": research_documents.cli.app}


def environment(cache: Path, **extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESEARCH_")}
    return kept | {"HOME": str(cache), "XDG_CACHE_HOME": str(cache)} | extra


async def first_answer(
    command: str, folder: Path, cache: Path, *options: str, **extra: str
) -> dict[str, Any]:
    """What the first search after a start gives."""
    transport = StdioTransport(
        str(BIN / command),
        ["serve", "--root", str(folder), *options],
        env=environment(cache, **extra),
        keep_alive=False,
    )
    return await search(transport)


async def search(target: Any) -> dict[str, Any]:
    async with Client(target) as client:
        result = await client.call_tool(
            "search_documents", {"query": "burnout score", "file_pattern": "*.pdf"}
        )
    found: dict[str, Any] | None = result.structured_content
    assert found is not None
    return found


async def first_answer_here(
    command: str, folder: Path, cache: Path, *options: str, **extra: str
) -> dict[str, Any]:
    """The same from the server that the command line builds, in this process and without a transport."""
    servers: list[FastMCP[Any]] = []

    def serve(build: Callable[[Settings], FastMCP[Any]], settings: Settings, **_: Any) -> None:
        servers.append(build(settings))

    with pytest.MonkeyPatch.context() as patch:
        for name in (name for name in os.environ if name.startswith("RESEARCH_")):
            patch.delenv(name)
        for name, value in ({"HOME": str(cache), "XDG_CACHE_HOME": str(cache)} | extra).items():
            patch.setenv(name, value)
        patch.setattr("research_shared.serving.run.serve", serve)
        patch.setattr("research_shared.serving.commandline.disable_gc_for_startup", lambda: None)
        APPS[command](["serve", "--root", str(folder), *options], result_action="return_value")
    return await search(servers.pop())


at_a_start = first_answer if FULL else first_answer_here
"""Processes of their own take seconds; the quick tests start one where it matters that it is another one."""


def kept_texts(cache: Path) -> dict[str, int]:
    """Which version of each document is kept."""
    (place,) = cache.rglob("texts.sqlite")
    assert (place.parent.stat().st_mode & 0o777, place.parent.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    database = sqlite3.connect(place)
    try:
        return dict(database.execute("SELECT path, id FROM indexed").fetchall())
    finally:
        database.close()


@pytest.mark.parametrize(
    ("command", "options", "extra"),
    [
        ("research-assistant", ("--index", "auto"), {}),
        ("research-documents", (), {"RESEARCH_INDEX_DIR": "auto"}),
    ][: None if FULL else 1],
)
async def test_the_second_start_is_complete_without_reading_anything_again(
    command: str, options: tuple[str, ...], extra: dict[str, str], tmp_path: Path
) -> None:
    folder, cache = tmp_path / "research", tmp_path / "cache"
    shutil.copytree(SAMPLES, folder)
    (folder / "duty-rota-agreement.pdf").unlink()  # a scan, of which every answer warns
    first = await at_a_start(command, folder, cache, *options, **extra)
    assert first["matches"][0]["document"] == "results-report.pdf"
    texts = kept_texts(cache)
    assert texts.keys() == {file.name for file in folder.iterdir()}
    second = await first_answer(command, folder, cache, *options, **extra)
    assert second == first
    assert kept_texts(cache) == texts  # a document that is read again gets another id
    assert ("warnings" in second, "indexing" in second, second["truncated"]) == (False, False, False)


async def test_nothing_is_kept_by_default_or_when_the_option_says_none(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    await at_a_start("research-documents", SAMPLES, cache)
    await at_a_start("research-documents", SAMPLES, cache, "--index", "none", RESEARCH_INDEX_DIR="auto")
    assert list(cache.rglob("*sqlite*")) == []


async def test_a_cache_directory_that_cannot_be_used_leaves_the_index_in_memory(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a directory", encoding="utf-8")
    found = await at_a_start("research-documents", SAMPLES, tmp_path / "cache", "--index", "auto")
    assert found["matches"][0]["document"] == "results-report.pdf"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("none", None),
        ("~/kept", Path("/somewhere/kept")),
        ("kept", Path.cwd() / "kept"),
        ("/kept", Path("/kept")),
    ],
)
def test_the_setting_names_a_directory(
    value: str | None, expected: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert Settings.load({} if value is None else {"RESEARCH_INDEX_DIR": value}).index_dir == expected


def test_auto_is_a_directory_in_the_cache_directory_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    chosen = Settings.load({"RESEARCH_INDEX_DIR": "auto"}).index_dir
    assert chosen in {Path("/somewhere/cache") / CACHE, Path("/somewhere/Library/Caches") / CACHE}


@pytest.mark.parametrize("value", ["", "~nobody-of-that-name/x"])
def test_what_names_no_directory_is_refused_in_one_line(value: str) -> None:
    with pytest.raises(ConfigurationError, match="RESEARCH_INDEX_DIR=") as refused:
        Settings.load(index_dir=value)
    assert "\n" not in refused.value.message
