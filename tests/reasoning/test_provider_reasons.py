"""What a provider's refusals become: errors that name the setting, and requests that are changed."""

import json
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from research_reasoning.models.protocol import AttemptFailed, Body
from research_reasoning.models.provider import Provider
from support.carriers import connected, no_wait
from support.providers import Fault
from support.stand_ins import Habit, StandIn, StandInServer

SUMMARY = {"document_path": "tor.md"}


def says(status: int, message: str, *headers: tuple[str, str], **fields: Any) -> Fault:
    return Fault(status, json.dumps({"error": {"message": message, **fields}}).encode(), headers)


LASTING = {
    "wrong model": (says(404, 'model "local" not found, try pulling it first'), "RESEARCH_PROVIDER_MODEL"),
    "model of that code": (says(400, "no", code="model_not_found"), "RESEARCH_PROVIDER_MODEL"),
    "wrong address": (Fault(404, b'{"detail": "Not Found"}'), "RESEARCH_PROVIDER_URL"),
    "wrong address of LM Studio": (
        Fault(200, b'{"error": "Unexpected endpoint or method. (POST /v1/v1/chat)"}'),
        "RESEARCH_PROVIDER_URL",
    ),
    "redirect": (Fault(307, b"", (("location", "/elsewhere"),)), "RESEARCH_PROVIDER_URL"),
    "bad request": (says(400, "temperature of the kettle"), "RESEARCH_PROVIDER_BODY"),
    "told not to": (says(500, "no use", ("x-should-retry", "false")), "RESEARCH_PROVIDER_BODY"),
}


@pytest.mark.parametrize("name", LASTING)
async def test_what_cannot_succeed_is_tried_once_and_names_the_setting(folder: Path, name: str) -> None:
    fault, setting = LASTING[name]
    async with connected("provider-openai", folder) as session:
        assert session.provider is not None
        session.provider.faults = [fault] * 9
        failed = await session.fail("summarize_document", **SUMMARY)
        many = await session.fail(
            "synthesize_research", document_paths=["tor.md", "cache.md"], research_question="Who talks?"
        )
        assert len(session.provider.requests) == 1 + 2
    for error in (failed, many):
        assert setting in error["hint"]
        assert error["retryable"] is (name == "told not to")


@pytest.mark.parametrize("fault", [says(409, "conflict"), says(403, "maybe", ("x-should-retry", "true"))])
async def test_what_the_provider_asks_to_be_tried_again_is(folder: Path, fault: Fault) -> None:
    async with connected("provider-openai", folder) as session:
        assert session.provider is not None
        session.provider.faults = [fault]
        result = await session.call("summarize_document", **SUMMARY)
    assert result["usage"]["attempts"] == 2


async def test_the_reason_is_in_the_error_and_the_request_id_in_the_log(
    folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    reason = "The model `m` is retired; see https://host/?key=secret-key-of-the-test"
    async with connected("provider-anthropic", folder) as session:
        assert session.provider is not None
        session.provider.faults = [says(400, reason, ("request-id", "req_0123"))]
        failed = await session.fail("summarize_document", **SUMMARY)
    assert "The model m is retired; see (address)" in failed["message"]
    logged = caplog.text + capfd.readouterr().err
    assert "req_0123" in logged or any("req_0123" in str(record.__dict__) for record in caplog.records)


@pytest.mark.parametrize(
    ("error", "reason", "setting", "lasting"),
    [
        (ssl.SSLCertVerificationError("certificate verify failed"), "tls", "SSL_CERT_FILE", True),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "dns", "RESEARCH_PROVIDER_URL", True),
        (socket.gaierror(socket.EAI_AGAIN, "later"), "connection", "RESEARCH_PROVIDER_URL", False),
        (ConnectionRefusedError(), "connection", "RESEARCH_PROVIDER_URL", False),
    ],
)
async def test_a_server_that_cannot_be_reached_says_why(
    error: OSError, reason: str, setting: str, *, lasting: bool
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no", request=request) from error

    provider = Provider(
        "openai", "m", new_client=lambda: httpx.AsyncClient(transport=httpx.MockTransport(fail))
    )
    with pytest.raises(AttemptFailed) as failed:
        await provider.call(Body("s", "u"), 10)
    assert (failed.value.reason, failed.value.lasting, failed.value.retry) == (reason, lasting, not lasting)
    assert setting in (failed.value.hint or "")


async def test_a_model_that_writes_less_than_it_is_asked_for_is_asked_for_that(folder: Path) -> None:
    message = "max_tokens is too large: 9200. This model supports at most 4096 completion tokens."
    async with connected("provider-openai", folder) as session:
        assert session.provider is not None
        session.provider.faults = [says(400, message, param="max_tokens")]
        await session.call("summarize_document", **SUMMARY)
        await session.call("summarize_document", **SUMMARY)
        limits = [body["max_tokens"] for _, _, body in session.provider.requests]
    assert limits == [9_200, 4_096, 4_096]


async def test_headers_fields_and_the_query_of_the_operator_go_along(folder: Path) -> None:
    model = StandIn(habit=Habit())
    changes: dict[str, Any] = {
        "provider_headers": '{"X-Team": "research", "Authorization": "Basic abc"}',
        "provider_body": '{"options": {"num_ctx": 8192}}',
    }
    async with connected("provider-openai", folder, model, new_provider=StandInServer, **changes) as session:
        await session.call("summarize_document", **SUMMARY)
        assert session.provider is not None
        _, headers, body = session.provider.requests[0]
    assert (headers["x-team"], headers["authorization"]) == ("research", "Basic abc")
    assert body["options"] == {"num_ctx": 8192}


async def test_a_context_that_was_learned_is_kept_to_in_the_next_call(folder: Path) -> None:
    (folder / "long.md").write_text("A relay hides its neighbours from all the others.\n\n" * 300, "utf-8")
    model = StandIn(habit=Habit(context=2_048, wording="vllm"))
    async with connected("provider-openai", folder, model, new_provider=StandInServer) as session:
        await session.call("summarize_document", document_path="long.md")
        before = len(model.sizes)
        await session.call("summarize_document", document_path="long.md")
    assert max(model.sizes) > 2_048
    assert max(model.sizes[before:]) <= 2_048


async def test_refusals_of_a_server_that_serves_others_do_not_count(folder: Path) -> None:
    names = [f"n{number}.md" for number in range(6)]
    for name in names:
        (folder / name).write_text(f"# {name}\n\nThe relay of {name} hides its neighbours.\n", "utf-8")
    model = StandIn(habit=Habit(one_slot="refuse"))
    async with connected(
        "provider-anthropic", folder, model, new_provider=StandInServer, retry=no_wait(attempts=1)
    ) as session:
        result = await session.call(
            "synthesize_research", document_paths=names, research_question="What is hidden?"
        )
    assert result["sources_used"] == 6
