"""What a model is told: the same instructions in every call, the material first, and the question after it."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from research_reasoning import prompts
from research_reasoning.budget import DEPTHS, LENGTHS, OVERHEAD
from research_reasoning.evidence.answers import is_placeholder
from research_reasoning.inquiry import Inquiry
from research_reasoning.models.protocol import Body
from research_shared.text.tokens import estimator_for
from support.carriers import connected
from support.scripted import ScriptedModel

BOUNDARY = "0123456789abcdef" * 2
WHY = Inquiry(question="Why?")


def one_of_each() -> dict[str, Body]:
    """A prompt of every kind with next to no content."""
    plan, length = DEPTHS["detailed"], LENGTHS["detailed"]
    kinds = {
        "evidence": prompts.evidence(
            path="a.md", inquiry=WHY, outline="", content="x", whole=True, plan=plan, boundary=BOUNDARY
        ),
        "combine": prompts.combine(
            inquiry=WHY, sources=[(1, "a.md")], findings="1.1 x", plan=plan, boundary=BOUNDARY
        ),
        "summary": prompts.summary(path="a.md", content="x", plan=length, boundary=BOUNDARY),
        "part": prompts.part(path="a.md", number=1, count=2, content="x", plan=length, boundary=BOUNDARY),
        "merge": prompts.merge(path="a.md", notes="x", plan=length, boundary=BOUNDARY),
        "reduce": prompts.reduce(path="a.md", notes="x", plan=length, boundary=BOUNDARY),
    }
    for shape in (prompts.EVIDENCE_SHAPE, prompts.COMBINE_SHAPE):
        kinds[f"repair {shape[:12]}"] = prompts.repair(answer="x", shape=shape, boundary=BOUNDARY)
    return kinds


async def test_the_system_prompt_of_a_kind_is_the_same_in_every_call(folder: Path) -> None:
    model = ScriptedModel()
    async with connected("handshake-memory", folder, model) as session:
        for question in ("What is hidden?", "Welche Verzögerung entsteht?"):
            await session.call(
                "synthesize_research", document_paths=["tor.md", "cache.md"], research_question=question
            )
        for name in ("tor.md", "cache.md"):
            await session.call("summarize_document", document_path=name)
    systems: dict[str, set[str]] = defaultdict(set)
    for kind, system, _ in model.calls:
        systems[kind].add(system)
    assert {kind: len(said) for kind, said in systems.items()} == {"evidence": 1, "combine": 1, "summary": 1}


async def test_the_question_follows_the_document_and_the_findings(folder: Path) -> None:
    model = ScriptedModel()
    async with connected("handshake-memory", folder, model) as session:
        await session.call(
            "synthesize_research", document_paths=["tor.md"], research_question="What is hidden?"
        )
    assert [kind for kind, _, _ in model.calls] == ["evidence", "combine"]
    for _, _, text in model.calls:
        before, _, after = text.rpartition(">>>")
        assert "What is hidden?" not in before
        assert after.startswith("\n\nResearch question: What is hidden?\n")


@pytest.mark.parametrize("kind", one_of_each())
def test_the_instructions_fit_the_tokens_that_are_reserved_for_them(kind: str) -> None:
    body = one_of_each()[kind]
    for model in ("claude-sonnet-5", "gpt-5", None):
        estimate = estimator_for(model)
        assert estimate(body.system) + estimate(body.text) <= OVERHEAD


@pytest.mark.parametrize("kind", one_of_each())
def test_no_instruction_holds_a_boundary_and_the_first_line_of_the_message_names_it(kind: str) -> None:
    body = one_of_each()[kind]
    assert BOUNDARY not in body.system
    assert body.text.split("\n")[0] == f"The boundary is UNTRUSTED {BOUNDARY}."


def strings(value: Any) -> list[str]:
    """Every string of a JSON value except the keys."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict | list):
        return [
            text for item in (value.values() if isinstance(value, dict) else value) for text in strings(item)
        ]
    return []


@pytest.mark.parametrize(
    ("kind", "shape", "schema"),
    [
        ("evidence", prompts.EVIDENCE_SHAPE, prompts.EVIDENCE_SCHEMA),
        ("combine", prompts.COMBINE_SHAPE, prompts.COMBINE_SCHEMA),
    ],
)
def test_the_example_is_valid_json_whose_every_string_is_a_placeholder(
    kind: str, shape: str, schema: dict[str, Any]
) -> None:
    body = one_of_each()[kind]
    assert shape in body.system.split("\n")
    assert body.schema == schema
    example = json.loads(shape)
    assert strings(example)
    assert all(map(is_placeholder, strings(example)))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(example)


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every schema of an object within a schema."""
    if isinstance(schema, list):
        return [found for item in schema for found in objects(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if schema.get("type") == "object" else []
    return own + [found for item in schema.values() for found in objects(item)]


@pytest.mark.parametrize("schema", [prompts.EVIDENCE_SCHEMA, prompts.COMBINE_SCHEMA])
def test_a_schema_is_in_the_strict_form_of_structured_outputs(schema: dict[str, Any]) -> None:
    found = objects(schema)
    assert len(found) >= 2
    for item in found:
        assert item["additionalProperties"] is False
        assert item["required"] == list(item["properties"])


def test_prose_has_no_schema() -> None:
    asked = one_of_each()
    assert {kind for kind, body in asked.items() if body.schema is None} == {
        "summary",
        "part",
        "merge",
        "reduce",
    }
