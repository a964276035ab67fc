"""Spans of a trace: what is sent tells where time went, and nothing of documents or people."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from research_documents.server import build_documents_server
from research_shared.errors import DocumentNotFound
from research_shared.settings import Settings
from research_shared.telemetry import collecting, record_duration, spans
from research_shared.telemetry.export import WithoutContents

MARK = "a mark of zq7m"


class Traced:
    """A tracer that keeps what is sent to a collector."""

    def __init__(self) -> None:
        self.sent = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(WithoutContents(self.sent)))

    def names(self) -> list[str]:
        return [span.name for span in self.sent.get_finished_spans()]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    made = Traced()
    monkeypatch.setattr(spans, "_tracer", made.provider.get_tracer("test"))
    # Not the provider of the process: every tracer of a library would keep it after the test.
    monkeypatch.setattr("fastmcp.server.telemetry.get_tracer", lambda: made.provider.get_tracer("fastmcp"))
    yield made
    made.provider.shutdown()


async def test_a_search_and_the_reading_of_texts_have_spans_within_the_call(
    settings: Settings, traced: Traced
) -> None:
    server: FastMCP[Any] = build_documents_server(settings)
    async with Client(server) as client:
        await client.call_tool("search_documents", {"query": "cost"})
    sent = {span.name: span for span in traced.sent.get_finished_spans() if span.kind is not SpanKind.CLIENT}
    call, search = sent["tools/call search_documents"], sent["search"]
    assert search.parent == call.get_span_context()
    assert search.attributes is not None
    assert search.attributes["research.mode"] == "keyword"
    assert search.attributes["research.hits"]


async def test_no_path_message_or_session_is_sent(settings: Settings, traced: Traced) -> None:
    async with Client(build_documents_server(settings)) as client:
        with pytest.raises(Exception, match="no document"):
            await client.read_resource(f"research://documents/{MARK}.md".replace(" ", "%20"))
        await client.call_tool_mcp("read_document", {"document_path": f"{MARK}.md"})
    with pytest.raises(DocumentNotFound), spans.span("read text"):
        raise DocumentNotFound(f"no document {MARK}")
    finished = traced.sent.get_finished_spans()
    assert any(span.name.startswith("resources/read") for span in finished)
    shown = "".join(span.to_json() for span in finished)
    assert "zq7m" not in shown
    assert "session" not in shown
    assert finished[-1].status.status_code is StatusCode.ERROR
    assert finished[-1].attributes == {"error.type": "document_not_found"}


def test_log_lines_of_a_trace_carry_its_ids(traced: Traced) -> None:
    assert spans.trace_fields() == {}
    with spans.span("work") as current:
        fields = spans.trace_fields()
        assert int(fields["trace_id"], 16) == current.get_span_context().trace_id
        assert int(fields["span_id"], 16) == current.get_span_context().span_id
    assert traced.names() == ["work"]


def test_durations_of_inner_collectors_reach_the_outer_one() -> None:
    with collecting() as facts:
        record_duration(1.0)
        for seconds in (2.0, 3.0):
            with collecting():
                record_duration(seconds)
    assert facts["model_seconds"] == (1.0, 2.0, 3.0)
