"""Choices that are the user's: which of two documents with one name, and how much of a large folder."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.logging import LogMessage
from mcp.shared.exceptions import MCPDeprecationWarning

from research_documents.server import build_documents_server
from research_gateway.app import build_gateway
from research_reasoning.folder import narrowing
from research_reasoning.server import build_reasoning_server
from research_shared.access.roots import Root
from research_shared.settings import Settings
from research_shared.tools.choices import MAX_OPTIONS, UserChoice
from support.audit import records
from support.results import error_of
from support.serving import serving
from support.upstreams import ERAS, PATIENT

QUESTION = {"research_question": "How often does the moon pull the water of the sea?"}
SAID = "The moon pulls the water of the sea twice a day.\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for folder in ("harbour", "coast"):
        (tmp_path / "r" / folder).mkdir(parents=True)
        (tmp_path / "r" / folder / "report.md").write_text(f"{folder}\n\n{SAID}", encoding="utf-8")
    return Settings(
        roots=(Root("research", tmp_path / "r"),),
        watch=False,
        model_route="extractive",
        audit_log=tmp_path / "audit.jsonl",
    )


class User:
    """A user who chooses the option that begins with `wanted`, or answers with an action instead."""

    def __init__(self, wanted: str = "", action: Any = "accept") -> None:
        self.wanted = wanted
        self.action = action
        self.asked: list[tuple[str, list[str]]] = []

    async def __call__(self, message: str, _type: Any, params: Any, _context: Any) -> ElicitResult[Any]:
        options: list[str] = params.requested_schema["properties"]["choice"]["enum"]
        self.asked.append((message, options))
        if self.action != "accept":
            return ElicitResult(action=self.action)
        chosen = next((one for one in options if one.startswith(self.wanted)), self.wanted)
        return ElicitResult(action="accept", content={"choice": chosen})


READING: dict[str, tuple[Callable[[Settings], FastMCP[Any]], str]] = {
    "documents": (build_documents_server, "read_document"),
    "reasoning": (build_reasoning_server, "summarize_document"),
    "gateway": (build_gateway, "read_document"),
    "gateway, reasoning": (build_gateway, "summarize_document"),
}


@ERAS
@pytest.mark.parametrize("place", READING)
async def test_a_user_is_asked_which_of_two_documents_with_one_name_is_meant(
    place: str, mode: Any, settings: Settings
) -> None:
    build, tool = READING[place]
    user = User("harbour")
    async with Client(build(settings), mode=mode, elicitation_handler=user) as client:
        result = await client.call_tool(tool, {"document_path": "report.md"})
    assert result.structured_content is not None
    assert result.structured_content["document_path"] == "harbour/report.md"
    question = "2 documents are called report.md. Which one do you mean?"
    assert user.asked == [(question, ["coast/report.md", "harbour/report.md"])]


@ERAS
@pytest.mark.parametrize("user", [None, User(action="decline"), User(action="cancel")])
async def test_a_client_that_cannot_ask_and_a_user_who_does_not_choose_get_the_error_of_always(
    user: User | None, mode: Any, settings: Settings
) -> None:
    handler = {} if user is None else {"elicitation_handler": user}
    async with Client(build_documents_server(settings), mode=mode, **handler) as client:
        error = error_of(await client.call_tool_mcp("read_document", {"document_path": "report.md"}))
    assert error["code"] == "document_not_found"
    assert error["hint"].endswith("coast/report.md, harbour/report.md")


async def test_a_client_that_declares_forms_and_fails_to_show_one_gets_the_error_of_always(
    settings: Settings,
) -> None:
    async def broken(*_: Any) -> ElicitResult[Any]:
        raise RuntimeError("no window")

    async with Client(build_documents_server(settings), mode="legacy", elicitation_handler=broken) as client:
        error = error_of(await client.call_tool_mcp("read_document", {"document_path": "report.md"}))
    assert error["code"] == "document_not_found"


async def test_a_user_who_does_not_answer_in_time_has_not_chosen() -> None:
    server = FastMCP("host")

    @server.tool
    async def choose(ctx: Context) -> str:
        return (
            await UserChoice(ctx, limit_s=0.01).among("key", "Which?", {"a": "1", "b": "2"}) or "nobody said"
        )

    absent_asked: list[str] = []

    async def absent(message: str, *_: Any) -> ElicitResult[Any]:
        absent_asked.append(message)
        await anyio.sleep_forever()
        raise AssertionError

    async with Client(server, mode="legacy", elicitation_handler=absent) as client:
        assert (await client.call_tool("choose")).data == "nobody said"
        assert (await client.call_tool("choose")).data == "nobody said"
    assert absent_asked == ["Which?"]


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_user_who_does_not_choose_is_not_asked_the_same_again_in_the_session(
    action: str, settings: Settings
) -> None:
    for folder in ("harbour", "coast"):
        (settings.roots[0].directory / folder / "plan.md").write_text(SAID, encoding="utf-8")
    user = User("harbour", action)
    server = build_gateway(settings)
    async with Client(server, mode="legacy", elicitation_handler=user) as client:
        for name in ("report.md", "report.md", "plan.md", "report.md"):
            error = error_of(await client.call_tool_mcp("read_document", {"document_path": name}))
            assert error["code"] == "document_not_found"
        user.action = "accept"
        again = error_of(await client.call_tool_mcp("read_document", {"document_path": "plan.md"}))
        assert again["code"] == "document_not_found"
        assert [message.split()[4] for message, _ in user.asked] == ["report.md.", "plan.md."]
    async with Client(server, mode="legacy", elicitation_handler=user) as another:
        result = await another.call_tool("read_document", {"document_path": "plan.md"})
    assert result.structured_content is not None
    assert result.structured_content["document_path"] == "harbour/plan.md"
    assert settings.audit_log is not None
    ends = [item for item in records(settings.audit_log, "end") if item.get("tool") == "read_document"]
    assert [item["choice"].removeprefix("document: ") for item in ends] == [
        *(action, "not asked again", action, "not asked again", "not asked again", "accept")
    ]


async def test_a_user_who_does_not_narrow_a_folder_is_not_asked_again_when_it_has_grown(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "MAX_UNASKED", 1)
    user = User(action="decline")
    async with Client(build_reasoning_server(settings), mode="legacy", elicitation_handler=user) as client:
        await client.call_tool("synthesize_research", QUESTION)
        (settings.roots[0].directory / "coast" / "new.md").write_text(SAID, encoding="utf-8")
        await client.call_tool("synthesize_research", QUESTION)
    assert len(user.asked) == 1


@ERAS
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("synthesize_research", QUESTION), ("summarize_document", {"document_path": "report.md"})],
)
async def test_nobody_is_asked_to_choose_for_a_call_that_has_no_model(
    tool: str, arguments: dict[str, Any], mode: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "MAX_UNASKED", 1)
    user = User()
    server = build_reasoning_server(settings.model_copy(update={"model_route": "auto"}))
    async with Client(server, mode=mode, elicitation_handler=user) as client:
        error = error_of(await client.call_tool_mcp(tool, arguments))
    assert (error["code"], user.asked) == ("model_unavailable", [])


async def test_a_user_is_not_asked_to_choose_among_too_many(settings: Settings) -> None:
    for number in range(MAX_OPTIONS):
        (settings.roots[0].directory / str(number)).mkdir()
        (settings.roots[0].directory / str(number) / "report.md").write_text(SAID, encoding="utf-8")
    user = User("harbour")
    async with Client(build_documents_server(settings), elicitation_handler=user) as client:
        error = error_of(await client.call_tool_mcp("read_document", {"document_path": "report.md"}))
    assert (error["code"], user.asked) == ("document_not_found", [])


@ERAS
async def test_a_user_is_asked_about_a_large_folder_and_can_narrow_the_question(
    mode: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "MAX_UNASKED", 1)
    user = User("harbour/")
    async with Client(build_gateway(settings), mode=mode, elicitation_handler=user) as client:
        narrowed = (await client.call_tool("synthesize_research", QUESTION)).structured_content
        user.wanted = "all"
        whole = (await client.call_tool("synthesize_research", QUESTION)).structured_content
    assert narrowed is not None
    assert whole is not None
    assert [source["path"] for source in narrowed["sources"]] == ["harbour/report.md"]
    assert (narrowed["selection"]["documents_considered"], whole["selection"]["documents_considered"]) == (
        1,
        2,
    )
    options = ["all 2 documents", "coast/ (1 document)", "harbour/ (1 document)"]
    assert [asked for _, asked in user.asked] == [options, options]


async def test_a_choice_counts_also_if_the_folder_changes_meanwhile(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "MAX_UNASKED", 1)
    user = User("harbour/")

    async def slow_user(*asked: Any) -> Any:
        (settings.roots[0].directory / "harbour" / "new.md").write_text("# New\n", encoding="utf-8")
        return await user(*asked)

    async with Client(build_gateway(settings), mode="auto", elicitation_handler=slow_user) as client:
        narrowed = (await client.call_tool("synthesize_research", QUESTION)).structured_content
    assert narrowed is not None
    assert {source["path"].partition("/")[0] for source in narrowed["sources"]} == {"harbour"}


@ERAS
@pytest.mark.parametrize("user", [None, User(action="decline"), User(action="cancel")])
async def test_without_a_choice_a_question_is_answered_from_the_whole_folder(
    user: User | None, mode: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "MAX_UNASKED", 1)
    handler = {} if user is None else {"elicitation_handler": user}
    async with Client(build_reasoning_server(settings), mode=mode, **handler) as client:
        result = (await client.call_tool("synthesize_research", QUESTION)).structured_content
    assert result is not None
    assert result["selection"]["documents_considered"] == 2


@pytest.mark.parametrize(
    "arguments", [{"document_paths": ["**"]}, {"type": ["md"]}, {"document_paths": ["coast"]}]
)
async def test_a_question_with_paths_or_a_filter_asks_nobody(
    arguments: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrowing, "MAX_UNASKED", 1)
    user = User()
    async with Client(build_reasoning_server(settings), elicitation_handler=user) as client:
        await client.call_tool("synthesize_research", QUESTION | arguments)
    assert user.asked == []


@ERAS
async def test_a_choice_passes_through_a_gateway_with_remote_servers(mode: Any, settings: Settings) -> None:
    user = User("harbour")
    async with serving(build_documents_server(settings)) as served:
        changes = {"documents_url": served.url, "mcp_config": None}
        gateway = build_gateway(settings.model_copy(update=changes), upstream_timings=PATIENT)
        async with Client(gateway, mode=mode, elicitation_handler=user) as client:
            result = await client.call_tool("read_document", {"document_path": "report.md"})
    assert result.structured_content is not None
    assert result.structured_content["document_path"] == "harbour/report.md"
    assert len(user.asked) == 1


@ERAS
async def test_a_program_that_embeds_the_gateway_is_not_warned_of_what_the_protocol_deprecates(
    mode: Any, settings: Settings
) -> None:
    lines: list[str] = []

    async def on_log(message: LogMessage) -> None:
        lines.append(message.data)

    def model(*_: Any) -> str:
        return "The moon pulls the sea."

    host = FastMCP("host")
    changes = {"client_roots": "narrow", "model_route": "client"}
    host.mount(build_gateway(settings.model_copy(update=changes)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", MCPDeprecationWarning)
        roots = [settings.roots[0].directory.as_uri()]
        async with Client(host, mode=mode, roots=roots, log_handler=on_log, sampling_handler=model) as client:
            result = await client.call_tool("search_documents", {"query": "moon"})
            summary = await client.call_tool("summarize_document", {"document_path": "coast/report.md"})
    assert result.structured_content is not None
    assert len(result.structured_content["matches"]) == 2
    assert "2 matches in 2 documents" in lines
    assert summary.structured_content is not None
    assert summary.structured_content["route"] == "client"


@ERAS
async def test_the_audit_trail_says_that_a_user_was_asked_and_what_became_of_it(
    mode: Any, settings: Settings
) -> None:
    async with Client(build_gateway(settings), mode=mode, elicitation_handler=User("harbour")) as client:
        await client.call_tool("read_document", {"document_path": "report.md"})
    assert settings.audit_log is not None
    ends = [item for item in records(settings.audit_log, "end") if item.get("tool") == "read_document"]
    rounds = [(item["outcome"], item["choice"]) for item in ends]
    answered = ("ok", "document: accept")
    assert rounds == ([("input_required", "document: asked"), answered] if mode == "auto" else [answered])
    assert len({item["logical_call_id"] for item in ends}) == 1
