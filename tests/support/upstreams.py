"""An upstream that has everything that can pass through the gateway, and a server in front of it."""

import json
from collections.abc import Callable
from typing import Any

import anyio
import mcp_types
import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.client.elicitation import ElicitResult
from mcp_types import (
    UNSUPPORTED_PROTOCOL_VERSION,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequiredResult,
    SamplingMessage,
    TextContent,
    ToolAnnotations,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from research_gateway.retry import RetryUpstream
from research_gateway.upstreams import Upstream, UpstreamProvider, UpstreamTimings, remote
from research_shared.errors import ERROR_META_KEY
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.retry import RetryPolicy
from support.serving import Served

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True)
FORM = {"type": "object", "properties": {"value": {"type": "string"}}, "required": ["value"]}
PATIENT = UpstreamTimings(
    init_timeout_s=120.0, list_timeout_s=120.0, stale_list_wait_s=120.0, close_reason_timeout_s=60.0
)
"""Waits as long as a busy machine takes: for a process to start, for a list, and for why a session ended."""


class Behind:
    """The upstream server: what it offers, and what it has seen."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.cancelled = anyio.Event()
        self.hanging = anyio.Event()
        self.released = anyio.Event()

    def build(self) -> FastMCP[Any]:  # noqa: C901, PLR0915  (one tool for each thing that passes)
        server: FastMCP[Any] = FastMCP("behind")

        @server.tool(annotations=READ_ONLY)
        async def echo(text: str) -> str:
            self.calls.append("echo")
            return text

        @server.tool
        async def change(text: str) -> str:
            self.calls.append("change")
            return text

        @server.tool
        async def fail() -> str:
            raise ValueError("broken")

        @server.tool
        async def about(ctx: Context) -> dict[str, Any]:
            """Who the upstream thinks it talks to."""
            session = ctx.session
            declared = session.client_capabilities
            return {
                "modern": session.protocol_version in MODERN_PROTOCOL_VERSIONS,
                "name": session.client_params.client_info.name if session.client_params else None,
                "declares": sorted(declared.model_dump(exclude_none=True)) if declared else [],
                "meta": {
                    k: v
                    for k, v in (ctx.request_context.meta or {}).items()  # type: ignore[union-attr]
                    if k.startswith(("test/", "io.github"))
                },
                "session": ctx.session_id,
            }

        @server.tool
        async def talk(ctx: Context) -> str:
            await ctx.report_progress(1, 2, "half")
            await ctx.warning("a line", logger_name="behind", extra={"n": 1})
            await ctx.session.send_log_message(
                "error", ["any", "json"], "raw", related_request_id=ctx.request_id
            )
            await ctx.report_progress(2, 2, "whole")
            return "said"

        @server.tool
        async def ask(ctx: Context) -> str | InputRequiredResult:
            """Asks its client's model and its user, in the way of the era."""
            params = CreateMessageRequestParams(
                messages=[SamplingMessage(role="user", content=TextContent(type="text", text="think"))],
                max_tokens=7,
                temperature=0.5,
            )
            form = ElicitRequestFormParams(message="sure?", requested_schema=FORM)
            if ctx.session.protocol_version in MODERN_PROTOCOL_VERSIONS:
                answers = ctx.input_responses
                if answers is None:
                    requests: dict[str, Any] = {
                        "model": CreateMessageRequest(params=params),
                        "user": ElicitRequest(params=form),
                        "roots": mcp_types.ListRootsRequest(),
                    }
                    return InputRequiredResult(input_requests=requests, request_state="carried")
                assert ctx.request_state == "carried"
                model, user, roots = answers["model"], answers["user"], answers["roots"]
            else:
                model = await ctx.session.create_message(params.messages, max_tokens=7, temperature=0.5)
                user = await ctx.session.elicit(form.message, form.requested_schema, ctx.request_id)
                roots = await ctx.session.list_roots()
            assert isinstance(model, mcp_types.CreateMessageResult)
            assert isinstance(user, mcp_types.ElicitResult)
            assert isinstance(roots, mcp_types.ListRootsResult)
            return f"{model.model} {model.stop_reason} {user.content} {roots.roots[0].uri}"

        @server.tool
        async def hang() -> str:
            self.hanging.set()
            try:
                await anyio.sleep_forever()
            finally:
                self.cancelled.set()
            raise AssertionError

        @server.tool
        async def wait() -> str:
            self.hanging.set()
            await self.released.wait()
            return "waited"

        @server.tool
        async def wait_and_ask(ctx: Context) -> str:
            """Asks in a way that does not say for which call, as is usual before 2026-07-28."""
            self.hanging.set()
            await self.released.wait()
            message = SamplingMessage(role="user", content=TextContent(type="text", text="think"))
            return (await ctx.session.create_message([message], max_tokens=7, temperature=0.5)).model

        @server.resource("note://all")
        async def note() -> str:
            return "everything"

        @server.resource("note://{name}")
        async def named(name: str) -> str:
            if name == "missing":
                raise FileNotFoundError(name)
            return f"note {name}"

        @server.prompt(name="brief")
        async def brief(topic: str) -> str:
            return f"about {topic}"

        @server.completion
        async def complete(ref: Any, argument: Any, _context: Any) -> list[str]:
            return [f"{type(ref).__name__}:{argument.value}{end}" for end in ("a", "b")]

        return server


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Gateway:
    """A server in front of an upstream, with the parts that matter here."""

    def __init__(self, upstream: Upstream, *, namespace: str = "", **options: Any) -> None:
        self.clock = Clock()
        self.upstream = upstream
        options = {"watch": False, "clock": self.clock, **options}
        self.provider = UpstreamProvider(upstream, namespaced=bool(namespace), **options)
        self.policy = RetryPolicy(attempts=3, base_s=0.001, cap_s=0.001, deadline_s=60)
        self.server: FastMCP[Any] = FastMCP(
            "gateway", middleware=[ErrorBoundary(), RetryUpstream(self.policy)], mask_error_details=True
        )
        self.server.add_provider(self.provider, namespace=namespace)

        @self.server.tool
        async def local() -> str:
            return "here"

    @classmethod
    def before(cls, served: Served, *, timings: UpstreamTimings = PATIENT, **options: Any) -> "Gateway":
        return cls(remote("behind", served.url, timings=timings), **options)


async def code_of(client: Client[Any], tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments, raise_on_error=False)
    error = (result.meta or {}).get(ERROR_META_KEY, {})
    return str(error.get("code", "error")) if result.is_error else "ok"


async def sample(
    messages: Any, params: CreateMessageRequestParams, _context: Any
) -> mcp_types.CreateMessageResult:
    assert messages[0].content.text == "think"
    assert (params.max_tokens, params.temperature) == (7, 0.5)
    content = TextContent(type="text", text="thought")
    return mcp_types.CreateMessageResult(
        role="assistant", content=content, model="the-model", stop_reason="endTurn"
    )


async def elicit(*_: Any) -> ElicitResult[Any]:
    return ElicitResult(action="accept", content={"value": "yes"})


def refusing(status: int, headers: dict[str, str] | None = None) -> Callable[..., Any]:
    async def answer(_app: Any, _scope: Any, _receive: Any, send: Any) -> None:
        raw = [(k.encode(), v.encode()) for k, v in (headers or {}).items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"<html>"})

    return answer


async def old_fashioned(app: Any, scope: Any, receive: Any, send: Any) -> None:
    """Know nothing of 2026-07-28, as servers did before it."""
    headers = {key.decode(): value.decode() for key, value in scope["headers"]}
    if headers.get("mcp-method") is not None and headers.get("mcp-protocol-version") == "2026-07-28":
        await refusing(404)(app, scope, receive, send)
    else:
        await app(scope, receive, send)


async def modern_only(app: Any, scope: Any, receive: Any, send: Any) -> None:
    """Know nothing before 2026-07-28, as servers may from then on."""
    headers = {key.decode(): value.decode() for key, value in scope["headers"]}
    if headers.get("mcp-protocol-version") == "2026-07-28":
        await app(scope, receive, send)
        return
    versions = {"supported": ["2026-07-28"], "requested": "2025-11-25"}
    error = {"code": UNSUPPORTED_PROTOCOL_VERSION, "message": "unsupported", "data": versions}
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
    raw = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 400, "headers": raw})
    await send({"type": "http.response.body", "body": body})
