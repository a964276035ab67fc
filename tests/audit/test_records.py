"""What a record says about a call, and what it never says."""

import asyncio
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import mcp_types as mt
import pytest
from fastmcp import Client, FastMCP
from fastmcp.server.auth import AccessToken
from fastmcp.server.middleware import MiddlewareContext
from fastmcp.tools import ToolResult
from mcp import MCPError
from opentelemetry import trace

from research_gateway.audit import AuditMiddleware, AuditOptions, AuditTrail, current_call_id
from research_gateway.audit.request.describe import (
    arguments_of,
    capped,
    documents_of,
    locate,
    params_of,
    shown_arguments,
    target_of,
)
from research_gateway.audit.request.outcome import (
    CallOutcome,
    facts_shown,
    outcome_of_exception,
    outcome_of_result,
    reclassify_out_of_scope,
    result_size,
)
from research_gateway.audit.request.redaction import public_uri
from research_gateway.audit.request.waiting_calls import MAX_WAITING, WaitingCalls
from research_shared.access.roots import Root, Scope
from research_shared.errors import ERROR_META_KEY
from research_shared.middleware.boundary import ErrorBoundary
from support.audit import KEY, SECRET_TEXT, Hall, answer, records, text_of
from support.results import error_of

ONE = (Root("research", Path("/srv/research")),)
TWO = (*ONE, Root("archive", Path("/srv/archive")))
VARYING = {
    "seq",
    "prev",
    "hash",
    "chain",
    "time",
    "call_id",
    "logical_call_id",
    "duration_ms",
    "request_id",
    "argument_digest",
}


def steady(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in VARYING}


@pytest.mark.parametrize(
    "meta", [None, {}, {"example.org/note": "n"}, {ERROR_META_KEY: {"message": "no code"}}]
)
async def test_a_tool_error_without_a_code_of_ours_is_a_reported_error(
    meta: dict[str, Any] | None, options: AuditOptions, log: Path
) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail, boundary=True)

        @hall.server.tool
        def decline() -> ToolResult:
            return ToolResult(content="no", meta=meta, is_error=True)

        async with Client(hall.server) as client:
            assert (await client.call_tool_mcp("decline", {})).is_error
    (end,) = records(log, "end")
    assert (end["outcome"], end["reason"], end["result_bytes"]) == ("error", "reported_error", 2)


async def test_the_records_of_a_summary(options: AuditOptions, log: Path) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail, roots=ONE)
        info = mt.Implementation(name="desk", version="7.1")
        async with Client(hall.server, client_info=info) as client:
            await client.list_tools()
            await client.call_tool("summarize_document", {"document_path": "here/a.md"})
    start, end = records(log, "start", "end")[-2:]
    assert start["call_id"] == end["call_id"] == start["logical_call_id"] == end["logical_call_id"]
    assert end["seq"] == start["seq"] + 1
    assert 0 < end["duration_ms"] < 10_000
    assert start["time"].endswith("Z")
    assert start["time"] <= end["time"]
    assert steady(start) == {
        "schema": 1,
        "event": "start",
        "round": 1,
        "method": "tools/call",
        "tool": "summarize_document",
        "era": "modern",
        "protocol": "2026-07-28",
        "transport": "in-memory",
        "client": {"name": "desk", "version": "7.1"},
        "documents": [{"root": "research", "path": "here/a.md"}],
        "argument_bytes": 29,
        "server": "hall",
    }
    assert steady(end) == {
        "schema": 1,
        "event": "end",
        "round": 1,
        "server": "hall",
        "method": "tools/call",
        "tool": "summarize_document",
        "outcome": "ok",
        "decision": "allow",
        "reason": None,
        "result_bytes": len(SECRET_TEXT),
        "route": "client",
        "model": "m-1",
        "stop_reason": "end",
        "attempts": 2,
        "input_tokens": 10,
        "output_tokens": 2,
        "scope": ["here"],
        "documents": [{"root": "research", "path": "here/a.md"}],
        "documents_total": 1,
    }


@pytest.mark.parametrize("level", ["metadata", "arguments"])
async def test_no_level_records_text_answers_or_keys(level: Any, options: AuditOptions, log: Path) -> None:
    async with AuditTrail(replace(options, level=level, key=KEY)) as trail:
        hall = Hall(trail, boundary=True, roots=ONE)

        @hall.server.tool
        def configure(provider_key: str, note: str) -> str:
            return note

        async with Client(hall.server, elicitation_handler=answer) as client:
            await client.call_tool("summarize_document", {"document_path": "here/a.md"})
            await client.call_tool("configure", {"provider_key": "sk-" + SECRET_TEXT, "note": "n" * 1000})
            await client.call_tool("ask_twice")
            await client.call_tool_mcp("crash", {})
            await client.read_resource("research://documents/here/a.md")
            await client.get_prompt("introduce", {"topic": "a private topic"})
            await client.complete(
                mt.PromptReference(name="introduce"), {"name": "topic", "value": "a private"}
            )
    text = text_of(log)
    for secret in (SECRET_TEXT, "sk-", KEY.decode(), "a private", str(log.parent), "/srv/research"):
        assert secret not in text
    starts = {item.get("tool"): item for item in records(log, "start")}
    if level == "metadata":
        assert all("arguments" not in item for item in starts.values())
    else:
        assert starts["configure"]["arguments"] == {"provider_key": "(hidden)", "note": "n" * 255 + "…"}
        assert starts["summarize_document"]["arguments"] == {"document_path": "here/a.md"}


async def test_the_rounds_of_a_call_are_linked(options: AuditOptions, log: Path) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail)
        async with Client(hall.server, elicitation_handler=answer) as client:
            await client.list_tools()
            await asyncio.gather(client.call_tool("ask_twice"), client.call_tool("add", {"a": 1, "b": 2}))
    rounds = [item for item in records(log, "start", "end") if item.get("tool") == "ask_twice"]
    assert len({item["logical_call_id"] for item in rounds}) == 1
    assert len({item["call_id"] for item in rounds}) == 3
    assert [(item["event"], item["round"], item.get("outcome"), item.get("answers")) for item in rounds] == [
        ("start", 1, None, None),
        ("end", 1, "input_required", None),
        ("start", 2, None, 1),
        ("end", 2, "input_required", None),
        ("start", 3, None, 1),
        ("end", 3, "ok", None),
    ]
    # replicas that do not know each other's calls leave the same name for the state that links them
    assert rounds[1]["state"] == rounds[2]["state"]


async def test_an_ask_that_an_older_client_cannot_get_is_an_error(options: AuditOptions, log: Path) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail)
        async with Client(hall.server, mode="legacy", elicitation_handler=answer) as client:
            with pytest.raises(MCPError):
                await client.call_tool("ask_twice")
    assert records(log, "end")[-1]["reason"] == "era_without_input_required"


async def test_a_call_made_by_a_tool_names_the_call_it_was_made_for(options: AuditOptions, log: Path) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail)
        async with Client(hall.server) as client:
            await client.list_tools()
            await client.call_tool("nest")
    outer, inner, inner_end, outer_end = records(log, "start", "end")[-4:]
    assert (outer["tool"], inner["tool"], inner_end["tool"], outer_end["tool"]) == (
        "nest",
        "add",
        "add",
        "nest",
    )
    assert inner["parent_call_id"] == inner_end["parent_call_id"] == outer["call_id"]
    assert "parent_call_id" not in outer


async def test_tools_can_ask_for_the_id_of_their_call(options: AuditOptions, log: Path) -> None:
    server = FastMCP("host")
    seen: list[str | None] = []

    @server.tool
    def look() -> None:
        seen.append(current_call_id())

    async with AuditTrail(options) as trail:
        server.add_middleware(AuditMiddleware(trail))
        await server.call_tool("look")
        async with Client(server) as client:
            await client.call_tool("look")
    assert current_call_id() is None
    starts = [item for item in records(log, "start") if item.get("tool") == "look"]
    assert [item["call_id"] for item in starts] == seen
    assert starts[0]["transport"] == "internal"
    assert "client" not in starts[0]


async def test_behind_a_mount_calls_are_recorded_once(options: AuditOptions, log: Path) -> None:
    child = FastMCP("child")

    @child.tool
    def work() -> str:
        return "done"

    async with AuditTrail(options) as trail:
        host = FastMCP("host")
        host.add_middleware(AuditMiddleware(trail))
        host.mount(child, "part")
        async with Client(host) as client:
            await client.list_tools()
            await client.call_tool("part_work")
    assert [(item["server"], item["tool"]) for item in records(log, "end") if "tool" in item] == [
        ("host", "part_work")
    ]


async def test_a_principal_is_named(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = AccessToken(token="very-secret", client_id="app", scopes=[], claims={"sub": "ada"})
    monkeypatch.setattr("research_gateway.audit.request.describe.get_access_token", lambda: token)
    async with AuditTrail(options) as trail, Client(Hall(trail).server) as client:
        await client.list_tools()
    assert records(log, "start")[0]["principal"] == {"client_id": "app", "subject": "ada"}
    assert "very-secret" not in text_of(log)


@contextmanager
def span_of(trace_id: int) -> Iterator[Any]:
    context = trace.SpanContext(trace_id, 7, is_remote=False)

    class Span(trace.NonRecordingSpan):
        attributes: dict[str, Any] = {}  # noqa: RUF012  (one instance)

        def set_attribute(self, key: str, value: Any) -> None:
            self.attributes[key] = value

    span = Span(context)
    with trace.use_span(span):
        yield span


async def test_record_and_span_name_each_other(options: AuditOptions, log: Path) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail)
        with span_of(0xABC) as span:
            await hall.server.call_tool("add", {"a": 1, "b": 2})
    start = records(log, "start")[0]
    assert start["trace_id"] == f"{0xABC:032x}"
    assert span.attributes == {"research.audit.call_id": start["call_id"]}


async def test_hostile_names_stay_on_one_line(options: AuditOptions, log: Path) -> None:
    hostile = 'x\n{"event":"end"}\u202e\u2028\x7f\x00' + "long" * 1000
    async with AuditTrail(options) as trail:
        hall = Hall(trail, roots=ONE)
        info = mt.Implementation(name=hostile, version=hostile)
        async with Client(hall.server, client_info=info) as client:
            await client.call_tool_mcp(hostile, {hostile: hostile})
            await client.call_tool_mcp("summarize_document", {"document_path": hostile})
    raw = text_of(log)
    assert all(char == "\n" or " " <= char <= "~" for char in raw)
    assert max(map(len, raw.splitlines())) < 5000
    assert len(records(log, "start")) == len(records(log, "end"))
    assert records(log, "start")[0]["tool"].startswith('x\n{"event":"end"}\u202e')


async def test_arguments_that_are_no_json_are_digested_all_the_same() -> None:
    fields = arguments_of("tools/call", {"arguments": {"x": math.nan}}, level="arguments", key=None)
    assert fields["argument_digest"].startswith("sha256:")
    assert fields["arguments"] == {"x": "nan"}
    assert arguments_of("tools/list", {}, level="arguments", key=None) == {}


def test_equal_arguments_have_equal_digests_and_a_key_hides_them() -> None:
    def digest(arguments: Any, key: bytes | None = None) -> str:
        fields = arguments_of("tools/call", {"arguments": arguments}, level="metadata", key=key)
        return str(fields["argument_digest"])

    assert digest({"a": 1}) == digest({"a": 1}) != digest({"a": 2})
    assert digest({"a": 1}, KEY) == digest({"a": 1}, KEY) != digest({"a": 1})


@pytest.mark.parametrize(
    ("path", "roots", "expected"),
    [
        ("a/b.md", ONE, {"root": "research", "path": "a/b.md"}),
        ("archive/b.md", TWO, {"root": "archive", "path": "b.md"}),
        ("elsewhere/b.md", TWO, {"root": None, "path": "elsewhere/b.md"}),
        ("b.md", (), {"root": None, "path": "b.md"}),
        ("/etc/passwd", ONE, {"root": None, "path": None, "rejected": "absolute"}),
        ("~/x", ONE, {"root": None, "path": None, "rejected": "absolute"}),
        ("C:/x", ONE, {"root": None, "path": None, "rejected": "absolute"}),
        ("a\\..\\x", ONE, {"root": None, "path": None, "rejected": "absolute"}),
        ("a/../../x", ONE, {"root": None, "path": None, "rejected": "outside"}),
        ("a\0", ONE, {"root": None, "path": None, "rejected": "outside"}),
        (7, ONE, {"root": None, "path": None, "rejected": "no_path"}),
    ],
)
def test_documents_are_named_by_root_and_relative_path(path: Any, roots: Any, expected: Any) -> None:
    assert locate(path, roots) == expected


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("research://documents/a/b.md", "research://documents/a/b.md"),
        ("https://user:password@host:1/x?token=1#y", "https://host/x"),
        ("file:///etc/passwd", "file:"),
        ("urn:isbn:1", "urn:isbn:1"),
        ("http://[broken", "(malformed)"),
        ("x://h/" + "p" * 400, "x://h/" + "p" * 249 + "…"),
    ],
)
def test_uris_are_shown_without_secrets(uri: str, shown: str) -> None:
    assert capped(public_uri(uri)) == shown


def test_what_a_request_is_about() -> None:
    assert target_of("resources/subscribe", {"uri": "research://documents/a.md"}) == {
        "uri": "research://documents/a.md"
    }
    ref = mt.ResourceTemplateReference(uri="research://documents/{path*}")
    wanted = {"uri": "research://documents/{path*}", "argument": "path"}
    argument = {"name": "path", "value": "secret"}
    assert target_of("completion/complete", {"ref": ref, "argument": argument}) == wanted
    assert target_of("completion/complete", {"ref": None, "argument": None}) == {"uri": ":", "argument": ""}
    assert documents_of("tools/call", params={"arguments": {"document_paths": ["a", "/b"]}}, roots=ONE) == [
        {"root": "research", "path": "a"},
        {"root": None, "path": None, "rejected": "absolute"},
    ]
    assert documents_of("resources/read", params={"uri": "research://documents/a%20b.md"}, roots=ONE) == [
        {"root": "research", "path": "a b.md"}
    ]
    assert params_of(mt.ListToolsRequest()) == {}
    assert params_of(None) == {}


def test_shown_arguments_are_small() -> None:
    deep: Any = {"a": {"b": {"c": {"d": {"e": 1}}}}}
    assert shown_arguments(deep) == {"a": {"b": {"c": {"d": "(not shown)"}}}}
    assert shown_arguments([1, True, None, 1.5, math.inf, b"x"]) == [1, True, None, 1.5, "inf", "(not shown)"]
    private = ("provider_key", "Authorization", "prompt", "Text", "messages")
    assert shown_arguments(dict.fromkeys(private, "x")) == dict.fromkeys(private, "(hidden)")
    assert shown_arguments({"context_lines": 2, "query": "q"}) == {"context_lines": 2, "query": "q"}
    assert len(json.dumps(shown_arguments(["x" * 10_000] * 10_000))) < 20_000
    assert capped("abc", 3) == "abc"
    assert capped("abcd", 3) == "ab…"


def test_outcomes_are_decided_by_code() -> None:
    assert outcome_of_exception(KeyboardInterrupt(), "tools/call") == CallOutcome(
        kind="error", reason="process_ending"
    )
    assert outcome_of_exception(KeyError(), "tools/call") == CallOutcome(
        kind="error", reason="internal_error"
    )
    assert outcome_of_exception(MCPError(-32601, "no such method"), "x") == CallOutcome(
        kind="error", reason="unknown_method"
    )
    assert outcome_of_exception(MCPError(-32021, "no sampling"), "x") == CallOutcome(
        kind="error", reason="missing_client_capability"
    )
    assert outcome_of_exception(MCPError(-32000, "?"), "x") == CallOutcome(
        kind="error", reason="protocol_-32000"
    )
    coded = {"error": {"code": "overloaded", "message": "?"}}
    assert outcome_of_exception(MCPError(-32000, "?", coded), "x") == CallOutcome(
        kind="denied", reason="overloaded"
    )
    assert CallOutcome(kind="denied", reason="overloaded").decision == "deny"
    assert outcome_of_result({"resultType": "input_required"}) == CallOutcome(kind="input_required")
    assert outcome_of_result(None) == CallOutcome(kind="ok")
    missing = CallOutcome(kind="error", reason="document_not_found")
    asked = {"documents": [{"root": "research", "path": "b/x.md"}]}
    assert reclassify_out_of_scope(missing, fields=asked, facts={}) == missing
    assert reclassify_out_of_scope(missing, fields=asked, facts={"effective_scope": Scope(("b",))}) == missing
    assert reclassify_out_of_scope(
        missing, fields=asked, facts={"effective_scope": Scope(("a",))}
    ) == CallOutcome(kind="denied", reason="outside_scope")


def test_facts_that_are_no_metadata_are_left_out() -> None:
    facts = {
        "route": 7,
        "attempts": True,
        "prompt": "text",
        "documents": [],
        "partial": True,
        "call": "c" * 100,
    }
    assert facts_shown(facts, ONE) == {"partial": True, "tool_call": "c" * 63 + "…"}
    many = facts_shown({"documents": [f"{n}.md" for n in range(500)]}, ONE)
    assert (len(many["documents"]), many["documents_total"]) == (100, 500)
    assert result_size({"completion": {"values": ["a"]}}) == {"result_items": 1}
    assert result_size(object()) == {}


def test_calls_that_wait_for_their_client_are_forgotten_in_the_end() -> None:
    rounds = WaitingCalls()
    for number in range(MAX_WAITING + 1):
        rounds.wait({"tool": str(number)}, None, f"call-{number}", 2)
    assert rounds.resume({"tool": "0"}, None, answered=True) is None
    assert rounds.resume({"tool": "1"}, None, answered=False) is None
    assert rounds.resume({"tool": "1"}, None, answered=True) == ("call-1", 2)
    assert rounds.resume({"tool": "1"}, None, answered=True) is None


async def test_calls_that_are_cancelled_while_they_wait_for_their_record_have_an_end_as_well(
    options: AuditOptions, log: Path
) -> None:
    async with AuditTrail(options) as trail:
        audit = AuditMiddleware(trail)

        async def hang(context: MiddlewareContext[Any]) -> None:
            await asyncio.Event().wait()

        context: MiddlewareContext[Any] = MiddlewareContext(message=None, method="tools/list")
        # enough at once that this one has to wait for its turn
        tasks = [asyncio.create_task(audit.on_request(context, hang)) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError)
            for end in await asyncio.gather(*tasks, return_exceptions=True)
        )
    assert [item.get("outcome") for item in records(log, "start", "end")] == [
        *[None] * 50,
        *["cancelled"] * 50,
    ]


async def test_a_request_that_cannot_be_described_is_recorded_and_served(
    options: AuditOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any, **_fields: Any) -> dict[str, Any]:
        raise LookupError(SECRET_TEXT)

    monkeypatch.setattr("research_gateway.audit.request.describe.describe_request", broken)
    trail = AuditTrail(options)
    async with trail, Client(Hall(trail).server) as client:
        assert (await client.call_tool("add", {"a": 1, "b": 2})).data == 3
    assert options.path is not None
    start, end, *_ = records(options.path, "start", "end")
    assert (start["method"], start["undescribed"], end["outcome"]) == ("tools/call", "LookupError", "ok")
    assert SECRET_TEXT not in text_of(options.path)


async def test_a_fault_of_the_audit_itself_is_an_error_by_the_book(
    options: AuditOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = AuditTrail(options)
    hall = Hall(trail)
    hall.server.middleware.insert(0, ErrorBoundary())
    async with trail, Client(hall.server) as client:
        monkeypatch.setattr(trail, "submit", None)
        refused = await client.call_tool("add", {"a": 1, "b": 2}, raise_on_error=False)
        assert error_of(refused)["code"] == "internal_error"
        with pytest.raises(MCPError) as listed:
            await client.list_prompts()
        assert listed.value.error.data["error"]["code"] == "internal_error"
    assert hall.calls == 0
