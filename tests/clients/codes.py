"""Every error code that can be provoked from outside, as it reaches a caller of the TypeScript SDK 1.x.

That client checks structured content against the tools' output schemas, and throws away an error that has some.
"""

import asyncio
import json
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from mcp import MCPError
from mcp_types import INVALID_PARAMS

from clients.catalog import CLIENTS
from clients.steps import IMPOSSIBLE, MISSING, check, check_error, judged
from clients.talk import DriverEnded, Said, Talk, talk
from clients.world import (
    BROKEN,
    DOCUMENTS,
    ONION_PATH,
    Gateway,
    StandIn,
    Trail,
    make_folder,
    stand_in,
)
from research_gateway.audit import AuditOptions
from research_shared.errors import ResearchError
from support.serving import reserved_port, serving

CLIENT = CLIENTS[0]
CEILING_S = 10
"""Long enough for the calls that are not to be cut off."""

ELSEWHERE = {
    "research_error": "the base of the tree, which nothing raises",
    "configuration_error": "ends the start, before there is a client",
    "internal_error": "stands for a defect: whatever provokes it is to be mended",
}
"""The codes that no client can be brought to see, and why."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One gateway with the client that is connected to it."""

    talk: Talk
    gateway: Gateway
    provider: StandIn
    process: asyncio.subprocess.Process | None

    async def call(self, tool: str, **arguments: Any) -> Said:
        return await self.talk.call(tool, **arguments)

    async def read(self, path: str = ONION_PATH) -> Said:
        return await self.call("read_document", document_path=path)

    async def summarize(self) -> Said:
        return await self.call("summarize_document", document_path=ONION_PATH)

    async def synthesize(self, *paths: str) -> Said:
        return await self.call(
            "synthesize_research", document_paths=list(paths), research_question="What is known of layers?"
        )

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """For as long as the block lasts, a call waits for the model."""
        self.provider.hold()
        number = self.talk.start("summarize_document", {"document_path": ONION_PATH})
        await self.provider.reached()
        yield
        self.provider.release()
        await self.talk.answer(number)


Provocation = Callable[[Place], Awaitable[Said]]


async def model_failed(place: Place) -> Said:
    place.provider.fail()
    return await place.summarize()


async def deadline_exceeded(place: Place) -> Said:
    place.provider.hold()
    return await place.summarize()


async def unsupported_type(place: Place) -> Said:
    (place.gateway.folder / "plan.dwg").write_bytes(b"AC1032")
    return await place.read("plan.dwg")


async def overloaded(place: Place) -> Said:
    async with place.busy():
        return await place.read()


async def shutting_down(place: Place) -> Said:
    assert place.process is not None
    async with place.busy():
        place.process.send_signal(signal.SIGTERM)
        while True:  # the signal is on its way
            said = await place.read()
            if "raised" in said or said["is_error"]:
                return said


async def root_unavailable(place: Place) -> Said:
    shutil.rmtree(place.gateway.folder)
    return await place.read()


async def audit_unavailable(place: Place) -> Said:
    place.gateway.trail.path.unlink()
    await asyncio.sleep(
        AuditOptions().file_check_interval_s
    )  # so often is the open file compared with the one at its path
    return await place.read()


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A gateway with settings that let codes be provoked, in the order given."""

    codes: Mapping[str, Provocation]
    settings: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the driver needs to know besides."""
    model: bool = True
    http: bool = False


def situations(port: int, mcp_config: Path, elsewhere: Path) -> Iterator[Situation]:
    """All of them; at `port` nobody listens, `mcp_config` names a server that refuses, `elsewhere` has no documents."""
    yield Situation(
        settings={"RESEARCH_CLIENT_CONCURRENCY": "1", "RESEARCH_MAX_REQUEST_BYTES": "20000"},
        codes={
            "document_not_found": lambda place: place.read(MISSING),
            "document_unreadable": lambda place: place.read(BROKEN),
            "invalid_arguments": lambda place: place.call("read_document"),
            "invalid_cursor": lambda place: place.call("list_research_documents", cursor="made up"),
            "invalid_pattern": lambda place: place.call("list_research_documents", file_pattern="a" * 1_001),
            "no_readable_documents": lambda place: place.synthesize(BROKEN, MISSING),
            "request_too_large": lambda place: place.call("search_documents", query="layers " * 5_000),
            "unsupported_type": unsupported_type,
            "unknown_tool": lambda place: place.call("delete_document", document_path=ONION_PATH),
            "overloaded": overloaded,
            "model_failed": model_failed,
        },
    )
    yield Situation(
        model=False,
        settings={
            "RESEARCH_MAX_RESPONSE_BYTES": "1024",
            "RESEARCH_MCP_CONFIG": str(mcp_config),
        },
        codes={
            "model_unavailable": lambda place: place.summarize(),
            "response_too_large": lambda place: place.call("list_research_documents"),
            "backend_refused": lambda place: place.call("foreign_refuse"),
            "audit_unavailable": audit_unavailable,
        },
    )
    yield Situation(
        settings={"RESEARCH_MODEL_REQUEST_TOKENS": "4000", "RESEARCH_TOOL_CEILING_S": str(CEILING_S)},
        codes={
            "budget_exceeded": lambda place: place.synthesize(*DOCUMENTS),
            "deadline_exceeded": deadline_exceeded,
            "root_unavailable": root_unavailable,
        },
    )
    yield Situation(
        settings={"RESEARCH_CLIENT_ROOTS": "narrow"},
        options={"roots": [{"uri": elsewhere.as_uri()}]},
        codes={"scope_empty": lambda place: place.read()},
    )
    yield Situation(
        settings={"RESEARCH_DOCUMENTS_URL": f"http://127.0.0.1:{port}/mcp"},
        codes={"backend_unavailable": lambda place: place.read()},
    )
    yield Situation(http=True, codes={"shutting_down": shutting_down})


def foreign_server() -> FastMCP[Any]:
    """Somebody else's server, which refuses every call with an error of the protocol."""

    class Refusal(Middleware):
        async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
            raise MCPError(code=INVALID_PARAMS, message="it is not to be had here")

    server: FastMCP[Any] = FastMCP("foreign", middleware=[Refusal()])

    @server.tool
    async def refuse() -> str:
        return "never"

    return server


async def provoke(situation: Situation, installed: Path, work: Path) -> dict[str, str]:
    """The codes of a situation, each with `ok` or what is wrong with what the caller got."""
    cells: dict[str, str] = {}
    async with stand_in() as provider:
        gateway = Gateway(
            folder=make_folder(work / "research"),
            provider=provider if situation.model else None,
            trail=Trail(work),
            settings=situation.settings,
        )
        async with (
            _target(gateway, http=situation.http) as (target, process),
            talk(CLIENT.command(installed), {**target, **situation.options}) as talking,
        ):
            place = Place(talk=talking, gateway=gateway, provider=provider, process=process)
            for code, provocation in situation.codes.items():
                cells[code] = await judged(_check(place, code, provocation))
            provider.release()
    return cells


async def _check(place: Place, code: str, provocation: Provocation) -> None:
    said = await provocation(place)
    if code == "shutting_down":
        check_refusal(said, code)
    else:
        check_error(CLIENT, said, code)


def check_refusal(said: Said, code: str) -> None:
    """A call that was not taken is raised with the body of the response: code, message, hint and payload.

    Raises:
        Wrong: something is missing.
    """
    message = said.get("raised") or ""
    check("{" in message, f"no refusal but {message[:300]!r}")
    error = json.loads(message[message.index("{") :])["error"]
    check(re.match(rf"{code}: \S[^\n]*\nHint: \S", error["message"]) is not None, f"no hint in {error}")
    check(error["data"]["error"]["code"] == code, f"no payload in {error}")


@asynccontextmanager
async def _target(
    gateway: Gateway, *, http: bool
) -> AsyncIterator[tuple[dict[str, Any], asyncio.subprocess.Process | None]]:
    if http:
        async with gateway.served() as (url, process):
            yield {"transport": "http", "url": url}, process
    else:
        async with gateway.target("stdio") as target:
            yield target, None


def known_codes() -> set[str]:
    """The codes of the whole error tree."""

    def below(cls: type[ResearchError]) -> set[str]:
        return {cls.code}.union(*map(below, cls.__subclasses__()))

    return below(ResearchError)


async def all_codes(installed: Path, at_once: int) -> dict[str, str]:
    """Every code of the tree with `ok`, what is wrong, or why no client can be brought to see it."""
    limit = asyncio.Semaphore(at_once)

    async def one(situation: Situation, work: Path) -> dict[str, str]:
        work.mkdir()
        async with limit:
            try:
                return await provoke(situation, installed, work)
            except (DriverEnded, TimeoutError) as error:
                return dict.fromkeys(situation.codes, f"no connection: {error}")

    cells = dict.fromkeys(known_codes(), "nothing here provokes it")
    with tempfile.TemporaryDirectory(prefix="codes-") as name, reserved_port() as port:
        directory = Path(name)
        elsewhere = directory / "elsewhere"
        elsewhere.mkdir()
        mcp_config = directory / "mcp.json"
        async with serving(foreign_server()) as foreign:
            servers = {"mcpServers": {"foreign": {"url": foreign.url}}}
            mcp_config.write_text(json.dumps(servers), encoding="utf-8")
            places = enumerate(situations(port, mcp_config, elsewhere))
            running = [one(situation, directory / str(number)) for number, situation in places]
            for found in await asyncio.gather(*running):
                cells |= found
    return cells | {code: f"{IMPOSSIBLE}: {reason}" for code, reason in ELSEWHERE.items()}
