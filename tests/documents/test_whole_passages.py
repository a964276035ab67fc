"""Whole passages for a client's own model: ranked for a question in words, within a budget of tokens."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_documents.search.passages import plain_question
from research_documents.server import build_documents_server
from research_shared.access.roots import Root
from research_shared.settings import Settings
from research_shared.text.tokens import ceiling_tokens
from support.backends import IN_EACH_PLACE

LATENCY = """# What mixing costs

Mix networks delay messages.
The latency of a mix network is minutes, and users leave when they wait.

Only mail is patient enough."""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client[Any]]:
    (tmp_path / "latency.md").write_text(LATENCY + "\n", "utf-8")
    for number in range(6):
        text = f"# Chapter {number}\n\nUsers of network {number} wait.\n" + f"Line {number} of many.\n" * 20
        (tmp_path / f"chapter-{number}.md").write_text(text, "utf-8")
    (tmp_path / "how.md").write_text("How does it do what it does, and why does it do that?\n", "utf-8")
    settings = Settings(roots=(Root("research", tmp_path),), watch=False, search_deadline_s=60)
    async with Client(build_documents_server(settings)) as connected:
        yield connected


async def found(client: Client[Any], query: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool("search_documents", {"query": query, "snippet": "passage", **arguments})
    assert result.structured_content is not None
    return result.structured_content


def lines_of(match: dict[str, Any]) -> list[str]:
    return [*match.get("before", []), match["matched_text"], *match.get("after", [])]


@IN_EACH_PLACE
async def test_a_question_in_words_gives_the_whole_passage_with_its_lines(client: Client[Any]) -> None:
    answer = await found(client, "How does latency affect the users of a mix network?")
    best = answer["matches"][0]
    assert best["document"] == "latency.md"
    assert lines_of(best) == LATENCY.splitlines()
    assert best["line_number"] - len(best["before"]) == 1
    assert "how.md" not in {match["document"] for match in answer["matches"]}


@IN_EACH_PLACE
async def test_passages_end_at_the_budget_and_go_on_with_the_cursor(client: Client[Any]) -> None:
    query, budget = "Do users of a network wait?", 300
    seen: list[str] = []
    cursor = ""
    for _ in range(20):
        answer = await found(client, query, max_tokens=budget, cursor=cursor)
        shown = ["\n".join(lines_of(match)) for match in answer["matches"]]
        assert len(shown) == 1 or sum(map(ceiling_tokens, shown)) <= budget
        seen += [match["document"] for match in answer["matches"]]
        if not answer["truncated"]:
            break
        cursor = answer["next_cursor"]
    whole = await found(client, query, max_tokens=12_000)
    assert seen == [match["document"] for match in whole["matches"]]
    assert len(seen) == len(set(seen)) == 7


@IN_EACH_PLACE
async def test_the_budget_is_clamped_with_a_note(client: Client[Any]) -> None:
    answer = await found(client, "users", max_tokens=10**6)
    assert answer["warnings"] == ["max_tokens is from 200 to 12000: 12000 is used instead of 1000000"]


@IN_EACH_PLACE
async def test_operators_still_hold_in_a_question(client: Client[Any]) -> None:
    answer = await found(client, '+latency "mix network"')
    assert [match["document"] for match in answer["matches"]] == ["latency.md"]
    assert (await found(client, '"mix network" -latency'))["matches"] == []


@pytest.mark.parametrize(
    ("question", "searched"),
    [
        ("What is the mean burnout score?", "mean burnout score"),
        ("Wie hoch ist die mittlere Latenz?", "hoch mittlere latenz"),
        ("what is it?", "what is it"),
        ("state-of-the-art methods", "state art methods"),
        ("latency -mail", "latency -mail"),
        ("path:notes latency", "path:notes latency"),
        ("??", "??"),
    ],
)
def test_the_words_that_tell_what_a_question_is_about_are_searched_for(question: str, searched: str) -> None:
    assert plain_question(question) == searched
