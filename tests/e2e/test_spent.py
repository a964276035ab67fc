"""What the audit trail says of the model calls and tokens of a call that did not end well."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from fastmcp import Client
from mcp_types import InputRequiredResult

from research_gateway.app import build_gateway
from research_shared.middleware.heartbeat import Heartbeat
from research_shared.settings import Settings
from support.audit import records
from support.clients import MARKDOWN, Observer, over_http
from support.providers import FakeProvider, fake_provider
from support.scripted import Reply, ScriptedModel
from support.serving import until

CALL: dict[str, Any] = {
    "document_paths": MARKDOWN[:2],
    "research_question": "What did the pilot cost?",
}


@dataclass
class Stage:
    """A gateway whose provider answers for both documents and then no more."""

    provider: FakeProvider
    settings: Settings
    server: Any

    def end(self) -> dict[str, Any]:
        """The record of how the only tool call ended."""
        assert self.settings.audit_log is not None
        (record,) = (r for r in records(self.settings.audit_log, "end") if r["method"] == "tools/call")
        return record


@asynccontextmanager
async def staged(settings: Settings, **changes: Any) -> AsyncIterator[Stage]:
    model = ScriptedModel()
    async with fake_provider(model) as provider:

        def stop_answering(_kind: str, _text: str) -> None:
            if model.counts["evidence"] == 2:
                provider.delay_s = 3600

        model.always = stop_answering
        given = {
            "model_route": "provider",
            "provider": "openai",
            "provider_url": provider.base_url("openai"),
            "provider_model": "scripted-1",
            **changes,
        }
        settings = settings.model_copy(update=given)
        yield Stage(provider, settings, build_gateway(settings))


def check_spent(end: dict[str, Any], *, route: str = "provider") -> None:
    """Two calls were answered, and the third one was under way."""
    assert (end["route"], end["model"], end["model_calls"], end["attempts"]) == (route, "scripted-1", 2, 2)
    assert end["output_tokens"] > 0
    assert end["input_tokens"] > 0
    assert end["unfinished_model_calls"] == 1
    assert end["unfinished_input_tokens"] > 100


@pytest.mark.parametrize("transport", ["memory", "http"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_cancelled_call_records_what_its_provider_was_asked(
    settings: Settings, mode: Any, transport: str
) -> None:
    async with staged(settings) as stage, AsyncExitStack() as stack:
        target: Any = stage.server
        if transport == "http":
            target = await stack.enter_async_context(over_http(stage.settings))
        client = await stack.enter_async_context(Client(target, mode=mode))
        call = asyncio.create_task(client.call_tool("synthesize_research", CALL))
        await until(lambda: len(stage.provider.requests) == 3)
        call.cancel()
        await asyncio.wait([call])
        await until(lambda: stage.provider.aborted == 1)
    end = stage.end()
    assert (end["outcome"], end["reason"]) == ("cancelled", "cancelled")
    check_spent(end)
    assert (end["input_tokens"], end["output_tokens"]) == (22, 14)


async def test_a_call_that_the_time_limit_ends_records_what_it_has_spent(
    settings: Settings, pass_time: Callable[[float], None]
) -> None:
    async with staged(settings, tool_ceiling_s=100.0) as stage, Client(stage.server) as client:
        call = asyncio.create_task(client.call_tool("synthesize_research", CALL, raise_on_error=False))
        await until(lambda: len(stage.provider.requests) == 3)
        pass_time(100)
        assert (await call).is_error
    end = stage.end()
    assert (end["outcome"], end["reason"]) == ("error", "deadline_exceeded")
    check_spent(end)


async def test_a_cancelled_call_records_what_the_client_s_model_was_asked(settings: Settings) -> None:
    model = ScriptedModel()
    asked = anyio.Event()

    async def sample(*arguments: Any) -> Any:
        if model.counts["evidence"] == 2:
            asked.set()
            await anyio.sleep_forever()
        return await model.sample(*arguments)

    stage = Stage(FakeProvider(model), settings, build_gateway(settings))
    async with Client(stage.server, mode="legacy", sampling_handler=sample) as client:
        call = asyncio.create_task(client.call_tool("synthesize_research", CALL))
        await asked.wait()
        call.cancel()
        await asyncio.wait([call])
    end = stage.end()
    assert end["outcome"] == "cancelled"
    check_spent(end, route="client")


async def test_a_call_that_its_client_does_not_go_on_with_records_what_was_asked(settings: Settings) -> None:
    stage = Stage(FakeProvider(ScriptedModel()), settings, build_gateway(settings))
    async with Client(stage.server, mode="auto", sampling_handler=Observer().on_sampling) as client:
        asked = await client.session.call_tool("synthesize_research", CALL, allow_input_required=True)
        assert isinstance(asked, InputRequiredResult)
    end = stage.end()
    assert (end["outcome"], end["model_calls"], end["unfinished_model_calls"]) == ("input_required", 0, 2)
    assert end["unfinished_input_tokens"] > 200


async def test_a_call_whose_model_fails_records_what_that_took(settings: Settings) -> None:
    async with staged(settings) as stage, Client(stage.server) as client:
        stage.provider.model.always = lambda _kind, _text: Reply("")
        result = await client.call_tool(
            "summarize_document", {"document_path": MARKDOWN[0]}, raise_on_error=False
        )
        assert result.is_error
    end = stage.end()
    assert (end["outcome"], end["reason"], end["route"]) == ("error", "model_failed", "provider")
    assert (end["model_calls"], end["attempts"]) == (1, 3)
    assert end["input_tokens"] > 100
    assert "unfinished_model_calls" not in end


async def test_heartbeats_of_a_provider_s_model_name_what_it_works_on(
    settings: Settings, observer: Observer, pass_time: Callable[[float], None]
) -> None:
    async with (
        staged(settings) as stage,
        Client(stage.server, progress_handler=observer.on_progress) as client,
    ):
        call = asyncio.create_task(client.call_tool("synthesize_research", CALL))
        await until(lambda: len(stage.provider.requests) == 3)
        for seconds in (8, 90, 450):
            told = len(observer.progress)
            pass_time(seconds)
            await until(lambda: len(observer.progress) > told)  # noqa: B023  (waited for within the turn)
        call.cancel()
        await asyncio.wait([call])
    values, totals, messages = zip(*observer.progress, strict=True)
    assert list(values) == sorted(set(values))
    assert (values[0], set(totals)) == (1, {2})
    assert all(1 < value < 2 for value in values[1:])
    assert all(
        str(message).startswith("waiting for the model: the combination (") for message in messages[1:]
    )


async def test_heartbeats_name_what_the_client_s_own_model_is_waited_for_in_a_session(
    settings: Settings, observer: Observer
) -> None:
    model = ScriptedModel()

    async def sample(*arguments: Any) -> Any:
        answer = await model.sample(*arguments)
        about = "waiting for the model: " + (
            "the combination" if model.counts["combine"] else "the evidence in"
        )
        await until(lambda: any(str(message).startswith(about) for *_, message in observer.progress))
        return answer

    server = build_gateway(settings, heartbeat=Heartbeat(after_s=0.01, every_s=0.01))
    async with Client(
        server, mode="legacy", sampling_handler=sample, progress_handler=observer.on_progress
    ) as client:
        await client.call_tool("synthesize_research", CALL)
    values = [value for value, _, _ in observer.progress]
    assert values == sorted(set(values))
    assert [value for value in values if value == int(value)] == [1, 2]
    assert values[-1] == 2
