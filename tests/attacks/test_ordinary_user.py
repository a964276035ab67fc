"""Where permissions matter: the servers run by somebody to whom they apply."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, FastMCP

from library.test_roots import as_ordinary_user
from research_documents.server import build_documents_server
from research_gateway.app import build_gateway
from research_shared.access.roots import Root
from research_shared.settings import Settings
from support.results import answer_of
from support.world import CANARY

EVERY_CALL: tuple[tuple[str, dict[str, Any]], ...] = (
    ("read_document", {"document_path": "open.md"}),
    ("list_research_documents", {}),
    ("search_documents", {"query": "wombat"}),
    ("search_documents", {"query": "wombat", "mode": "regex"}),
)


@pytest.fixture
def base() -> Iterator[Path]:
    """A place that an ordinary user can get to, with a folder in which not everything is theirs to read."""
    base = Path(tempfile.mkdtemp(prefix="research-test-"))
    base.chmod(0o755)
    folder = base / "research"
    (folder / "shut").mkdir(parents=True)
    (folder / "open.md").write_text("wombat\n", encoding="utf-8")
    for path in ("closed.md", "shut/a.md"):
        (folder / path).write_text(f"{CANARY} wombat\n", encoding="utf-8")
    (folder / "closed.md").chmod(0o000)
    (folder / "shut").chmod(0o000)
    yield base
    (folder / "shut").chmod(0o755)
    shutil.rmtree(base)


@pytest.fixture(params=["documents server", "gateway"])
async def build(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Settings], FastMCP[Any]]:
    """What builds the server. Root's Python may be out of an ordinary user's reach, so it has imported all it needs."""
    build = build_gateway if request.param == "gateway" else build_documents_server
    (tmp_path / "open.md").write_text("wombat\n", encoding="utf-8")
    async with Client(build(settings_for(tmp_path, tmp_path.with_name("audit")))) as warming:
        for tool, arguments in EVERY_CALL:
            await call(warming, tool, **arguments)
    return build


@pytest.fixture
def ordinary_user(build: Callable[[Settings], FastMCP[Any]], base: Path) -> Iterator[None]:
    """Act as an ordinary user until the client is gone.

    Apart from the client's fixture: anyio does not finish an async fixture when a task fails while it is set up, and
    the process would be that user's for good.
    """
    with as_ordinary_user(base, base / "research"):
        yield


@pytest.fixture
async def client(
    build: Callable[[Settings], FastMCP[Any]], base: Path, ordinary_user: None
) -> AsyncIterator[Client[Any]]:
    async with Client(build(settings_for(base / "research", base / "audit.jsonl"))) as connected:
        yield connected


def settings_for(folder: Path, audit_log: Path) -> Settings:
    return Settings(roots=(Root("research", folder),), audit_log=audit_log, watch=False, extract_workers=1)


async def call(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments, raise_on_error=False)
    assert CANARY not in repr(result)
    return answer_of(result)


async def test_what_the_server_may_not_read_is_named_and_not_shown(client: Client[Any], base: Path) -> None:
    assert os.geteuid() != 0
    listing = await call(client, "list_research_documents")
    assert [document["path"] for document in listing["documents"]] == ["closed.md", "open.md"]
    refused = await call(client, "read_document", document_path="closed.md")
    assert (refused["error"]["code"], refused["error"]["reason"]) == ("document_unreadable", "not permitted")
    for mode in ("keyword", "regex"):
        found = await call(client, "search_documents", query="wombat", mode=mode)
        assert [match["document"] for match in found["matches"]] == ["open.md"]
        assert found["unreadable"] == [{"path": "closed.md", "reason": "not permitted"}]
    missing = await call(client, "read_document", document_path="shut/none.md")
    assert await call(client, "read_document", document_path="shut/a.md") == missing
    assert missing["error"]["code"] == "document_not_found"


async def test_a_folder_that_becomes_unreadable_fails_closed_and_recovers(
    client: Client[Any], base: Path
) -> None:
    await call(client, "read_document", document_path="open.md")
    for mode in (0o000, 0o444):
        (base / "research").chmod(mode)
        for tool, arguments in EVERY_CALL:
            assert (await call(client, tool, **arguments))["error"]["code"] == "root_unavailable"
    (base / "research").chmod(0o755)
    found = await call(client, "search_documents", query="wombat")
    assert [match["document"] for match in found["matches"]] == ["open.md"]
