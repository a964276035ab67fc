"""What happens when a client's model or a provider does not do its part."""

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastmcp import Client
from mcp_types import (
    INTERNAL_ERROR,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ErrorData,
    ImageContent,
    TextContent,
)
from pydantic import SecretStr

from research_reasoning import build_reasoning_server
from research_reasoning.models.protocol import Body
from research_reasoning.models.provider import Provider
from research_reasoning.models.provider.breaker import CircuitBreaker
from support.carriers import connected, no_wait, served, settings, until
from support.providers import error, fake_provider
from support.results import answer_of, error_of
from support.scripted import Reply, ScriptedModel

QUESTION = {"document_paths": ["tor.md", "cache.md"], "research_question": "Who talks to whom?"}
IMAGE = CreateMessageResult(
    role="assistant", content=ImageContent(type="image", data="AA==", mime_type="image/png"), model="m"
)
GOOD = CreateMessageResult(
    role="assistant", content=TextContent(type="text", text="A.\n\nB.\n\nC."), model="m"
)


async def summary_with(folder: Path, replies: list[Any]) -> tuple[Any, int]:
    """A handshake client whose raw sampling callback gives these replies in turn."""
    asked = 0

    async def callback(_context: Any, _params: Any) -> Any:
        nonlocal asked
        asked += 1
        return replies[min(asked, len(replies)) - 1]

    async def unused(*_args: object) -> str:
        raise AssertionError("the raw callback answers")

    server = build_reasoning_server(settings(folder), retry=no_wait())
    client = Client(server, mode="legacy", sampling_handler=unused)
    raw: Any = client._session_kwargs
    raw["sampling_callback"] = callback
    async with client:
        result = await client.call_tool(
            "summarize_document", {"document_path": "tor.md"}, raise_on_error=False
        )
    return answer_of(result), asked


@pytest.mark.parametrize(
    ("replies", "attempts"),
    [
        ([ErrorData(code=INTERNAL_ERROR, message="busy"), GOOD], 2),
        ([ErrorData(code=INTERNAL_ERROR, message="busy")] * 2 + [GOOD], 3),
        ([IMAGE, GOOD], 2),
    ],
)
async def test_a_client_s_passing_failure_is_tried_again(
    folder: Path, replies: list[Any], attempts: int
) -> None:
    content, asked = await summary_with(folder, replies)
    assert (content["usage"]["attempts"], asked) == (attempts, attempts)


@pytest.mark.parametrize(
    ("reply", "asked", "code", "reason"),
    [
        (ErrorData(code=INTERNAL_ERROR, message="secret /etc"), 3, "model_failed", "client_error"),
        (ErrorData(code=-1, message="the user said no"), 1, "model_failed", "refused"),
        (ErrorData(code=-32601, message="no such method"), 1, "model_unavailable", None),
        (IMAGE, 3, "model_failed", "wrong_shape"),
    ],
)
async def test_a_client_s_lasting_failure_is_named(
    folder: Path, reply: Any, asked: int, code: str, reason: str | None
) -> None:
    content, made = await summary_with(folder, [reply])
    assert made == asked
    assert (content["error"]["code"], content["error"].get("reason")) == (code, reason)
    assert "secret" not in str(content)


@pytest.mark.parametrize("carrier", ["modern-memory", "handshake-memory", "provider-openai"])
async def test_a_model_that_fails_for_every_document_is_an_error(folder: Path, carrier: str) -> None:
    model = ScriptedModel(always=lambda _kind, _text: Reply(""))
    async with connected(carrier, folder, model) as session:
        failed = await session.fail("synthesize_research", **QUESTION)
    assert (failed["code"], failed["retryable"], failed["documents"]) == ("model_failed", True, 2)
    assert model.counts == {"evidence": 6}


async def test_a_used_up_quota_ends_a_synthesis_without_asking_three_times(folder: Path) -> None:
    async with connected("provider-anthropic", folder) as session:
        assert session.provider is not None
        session.provider.faults = [error(429, "insufficient_quota")] * 6
        failed = await session.fail("synthesize_research", **QUESTION)
        assert len(session.provider.requests) == 2
    assert failed["code"] == "model_unavailable"


async def test_a_quota_that_ends_half_way_leaves_the_findings(folder: Path) -> None:
    async with connected("provider-anthropic", folder) as session:
        provider = session.provider
        assert provider is not None

        def then_no_more(kind: str, _text: str) -> Reply | None:
            if session.model.counts["evidence"] == 2:
                provider.faults = [error(429, "insufficient_quota")]
            return None

        session.model.always = then_no_more
        result = await session.call("synthesize_research", **QUESTION)
    assert (result["partial"], result["sources_used"]) == (True, 2)
    assert result["key_insights"]
    assert all(insight["verified"] for insight in result["key_insights"])


async def test_a_summary_with_too_few_paragraphs_says_so(folder: Path) -> None:
    model = ScriptedModel(always=lambda _kind, _text: Reply("One paragraph only."))
    async with connected("handshake-memory", folder, model) as session:
        result = await session.call("summarize_document", document_path="tor.md", summary_length="standard")
    assert result["summary"] == "One paragraph only."
    assert result["warnings"] == ["the summary has 1 paragraph where 3 were asked for"]


async def test_an_answer_cut_at_its_limit_is_used_and_told(folder: Path) -> None:
    model = ScriptedModel(always=lambda _kind, _text: Reply("One.\n\nTwo.\n\nThr", "maxTokens"))
    async with connected("provider-openai", folder, model) as session:
        result = await session.call("summarize_document", document_path="tor.md", summary_length="standard")
    assert result["summary"].endswith("Thr")
    assert any("cut at its length limit" in message for message in session.levels("warning"))
    assert any("cut at their length limit" in warning for warning in result["warnings"])


async def test_a_provider_that_keeps_failing_is_left_alone(folder: Path) -> None:
    async with fake_provider(ScriptedModel()) as fake:
        breaker = CircuitBreaker(threshold=3, patience_s=0.0)
        provider = Provider("openai", "m", SecretStr("k"), fake.base_url("openai"), breaker=breaker)
        server = build_reasoning_server(
            settings(folder, model_route="provider", provider="openai", provider_model="m"),
            provider=provider,
            retry=no_wait(),
        )
        fake.faults = [error(503, "down")] * 9
        async with Client(server) as client:
            for _ in range(3):
                result = await client.call_tool(
                    "summarize_document", {"document_path": "tor.md"}, raise_on_error=False
                )
        assert len(fake.requests) == 3
    assert error_of(result)["reason"] == "circuit_open"


async def test_a_provider_outside_its_server_s_life_keeps_connections_for_the_call_alone() -> None:
    made: list[httpx.AsyncClient] = []

    def new_client() -> httpx.AsyncClient:
        made.append(httpx.AsyncClient())
        return made[-1]

    body = Body("Summarize the document.", "t")
    model = ScriptedModel(always=lambda _kind, _text: Reply("an answer"))
    async with fake_provider(model) as fake:
        provider = Provider("openai", "m", base_url=fake.base_url("openai"), new_client=new_client)
        async with provider:
            assert (await provider.call(body, 10)).text == "an answer"
        assert (await provider.call(body, 10)).text == "an answer"
    assert [client.is_closed for client in made] == [True, True]
    assert provider.limiter.allowed == provider.concurrency


@pytest.mark.parametrize("carrier", ["modern-memory", "handshake-memory", "provider-openai"])
async def test_an_answer_that_shows_nothing_counts_as_empty(folder: Path, carrier: str) -> None:
    model = ScriptedModel(always=lambda _kind, _text: Reply("\u200b\u2060 \u200b"))
    async with connected(carrier, folder, model) as session:
        failed = await session.fail("summarize_document", document_path="tor.md")
    assert (failed["code"], failed["reason"]) == ("model_failed", "empty")


@pytest.mark.parametrize("carrier", ["modern-memory", "extractive-x"])
async def test_a_document_that_shows_nothing_holds_no_text(folder: Path, carrier: str) -> None:
    (folder / "hidden.md").write_text("\u200b\u202e\u2066", encoding="utf-8")
    async with connected(carrier, folder) as session:
        failed = await session.fail("summarize_document", document_path="hidden.md")
        result = await session.call(
            "synthesize_research", document_paths=["tor.md", "hidden.md"], research_question="Who talks?"
        )
    assert failed["code"] == "document_unreadable"
    assert [source["status"] for source in result["sources"]] == ["used", "skipped"]


async def test_prose_in_place_of_evidence_is_told_in_the_result(folder: Path) -> None:
    model = ScriptedModel({'"cache.md"': [Reply("Caches evict entries.")], "repair": [Reply("still prose")]})
    async with connected("provider-openai", folder, model) as session:
        result = await session.call(
            "synthesize_research", document_paths=["tor.md", "cache.md"], research_question="What is evicted?"
        )
    assert any("prose in place of the JSON" in warning for warning in result["warnings"])


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_answer_of_several_blocks_is_read_as_one_text(folder: Path, mode: Any) -> None:
    async def blocks(*_args: Any) -> CreateMessageResultWithTools:
        return CreateMessageResultWithTools(
            role="assistant",
            model="m",
            stop_reason="endTurn",
            content=[TextContent(type="text", text="One. "), TextContent(type="text", text="Two.")],
        )

    server = build_reasoning_server(settings(folder), retry=no_wait())
    async with Client(server, mode=mode, sampling_handler=blocks) as client:
        result = await client.call_tool(
            "summarize_document", {"document_path": "tor.md", "summary_length": "brief"}
        )
    assert (result.structured_content or {})["summary"] == "One. Two."


async def test_the_limit_on_model_calls_holds_over_all_calls_of_a_server(folder: Path) -> None:
    open_now = most_open = 0

    async def slow(*_args: Any) -> str:
        nonlocal open_now, most_open
        open_now += 1
        most_open = max(most_open, open_now)
        await until(lambda: most_open >= 2)
        await anyio.wait_all_tasks_blocked()  # one more would be here by now
        open_now -= 1
        return "prose"

    server = build_reasoning_server(settings(folder, model_concurrency=2), retry=no_wait())
    arguments = {"document_paths": ["tor.md", "cache.md", "notes/mix.txt"], "research_question": "Who talks?"}
    async with (
        Client(server, mode="legacy", sampling_handler=slow) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(2):
            group.start_soon(client.call_tool, "synthesize_research", arguments)
    assert most_open == 2


@pytest.mark.parametrize("carrier", ["modern-memory", "handshake-memory", "provider-openai"])
async def test_attempts_after_useless_answers_count_against_the_ceiling_of_a_request(
    folder: Path, carrier: str
) -> None:
    names = [f"n{number}.md" for number in range(12)]
    for name in names:
        (folder / name).write_text(f"# {name}\n\n" + "Relays remove one layer each. " * 100, "utf-8")
    model = ScriptedModel(always=lambda kind, _text: Reply("") if kind == "evidence" else None)
    ceiling = 25_000
    async with connected(carrier, folder, model, model_request_tokens=ceiling) as session:
        failed = await session.fail(
            "synthesize_research", document_paths=names, research_question="What is removed?"
        )
        asked = [line for line in session.levels("info") if line.startswith("asking the model")]
    tokens = [int(line.split("about ")[1].split(" ")[0]) for line in asked]
    assert 12 < len(tokens) < 36
    assert sum(tokens) <= ceiling
    assert failed["code"] == "model_failed"
    assert any("budget of input tokens is used up" in line for line in session.levels("error"))


@pytest.mark.parametrize("carrier", ["modern-memory", "handshake-memory"])
async def test_the_usage_tells_what_failed_attempts_have_cost(folder: Path, carrier: str) -> None:
    model = ScriptedModel({'"tor.md"': [Reply("")], '"cache.md"': [Reply("no", "refusal")]})
    async with connected(carrier, folder, model) as session:
        result = await session.call("synthesize_research", **QUESTION)
        asked = [line for line in session.levels("info") if line.startswith("asking the model")]
    assert len(asked) == 4
    assert result["usage"]["input_tokens"] == sum(
        int(line.split("about ")[1].split(" ")[0]) for line in asked
    )


async def test_a_client_whose_model_hangs_keeps_no_other_client_waiting(folder: Path) -> None:
    started = anyio.Event()

    async def hangs(*_args: Any) -> str:
        started.set()
        await anyio.sleep_forever()
        raise AssertionError

    server = build_reasoning_server(settings(folder, model_concurrency=1), retry=no_wait())
    async with (
        served(server) as url,
        Client(url, mode="legacy", sampling_handler=hangs) as slow,
        Client(url, mode="legacy", sampling_handler=ScriptedModel().sample) as quick,
        anyio.create_task_group() as group,
    ):
        group.start_soon(slow.call_tool, "synthesize_research", QUESTION)
        await started.wait()
        with anyio.fail_after(60):
            result = await quick.call_tool("synthesize_research", QUESTION)
        group.cancel_scope.cancel()
    assert (result.structured_content or {})["sources_used"] == 2


async def test_what_is_never_asked_is_no_model_call(folder: Path) -> None:
    async with connected("provider-openai", folder) as session:
        session.model.always = lambda kind, _text: Reply("prose") if kind == "evidence" else None
        result = await session.call("synthesize_research", **QUESTION)
        assert session.provider is not None
        assert result["usage"]["model_calls"] == len(session.provider.requests)


@pytest.mark.parametrize("carrier", ["modern-memory", "provider-openai"])
async def test_a_folder_that_is_away_is_no_matter_of_the_documents(folder: Path, carrier: str) -> None:
    async with connected(carrier, folder) as session:
        folder.rename(folder.with_name("away"))
        failed = await session.fail("synthesize_research", **QUESTION)
    assert (failed["code"], failed["retryable"]) == ("root_unavailable", True)
