"""Requests that nobody waits for any more."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from library.test_pdf import is_alive, until
from research_documents.server import build_documents_server
from research_gateway.app import build_gateway
from research_shared.access.roots import Root
from research_shared.reading.library import Library
from research_shared.settings import Settings
from support.pdf_files import plain_pdf

pytestmark = pytest.mark.usefixtures("own_workers")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "research"
    folder.mkdir()
    (folder / "good.pdf").write_bytes(plain_pdf("wombat"))
    return Settings(
        roots=(Root("research", folder),),
        audit_log=tmp_path / "audit.jsonl",
        watch=False,
        extract_workers=1,
        search_deadline_s=60,
        worker_memory_bytes=4096 * 1024 * 1024,
    )


@pytest.fixture
def library(settings: Settings) -> Library:
    return Library.from_settings(settings)


@pytest.fixture(params=["documents server", "gateway"])
async def client(
    request: pytest.FixtureRequest, settings: Settings, library: Library
) -> AsyncIterator[Client[Any]]:
    build = build_gateway if request.param == "gateway" else build_documents_server
    async with Client(build(settings, library=library)) as connected:
        yield connected


async def test_cancelling_a_request_frees_its_worker(
    client: Client[Any], library: Library, settings: Settings
) -> None:
    # Once the index has what is there, nobody but this request wants the document that comes now.
    found = await client.call_tool("search_documents", {"query": "wombat"})
    assert found.structured_content is not None
    assert len(found.structured_content["matches"]) == 1
    (settings.roots[0].directory / "slow.pdf").write_bytes(plain_pdf("slow"))
    (pid,) = library._pool.pids
    os.kill(pid, signal.SIGSTOP)  # so that it never ends by itself
    reading = asyncio.create_task(client.call_tool("read_document", {"document_path": "slow.pdf"}))
    await until(lambda: not library._pool._free)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await until(lambda: not is_alive(pid) and bool(library._pool._free))
    library.forget()
    result = await client.call_tool("read_document", {"document_path": "good.pdf"})
    assert result.structured_content is not None
    assert result.structured_content["lines"][0]["text"] == "wombat"
