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

from research_documents.server import build_documents_server
from research_gateway.app import build_gateway
from research_shared.access.roots import Root, RootsPolicy
from research_shared.reading.library import Library
from research_shared.reading.limits import Limits
from research_shared.settings import Settings
from support.attack_cases import SUMMARIZE, SYNTHESIZE, Case, all_cases
from support.sizes import FULL
from support.world import CANARY, World, build

SERVERS = ("documents server", "documents server without openat2", "gateway")
TURNS = {case.id: number for number, case in enumerate(all_cases())}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Try each attack on one of the servers, and each kind of attack on all of them; the long variant tries all on all."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        parameters = (
            item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        )
        case, server = parameters.get("case"), parameters.get("target")
        tried = not isinstance(case, Case) or server not in SERVERS or server in servers_of(case)
        (kept if tried else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def servers_of(case: Case) -> frozenset[str]:
    """The servers that an attack is tried on. Attacks of one kind follow each other in the table.

    Attacks on the tools that only the gateway has are all tried there, and the first of them everywhere.
    """
    reasoning = case.operation in {SUMMARIZE, SYNTHESIZE}
    if FULL or (reasoning and case.id == f"{case.operation}-parent"):
        return frozenset(SERVERS)
    return frozenset({"gateway" if reasoning else SERVERS[TURNS[case.id] % len(SERVERS)]})


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
    audited: int = 0

    async def log(self, message: LogMessage) -> None:
        self.said.append(json.dumps(message.model_dump(mode="json"), ensure_ascii=False))

    def fresh(self) -> list[str]:
        """Whatever was said, logged or audited since this was last asked."""
        if self.audit.exists():
            with self.audit.open(encoding="utf-8") as trail:
                trail.seek(self.audited)
                self.logged += trail.read().splitlines()
                self.audited = trail.tell()
        lines = [*self.said, *self.logged]
        self.said.clear()
        self.logged.clear()
        return lines


class _Records(logging.Handler):
    def __init__(self, target: Target) -> None:
        super().__init__(logging.DEBUG)
        self._target = target
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._target.logged.append(self.format(record))


@pytest.fixture(scope="module", params=SERVERS)
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
        search_deadline_s=60,
        log_level="debug",
    )
    policy = RootsPolicy(settings.roots, openat2=False if request.param.endswith("without openat2") else None)
    library = Library(policy, Limits.from_settings(settings))
    build_server = build_gateway if request.param == "gateway" else build_documents_server
    target = Target(request.param, None, world, audit)  # type: ignore[arg-type]  # set below, it needs the target
    target.client = Client(build_server(settings, library=library), log_handler=target.log)
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
    assert [line for line in target.fresh() if CANARY in line] == []


@pytest.fixture(autouse=True)
def _nothing_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """No line of any log or of the audit trail has the canary, or a directory of the server that was not sent to it."""
    yield
    if "target" not in request.fixturenames:
        return
    target: Target = request.getfixturevalue("target")
    lines = target.fresh()
    assert [line for line in lines if CANARY in line] == []
    params = request.node.callspec.params
    if "case" in params and not asks_for_a_directory(params["case"]):
        assert [line for line in lines if str(target.world.base) in line] == []


def asks_for_a_directory(case: Case) -> bool:
    """Whether the client names a directory of the server itself; its own words may be recorded."""
    return isinstance(case.input, str) and any(
        name in case.input for name in ("{folder}", "{outside}", "{stripped}")
    )
