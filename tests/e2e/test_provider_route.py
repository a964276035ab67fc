"""Summaries and syntheses by a provider that is reached over a real socket, in the provider's own wire format."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
from fastmcp import Client
from pydantic import SecretStr

from research_gateway.app import build_gateway
from research_shared.settings import Settings
from support.clients import MARKDOWN, PDFS, Observer, connected
from support.providers import fake_provider
from support.scripted import ScriptedModel

QUESTION = "What did the pilot cost?"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("kind", ["anthropic", "openai"])
async def test_a_provider_answers_for_a_client_without_sampling(
    settings: Settings, observer: Observer, kind: str, mode: str
) -> None:
    async with fake_provider(ScriptedModel()) as provider:
        changes: dict[str, Any] = {
            "model_route": "provider",
            "provider": kind,
            "provider_url": provider.base_url(kind),
            "provider_model": "scripted-1",
            "provider_key": SecretStr("sk-never-shown"),
        }
        provided = settings.model_copy(update=changes)
        async with connected(provided, observer, transport="http", mode=mode, samples=False) as client:
            summary = await client.call_tool("summarize_document", {"document_path": PDFS[1]})
            summarized = [step for step, _, _ in observer.progress]
            observer.progress.clear()
            documents = [*PDFS, *MARKDOWN]
            synthesis = await client.call_tool(
                "synthesize_research", {"document_paths": documents, "research_question": QUESTION}
            )
    assert summary.structured_content is not None
    assert summary.structured_content["route"] == "provider"
    assert summary.structured_content["model"] == "scripted-1"
    assert summarized == [1, 2, 3]
    assert synthesis.structured_content is not None
    assert synthesis.structured_content["sources_used"] == 5
    assert all(insight["verified"] for insight in synthesis.structured_content["key_insights"])
    assert [step for step, _, _ in observer.progress] == [1, 2, 3, 4, 5]
    assert {path for path, _, _ in provider.requests} == {
        "/v1/messages" if kind == "anthropic" else "/v1/chat/completions"
    }
    assert "sk-never-shown" not in str(observer.logs)
    assert settings.audit_log is not None
    assert "sk-never-shown" not in settings.audit_log.read_text(encoding="utf-8")


async def test_a_client_in_the_same_process_that_leaves_does_not_take_the_provider_from_others(
    settings: Settings,
) -> None:
    async with fake_provider(ScriptedModel()) as provider, AsyncExitStack() as others:
        changes: dict[str, Any] = {
            "model_route": "provider",
            "provider": "anthropic",
            "provider_url": provider.url,
            "provider_model": "scripted-1",
        }
        gateway = build_gateway(settings.model_copy(update=changes))
        async with Client(gateway):
            client = await others.enter_async_context(Client(gateway))
        result = await client.call_tool("summarize_document", {"document_path": MARKDOWN[0]})
    assert result.structured_content is not None
    assert result.structured_content["route"] == "provider"


async def test_a_provider_that_fails_three_times_leaves_a_partial_synthesis(
    settings: Settings, observer: Observer
) -> None:
    failing = ScriptedModel({f'"{MARKDOWN[0]}"': [RuntimeError("the model is down")] * 3})
    async with fake_provider(failing) as provider:
        changes: dict[str, Any] = {
            "model_route": "provider",
            "provider": "anthropic",
            "provider_url": provider.url,
            "provider_model": "scripted-1",
        }
        async with connected(settings.model_copy(update=changes), observer, samples=False) as client:
            arguments = {"document_paths": [*PDFS, *MARKDOWN], "research_question": QUESTION}
            result = await client.call_tool("synthesize_research", arguments)
    assert result.structured_content is not None
    assert result.structured_content["sources_used"] == 4
    assert result.structured_content["sources_skipped"] == 1
    assert any(level == "warning" for level, _ in observer.logs)
