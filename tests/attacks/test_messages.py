"""Whatever a client sends, it gets a result or an error by the book, and the audit trail has a start and an end."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from research_gateway.app import build_gateway
from research_shared.access.roots import Root
from research_shared.logs import ExpectedFailures
from research_shared.serving.drain import Drain
from research_shared.serving.transports.http import http_server
from research_shared.settings import Settings
from support.asgi import Answer, send_request
from support.audit import records
from support.messages import META, VERSION, random_message
from support.sizes import FULL

DATA = Path(__file__).parents[1] / "data" / "borders"
MESSAGES = 20_000 if FULL else 600
SEED = 15
RENEWED_EVERY = 200
"""Messages after which there is a new session of the handshake era: one of them may have ended it."""
MODERN = {
    "accept": "application/json, text/event-stream",
    "content-type": "application/json",
    "mcp-protocol-version": VERSION,
    "mcp-method": "tools/call",
    "mcp-name": "read_document",
}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "f", "version": "1"},
    },
}


@dataclass
class Door:
    """A gateway over HTTP without sockets."""

    app: Any
    audit: Path

    async def session(self) -> str:
        """Open a session of the handshake era and return its id."""
        headers = {key: MODERN[key] for key in ("accept", "content-type")}
        opened = await send_request(self.app, json.dumps(INITIALIZE).encode(), headers)
        session = opened.headers["mcp-session-id"]
        ready = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
        await send_request(self.app, ready, {**headers, "mcp-session-id": session})
        return session


@asynccontextmanager
async def door(base: Path, **changes: Any) -> AsyncIterator[Door]:
    folder = base / "research"
    folder.mkdir()
    (folder / "a.md").write_text("# Owls\n\nOwls hunt at night.\n", encoding="utf-8")
    settings = Settings(
        roots=(Root("research", folder),),
        audit_log=base / "audit.jsonl",
        audit_fsync="never",
        model_route="extractive",
        watch=False,
        extract_workers=1,
        **changes,
    )
    listener = http_server(build_gateway(settings), settings, Drain(), host="127.0.0.1", port=0)
    async with listener.lifespan():
        yield Door(listener.config.app, base / "audit.jsonl")


def messages_of(answer: Answer) -> list[Any]:
    """The JSON-RPC messages of a response, which may be an event stream."""
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        lines = answer.body.replace(b"\r\n", b"\n").split(b"\n")
        return [json.loads(line[5:]) for line in lines if line.startswith(b"data:") and line[5:].strip()]
    return [json.loads(answer.body)] if answer.body.strip() else []


def problem_of(answer: Answer) -> str | None:
    """What of a response is not by the book, or None."""
    if not 200 <= answer.status < 500:
        return f"status {answer.status}"
    if b"internal_error" in answer.body or b"-32603" in answer.body:
        return "an internal error"
    if b"Traceback" in answer.body:
        return "a traceback"
    try:
        messages = messages_of(answer)
    except ValueError:
        return None if answer.status >= 400 else "no JSON"
    if answer.status == 200 and not any("result" in m or "error" in m for m in messages):
        return "neither a result nor an error"
    return None


class _Tracebacks(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[0] is not None:
            self.found.append(logging.Formatter().format(record))


@pytest.fixture
def tracebacks() -> Iterator[list[str]]:
    """The tracebacks that anything logs meanwhile."""
    handler = _Tracebacks()
    quiet = ExpectedFailures()  # as the command line has it
    fastmcp = logging.getLogger(ExpectedFailures.LOGGER)
    logging.getLogger().addHandler(handler)
    fastmcp.addFilter(quiet)
    yield handler.found
    fastmcp.removeFilter(quiet)
    logging.getLogger().removeHandler(handler)


def unbalanced(audit: Path) -> set[str]:
    """The calls that have a start and no end, or an end and no start."""
    starts = [record["call_id"] for record in records(audit, "start")]
    ends = [record["call_id"] for record in records(audit, "end")]
    assert len(set(starts)) == len(starts)
    assert len(set(ends)) == len(ends)
    return set(starts) ^ set(ends)


async def test_every_random_message_is_answered_by_the_book_and_audited(
    tmp_path: Path, tracebacks: list[str]
) -> None:
    random = Random(SEED)
    problems: list[str] = []
    async with door(tmp_path) as gateway:
        session = ""
        for number in range(MESSAGES):
            if number % RENEWED_EVERY == 0:
                session = await gateway.session()
            message = random_message(random, session=session if random.random() < 0.5 else None)
            try:
                answer = await send_request(gateway.app, message.body, message.headers)
            except TimeoutError:
                problems.append(f"no answer to {message.body[:300]!r}")
                continue
            if problem := problem_of(answer):
                problems.append(
                    f"{problem}: {message.body[:300]!r} {message.headers} -> {answer.body[:300]!r}"
                )
            if answer.status == 404 and not message.modern:
                session = await gateway.session()
    assert not problems, "\n".join(problems)
    assert not tracebacks, "\n".join(tracebacks)
    assert unbalanced(gateway.audit) == set()
    assert len(records(gateway.audit, "start")) > MESSAGES / 4


async def test_cases_that_crashed_the_server_once(tmp_path: Path, tracebacks: list[str]) -> None:
    cases = sorted(DATA.glob("*.json"))
    assert len(cases) >= 2
    async with door(tmp_path) as gateway:
        session = await gateway.session()
        for case in cases:
            message = json.loads(case.read_bytes())
            old = {"mcp-session-id": session, "mcp-protocol-version": "2025-11-25"}
            headers = {key: value for key, value in MODERN.items() if key in {"accept", "content-type"}} | old
            assert problem_of(await send_request(gateway.app, json.dumps(message).encode(), headers)) is None
            message["params"]["_meta"] = META
            assert problem_of(await send_request(gateway.app, json.dumps(message).encode(), MODERN)) is None
    assert not tracebacks, "\n".join(tracebacks)
    assert unbalanced(gateway.audit) == set()
    # Half a character is a parse error: there is no request that could be recorded.
    assert len(records(gateway.audit, "end")) == 2 * (len(cases) - 1)


async def test_of_calls_with_one_id_in_one_session_all_are_answered_or_refused(tmp_path: Path) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {"name": "search_documents", "arguments": {"query": "owls"}},
    }
    answers: list[Answer] = []
    async with door(tmp_path) as gateway:
        session = await gateway.session()
        headers = {**MODERN, "mcp-session-id": session, "mcp-protocol-version": "2025-11-25"}

        async def ask() -> None:
            answers.append(await send_request(gateway.app, json.dumps(call).encode(), headers))

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(ask)
        again = await send_request(gateway.app, json.dumps(call).encode(), headers)
    assert [problem_of(answer) for answer in [*answers, again]] == [None] * 5
    assert again.status == 200
    assert all(answer.status == 200 or b"in flight" in answer.body for answer in answers)
    assert unbalanced(gateway.audit) == set()
