"""Prometheus metrics: requests, their outcomes and durations, and the state of the server's parts.

Needs the extra `metrics`; nothing imports this without `RESEARCH_METRICS`.
"""

import time
from collections import Counter as Counts
from collections.abc import Callable, Mapping
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from research_documents.search import DocumentSearch
from research_gateway.audit import (
    UNAUDITED_METHODS,
    AuditTrail,
    CallOutcome,
    capped,
    outcome_of_exception,
    outcome_of_result,
    params_of,
)
from research_shared.faults import FAULT_KINDS, Faults
from research_shared.reading.library import Library
from research_shared.serving.fleet.figures import METRICS_PATH
from research_shared.serving.version import VERSION
from research_shared.telemetry import MODEL_SECONDS, collecting

MAX_NAMES = 200
"""Limit of values for one label. Further values are counted as `other`."""
_MODEL_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0)
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class _BoundedLabels:
    """Limits the number of values of one label."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, name: object) -> str:
        text = capped(name, 128)
        if text not in self._known:
            if len(self._known) >= MAX_NAMES:
                return "other"
            self._known.add(text)
        return text


class _Read(Collector):
    """Collector for a counter that is kept elsewhere and read at each scrape."""

    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        self._name, self._text, self._read = name, text, read

    def collect(self) -> list[Metric]:
        return [CounterMetricFamily(self._name, self._text, value=self._read())]

    def describe(self) -> list[Metric]:
        return [CounterMetricFamily(self._name, self._text)]


class _FaultGauges(Collector):
    """Collector for one gauge for each kind of fault."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def collect(self) -> list[Metric]:
        gauge = self.describe()[0]
        current = Counts(fault.kind.name for fault in self._faults.current)
        for kind in FAULT_KINDS:
            gauge.add_metric([kind.name], current[kind.name])
        return [gauge]

    def describe(self) -> list[GaugeMetricFamily]:
        return [GaugeMetricFamily("research_fault", "Current faults; 0: none.", labels=["fault"])]


class Metrics:
    """The metrics of one server, in a separate registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(
            registry=self.registry
        )  # memory, processor time and open files, where /proc tells them
        Info("research_build", "The version of the server.", registry=self.registry).info(
            {"version": VERSION}
        )
        self._methods, self._targets, self._reasons, self._models = (_BoundedLabels() for _ in range(4))
        self.in_flight = Gauge(
            "research_calls_in_flight", "Requests in flight.", ["method"], registry=self.registry
        )
        self.calls = Counter(
            "research_calls", "Requests that ended.", ["method", "target", "outcome"], registry=self.registry
        )
        self.errors = Counter(
            "research_errors",
            "Requests that failed, were denied or cancelled.",
            ["method", "target", "reason"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "research_call_seconds",
            "How long requests take.",
            ["method", "target"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.model_calls = Counter(
            "research_model_calls", "Calls of a language model.", ["route", "model"], registry=self.registry
        )
        self.tokens = Counter(
            "research_model_tokens", "Tokens of those calls.", ["model", "direction"], registry=self.registry
        )
        self.model_seconds = Histogram(
            "research_model_seconds",
            "How long attempts of model calls take, failed ones included; not those of the client route in rounds.",
            ["route"],
            buckets=_MODEL_BUCKETS,
            registry=self.registry,
        )
        self.retries = Counter(
            "research_retries", "Repeated attempts, by target.", ["target"], registry=self.registry
        )

    def method(self, name: str | None) -> str:
        """Return the label value for a request's method."""
        return self._methods(name or "")

    def observe(
        self, method: str, target: str | None, outcome: CallOutcome, seconds: float, facts: Mapping[str, Any]
    ) -> None:
        """Count a finished request. `target` is the tool or prompt; `facts` are those recorded by the tool."""
        method = self.method(method)
        # unknown names come from the client and must not become labels
        known = outcome.kind != "unknown_tool" and outcome.reason not in {
            "unknown_resource",
            "unknown_prompt",
        }
        label = self._targets(target) if known and target else ""
        self.calls.labels(method, label, outcome.kind).inc()
        self.seconds.labels(method, label).observe(seconds)
        if outcome.kind not in {"ok", "input_required"}:
            self.errors.labels(method, label, self._reasons(outcome.reason)).inc()
        if outcome.kind != "input_required":
            # facts of a call of several rounds are totals, so only its last round counts
            self._observe_model(label, facts)
        for duration in facts.get(MODEL_SECONDS, ()):
            self.model_seconds.labels(self._reasons(facts.get("route") or "")).observe(duration)

    def _observe_model(self, label: str, facts: Mapping[str, Any]) -> None:
        model = self._models(facts.get("model") or "")
        calls = _amount(facts, "model_calls")
        if calls:
            self.model_calls.labels(self._reasons(facts.get("route") or ""), model).inc(calls)
        for direction in ("input", "output"):
            if tokens := _amount(facts, f"{direction}_tokens"):
                self.tokens.labels(model, direction).inc(tokens)
        repeated = max(0.0, _amount(facts, "attempts") - calls) if calls else 0.0
        if retries := repeated + _amount(facts, "retries"):
            self.retries.labels(label).inc(retries)

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read at each scrape, such as the size of an index."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def watch_total(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a counter that is kept elsewhere and read at each scrape, such as cache hits."""
        self.registry.register(_Read(name=name, text=text, read=read))

    def watch_trail(self, trail: AuditTrail) -> None:
        """Add the metrics of the audit trail."""
        watch, total = self.watch, self.watch_total
        watch("research_audit_writable", "1 while the log can be written.", lambda: trail.status().writable)
        watch("research_audit_lag_seconds", "How long the oldest record waits.", lambda: trail.status().lag_s)
        watch("research_audit_pending", "Records that wait.", lambda: trail.status().pending)
        total("research_audit_records", "Records written.", lambda: trail.status().written)
        total("research_audit_lost", "Records that could not be written.", lambda: trail.status().lost)
        total(
            "research_audit_refused",
            "Calls refused because the audit log could not be written.",
            lambda: trail.refused,
        )

    def watch_faults(self, faults: Faults) -> None:
        """Add a gauge for each kind of fault."""
        self.registry.register(_FaultGauges(faults))

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return exposition.generate_latest(self.registry)


def watch_library(library: Library, metrics: Metrics) -> None:
    """Add the metrics of the document library, and the faults that it and those who share it report."""
    watch, total = metrics.watch, metrics.watch_total
    metrics.watch_faults(library.faults)
    watch("research_cache_documents", "Documents whose text is in memory.", lambda: library.stats.documents)
    watch("research_cache_bytes", "Bytes of text in memory.", lambda: library.stats.cached_bytes)
    watch("research_readers", "Processes that read documents.", lambda: library.stats.workers)
    watch("research_readers_busy", "Those that read a document now.", lambda: library.stats.busy)
    total("research_readers_started", "Such processes started so far.", lambda: library.stats.started)
    total("research_cache_hits", "Texts that were in memory.", lambda: library.stats.hits)
    total("research_cache_misses", "Texts that had to be read.", lambda: library.stats.misses)


def watch_search(engine: DocumentSearch, metrics: Metrics) -> None:
    """Add the metrics of the search index."""
    watch = metrics.watch
    watch("research_index_documents", "Documents in the index.", lambda: engine.stats.documents)
    watch("research_index_passages", "Passages in the index.", lambda: engine.stats.passages)
    watch("research_index_bytes", "Bytes of indexed text.", lambda: engine.stats.text_bytes)
    watch("research_index_unreadable", "Documents without text.", lambda: engine.stats.unreadable)
    watch("research_index_missing", "Documents not in the index yet.", lambda: engine.stats.missing)
    watch(
        "research_index_embedded",
        "Passages with a vector, for hybrid search.",
        lambda: (engine.stats.embedded or (0, 0))[0],
    )
    watch("research_watching", "1 while changes of the folder are reported.", lambda: engine.stats.watching)
    watch("research_index_building", "1 while the index is being built.", lambda: engine.stats.building)


def _amount(facts: Mapping[str, Any], name: str) -> float:
    value = facts.get(name)
    return value if isinstance(value, int | float) and value > 0 else 0


class MetricsMiddleware(Middleware):
    """Counts and times every request. Add it first, so that it also counts requests that other middleware refuses.

    >>> from fastmcp import FastMCP
    >>> metrics = Metrics()
    >>> server = FastMCP("host", middleware=[MetricsMiddleware(metrics)])
    >>> add_metrics(server, metrics)  # GET /metrics
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Serve the request and count it."""
        method = context.method or ""
        if method in UNAUDITED_METHODS:
            return await call_next(context)
        params = params_of(context.message)
        # resources get no label of their own: there are as many as documents
        target = params.get("name") if method in {"tools/call", "prompts/get"} else None
        in_flight = self._metrics.in_flight.labels(self._metrics.method(method))
        in_flight.inc()
        begun = time.perf_counter()
        outcome = CallOutcome(kind="error", reason="process_ending")
        with collecting() as facts:
            try:
                result = await call_next(context)
                outcome = outcome_of_result(result)
            except BaseException as error:
                outcome = outcome_of_exception(error, method)
                raise
            finally:
                in_flight.dec()
                self._metrics.observe(
                    method=method,
                    target=target,
                    outcome=outcome,
                    seconds=time.perf_counter() - begun,
                    facts=facts,
                )
        return result


def add_metrics(server: FastMCP[Any], metrics: Metrics, *, needs_token: bool = False) -> None:
    """Serve `GET /metrics` over HTTP. With `needs_token` the route requires the credentials that calls need."""

    @server.custom_route(METRICS_PATH, methods=["GET"], include_in_schema=False)
    async def figures(request: Request) -> Response:
        if needs_token and not isinstance(request.scope.get("user"), AuthenticatedUser):
            return Response(status_code=401, headers={"www-authenticate": "Bearer"})
        return Response(metrics.render(), media_type=exposition.CONTENT_TYPE_PLAIN_0_0_4)
