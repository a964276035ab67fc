"""Figures that Prometheus can read, with labels that nobody outside can make grow."""

import asyncio
import contextlib
from functools import partial
from typing import Any

import httpx
import pytest
from fastmcp import Client, FastMCP
from mcp import MCPError
from prometheus_client.parser import text_string_to_metric_families

from research_gateway.audit import AuditOptions, AuditTrail
from research_gateway.metrics import MAX_NAMES, Metrics, MetricsMiddleware, add_metrics
from research_shared.serving.auth import SharedTokens
from research_shared.telemetry import record
from support.asgi import send_request
from support.audit import Hall, answer
from support.serving import until

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def figures(metrics: Metrics | str) -> Figures:
    text = metrics if isinstance(metrics, str) else metrics.render().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def of(found: Figures, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


async def test_every_request_is_counted_and_timed(options: AuditOptions, metrics: Metrics) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail)
        hall.server.middleware.insert(0, MetricsMiddleware(metrics))
        async with Client(hall.server, elicitation_handler=answer) as client:
            await client.list_tools()
            for _ in range(3):
                await client.call_tool("add", {"a": 1, "b": 2})
            await client.call_tool_mcp("busy", {})
            await client.call_tool("ask_twice")
            await client.call_tool("summarize_document", {"document_path": "here/a.md"})
            await client.read_resource("research://documents/a.md")
            hung = asyncio.create_task(client.call_tool_mcp("hang", {}))
            await hall.started.wait()
            assert of(figures(metrics), "research_calls_in_flight", method="tools/call") == 1
            hung.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hung
    found = figures(metrics)
    calls = {"method": "tools/call"}
    assert of(found, "research_calls_total", **calls, target="add", outcome="ok") == 3
    assert of(found, "research_call_seconds_count", **calls, target="add") == 3
    assert of(found, "research_calls_total", **calls, target="busy", outcome="denied") == 1
    assert of(found, "research_errors_total", **calls, target="busy", reason="overloaded") == 1
    assert of(found, "research_calls_total", **calls, target="ask_twice", outcome="input_required") == 2
    assert of(found, "research_calls_total", **calls, target="ask_twice", outcome="ok") == 1
    assert of(found, "research_calls_total", **calls, target="hang", outcome="cancelled") == 1
    assert of(found, "research_calls_total", method="resources/read", target="", outcome="ok") == 1
    assert of(found, "research_model_tokens_total", model="m-1", direction="input") == 10
    assert of(found, "research_model_tokens_total", model="m-1", direction="output") == 2
    assert of(found, "research_calls_in_flight", method="tools/call") == 0


async def test_model_calls_are_counted_with_their_last_round(metrics: Metrics) -> None:
    from fastmcp import FastMCP

    server = FastMCP("host", middleware=[MetricsMiddleware(metrics)])

    @server.tool
    def think() -> None:
        record(route="provider", model="m", model_calls=3, attempts=5, retries=1)

    await server.call_tool("think")
    found = figures(metrics)
    assert of(found, "research_model_calls_total", route="provider", model="m") == 3
    assert of(found, "research_retries_total", target="think") == 3


async def test_names_that_clients_invent_become_no_labels(options: AuditOptions, metrics: Metrics) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail)
        hall.server.middleware.insert(0, MetricsMiddleware(metrics))
        async with Client(hall.server) as client:
            for number in range(5):
                await client.call_tool_mcp(f"invented-{number}", {})
                with pytest.raises(MCPError):
                    await client.get_prompt(f"invented-{number}")
    assert "invented" not in metrics.render().decode()
    found = figures(metrics)
    assert of(found, "research_calls_total", method="tools/call", target="", outcome="unknown_tool") == 5


def test_a_label_has_a_limited_number_of_values(metrics: Metrics) -> None:
    names = {metrics.method(f"method-{number}") for number in range(2 * MAX_NAMES)}
    assert len(names) == MAX_NAMES + 1
    assert metrics.method("method-0") == "method-0"
    assert metrics.method(None) == "other"


async def test_the_trail_and_other_figures_are_read_when_asked(
    options: AuditOptions, metrics: Metrics
) -> None:
    hits = 5
    metrics.watch("research_index_documents", "Documents in the index.", lambda: 7)
    metrics.watch_total("research_cache_hits", "Hits of the text cache.", lambda: hits)
    trail = AuditTrail(options)
    metrics.watch_trail(trail)
    async with trail:
        async with Client(Hall(trail).server) as client:
            await client.list_tools()
        # The writer lets a record go a moment after it has said that it is written.
        await until(lambda: trail.status().lag_s == 0 and trail.status().pending == 0)
        hits = 6
        found = figures(metrics)
    assert of(found, "research_index_documents") == 7
    assert of(found, "research_cache_hits_total") == 6
    assert of(found, "research_audit_records_total") == 2
    assert of(found, "research_audit_writable") == 1
    assert of(found, "research_audit_lost_total") == 0
    assert of(found, "research_audit_refused_total") == 0
    assert of(found, "research_audit_lag_seconds") == 0
    assert of(found, "research_audit_pending") == 0


async def test_figures_are_served_over_http(options: AuditOptions, metrics: Metrics) -> None:
    trail: Any = AuditTrail(options)
    server = Hall(trail).server
    add_metrics(server, metrics)
    metrics.watch_trail(trail)
    transport = httpx.ASGITransport(app=server.http_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answered = await client.get("/metrics")
    assert answered.status_code == 200
    assert answered.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert of(figures(answered.text), "research_audit_writable") == 0


async def test_figures_need_the_token_of_calls_when_told_so(metrics: Metrics) -> None:
    for needs_token, status in ((True, 401), (False, 200)):
        server: FastMCP[Any] = FastMCP("host", auth=SharedTokens(["a-token-of-some-length"]))
        add_metrics(server, metrics, needs_token=needs_token)
        app = server.http_app()
        ask = partial(send_request, app, b"", method="GET", path="/metrics")
        assert (await ask({})).status == status
        assert (await ask({"authorization": "Bearer a-token-of-another-one"})).status == status
        assert (await ask({"authorization": "Bearer a-token-of-some-length"})).status == 200
