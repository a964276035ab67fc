"""What a client hears while the documents server waits for the folder, the index or a document."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_documents.server import build_documents_server
from research_gateway.app import build_gateway
from research_shared.documents import DocumentInfo, DocumentText
from research_shared.middleware.heartbeat import Heartbeat
from research_shared.reading.library import Library
from research_shared.settings import Settings
from support.serving import until

QUICK = Heartbeat(after_s=0.01, every_s=0.01)


class SlowLibrary(Library):
    """Finds and reads nothing before a heartbeat has said that it is waited for."""

    heard: list[str]

    async def _heard(self, what: str) -> None:
        await until(lambda: any(message.startswith(f"waiting for {what} (") for message in self.heard))

    async def documents(self, pattern: str = "*") -> list[DocumentInfo]:
        await self._heard(self.waits_for)
        return await super().documents(pattern)

    async def read(self, path: str) -> DocumentText:
        await self._heard(path)
        return await super().read(path)

    waits_for = ""


@pytest.mark.parametrize("build", [build_documents_server, build_gateway])
@pytest.mark.parametrize(
    ("tool", "arguments", "what"),
    [
        ("list_research_documents", {}, "list_research_documents"),
        ("search_documents", {"query": "wombat"}, "the index"),
        ("read_document", {"document_path": "notes/a.md"}, "notes/a.md"),
    ],
)
async def test_a_tool_says_what_it_waits_for(
    tmp_path: Path, build: Any, tool: str, arguments: dict[str, Any], what: str
) -> None:
    (tmp_path / "research" / "notes").mkdir(parents=True)
    (tmp_path / "research" / "notes" / "a.md").write_text("a wombat\n", encoding="utf-8")
    settings = Settings.load(
        {},
        roots=str(tmp_path / "research"),
        search_deadline_s=120,
        watch=False,
        audit_log=tmp_path / "audit.jsonl",
    )
    library = SlowLibrary.from_settings(settings)
    library.heard, library.waits_for = [], what
    values: list[float] = []

    async def hear(value: float, _total: float | None, message: str | None) -> None:
        values.append(value)
        library.heard.append(message or "")

    server = build(settings, library=library, heartbeat=QUICK)
    async with Client(server, progress_handler=hear) as client:
        result = await client.call_tool(tool, arguments)
    assert not result.is_error
    assert all(a < b for a, b in pairwise(values))
