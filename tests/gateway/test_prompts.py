"""The prompts of both servers: what they tell a model to do can be done, and their arguments are completed."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from mcp_types import PromptReference

from research_gateway.app import build_gateway
from research_shared.access.roots import Root
from research_shared.settings import Settings
from research_shared.tools.names import OWN_PROMPTS, OWN_TOOLS

STEP = re.compile(r"^\d+\. (.*)$", re.MULTILINE)
TOOL = re.compile("|".join(OWN_TOOLS))
NAME = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
SAID = "Output rose by 5 percent in the second quarter."
Results = dict[str, dict[str, Any]]
Play = dict[str, Callable[[str, Results], dict[str, Any]]]
"""Arguments of each tool, from the words of the prompt and the latest result of each tool."""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client[Any]]:
    for path, text in {
        "reports/spring.md": f"# Spring\n\n{SAID}\nCosts fell by 2 percent.\n",
        "reports/letter, old.md": "# Letter\n\nOutput fell in the second quarter, staff say.\n",
        "notes/lunch.md": "# Lunch\n\nSoup.\n",
    }.items():
        (tmp_path / "r" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "r" / path).write_text(text, encoding="utf-8")
    settings = Settings(
        roots=(Root("research", tmp_path / "r"),),
        watch=False,
        model_route="extractive",
        audit_log=tmp_path / "audit.jsonl",
    )
    async with Client(build_gateway(settings)) as opened:
        yield opened


async def follow(client: Client[Any], prompt: str, arguments: dict[str, str], play: Play) -> Results:
    """Do what a prompt says, step by step, as a model would. Return the latest result of each tool."""
    message = (await client.get_prompt(prompt, arguments)).messages[0]
    text: str = message.content.text  # type: ignore[union-attr]
    results: Results = {}
    for step in STEP.findall(text):
        for tool in TOOL.findall(step):
            result = await client.call_tool(tool, play[tool](step, results))
            assert result.structured_content is not None
            results[tool] = result.structured_content
    return results


def named(step: str, argument: str) -> str:
    """What a step says that an argument is to be."""
    found = re.search(rf'{argument}=\[?"([^"]+)"', step)
    assert found, step
    return found[1]


def hit(results: Results) -> dict[str, Any]:
    match = results["search_documents"]["matches"][0]
    return {"document_path": match["document"], "start_line": match["line_number"] - 10}


def sentence(results: Results) -> dict[str, Any]:
    lines = [line["text"] for line in results["read_document"]["lines"]]
    return {"quote": max(lines, key=len), "document_path": results["read_document"]["document_path"]}


async def test_finding_evidence_ends_with_quotes_that_are_verified(client: Client[Any]) -> None:
    play: Play = {
        "search_documents": lambda step, _: {
            "query": "output quarter",
            "file_pattern": named(step, "file_pattern"),
        },
        "read_document": lambda _, results: hit(results),
        "verify_quotes": lambda _, results: {"quotes": [sentence(results)]},
    }
    arguments = {"claim": "Output rose.", "folder": "reports/"}
    results = await follow(client, "find_evidence", arguments, play)
    assert set(results) == set(play)
    assert {match["document"] for match in results["search_documents"]["matches"]} == {
        "reports/spring.md",
        "reports/letter, old.md",
    }
    assert results["verify_quotes"]["quotes"][0]["verified"]


async def test_a_brief_rests_on_an_answer_a_second_one_and_verified_quotes(client: Client[Any]) -> None:
    def ask(step: str, results: Results) -> dict[str, Any]:
        if "synthesize_research" not in results:
            question = {"research_question": "Did output rise in the second quarter?", "depth": "detailed"}
            return question | {"document_paths": [named(step, "document_paths")]}
        before = results["synthesize_research"]
        return {
            "research_question": "By how much did output rise in the second quarter?",
            "follow_up": before["follow_up"],
            "document_paths": [hit(results)["document_path"]],
        }

    play: Play = {
        "list_research_documents": lambda step, _: {"file_pattern": named(step, "file_pattern")},
        "synthesize_research": ask,
        "search_documents": lambda *_: {"query": "output rose"},
        "read_document": lambda _, results: hit(results),
        "verify_quotes": lambda _, results: {"quotes": [sentence(results)]},
    }
    results = await follow(client, "research_brief", {"topic": "output", "folder": "reports"}, play)
    assert set(results) == set(play)
    assert results["list_research_documents"]["total"] == 2
    assert results["synthesize_research"]["selection"]["passages_reused"] >= 1
    assert results["verify_quotes"]["quotes"][0]["verified"]


async def test_a_comparison_ends_with_a_table_of_the_documents(client: Client[Any]) -> None:
    play: Play = {
        "list_research_documents": lambda *_: {},
        "synthesize_research": lambda _, results: {
            "research_question": "What happened to output in the second quarter?",
            "document_paths": [
                document["path"]
                for document in results["list_research_documents"]["documents"]
                if document["path"].startswith("reports/")
            ],
            "format": "table",
            "aspects": ["output"],
        },
    }
    arguments = {"documents": "the two reports", "aspects": "output"}
    results = await follow(client, "compare_documents", arguments, play)
    assert len(results["synthesize_research"]["table"]["rows"]) == 2


async def test_checking_a_draft_finds_the_quote_that_is_wrong_and_its_right_words(
    client: Client[Any],
) -> None:
    wrong = SAID.replace("5", "7")
    play: Play = {
        "verify_quotes": lambda *_: {"quotes": [{"quote": SAID}, {"quote": wrong}]},
        "search_documents": lambda *_: {"query": "output percent"},
        "read_document": lambda _, results: hit(results),
    }
    results = await follow(client, "check_my_draft", {"draft": f"“{SAID}” “{wrong}”"}, play)
    assert [quote["verified"] for quote in results["verify_quotes"]["quotes"]] == [True, False]
    assert SAID in [line["text"] for line in results["read_document"]["lines"]]


async def test_prompts_name_only_tools_arguments_and_fields_that_exist(client: Client[Any]) -> None:
    tools = await client.list_tools()
    known = set(OWN_TOOLS)
    for tool in tools:
        known |= set(tool.input_schema["properties"]) | set((tool.output_schema or {})["properties"])
        known |= set(re.findall(r'"([a-z_]+)": \{', str(tool.output_schema).replace("'", '"')))
    prompts = await client.list_prompts()
    assert sorted(prompt.name for prompt in prompts) == list(OWN_PROMPTS)
    for prompt in prompts:
        assert prompt.title
        arguments = {argument.name: "word" for argument in prompt.arguments or ()}
        message = (await client.get_prompt(prompt.name, arguments)).messages[0]
        text: str = message.content.text  # type: ignore[union-attr]
        assert set(NAME.findall(text)) <= known, prompt.name


@pytest.mark.parametrize(
    ("prompt", "argument", "typed", "values"),
    [
        ("compare_documents", "documents", "spr", ["reports/spring.md"]),
        ("compare_documents", "documents", "notes/lunch.md, spr", ["notes/lunch.md, reports/spring.md"]),
        ("compare_documents", "documents", "reports/spring.md,spring", []),
        ("research_brief", "folder", "", ["notes", "reports"]),
        ("find_evidence", "folder", "RE", ["reports"]),
    ],
)
async def test_arguments_of_prompts_are_completed(
    prompt: str, argument: str, typed: str, values: list[str], client: Client[Any]
) -> None:
    completed = await client.complete(PromptReference(name=prompt), {"name": argument, "value": typed})
    assert completed.values == values
