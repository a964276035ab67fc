"""What a misbehaving provider does to a call, over a real socket."""

import itertools
import json
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

from research_reasoning.models.provider.client import Provider
from research_shared.errors import ConfigurationError
from research_shared.retry import RetryPolicy
from support.carriers import connected, no_wait, settings, until
from support.providers import Fault, error
from support.scripted import Reply, ScriptedModel
from support.sizes import FULL

KINDS = ("anthropic", "openai")
HTML = Fault(200, b"<!doctype html><title>Sign in</title>", (("content-type", "text/html"),))

PASSING = {
    "429": error(429, "rate_limit_error"),
    "429 with Retry-After": error(429, "rate_limit_error", ("retry-after", "0")),
    "529": error(529, "overloaded_error"),
    "500": error(500, "api_error"),
    "503 without JSON": Fault(503, b"upstream"),
    "408": error(408, "timeout"),
    "slow headers": Fault(200, b"{}", delay_headers_s=3600),
    "slow body": Fault(200, b"{}", delay_body_s=3600),
    "reset before the body": Fault(reset_after=0),
    "reset in the body": Fault(reset_after=20_000),
    "garbage": Fault(200, b"\x00\xff{{{"),
    "nested too deep": Fault(200, b"[" * 200_000),
    "HTML": HTML,
    "nothing": Fault(200, b""),
    "another shape": Fault(200, b'{"choices": [], "content": "text"}'),
    "a list": Fault(200, b"[]"),
}

FINAL = {
    "307": (Fault(307, b"", (("location", "/elsewhere"),)), "model_failed", "http_307"),
    "400": (error(400, "invalid_request_error"), "model_failed", "http_400"),
    "404": (error(404, "not_found_error"), "model_failed", "http_404"),
    "too large": (Fault(200, b" " * (5 * 1024 * 1024)), "model_failed", "oversized"),
    "quota": (error(429, "insufficient_quota"), "model_unavailable", None),
    "401": (error(401, "authentication_error"), "model_unavailable", None),
    "400 of LiteLLM for a key": (error(400, "no_db_connection"), "model_unavailable", None),
    "400 of Gemini for a key": (
        Fault(
            400, b'[{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}]'
        ),
        "model_unavailable",
        None,
    ),
}


def each_with_a_kind(faults: Iterable[str]) -> list[tuple[str, str]]:
    """Every fault on both wire formats in the full run, on one of them in turn otherwise."""
    pairs = list(itertools.product(faults, KINDS))
    return pairs if FULL else [pair for number, pair in enumerate(pairs) if number % 4 in {0, 3}]


@pytest.mark.parametrize(("name", "kind"), each_with_a_kind(PASSING))
async def test_what_passes_is_tried_again(
    folder: Path, kind: str, name: str, pass_time: Callable[[float], None]
) -> None:
    async with connected(f"provider-{kind}", folder, model_timeout_s=60) as session:
        assert session.provider is not None
        session.provider.on_delay = lambda: pass_time(60)
        session.provider.faults = [PASSING[name]]
        result = await session.call("summarize_document", document_path="tor.md")
        assert len(session.provider.requests) == 2
    assert result["usage"]["attempts"] == 2
    assert any("attempt 1 of 3" in message for message in session.levels("warning"))


@pytest.mark.parametrize(("name", "kind"), each_with_a_kind(FINAL))
async def test_what_does_not_pass_is_tried_once(folder: Path, kind: str, name: str) -> None:
    fault, code, reason = FINAL[name]
    async with connected(f"provider-{kind}", folder) as session:
        assert session.provider is not None
        session.provider.faults = [fault]
        failed = await session.fail("summarize_document", document_path="tor.md")
        assert len(session.provider.requests) == 1
    assert (failed["code"], failed.get("reason")) == (code, reason)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("reply", "attempts", "reason"),
    [
        (Reply("", "endTurn"), 3, "empty"),
        (Reply(" \n", "endTurn"), 3, "empty"),
        (Reply("", "maxTokens"), 3, "truncated"),
        (Reply("I cannot", "refusal"), 1, "refused"),
        (Reply("", "toolUse"), 3, "tool_use"),
        (Reply("x" * 300_000), 3, "oversized"),
    ],
)
async def test_an_unusable_answer_is_named(
    folder: Path, kind: str, reply: Reply, attempts: int, reason: str
) -> None:
    model = ScriptedModel(always=lambda _kind, _text: reply)
    async with connected(f"provider-{kind}", folder, model) as session:
        failed = await session.fail("summarize_document", document_path="tor.md")
    assert (failed["code"], failed["reason"], failed["attempts"]) == ("model_failed", reason, attempts)
    assert failed["retryable"] is True
    assert model.counts["summary"] == attempts


async def test_three_failures_end_a_summary_with_the_status_and_the_number_of_attempts(folder: Path) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    retry = RetryPolicy(sleep=sleep, random=lambda: 1.0)
    async with connected("provider-anthropic", folder, retry=retry) as session:
        assert session.provider is not None
        session.provider.faults = [error(500, "api_error")] * 5
        failed = await session.fail("summarize_document", document_path="tor.md")
        assert len(session.provider.requests) == 3
    assert slept == [1.0, 2.0]
    assert (failed["reason"], failed["attempts"]) == ("http_500", 3)


@pytest.mark.parametrize(("header", "slept"), [("7", [7.0]), ("-7", [0.5]), ("nan", [0.5]), ("1e99", [0.5])])
async def test_a_provider_s_wish_to_wait_is_honoured_when_it_makes_sense(
    folder: Path, header: str, slept: list[float]
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    retry = RetryPolicy(sleep=sleep, random=lambda: 0.5)
    async with connected("provider-openai", folder, retry=retry) as session:
        assert session.provider is not None
        session.provider.faults = [error(429, "rate_limit", ("retry-after", header))]
        await session.call("summarize_document", document_path="tor.md")
    assert waits == slept


async def test_a_wait_beyond_the_deadline_ends_the_call_at_once(folder: Path) -> None:
    async with connected("provider-openai", folder, retry=no_wait(deadline_s=300.0)) as session:
        assert session.provider is not None
        session.provider.faults = [error(429, "rate_limit", ("retry-after", "600"))]
        with anyio.fail_after(60):
            failed = await session.fail("summarize_document", document_path="tor.md")
    assert (failed["reason"], failed["attempts"]) == ("http_429", 1)


async def test_one_deadline_bounds_all_attempts_together(
    folder: Path, pass_time: Callable[[float], None]
) -> None:
    retry = no_wait(deadline_s=60)
    async with connected("provider-openai", folder, retry=retry, model_timeout_s=600.0) as session:
        assert session.provider is not None
        session.provider.faults = [Fault(delay_headers_s=600.0)] * 3
        session.provider.on_delay = lambda: pass_time(60)
        with anyio.fail_after(300):
            failed = await session.fail("summarize_document", document_path="tor.md")
    assert failed["reason"] == "deadline"


@pytest.mark.parametrize(
    ("faults", "reason", "attempts", "told"),
    [
        ([], "deadline", 1, "(tried once)"),
        ([error(500, "api_error")], "http_500", 2, "(tried 2 times)"),
    ],
)
async def test_an_attempt_that_the_deadline_cuts_is_counted(
    folder: Path,
    pass_time: Callable[[float], None],
    faults: list[Fault],
    reason: str,
    attempts: int,
    told: str,
) -> None:
    retry = no_wait(deadline_s=60)
    async with connected("provider-openai", folder, retry=retry, model_timeout_s=600.0) as session:
        assert session.provider is not None
        session.provider.faults = [*faults, Fault(delay_headers_s=600.0)]
        session.provider.on_delay = lambda: pass_time(60)
        with anyio.fail_after(300):
            failed = await session.fail("summarize_document", document_path="tor.md")
    assert (failed["reason"], failed["attempts"]) == (reason, attempts)
    assert told in failed["message"]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_key_goes_to_the_provider_and_nowhere_else(
    folder: Path, kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "secret-key-of-the-test"
    async with connected(f"provider-{kind}", folder) as session:
        assert session.provider is not None
        await session.call("summarize_document", document_path="tor.md")
        session.provider.faults = [Fault(401, secret.encode()), error(500, secret), error(400, secret)]
        failures = [await session.fail("summarize_document", document_path="tor.md") for _ in range(2)]
        path, headers, body = session.provider.requests[0]
    sent = headers.get("x-api-key") or headers["authorization"].removeprefix("Bearer ")
    assert (sent, body["model"]) == (secret, "asked-for")
    assert path == {"anthropic": "/v1/messages", "openai": "/v1/chat/completions"}[kind]
    captured = capfd.readouterr()
    told = f"{session.logs} {failures} {caplog.text} {captured.out} {captured.err}"
    assert secret not in told


async def test_a_cancelled_call_leaves_the_provider_alone(folder: Path) -> None:
    async with connected("provider-openai", folder) as session:
        provider = session.provider
        assert provider is not None
        provider.delay_s = 30.0
        paths = ["tor.md", "cache.md", "notes/mix.txt"]
        async with anyio.create_task_group() as group:

            async def run() -> None:
                await session.client.call_tool(
                    "synthesize_research", {"document_paths": paths, "research_question": "What is it?"}
                )

            group.start_soon(run)
            await until(lambda: provider.open_now == 3)
            group.cancel_scope.cancel()
        await until(lambda: provider.aborted == 3)
        assert (len(provider.requests), provider.open_now) == (3, 0)


async def test_no_more_calls_are_under_way_than_allowed(folder: Path) -> None:
    for number in range(9):
        (folder / f"n{number}.md").write_text(
            f"Note {number} says that relays hide their neighbours.", "utf-8"
        )
    async with connected("provider-openai", folder, model_concurrency=3) as session:
        assert session.provider is not None
        session.provider.delay_s = 0.05
        session.provider.together = 3
        paths = [f"n{number}.md" for number in range(9)]
        result = await session.call(
            "synthesize_research", document_paths=paths, research_question="What is hidden?"
        )
        assert session.provider.most_open == 3
    assert result["sources_used"] == 9


async def test_a_provider_that_is_not_there_is_a_connection_failure(folder: Path) -> None:
    changes: dict[str, Any] = {"provider_url": "http://127.0.0.1:9/v1"}
    async with connected("provider-openai", folder, **changes) as session:
        failed = await session.fail("summarize_document", document_path="tor.md")
    assert (failed["reason"], failed["attempts"]) == ("connection", 3)


@pytest.mark.parametrize("name", ["\ud800", "![x](http://evil.example/p) " + "m" * 1_000, "", 7])
async def test_the_name_that_a_model_gives_itself_is_kept_to_one_short_plain_line(
    folder: Path, name: object
) -> None:
    message = {"message": {"content": "One paragraph."}, "finish_reason": "stop"}
    async with connected("provider-openai", folder) as session:
        assert session.provider is not None
        session.provider.faults = [Fault(200, json.dumps({"model": name, "choices": [message]}).encode())]
        result = await session.call("summarize_document", document_path="tor.md", summary_length="brief")
    assert 0 < len(result["model"]) <= 100
    assert not set("![]()\ud800") & set(result["model"])


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("provider_key", "schl\u00fcssel"),
        ("provider_key", "two\nlines"),
        ("provider_url", "http://[::1"),
        ("provider_url", "http://127.0.0.1:99999/v1"),
        ("provider_url", "http://:80/v1"),
    ],
)
def test_a_provider_that_can_never_be_reached_is_refused_at_the_start(
    folder: Path, variable: str, value: str
) -> None:
    with pytest.raises(ConfigurationError):
        settings(folder, **{variable: value})


@pytest.mark.parametrize(
    "proxy",
    ["http://u:secretpart/rest@proxy:3128", "ftp://u:secretpart@proxy", "socks5://u:secretpart@proxy"],
)
async def test_a_proxy_that_cannot_be_used_is_told_at_the_start_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    provider = Provider(kind="openai", model="m")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as refused:
        async with provider:
            pytest.fail("it was entered")
    assert "secretpart" not in str(refused.value)


async def test_a_key_may_end_in_a_line_break_as_files_do(folder: Path) -> None:
    async with connected("provider-openai", folder, provider_key="a-key-from-a-file\n") as session:
        assert session.provider is not None
        await session.call("summarize_document", document_path="tor.md")
        _, headers, _ = session.provider.requests[0]
    assert headers["authorization"] == "Bearer a-key-from-a-file"
