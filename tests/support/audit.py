"""What the audit tests share: a server with a request of every kind, and a reader of logs."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, get_args

import mcp_types as mt
from fastmcp import Context, FastMCP
from fastmcp.exceptions import AuthorizationError, ToolError

from research_gateway.audit import AuditMiddleware, AuditOptions, AuditRecord, AuditTrail
from research_gateway.audit.check.chain_verifier import Expectations
from research_gateway.audit.check.verify import Report, collect, verify
from research_gateway.audit.log.chain import Chain, Event
from research_gateway.audit.log.file import open_log
from research_gateway.audit.record import AuditEvent
from research_shared.access.roots import Root
from research_shared.errors import DocumentNotFound, Overloaded
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.telemetry import record

KEY = b"a key of more than thirty-two bytes, for tests"
SECRET_TEXT = "the text of a confidential document"


EVENTS = get_args(AuditEvent)


def records(path: Path, *events: str) -> list[dict[str, Any]]:
    """The records of a log file, of some kinds or of all. Each has the fields that are documented, and no others."""
    found = [json.loads(line) for line in text_of(path).splitlines()]
    for item in found:
        if item["event"] in EVENTS:
            AuditRecord.model_validate(item)
    return [item for item in found if item["event"] in events or not events]


def text_of(path: Path) -> str:
    """A log file as it is; every byte of it is ASCII."""
    return path.read_bytes().decode("ascii")


def ask(name: str, state: str | None = None) -> mt.InputRequiredResult:
    """A result that asks the client for a word."""
    schema: dict[str, Any] = {"type": "object", "properties": {"word": {"type": "string"}}}
    params = mt.ElicitRequestFormParams(message="which word?", requested_schema=schema)
    return mt.InputRequiredResult(input_requests={name: mt.ElicitRequest(params=params)}, request_state=state)


async def answer(*_args: Any, **_kwargs: Any) -> mt.ElicitResult:
    """A client that answers whatever it is asked."""
    return mt.ElicitResult(action="accept", content={"word": SECRET_TEXT})


class Hall:
    """A server on which every kind of request can be made, with an audit trail."""

    def __init__(
        self, trail: AuditTrail, *, boundary: bool = False, roots: tuple[Root, ...] = (), **audit: Any
    ) -> None:
        self.started = asyncio.Event()
        self.calls = 0
        self.server = FastMCP("hall", mask_error_details=True)
        self.server.add_middleware(AuditMiddleware(trail, roots=roots, **audit))
        if boundary:
            self.server.add_middleware(ErrorBoundary())
        self._tools()
        self._others()

    def _tools(self) -> None:
        server = self.server

        @server.tool
        def add(a: int, b: int) -> int:
            self.calls += 1
            return a + b

        @server.tool
        def summarize_document(document_path: str) -> str:
            if not document_path.startswith("here/"):
                raise DocumentNotFound("no document has this path")
            record(
                route="client", model="m-1", input_tokens=10, output_tokens=2, attempts=2, stop_reason="end"
            )
            record(documents=[document_path], scope=["here"], prompt=SECRET_TEXT)
            return SECRET_TEXT

        @server.tool
        def refuse() -> str:
            raise AuthorizationError("no")

        @server.tool
        def busy() -> str:
            raise Overloaded("too much at once")

        @server.tool
        def complain() -> str:
            raise ToolError("it did not work")

        @server.tool
        def crash() -> str:
            raise RuntimeError(SECRET_TEXT)

        @server.tool
        async def hang() -> str:
            self.started.set()
            await asyncio.Event().wait()
            return "late"

        @server.tool
        def ask_twice(ctx: Context) -> mt.InputRequiredResult | str:
            if ctx.input_responses is None:
                return ask("one", state="first")
            return ask("two") if ctx.request_state == "first" else "done"

        @server.tool
        async def nest(ctx: Context) -> int:
            inner = await ctx.fastmcp.call_tool("add", {"a": 1, "b": 2})
            return len(inner.content)

    def _others(self) -> None:
        server = self.server

        @server.resource("research://documents/{path*}")
        def document(path: str) -> str:
            return SECRET_TEXT

        @server.prompt
        def introduce(topic: str) -> str:
            return SECRET_TEXT + topic

        @server.completion
        async def complete(_ref: Any, _argument: Any, _context: Any) -> list[str]:
            return ["a.md", "b.md"]


def write_log(options: AuditOptions, events: int = 20, *, clock: Any = time.time, end: bool = True) -> None:
    """Write a log with so many events, one batch each, as a process does that starts and ends."""
    chain = Chain(options.key, options.checkpoint_every, clock)
    log = open_log(options, chain, {"pid": 1})
    for number in range(events):
        log.append([Event.of("note", clock(), number=number)])
    if end:
        log.close()
    else:
        log.abandon()


def check(path: Path, *, on_progress: Any = None, **expected: Any) -> Report:
    """Verify the log of a path."""
    (log,) = collect([path])
    return verify(log, Expectations(**expected), on_progress=on_progress)


def found(path: Path, **expected: Any) -> tuple[str, int | None] | None:
    """Code and sequence number of the first bad record."""
    problem = check(path, **expected).problem
    return (problem.code, problem.sequence) if problem is not None else None
