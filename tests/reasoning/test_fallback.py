"""A client that declares sampling and does not answer it gives way to the provider; without one, the hint helps."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from mcp_types import INVALID_REQUEST, METHOD_NOT_FOUND, CallToolResult, ErrorData, InputRequiredResult

from reasoning.test_rounds import ARGUMENTS, driving, message
from research_gateway.upstreams import UpstreamProvider, remote
from research_reasoning import build_reasoning_server
from research_reasoning.models.fallback import UNANSWERED
from research_reasoning.remedies import model_hint
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.settings import Settings
from support.carriers import connected, no_wait, served, settings
from support.providers import FakeProvider, error, fake_provider
from support.results import answer_of
from support.scripted import ScriptedModel

SUMMARY = {"document_path": "tor.md"}


def provided(provider: FakeProvider) -> dict[str, Any]:
    return {
        "provider": "anthropic",
        "provider_model": "asked-for",
        "provider_key": "secret-key-of-the-test",
        "provider_url": provider.url,
    }


@asynccontextmanager
async def declining(
    target: FastMCP[Any], code: int, *, answers: int = 0
) -> AsyncIterator[tuple[Client[Any], list[int], list[tuple[str, str]]]]:
    """A handshake client that declares sampling and answers with an error; at first so many times as it should."""
    asked: list[int] = []
    logs: list[tuple[str, str]] = []
    model = ScriptedModel()

    async def callback(_context: Any, params: Any) -> Any:
        asked.append(code)
        if len(asked) <= answers:
            reply = model.answer(params.system_prompt, params.messages[0].content.text)
            return message(reply.text, reply.stop)
        return ErrorData(code=code, message="Method not found")

    async def unused(*_args: object) -> str:
        raise AssertionError("the raw callback answers")

    async def log(line: Any) -> None:
        logs.append((line.level, line.data))

    client: Client[Any] = Client(target, mode="legacy", sampling_handler=unused, log_handler=log)
    raw: Any = client._session_kwargs
    raw["sampling_callback"] = callback
    async with client:
        yield client, asked, logs


@pytest.mark.parametrize("code", [METHOD_NOT_FOUND, INVALID_REQUEST])
async def test_a_session_that_does_not_answer_sampling_gets_the_provider(folder: Path, code: int) -> None:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(fake_provider(ScriptedModel()))
        server = build_reasoning_server(settings(folder, **provided(provider)), retry=no_wait())
        client, asked, logs = await stack.enter_async_context(declining(server, code))
        summary = answer_of(await client.call_tool("summarize_document", SUMMARY))
        synthesis = answer_of(await client.call_tool("synthesize_research", ARGUMENTS))
    assert (summary["route"], synthesis["route"]) == ("provider", "provider")
    assert UNANSWERED in summary["warnings"]
    assert UNANSWERED in synthesis["warnings"]
    assert logs.count(("warning", UNANSWERED)) == 2
    assert synthesis["sources_used"] == 3
    assert len(asked) <= 1 + 3
    assert (summary["usage"]["model_calls"], summary["usage"]["attempts"]) == (1, 1)
    assert synthesis["usage"]["model_calls"] == 4
    assert len(provider.requests) == 1 + 4


async def test_what_the_client_answered_before_is_kept(folder: Path) -> None:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(fake_provider(ScriptedModel()))
        server = build_reasoning_server(settings(folder, **provided(provider)), retry=no_wait())
        client, asked, _ = await stack.enter_async_context(declining(server, METHOD_NOT_FOUND, answers=3))
        synthesis = answer_of(await client.call_tool("synthesize_research", ARGUMENTS))
    assert (synthesis["route"], synthesis["sources_used"], len(asked)) == ("provider", 3, 4)
    assert synthesis["usage"]["model_calls"] == 4
    assert len(provider.requests) == 1


async def test_without_a_provider_the_session_s_refusal_is_the_error(folder: Path) -> None:
    server = build_reasoning_server(settings(folder), retry=no_wait())
    async with declining(server, METHOD_NOT_FOUND) as (client, _, _):
        failure = answer_of(await client.call_tool("synthesize_research", ARGUMENTS, raise_on_error=False))
    assert failure["error"]["code"] == "model_unavailable"
    assert "does not answer" in failure["error"]["message"]
    assert "RESEARCH_PROVIDER" in failure["error"]["hint"]


async def test_a_round_that_comes_back_without_answers_goes_on_with_the_provider(folder: Path) -> None:
    async with fake_provider(ScriptedModel()) as provider, driving(folder, **provided(provider)) as driver:
        first = await driver.ask()
        second = await driver.ask(responses=driver.answers(first), state=first.request_state)
        assert len(second.input_requests or {}) == 1
        last = await driver.send({}, second.request_state)
        at_once = await driver.send(None, first.request_state)
    assert isinstance(last, CallToolResult)
    assert isinstance(at_once, CallToolResult)
    for result, calls in ((answer_of(last), 1), (answer_of(at_once), 4)):
        assert (result["route"], result["sources_used"]) == ("provider", 3)
        assert UNANSWERED in result["warnings"]
        assert result["usage"]["model_calls"] == 4
        assert result["usage"]["rounds"] == (2 if calls == 1 else 1)
    assert len(provider.requests) == 1 + 4
    assert UNANSWERED in driver.logs


async def test_a_round_that_is_answered_in_part_stays_with_the_client(folder: Path) -> None:
    async with fake_provider(ScriptedModel()) as provider, driving(folder, **provided(provider)) as driver:
        first = await driver.ask()
        key, answer = next(iter(driver.answers(first).items()))
        second = await driver.send({key: answer}, first.request_state)
        assert isinstance(second, InputRequiredResult)
        result = await driver.finish(second)
    assert (result["route"], provider.requests) == ("client", [])


@pytest.mark.parametrize("has_provider", [True, False])
async def test_behind_the_gateway_an_older_client_that_declines_gets_the_provider_of_a_remote_server(
    folder: Path, has_provider: bool
) -> None:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(fake_provider(ScriptedModel()))
        changes = provided(provider) if has_provider else {}
        url = await stack.enter_async_context(
            served(build_reasoning_server(settings(folder, **changes), retry=no_wait()))
        )
        gateway: FastMCP[Any] = FastMCP("gateway", middleware=[ErrorBoundary()])
        gateway.add_provider(UpstreamProvider(remote("reasoning", url, None)))
        client, asked, logs = await stack.enter_async_context(declining(gateway, METHOD_NOT_FOUND))
        result = answer_of(await client.call_tool("synthesize_research", ARGUMENTS, raise_on_error=False))
    assert asked
    if has_provider:
        assert (result["route"], result["sources_used"]) == ("provider", 3)
        assert ("warning", UNANSWERED) in logs
    else:
        assert result["error"]["code"] == "model_unavailable"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_operator_s_choice_of_the_client_s_model_is_kept_and_named(folder: Path, mode: str) -> None:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(fake_provider(ScriptedModel()))
        changes = provided(provider) | {"model_route": "client"}
        session = await stack.enter_async_context(connected(f"none-{mode}", folder, **changes))
        failure = await session.fail("summarize_document", **SUMMARY)
    assert failure["code"] == "model_unavailable"
    assert "RESEARCH_MODEL_ROUTE=auto" in failure["hint"]
    assert "RESEARCH_PROVIDER" not in failure["hint"]
    assert provider.requests == []


@pytest.mark.parametrize("carrier", ["provider-anthropic", "provider-openai"])
async def test_a_provider_that_refuses_the_key_is_not_recommended(folder: Path, carrier: str) -> None:
    async with connected(carrier, folder) as session:
        assert session.provider is not None
        session.provider.faults.append(error(401, "authentication_error"))
        failure = await session.fail("summarize_document", **SUMMARY)
    assert failure["code"] == "model_unavailable"
    assert "RESEARCH_PROVIDER_KEY" in failure["message"]
    assert "check RESEARCH_PROVIDER_KEY" in failure["hint"]
    assert "RESEARCH_MODEL_ROUTE" not in failure["hint"]


@pytest.mark.parametrize(
    ("changes", "named", "unnamed"),
    [
        (
            {},
            ["RESEARCH_PROVIDER, RESEARCH_PROVIDER_MODEL and RESEARCH_PROVIDER_KEY", "=extractive"],
            ["=auto"],
        ),
        ({"provider_key": "k"}, ["RESEARCH_PROVIDER and RESEARCH_PROVIDER_MODEL"], ["RESEARCH_PROVIDER_KEY"]),
        ({"provider_model": "m"}, ["RESEARCH_PROVIDER and RESEARCH_PROVIDER_KEY"], ["_MODEL,", "_MODEL and"]),
        ({"model_route": "client"}, ["RESEARCH_PROVIDER_KEY and RESEARCH_MODEL_ROUTE=auto", "sampling"], []),
        (
            {"model_route": "client", "provider": "openai", "provider_model": "m"},
            ["RESEARCH_MODEL_ROUTE=auto", "sampling"],
            ["RESEARCH_PROVIDER", "extractive"],
        ),
    ],
)
def test_the_hint_names_only_what_is_not_set(
    folder: Path, changes: dict[str, Any], named: list[str], unnamed: list[str]
) -> None:
    # A start with half of a provider is refused; a host that builds its own settings can still have them.
    chosen: Settings = settings(folder).model_copy(update=changes)
    hint = model_hint(chosen, has_provider=chosen.provider is not None)
    assert all(name in hint for name in named), hint
    assert not any(name in hint for name in unnamed), hint
