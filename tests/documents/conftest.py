"""A small research folder and a client of the gateway over it."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, FastMCP

from research_documents.server import build_documents_server
from research_shared.access.roots import Root
from research_shared.settings import Settings
from support.backends import in_place
from support.opensearch import SEARCH_BACKENDS

SAMPLES = Path(__file__).parents[2] / "gateway" / "research_gateway" / "samples"
SERVERS = ("documents server", "gateway")


def made_folder(root: Path) -> Path:
    (root / "reports").mkdir(parents=True)
    shutil.copy(SAMPLES / "results-report.pdf", root / "reports")
    shutil.copy(SAMPLES / "client-impact.md", root)
    (root / "numbers.txt").write_text("".join(f"line {n} of many\n" for n in range(1, 501)), encoding="utf-8")
    (root / "photo.png").write_bytes(b"\x89PNG")
    (root / "broken.pdf").write_bytes(b"not really a pdf")
    return root


def settings_over(folder: Path, audit_log: Path) -> Settings:
    return Settings(
        roots=(Root("research", folder),),
        audit_log=audit_log,
        watch=False,
        extract_workers=1,
        index_wait_s=600,
        search_deadline_s=60,
    )


def build(kind: str, settings: Settings) -> FastMCP[Any]:
    if kind == "gateway":
        from research_gateway.app import build_gateway

        return build_gateway(settings)
    return build_documents_server(settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made_folder(tmp_path / "research")


@pytest.fixture
def settings(folder: Path, tmp_path: Path) -> Settings:
    return settings_over(folder, tmp_path / "audit.jsonl")


@pytest.fixture(params=SEARCH_BACKENDS)
def index_place(request: pytest.FixtureRequest) -> Iterator[None]:
    """The servers of a test `IN_EACH_PLACE` have their index in each place where it can be."""
    with in_place(request.param):
        yield


@pytest.fixture(params=SERVERS)
async def client(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Client[Any]]:
    """The same questions get the same answers from the documents server alone and through the gateway."""
    async with Client(build(request.param, settings)) as connected:
        yield connected


@pytest.fixture(scope="module", params=SERVERS)
async def shared_client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Client[Any]]:
    """The same for the tests of a module that leave the folder as it is; the module needs an event loop of its own."""
    base = tmp_path_factory.mktemp("shared")
    settings = settings_over(made_folder(base / "research"), base / "audit.jsonl")
    async with Client(build(request.param, settings)) as connected:
        yield connected
