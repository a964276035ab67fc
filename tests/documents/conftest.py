"""A small research folder and a client of the gateway over it."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, FastMCP

from research_documents.server import build_documents_server
from research_shared.access.roots import Root
from research_shared.settings import Settings

SAMPLES = Path(__file__).parents[2] / "gateway" / "research_gateway" / "samples"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "research"
    (root / "reports").mkdir(parents=True)
    shutil.copy(SAMPLES / "results-report.pdf", root / "reports")
    shutil.copy(SAMPLES / "client-impact.md", root)
    (root / "numbers.txt").write_text("".join(f"line {n} of many\n" for n in range(1, 501)), encoding="utf-8")
    (root / "photo.png").write_bytes(b"\x89PNG")
    (root / "broken.pdf").write_bytes(b"not really a pdf")
    return root


@pytest.fixture
def settings(folder: Path, tmp_path: Path) -> Settings:
    return Settings(
        roots=(Root("research", folder),),
        audit_log=tmp_path / "audit.jsonl",
        watch=False,
        extract_workers=1,
        search_deadline_s=60,
    )


@pytest.fixture(params=["documents server", "gateway"])
async def client(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Client[Any]]:
    """The same questions get the same answers from the documents server alone and through the gateway."""
    build: Callable[[Settings], FastMCP[Any]] = build_documents_server
    if request.param == "gateway":
        from research_gateway.app import build_gateway

        build = build_gateway
    async with Client(build(settings)) as connected:
        yield connected
