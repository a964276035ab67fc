"""What an upstream of 2026-07-28 may answer over HTTP, byte by byte, and what its caller makes of it."""

import json
from collections.abc import Callable
from typing import Any

import mcp_types
import pytest
from fastmcp import Client
from mcp import MCPError

from research_gateway.completions import namespaced
from support.serving import serving
from support.upstreams import Behind, Gateway, code_of

JSON = "application/json"
EVENTS = "text/event-stream"
RESULT = {"content": [], "structuredContent": {"result": "a"}, "resultType": "complete"}
ANSWER = {"jsonrpc": "2.0", "id": 1, "result": RESULT}
REFUSAL = {"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "not like this"}}


def answering(kind: str, body: Any, status: int = 200) -> Callable[..., Any]:
    sent = body if isinstance(body, str) else json.dumps(body)

    async def answer(_app: Any, _scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": sent.encode()})

    return answer


def events(*messages: Any, event: str = "message") -> str:
    texts = (message if isinstance(message, str) else json.dumps(message) for message in messages)
    return "".join(f"event: {event}\ndata: {text}\n\n" for text in texts)


def told(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(answering(JSON, ANSWER), "ok", id="an answer"),
        pytest.param(answering(JSON, ANSWER, status=202), "backend_refused", id="an answer that is none yet"),
        pytest.param(answering(JSON, REFUSAL), "backend_refused", id="a refusal"),
        pytest.param(answering(JSON, REFUSAL, status=400), "backend_refused", id="a refusal with its status"),
        pytest.param(
            answering(JSON, told("notifications/message")), "backend_refused", id="no answer at all"
        ),
        pytest.param(answering(EVENTS, events(ANSWER)), "ok", id="an answer as an event"),
        pytest.param(answering(EVENTS, events(REFUSAL)), "backend_refused", id="a refusal as an event"),
        pytest.param(
            answering(EVENTS, ": comment\n\n" + events("?", event="other") + events(ANSWER)),
            "ok",
            id="what is no message is passed over",
        ),
        pytest.param(
            answering(
                EVENTS,
                events(
                    told("notifications/progress", progress="much"),
                    told("notifications/message", level="loud"),
                    told("notifications/unheard-of"),
                    {"jsonrpc": "2.0", "id": 9, "method": "ping"},
                    ANSWER,
                ),
            ),
            "ok",
            id="what cannot be told is lost",
        ),
        pytest.param(answering(EVENTS, events("nonsense")), "backend_refused", id="an event is nonsense"),
        pytest.param(
            answering(EVENTS, events(told("notifications/progress", progress=1))),
            "backend_unavailable",
            id="no answer comes",
        ),
        pytest.param(
            answering(EVENTS, events("x" * 2_000_000)), "backend_unavailable", id="an event is too large"
        ),
    ],
)
async def test_what_an_upstream_may_answer(answer: Any, code: str) -> None:
    async with serving(Behind().build()) as served, Client(Gateway.before(served).server) as client:
        assert await code_of(client, "change", text="a") == "ok"
        served.answer = answer
        before = served.requests
        assert await code_of(client, "change", text="a") == code
        assert served.requests == before + 1


async def test_a_kind_of_component_that_an_upstream_does_not_know_has_none() -> None:
    async with serving(Behind().build()) as served:
        gateway = Gateway.before(served)
        async with Client(gateway.server) as client:
            await client.list_tools()
            unknown = {"code": mcp_types.METHOD_NOT_FOUND, "message": "no"}
            served.answer = answering(JSON, {"jsonrpc": "2.0", "id": 1, "error": unknown}, status=404)
            assert await client.list_prompts() == []
            assert gateway.provider.available is True


async def test_completion_asks_the_server_whose_namespace_it_is() -> None:
    async with serving(Behind().build()) as served:
        gateway = Gateway.before(served, namespace="far")
        gateway.server.add_completion_handler(namespaced("far", gateway.provider.complete))
        argument = {"name": "name", "value": "x"}
        async with Client(gateway.server) as client:
            references = (
                mcp_types.PromptReference(name="far_brief"),
                mcp_types.PromptReference(name="brief"),
                mcp_types.ResourceTemplateReference(uri="note://far/{name}"),
                mcp_types.ResourceTemplateReference(uri="note://{name}"),
            )
            found = [(await client.complete(reference, argument)).values for reference in references]
            assert [values[:1] for values in found] == [
                ["PromptReference:xa"],
                [],
                ["ResourceTemplateReference:xa"],
                [],
            ]
            served.answer = answering(JSON, REFUSAL)
            assert (await client.complete(references[0], argument)).values == []
            await served.stop()
            with pytest.raises(MCPError) as failure:
                await client.complete(references[0], argument)
            assert failure.value.error.data["error"]["code"] == "backend_unavailable"
