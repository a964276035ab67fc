"""Each habit of a real model or server, met by each tool on each route."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from support.carriers import connected, no_wait
from support.sizes import FULL
from support.stand_ins import HTTP_ONLY, MODES, Habit, StandIn, StandInServer

ROUTES = ("provider-anthropic", "provider-openai", "handshake-memory", "modern-memory")
TOOLS: dict[str, dict[str, Any]] = {
    "summarize_document": {"document_path": "long.md"},
    "synthesize_research": {
        "document_paths": ["long.md", "tor.md"],
        "research_question": "What do relays hide?",
    },
}
LONG = "".join(
    f"## Part {number}\n\nRelay number {number} hides its neighbours from the others. Nobody learns both ends "
    f"of a path in part {number}.\n\n"
    for number in range(1, 121)
)


def cases() -> list[tuple[str, str, str]]:
    """Every habit on every route, except those of servers and what ends a call in a client of 2026-07-28.

    The long variant tries each of them with both tools, the quick one with one after the other.
    """
    tools = [*TOOLS]
    return [
        (mode, route, tool)
        for mode, route, tool in itertools.product(MODES, ROUTES, TOOLS)
        if route.startswith("provider") or mode not in HTTP_ONLY
        if not (route.startswith("modern") and MODES[mode].context)
        if not (route == "provider-anthropic" and mode == "knows max_completion_tokens")
        if FULL
        or mode == "knows max_completion_tokens"
        or tool == tools[([*MODES].index(mode) + ROUTES.index(route)) % len(tools)]
    ]


def test_every_habit_is_met_by_both_tools() -> None:
    for mode in MODES:
        assert {tool for habit, _, tool in cases() if habit == mode} == {*TOOLS}


@pytest.mark.parametrize(("mode", "route", "tool"), cases())
async def test_each_habit_is_met_or_named_with_its_remedy(
    folder: Path, mode: str, route: str, tool: str
) -> None:
    (folder / "long.md").write_text(LONG, encoding="utf-8")
    habit = MODES[mode]
    model = StandIn(habit=habit)
    async with connected(route, folder, model, new_provider=StandInServer) as session:
        if habit.remedy:
            failed = await session.fail(tool, **TOOLS[tool])
            assert habit.remedy in failed["hint"]
            return
        result = await session.call(tool, **TOOLS[tool])
    if tool == "summarize_document":
        assert "Paragraph 1" in result["summary"]
        assert "think" not in result["summary"]
        assert result["coverage"]["complete"]
        return
    assert (result["sources_used"], result["answered"], result["partial"]) == (2, True, False)
    assert result["unverified_quotes"] == 0
    assert all(item["verified"] for insight in result["key_insights"] for item in insight["evidence"])
    if habit.context:
        assert not result["sources"][0]["coverage"]["complete"]
        assert any("used in part" in warning for warning in result["warnings"])


@pytest.mark.parametrize("route", ROUTES)
async def test_an_answer_that_was_cut_is_asked_again_with_more_room_and_never_the_same(
    folder: Path, route: str
) -> None:
    model = StandIn(habit=Habit(never_ends=""))
    async with connected(route, folder, model, new_provider=StandInServer) as session:
        failed = await session.fail("summarize_document", document_path="tor.md", summary_length="brief")
    assert model.limits == [8_500, 17_000, 32_000]
    assert (failed["reason"], failed["attempts"]) == ("truncated", 3)


@pytest.mark.parametrize("route", ["provider-openai", "modern-memory"])
async def test_the_operator_decides_how_much_room_there_is(folder: Path, route: str) -> None:
    model = StandIn(habit=Habit(never_ends=""))
    changes: dict[str, Any] = {"thinking_tokens": 1_000, "max_output_tokens": 2_000}
    async with connected(route, folder, model, new_provider=StandInServer, **changes) as session:
        await session.fail("summarize_document", document_path="tor.md", summary_length="brief")
    assert model.limits == [1_500, 2_000]


async def test_a_parameter_that_is_refused_is_left_out_from_then_on(folder: Path) -> None:
    model = StandIn(habit=MODES["knows max_completion_tokens"])
    changes: dict[str, Any] = {"reasoning_effort": "low", "structured_output": "on"}
    async with connected("provider-openai", folder, model, new_provider=StandInServer, **changes) as session:
        first = await session.call("summarize_document", document_path="tor.md")
        provider = session.provider
        assert provider is not None
        asked = len(provider.requests)
        await session.call("summarize_document", document_path="tor.md")
        assert len(provider.requests) == asked + 1
    assert first["usage"]["attempts"] == 1
    assert set(provider.requests[-1][2]) == {"model", "messages", "max_completion_tokens"}


@pytest.mark.parametrize("mode", ["one slot, queue", "one slot, refuse"])
async def test_a_server_of_one_slot_loses_no_document(
    folder: Path, mode: str, pass_time: Callable[[float], None]
) -> None:
    names = [f"n{number}.md" for number in range(20)]
    for name in names:
        (folder / name).write_text(f"# {name}\n\nThe relay of {name} hides its neighbours.\n", "utf-8")
    model = StandIn(habit=MODES[mode])
    retry = no_wait(deadline_s=120.0)
    async with connected(
        "provider-openai", folder, model, new_provider=StandInServer, retry=retry, model_timeout_s=60.0
    ) as session:
        assert session.provider is not None
        # each answer takes 20 s, so that the last one comes after 400 s
        session.provider.on_delay = lambda: pass_time(20)
        with anyio.fail_after(10_000):
            result = await session.call(
                "synthesize_research", document_paths=names, research_question="What is hidden?"
            )
    assert [source["reason"] for source in result["sources"] if source["reason"]] == []
    assert (result["sources_used"], result["partial"]) == (20, False)


async def test_a_server_that_reads_less_than_it_was_sent_is_told_of(folder: Path) -> None:
    (folder / "long.md").write_text(LONG * 3, encoding="utf-8")
    model = StandIn(habit=MODES["cuts silently"])
    async with connected("provider-openai", folder, model, new_provider=StandInServer) as session:
        result = await session.call("summarize_document", document_path="long.md")
    (warning,) = [warning for warning in result["warnings"] if "cut the prompt" in warning]
    assert warning.startswith("INCOMPLETE")
    assert "OLLAMA_CONTEXT_LENGTH" in warning
