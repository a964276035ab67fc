"""A folder in which most files are out to hurt their reader."""

import asyncio
import gc
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_documents.server import build_documents_server
from research_shared.access.roots import Root, RootsPolicy
from research_shared.reading.extraction.binary import _Extraction
from research_shared.reading.library import Library
from research_shared.reading.limits import Limits
from research_shared.settings import Settings
from support.pdf_files import HOSTILE, plain_pdf
from support.results import answer_of, error_of

pytestmark = pytest.mark.usefixtures("own_workers")

MIB = 1024 * 1024
REASONS = {"encrypted", "damaged", "not a PDF", "no text (scanned?)", "too large", "timed out", "undecodable"}
PATIENCE_S = 600.0
"""What is good, or known to be bad, is given all the time that a machine takes for it."""
HURRY_S = 1.0
"""Nothing is expected of what takes its reader longer, but that it comes to an end."""
GOOD = {"good-1.pdf": "wombat one", "good-2.pdf": "wombat two", "zz-good.pdf": "wombat three"}
EXPECTED = {
    "encryption_nobody_knows.pdf": "damaged",
    "truncated.pdf": "damaged",
    "page_tree_that_holds_itself.pdf": "damaged",
    "header_alone.pdf": "damaged",
    "nothing.pdf": "not a PDF",
    "another_format.pdf": "not a PDF",
}
BOMBS = ("flate_bomb.pdf", "nested_flate_bomb.pdf")
ODD_PDFS = os.environ.get("RESEARCH_TEST_ODD_PDFS")
"""A directory of PDFs found elsewhere, to be read as well."""


def own_memory() -> int:
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def workers() -> list[int]:
    """The child processes that read documents, as the system sees them."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == os.getpid() and b"_worker.py" in command:
            found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("research")
    for name, make in HOSTILE.items():
        (folder / f"{name}.pdf").write_bytes(make())
    for name, text in GOOD.items():
        (folder / name).write_bytes(plain_pdf(text))
    if ODD_PDFS:
        for file in Path(ODD_PDFS).glob("*.pdf"):
            (folder / f"odd-{file.name}").write_bytes(file.read_bytes())
    return folder


@pytest.fixture
async def client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client[Any]]:
    limits = Limits(
        document_timeout_s=PATIENCE_S,
        page_timeout_s=PATIENCE_S,
        worker_memory_bytes=384 * MIB,
        max_text_bytes=4 * MIB,
    )
    run = _Extraction.run

    async def run_in_time(reading: _Extraction) -> None:
        if Path(f"/proc/self/fd/{reading._fd}").readlink().name not in {*GOOD, *EXPECTED}:
            reading._limits = replace(limits, document_timeout_s=HURRY_S, page_timeout_s=HURRY_S / 2)
        await run(reading)

    monkeypatch.setattr(_Extraction, "run", run_in_time)
    # What has timed out is not tried again, however long the test takes.
    library = Library(RootsPolicy((Root("research", folder),)), limits, clock=lambda: 0.0)
    settings = Settings(roots=library.roots.roots, watch=False, index_wait_s=3600, search_deadline_s=3600)
    before = workers()
    async with Client(build_documents_server(settings, library=library)) as client:
        yield client
        await at_most(limits.workers, before)
    await at_most(0, before)


async def at_most(number: int, before: list[int]) -> None:
    """Wait until there are no more worker processes than that; one that was killed takes a moment to go."""
    async with asyncio.timeout(60):
        while len(set(workers()) - set(before)) > number:  # noqa: ASYNC110  (processes raise no event)
            await asyncio.sleep(0.01)


async def test_every_request_is_answered_and_the_good_files_are_found(client: Client[Any]) -> None:
    assert len(HOSTILE) >= 20
    listing = (await client.call_tool("list_research_documents", {"limit": 1000})).structured_content
    assert listing is not None
    paths = [document["path"] for document in listing["documents"]]
    assert {*GOOD, *(f"{name}.pdf" for name in HOSTILE)} <= set(paths)
    gc.collect()
    before = own_memory()
    unreadable: dict[str, str] = {}
    in_part: dict[str, str] = {}
    cut_short: set[str] = set()
    """How much of them is read before their time is up is no matter of the document; the search may read them again."""
    for path in paths:
        result = await client.call_tool("read_document", {"document_path": path}, raise_on_error=False)
        if result.is_error:
            error = error_of(result)
            assert error["code"] == "document_unreadable", path
            unreadable[path] = error["reason"]
        else:
            answer = answer_of(result)
            assert answer["total_lines"] > 0, path
            for note in answer.get("notes", ()):
                if note.endswith("missing"):
                    cut_short.add(path)
                elif note.endswith("Unicode table"):
                    in_part[path] = f"in part: {note}"
            in_part = {path: why for path, why in in_part.items() if path not in cut_short}
    assert set(unreadable.values()) <= REASONS
    assert {path: unreadable.get(path) for path in EXPECTED} == EXPECTED
    # On a slow machine, time runs out before memory does.
    assert {unreadable[path] for path in BOMBS} <= {"too large", "timed out"}
    assert not set(unreadable) & set(GOOD)

    for arguments in ({"query": "wombat"}, {"query": "wombat", "mode": "regex"}):
        result = await client.call_tool("search_documents", {**arguments, "limit": 1000})
        assert result.structured_content is not None
        found = {match["document"]: match["matched_text"] for match in result.structured_content["matches"]}
        assert found == GOOD
        reported = {item["path"]: item["reason"] for item in result.structured_content["unreadable"]}
        for path in cut_short:
            reported.pop(path, None)
        assert reported == unreadable | in_part
        assert "Traceback" not in json.dumps(result.structured_content)
    gc.collect()
    assert own_memory() - before < 100 * MIB


async def test_a_good_file_is_read_while_bad_ones_keep_the_workers_busy(client: Client[Any]) -> None:
    slow = [
        asyncio.create_task(
            client.call_tool("read_document", {"document_path": f"{name}.pdf"}, raise_on_error=False)
        )
        for name in ("many_pages_that_share_a_stream", "forms_that_multiply", "a_page_of_a_million_texts")
    ]
    result = await client.call_tool("read_document", {"document_path": "good-1.pdf"})
    assert result.structured_content is not None
    assert result.structured_content["lines"][0]["text"] == GOOD["good-1.pdf"]
    await asyncio.gather(*slow)
