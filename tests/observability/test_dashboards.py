"""The dashboard and the alerts ask for metrics, labels and values that the gateway has."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fastmcp import Client
from prometheus_client.parser import text_string_to_metric_families

from research_gateway.app import build_gateway
from research_gateway.metrics import Metrics
from research_shared import errors
from research_shared.errors import ModelFailed, ModelUnavailable
from research_shared.faults import FAULT_KINDS
from research_shared.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
CODES = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")}
FROM_PROMETHEUS = {"up", "le", "job", "instance"}
"""What the names stand for that Prometheus itself adds."""


def dashboard_expressions() -> list[str]:
    board = json.loads((DEPLOY / "grafana" / "research-assistant.json").read_text(encoding="utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    variables = [each["query"] for each in board["templating"]["list"] if each["type"] == "query"]
    return [target["expr"] for panel in panels for target in panel["targets"]] + variables


def alert_expressions() -> list[str]:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    return [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


async def served_by(settings: Settings) -> dict[str, set[str]]:
    """The labels of each sample that a gateway serves, by its name."""
    gateway = build_gateway(settings.model_copy(update={"metrics": True}))
    async with Client(gateway) as client:
        await client.call_tool("search_documents", {"query": "cost"})
        await client.call_tool_mcp("read_document", {"document_path": "no such.md"})
        await client.call_tool_mcp("summarize_document", {"document_path": "no such.md"})
    transport = httpx.ASGITransport(app=gateway.http_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        text = (await http.get("/metrics")).text
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels | never_asked()


def never_asked() -> dict[str, set[str]]:
    """The samples that appear with the first call of a model."""
    metrics = Metrics()
    metrics.model_calls.labels("provider", "m").inc()
    metrics.tokens.labels("m", "input").inc()
    metrics.retries.labels("synthesize_research").inc()
    metrics.model_seconds.labels("provider").observe(1)
    names = ("research_model", "research_retries")
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if sample.name.startswith(names)
    }


def asked(expression: str) -> dict[str, dict[str, str]]:
    """The metrics of an expression, each with the labels that are asked for and their values."""
    found: dict[str, dict[str, str]] = {}
    for name, _, selector in re.findall(r"\b((?:research|process)_\w+|up)\b(\{([^}]*)\})?", expression):
        found.setdefault(name, {}).update(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', selector))
    return found


@pytest.mark.parametrize("expressions", [dashboard_expressions, alert_expressions])
async def test_what_is_asked_for_exists(expressions: Any, settings: Settings) -> None:
    served = await served_by(settings)
    for expression in expressions():
        metrics = asked(expression)
        assert metrics, expression
        labels: set[str] = set()
        for name, selected in metrics.items():
            assert name in served or name in FROM_PROMETHEUS, expression
            known = served.get(name, set())
            assert selected.keys() <= known | FROM_PROMETHEUS, expression
            labels |= known
        for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
            assert {label.strip() for label in grouped.split(",")} <= labels | FROM_PROMETHEUS, expression


def test_what_is_asked_for_by_value_exists() -> None:
    faults = {kind.name for kind in FAULT_KINDS}
    for expression in [*dashboard_expressions(), *alert_expressions()]:
        for selected in asked(expression).values():
            if "reason" in selected:
                pattern = selected["reason"]
                assert any(re.fullmatch(pattern, code) for code in CODES), expression
            assert selected.get("fault", next(iter(faults))) in faults
    assert {ModelFailed.code, ModelUnavailable.code} <= {
        code for code in CODES if re.fullmatch("model_.*", code)
    }


def test_every_alert_is_tried() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    tests = yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yml").read_text(encoding="utf-8"))
    tried = {each["alertname"] for test in tests["tests"] for each in test["alert_rule_test"]}
    assert tried == {rule["alert"] for group in rules["groups"] for rule in group["rules"]}


async def test_a_metric_that_is_renamed_is_noticed(settings: Settings) -> None:
    served = await served_by(settings)
    del served["research_audit_writable"]
    assert any(not asked(expression).keys() <= served.keys() | {"up"} for expression in alert_expressions())


def test_the_time_of_model_calls_is_measured_by_route() -> None:
    from research_gateway.audit import outcome_of_result

    metrics = Metrics()
    facts = {"model_seconds": (0.2, 30.0), "route": "provider", "model": "m", "model_calls": 2}
    metrics.observe("tools/call", "synthesize_research", outcome_of_result(None), 31.0, facts)
    text = metrics.render().decode()
    assert 'research_model_seconds_count{route="provider"} 2.0' in text
    assert 'research_model_seconds_bucket{le="0.25",route="provider"} 1.0' in text
