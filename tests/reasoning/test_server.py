"""What the server says about itself, and how it behaves at its edges."""

import gc
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.client.logging import LogMessage
from fastmcp.server import create_proxy
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from mcp_types import LOG_LEVEL_META_KEY, Tool

from research_reasoning import build_reasoning_server, create_server
from research_shared.errors import ConfigurationError
from research_shared.middleware.capabilities import SAMPLING_META_KEY, TellUpstreamSampling
from research_shared.serving.sealing import AUDIENCE, request_state_security
from research_shared.telemetry import collecting
from research_shared.tools.names import OWN_TOOLS
from research_shared.tools.progress import ClientLog, Progress
from support.carriers import connected, no_wait, served, settings
from support.results import answer_of, error_of
from support.scripted import ScriptedModel

QUESTION = {"document_paths": ["tor.md"], "research_question": "Who talks to whom?"}


async def test_tools_describe_themselves_fully(folder: Path) -> None:
    async with connected("extractive", folder) as session:
        tools = {tool.name: tool for tool in await session.client.list_tools()}
    assert set(tools) == {"summarize_document", "synthesize_research"}
    for tool in tools.values():
        assert isinstance(tool, Tool)
        assert tool.title
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is True
        assert tool.annotations.idempotent_hint is False
        assert tool.annotations.open_world_hint is True
        assert tool.output_schema is not None
        assert tool.output_schema["additionalProperties"] is False
        # The filters that are the other end of one, or a plain word, say enough by their names.
        silent = {
            name for name, schema in tool.input_schema["properties"].items() if "description" not in schema
        }
        assert silent <= {"modified_before", "dated_before", "author"}
    required = tools["synthesize_research"].output_schema or {}
    assert {
        "research_question",
        "synthesis",
        "key_insights",
        "sources_used",
        "sources_skipped",
        "partial",
    } <= set(required["required"])
    assert tools["summarize_document"].input_schema["properties"]["summary_length"]["enum"] == [
        "brief",
        "standard",
        "detailed",
    ]


async def test_the_brief_walks_from_the_listing_over_the_synthesis_to_checked_quotes(folder: Path) -> None:
    async with connected("extractive", folder) as session:
        prompt = await session.client.get_prompt("research_brief", {"topic": "onion routing"})
    text = prompt.messages[0].content.text  # type: ignore[union-attr]
    named = re.findall(r"\b(?:list|search|read|verify|synthesize)_[a-z_]+", text)
    assert "onion routing" in text
    assert list(dict.fromkeys(name for name in named if name in OWN_TOOLS)) == [
        "list_research_documents",
        "synthesize_research",
        "search_documents",
        "read_document",
        "verify_quotes",
    ]


async def test_the_comparison_asks_for_a_table_of_the_aspects_that_are_given(folder: Path) -> None:
    async with connected("extractive", folder) as session:
        given = await session.client.get_prompt(
            "compare_documents", {"documents": "tor.md, cache.md", "aspects": "cost, limits"}
        )
        free = await session.client.get_prompt("compare_documents", {"documents": "tor.md"})
    text = given.messages[0].content.text  # type: ignore[union-attr]
    assert "tor.md, cache.md" in text
    assert "format table" in text
    assert "aspects: cost, limits" in text
    assert "no aspects" in free.messages[0].content.text  # type: ignore[union-attr]


class Collecting(Middleware):
    """What the audit trail does: one collector around each round of a call."""

    def __init__(self) -> None:
        self.rounds: list[dict[str, Any]] = []

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        with collecting() as facts:
            self.rounds.append(facts)
            return await call_next(context)


@pytest.mark.parametrize(("mode", "rounds"), [("auto", 3), ("legacy", 1)])
async def test_each_round_leaves_its_facts_for_the_audit_trail(folder: Path, mode: str, rounds: int) -> None:
    server = build_reasoning_server(settings(folder), retry=no_wait())
    collector = Collecting()
    server.add_middleware(collector)
    async with Client(server, mode=mode, sampling_handler=ScriptedModel().sample) as client:
        await client.call_tool("synthesize_research", QUESTION)
    assert len({facts["call"] for facts in collector.rounds}) == 1
    assert [facts["round"] for facts in collector.rounds] == list(range(1, rounds + 1))
    last = collector.rounds[-1]
    assert (last["route"], last["model"], last["model_calls"], last["attempts"]) == (
        "client",
        "scripted-1",
        2,
        2,
    )
    assert last["input_tokens"] > 100
    assert last["output_tokens"] > 10
    assert (last["documents"], last["sources_used"], last["partial"]) == (["tor.md"], 1, False)
    assert last["stop_reason"] == "end"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("samples", [True, False])
async def test_behind_an_http_proxy_the_client_s_own_capabilities_decide(
    folder: Path, mode: str, samples: bool
) -> None:
    model = ScriptedModel()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(
            served(build_reasoning_server(settings(folder), retry=no_wait()))
        )
        front = create_proxy(url, name="front")
        front.add_middleware(TellUpstreamSampling())
        handler = model.sample if samples else None
        client = await stack.enter_async_context(Client(front, mode=mode, sampling_handler=handler))
        result = await client.call_tool("synthesize_research", QUESTION, raise_on_error=False)
        content = answer_of(result)
    if samples:
        assert (content["route"], content["sources_used"]) == ("client", 1)
    else:
        assert content["error"]["code"] == "model_unavailable"
        assert (content["error"]["mcp_code"], content["error"]["required_capabilities"]) == (
            -32021,
            {"sampling": {}},
        )
    assert bool(model.calls) is samples


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_cannot_claim_sampling_that_it_did_not_declare(folder: Path, mode: str) -> None:
    server = build_reasoning_server(settings(folder))
    async with Client(server, mode=mode) as client:
        result = await client.call_tool(
            "synthesize_research", QUESTION, meta={SAMPLING_META_KEY: True}, raise_on_error=False
        )
    assert error_of(result)["code"] == "model_unavailable"


@pytest.mark.parametrize("carrier", ["modern-memory", "handshake-memory", "provider-openai"])
async def test_mounted_into_another_host_the_tools_are_the_same(folder: Path, carrier: str) -> None:
    model, mounted_model = ScriptedModel(), ScriptedModel()
    host: FastMCP[Any] = FastMCP("host")
    async with connected(carrier, folder, model) as session:
        alone = await session.call("synthesize_research", **QUESTION)
        tools = [tool.model_dump() for tool in await session.client.list_tools()]
        changes: dict[str, Any] = {}
        if session.provider is not None:
            changes = {
                "model_route": "provider",
                "provider": "openai",
                "provider_model": "m",
                "provider_url": session.provider.base_url("openai"),
            }
        host.mount(build_reasoning_server(settings(folder, **changes)))
        sampling = None if session.provider else mounted_model.sample
        mode = "legacy" if carrier.startswith("handshake") else "auto"
        async with Client(host, mode=mode, sampling_handler=sampling) as client:
            mounted = await client.call_tool("synthesize_research", QUESTION)
            assert [tool.model_dump() for tool in await client.list_tools()] == tools
    without = {"usage", "follow_up"}
    assert {k: v for k, v in (mounted.structured_content or {}).items() if k not in without} == {
        k: v for k, v in alone.items() if k not in without
    }


async def test_an_unexpected_failure_is_masked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> None:
        raise KeyError("secret of /etc")

    monkeypatch.setattr("research_reasoning.evidence.prepared.split_document", broken)
    async with connected("extractive", folder) as session:
        error = await session.fail("summarize_document", document_path="tor.md")
    assert error["code"] == "internal_error"
    assert "secret" not in str(error)


def test_the_factory_reads_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEARCH_ROOTS", str(folder))
    assert create_server().name == "research-reasoning"
    monkeypatch.setenv("RESEARCH_MODEL_ROUTE", "magic")
    with pytest.raises(ConfigurationError):
        create_server()


def test_sealing_takes_the_operator_s_keys_and_one_audience(folder: Path) -> None:
    shared = request_state_security(settings(folder, state_keys="a" * 40 + "," + "b" * 40))
    other = request_state_security(settings(folder, state_keys="b" * 40))
    alone = request_state_security(settings(folder, state_keys=""))
    assert {policy.audience for policy in (shared, other, alone)} == {AUDIENCE}
    assert shared.codec.unseal(other.codec.seal(b"state")) == b"state"


class Gone:
    """The context of a client that has left."""

    fastmcp = None

    def __init__(self) -> None:
        self.tried = 0

    async def report_progress(self, *_args: object) -> None:
        self.tried += 1
        raise anyio.ClosedResourceError

    async def send(self, *_args: object) -> None:
        self.tried += 1
        raise anyio.BrokenResourceError


async def test_a_client_that_is_gone_makes_no_tool_fail() -> None:
    gone: Any = Gone()
    progress, client = Progress(gone, 3), ClientLog(gone, "test", send=gone.send)
    await progress.step("one")
    await client.info("line")
    await client.error("line")
    assert (gone.tried, progress.reached) == (3, 1.0)


async def test_progress_only_rises_and_ends_at_its_total() -> None:
    server: FastMCP[Any] = FastMCP("progress")

    @server.tool
    async def work(context: Context) -> str:
        progress = Progress(context, 3, reached=1.0)
        for value in (0.5, 1.0, 1.5, 1.2, 9.0, 2.0):
            await progress.to(value, "step")
        await progress.step("past the end")
        return "done"

    seen: list[tuple[float, float | None]] = []

    async def progress(value: float, total: float | None, _message: str | None) -> None:
        seen.append((value, total))

    async with Client(server, progress_handler=progress) as client:
        await client.call_tool("work")
    assert seen == [(1.5, 3), (3, 3)]


async def test_a_line_marked_once_is_sent_once_over_all_rounds() -> None:
    sent: list[tuple[str, str]] = []

    async def send(_server: Any, level: str, message: str, _logger: str | None) -> None:
        sent.append((level, message))

    here: Any = Gone()
    first = ClientLog(here, "test", send=send)
    await first.info("a", once=True)
    await first.info("a", once=True)
    await first.warning("a", once=True)
    second = ClientLog(here, "test", sent=first.sent, send=send)
    await second.info("a", once=True)
    await second.info("a")
    assert sent == [("info", "a"), ("warning", "a"), ("info", "a")]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_log_line_is_one_sentence_and_only_of_the_levels_that_the_client_wants(mode: Any) -> None:
    server: FastMCP[Any] = FastMCP("inner")
    host: FastMCP[Any] = FastMCP("host")
    host.mount(server)

    @server.tool
    async def work(context: Context) -> str:
        await ClientLog(context, "test").info("one sentence")
        await ClientLog(context, "test").warning("another one")
        return "done"

    lines: list[tuple[str, str | None, Any]] = []

    async def log(message: LogMessage) -> None:
        lines.append((message.level, message.logger, message.data))

    everything = [("info", "test", "one sentence"), ("warning", "test", "another one")]
    async with Client(host, mode=mode, log_handler=log) as client:
        await client.call_tool("work")
        assert lines == everything
        lines.clear()
        if mode == "legacy":
            await client.set_logging_level("warning")
            await client.call_tool("work")
        else:
            await client.call_tool("work", meta={LOG_LEVEL_META_KEY: "warning"})
    assert lines == everything[1:]


async def test_a_server_that_ends_leaves_nothing_open(folder: Path) -> None:
    async with connected("provider-openai", folder) as session:
        await session.call("summarize_document", document_path="tor.md")
    gc.collect()
