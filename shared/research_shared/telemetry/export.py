"""Sends the spans of this process to an OpenTelemetry collector. Needs the extra `otlp`."""

from collections.abc import Callable, Mapping, Sequence

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status

MAX_SPAN_NAME = 128
_SENT_PREFIXES = ("research.", "gen_ai.", "rpc.", "mcp.method.", "mcp.protocol.")
_SENT_ATTRIBUTES = frozenset(
    {"error.type", "fastmcp.server.name", "fastmcp.component.type", "jsonrpc.request.id"}
)


def export_traces(url: str, *, headers: Mapping[str, str], service: str, version: str) -> Callable[[], None]:
    """Send the spans of this process to `url`, which takes OTLP over HTTP, such as `http://collector:4318/v1/traces`.

    `service` and `version` are those of the server in the traces. Return a function that sends what waits and ends the exporter.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": service, "service.version": version}))
    exporter = OTLPSpanExporter(endpoint=url, headers=dict(headers))
    provider.add_span_processor(BatchSpanProcessor(WithoutContents(exporter)))
    trace.set_tracer_provider(provider)
    return provider.shutdown


class WithoutContents(SpanExporter):
    """Passes spans on without what may hold paths, addresses, texts, names of people or ids of sessions.

    FastMCP's spans have the addresses of documents in their names, the messages and tracebacks of errors in their events,
    and who called in their attributes. Only the attributes that are known to be harmless are sent.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the spans."""
        return self._exporter.export([_without_contents(span) for span in spans])

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits."""
        return self._exporter.force_flush(timeout_millis)


def _without_contents(span: ReadableSpan) -> ReadableSpan:
    attributes = span.attributes or {}
    sent = {
        key: value
        for key, value in attributes.items()
        if key in _SENT_ATTRIBUTES or key.startswith(_SENT_PREFIXES)
    }
    return ReadableSpan(
        name=_span_name(span.name),
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=sent,
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _span_name(name: str) -> str:
    """Return the name of a span without an address: `resources/read research://documents/a.md` is `resources/read`."""
    return " ".join(part for part in name[: 2 * MAX_SPAN_NAME].split() if ":" not in part)[:MAX_SPAN_NAME]
