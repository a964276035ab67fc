"""The world under attack, and the two servers that stand before it."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.logging import LogMessage

from attacks.world import CANARY, World, build
from research_documents.server import build_documents_server
from research_gateway.app import build_gateway
from research_shared.roots import Root
from research_shared.settings import Settings


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for a module, so that its servers can be shared by its tests."""
    return "asyncio"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build(tmp_path_factory.mktemp("world"))


@dataclass
class Target:
    """A server, and everything that it says to its client and to its logs."""

    kind: str
    client: Client[Any]
    world: World
    audit: Path
    said: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    async def log(self, message: LogMessage) -> None:
        self.said.append(json.dumps(message.model_dump(mode="json"), ensure_ascii=False))

    def shows(self, secret: str) -> list[str]:
        """Whatever was said or logged so far that has this in it."""
        audit = self.audit.read_text(encoding="utf-8").splitlines() if self.audit.exists() else []
        return [line for line in (*self.said, *self.logged, *audit) if secret in line]


class _Records(logging.Handler):
    def __init__(self, target: Target) -> None:
        super().__init__(logging.DEBUG)
        self._target = target
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._target.logged.append(self.format(record))


@pytest.fixture(scope="module", params=["documents server", "gateway"])
async def target(
    request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Target]:
    audit = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    settings = Settings(
        roots=(Root("research", world.folder),),
        audit_log=audit,
        model_route="extractive",
        watch=False,
        extract_workers=1,
        log_level="debug",
    )
    build_server = build_gateway if request.param == "gateway" else build_documents_server
    target = Target(request.param, None, world, audit)  # type: ignore[arg-type]  # set below, it needs the target
    target.client = Client(build_server(settings), log_handler=target.log)
    handler = _Records(target)
    logging.getLogger().addHandler(handler)
    try:
        async with target.client:
            # The first calls load libraries and build the index; their time is not what is measured.
            await target.client.call_tool("search_documents", {"query": "wombat"})
            await target.client.call_tool("search_documents", {"query": "wombat", "mode": "regex"})
            yield target
    finally:
        logging.getLogger().removeHandler(handler)
    assert target.shows(CANARY) == []


@pytest.fixture(autouse=True)
def _nothing_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "target" in request.fixturenames:
        target: Target = request.getfixturevalue("target")
        assert target.shows(CANARY) == []
