"""Servers behind the gateway: what passes through, how sessions are reused, and what happens when one is down."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import mcp_types
import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.client.logging import LogMessage
from fastmcp.client.transports import StreamableHttpTransport
from mcp import MCPError

from research_gateway.app import build_gateway
from research_gateway.upstreams import Upstream, load_servers, remote
from research_gateway.upstreams.transports.http import PooledHttpTransport
from research_shared.access.roots import Root
from research_shared.errors import ConfigurationError
from research_shared.middleware.scope_meta import SCOPE_META_KEY
from research_shared.settings import Settings
from research_shared.tools.names import OWN_TOOLS
from support.results import error_of
from support.serving import serving, until
from support.upstreams import ERAS, PATIENT, READ_ONLY, Behind, Gateway, code_of, elicit, refusing, sample


@ERAS
async def test_components_of_an_upstream_work_as_if_they_were_the_gateways_own(mode: Any) -> None:
    async with (
        serving(Behind().build()) as served,
        Client(Gateway.before(served).server, mode=mode) as client,
    ):
        assert {t.name for t in await client.list_tools()} >= {"echo", "talk", "local"}
        assert (await client.call_tool("echo", {"text": "hé"})).data == "hé"
        assert (await client.call_tool("local")).data == "here"
        failed = await client.call_tool("fail", raise_on_error=False)
        assert failed.is_error
        assert "broken" in failed.content[0].text
        assert [str(r.uri) for r in await client.list_resources()] == ["note://all"]
        assert (await client.read_resource("note://all"))[0].text == "everything"
        assert [t.uri_template for t in await client.list_resource_templates()] == ["note://{name}"]
        assert (await client.read_resource("note://x"))[0].text == "note x"
        assert [p.name for p in await client.list_prompts()] == ["brief"]
        prompt = await client.get_prompt("brief", {"topic": "owls"})
        assert prompt.messages[0].content.text == "about owls"
        with pytest.raises(MCPError) as failure:
            await client.read_resource("note://missing")
        assert failure.value.error.data["error"]["code"] == "backend_refused"


@ERAS
@pytest.mark.parametrize("handlers", [{}, {"sampling_handler": sample}, {"roots": ["file:///r"]}])
async def test_the_upstream_is_told_what_the_client_declared(mode: Any, handlers: dict[str, Any]) -> None:
    info = mcp_types.Implementation(name="reader", version="3")
    async with serving(Behind().build()) as served:
        front = Gateway.before(served).server
        async with Client(front, mode=mode, client_info=info, **handlers) as client:
            seen = (await client.call_tool("about", meta={"test/a": 1, SCOPE_META_KEY: ["x"]})).data
    expected = {"sampling_handler": ["sampling"], "roots": ["roots"]}
    assert seen["declares"] == [name for key in handlers for name in expected[key]]
    assert (seen["modern"], seen["name"]) == (mode == "auto", "reader")
    assert seen["meta"] == {"test/a": 1, SCOPE_META_KEY: ["x"]}


async def test_the_scope_is_kept_from_servers_of_other_people() -> None:
    async with serving(Behind().build()) as served:
        gateway = Gateway.before(served)
        gateway.upstream.ours = False
        async with Client(gateway.server) as client:
            seen = (await client.call_tool("about", meta={"test/a": 1, SCOPE_META_KEY: ["x"]})).data
    assert seen["meta"] == {"test/a": 1}


@ERAS
async def test_progress_and_logs_arrive_unchanged(mode: Any) -> None:
    logs: list[tuple[str, str | None, Any]] = []
    progress: list[tuple[float, float | None, str | None]] = []

    async def on_log(message: LogMessage) -> None:
        logs.append((message.level, message.logger, message.data))

    async def on_progress(*report: Any) -> None:
        progress.append(report)

    async with serving(Behind().build()) as served:
        front = Gateway.before(served).server
        async with Client(front, mode=mode, log_handler=on_log, progress_handler=on_progress) as client:
            assert (await client.call_tool("talk")).data == "said"
    assert progress == [(1, 2, "half"), (2, 2, "whole")]
    assert logs == [
        ("warning", "behind", {"msg": "a line", "extra": {"n": 1}}),
        ("error", "raw", ["any", "json"]),
    ]


async def test_a_client_of_the_gateway_gets_only_log_lines_of_the_level_that_it_set() -> None:
    logs: list[Any] = []

    async def on_log(message: LogMessage) -> None:
        logs.append(message.data)

    async with serving(Behind().build()) as served:
        front = Gateway.before(served).server
        async with Client(front, mode="legacy", log_handler=on_log) as client:
            await client.set_logging_level("error")
            await client.call_tool("talk")
    assert logs == [["any", "json"]]


@ERAS
async def test_questions_of_the_upstream_reach_the_client_and_its_answers_come_back_whole(mode: Any) -> None:
    async with serving(Behind().build()) as served:
        front = Gateway.before(served).server
        handlers: dict[str, Any] = {"sampling_handler": sample, "elicitation_handler": elicit}
        async with Client(front, mode=mode, roots=["file:///r"], **handlers) as client:
            said = (await client.call_tool("ask")).data
    assert said == "the-model endTurn {'value': 'yes'} file:///r"


@ERAS
async def test_a_client_that_refuses_is_reported_to_the_upstream(mode: Any) -> None:
    async def refuse(*_: Any) -> Any:
        raise RuntimeError("no")

    async with serving(Behind().build()) as served:
        front = Gateway.before(served).server
        async with Client(front, mode=mode, sampling_handler=refuse) as client:
            with pytest.raises(Exception):  # noqa: B017, PT011  (the client's own failure differs by era)
                await client.call_tool("ask")


async def test_cancelling_reaches_the_upstream() -> None:
    behind = Behind()
    async with serving(behind.build()) as served, Client(Gateway.before(served).server) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "hang")
            with anyio.fail_after(60):
                await behind.hanging.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(60):
            await behind.cancelled.wait()
        assert (await client.call_tool("echo", {"text": "on"})).data == "on"


async def test_a_call_of_a_modern_client_is_one_request_upstream() -> None:
    async with serving(Behind().build()) as served:
        gateway = Gateway.before(served)
        async with Client(gateway.server) as client:
            for _ in range(10):
                await client.call_tool("echo", {"text": "a"})
            posts = served.requests
            await client.call_tool("echo", {"text": "a"})
            assert served.requests == posts + 1
        async with Client(gateway.server, sampling_handler=sample) as other:
            assert (await other.call_tool("about")).data["declares"] == ["sampling"]
        assert served.requests == posts + 2
        assert gateway.upstream.sessions_opened == 1


async def test_each_session_of_the_handshake_era_has_a_session_of_its_own_upstream() -> None:
    async with serving(Behind().build()) as served:
        gateway = Gateway.before(served)
        async with Client(gateway.server, mode="legacy") as one, Client(gateway.server, mode="legacy") as two:
            mine = [(await one.call_tool("about")).data["session"] for _ in range(2)]
            yours = (await two.call_tool("about")).data["session"]
            assert mine[0] == mine[1] != yours
            assert len(gateway.upstream._bound) == 2
        assert len(gateway.upstream._bound) == 0


@ERAS
async def test_concurrent_calls_of_many_clients_get_their_own_progress_and_answers(mode: Any) -> None:
    async with serving(Behind().build()) as served:
        gateway = Gateway.before(served)
        heard: dict[int, list[Any]] = {number: [] for number in range(5)}

        async def one(number: int) -> None:
            async def on_progress(*report: Any) -> None:
                heard[number].append(report)

            async with Client(gateway.server, mode=mode) as client:
                for _ in range(2):
                    await client.call_tool("talk", progress_handler=on_progress)
                    assert (await client.call_tool("echo", {"text": str(number)})).data == str(number)

        async with anyio.create_task_group() as tasks:
            for number in heard:
                tasks.start_soon(one, number)
    assert all(len(reports) == 4 for reports in heard.values())


@ERAS
async def test_a_client_that_leaves_does_not_cut_off_the_calls_of_others(mode: Any) -> None:
    behind = Behind()
    answers: list[str] = []
    async with serving(behind.build()) as served, anyio.create_task_group() as tasks:
        gateway = Gateway.before(served)
        # The server's lifespan, and so its provider's, ends with the client that came first.
        first_leaves = anyio.Event()

        async def leave() -> None:
            async with Client(gateway.server, mode=mode) as first:
                await first.call_tool("local")
                await first_leaves.wait()

        async def stay() -> None:
            async with Client(gateway.server, mode=mode) as second:
                answers.append((await second.call_tool("wait")).data)
                answers.append((await second.call_tool("change", {"text": "on"})).data)

        leaving = asyncio.create_task(leave())
        await until(gateway.server._started.is_set)
        tasks.start_soon(stay)
        with anyio.fail_after(60):
            await behind.hanging.wait()
        first_leaves.set()
        await leaving
        behind.released.set()
    assert answers == ["waited", "on"]
    assert gateway.upstream._pool is not None
    assert gateway.upstream._pool.pool._client is None


@ERAS
async def test_completion_works_through_the_gateway(mode: Any) -> None:
    async with serving(Behind().build()) as served:
        gateway = Gateway.before(served)
        gateway.server.add_completion_handler(gateway.provider.complete)
        async with Client(gateway.server, mode=mode) as client:
            template = mcp_types.ResourceTemplateReference(uri="note://{name}")
            prompt = mcp_types.PromptReference(name="brief")
            argument = {"name": "name", "value": "x"}
            assert (await client.complete(template, argument)).values == [
                "ResourceTemplateReference:xa",
                "ResourceTemplateReference:xb",
            ]
            assert (await client.complete(prompt, argument)).values[0] == "PromptReference:xa"
            other = mcp_types.PromptReference(name="other")
            assert (await client.complete(other, argument)).values == []


@ERAS
async def test_an_upstream_that_is_down_takes_nothing_with_it_and_comes_back_by_itself(mode: Any) -> None:
    behind = Behind()
    async with serving(behind.build) as served:
        gateway = Gateway.before(served)
        async with Client(gateway.server, mode=mode) as client:
            assert (await client.call_tool("echo", {"text": "a"})).data == "a"
            assert (await client.read_resource("note://x"))[0].text == "note x"
            tools = {t.name for t in await client.list_tools()}
            await served.stop()
            gateway.clock.now += 60
            assert {t.name for t in await client.list_tools()} == tools
            assert gateway.provider.available is False
            result = await client.call_tool("echo", {"text": "a"}, raise_on_error=False)
            error = error_of(result)
            assert error["code"] == "backend_unavailable"
            assert error["retryable"] is True
            assert (await client.call_tool("local")).data == "here"
            with pytest.raises(MCPError) as failure:
                await client.read_resource("note://x")
            assert failure.value.error.data["error"]["code"] == "backend_unavailable"
            assert served._tasks is not None
            await served.start(served._tasks)
            assert (await client.call_tool("echo", {"text": "b"})).data == "b"
            gateway.clock.now += 60
            assert {t.name for t in await client.list_tools()} == tools
            assert gateway.provider.available is True


async def test_what_an_upstream_offers_is_learnt_as_soon_as_it_can_be_reached() -> None:
    async with serving(Behind().build) as served:
        await served.stop()
        gateway = Gateway.before(served, watch=True, clock=anyio.current_time)
        async with Client(gateway.server) as client:
            assert [t.name for t in await client.list_tools()] == ["local"]
            assert served._tasks is not None
            await served.start(served._tasks)
            await until(lambda: len(gateway.provider.lists._known) == 4)
            await served.stop()
            assert await code_of(client, "echo", text="a") == "backend_unavailable"


async def test_an_upstream_is_seen_to_go_and_to_come_back_although_nobody_calls_it() -> None:
    timings = replace(
        PATIENT, list_ttl_s=0.0, poll_interval_s=0.01, first_backoff_s=0.01, longest_backoff_s=0.01
    )
    async with serving(Behind().build) as served:
        gateway = Gateway.before(served, watch=True, clock=anyio.current_time, timings=timings)
        async with Client(gateway.server):
            await until(lambda: gateway.provider.available is True)
            await served.stop()
            await until(lambda: gateway.provider.available is False)
            assert served._tasks is not None
            await served.start(served._tasks)
            await until(lambda: gateway.provider.available is True)


@ERAS
async def test_a_restart_between_two_calls_goes_unnoticed(mode: Any) -> None:
    behind = Behind()
    async with serving(behind.build) as served:
        front = Gateway.before(served).server
        async with Client(front, mode=mode) as client:
            assert (await client.call_tool("echo", {"text": "a"})).data == "a"
            await served.stop()
            assert served._tasks is not None
            await served.start(served._tasks)
            assert (await client.call_tool("echo", {"text": "b"})).data == "b"
    assert behind.calls == ["echo", "echo"]


async def test_an_upstream_that_never_answered_is_named_by_the_calls_of_its_tools() -> None:
    gateway = Gateway(remote("gone", "http://127.0.0.1:9/mcp", timings=PATIENT), namespace="gone")
    async with Client(gateway.server) as client:
        assert [t.name for t in await client.list_tools()] == ["local"]
        assert await code_of(client, "gone_echo") == "backend_unavailable"
        assert await code_of(client, "nothing") == "unknown_tool"


async def test_tools_that_are_known_beforehand_are_listed_although_the_upstream_never_answered() -> None:
    async def seed() -> list[mcp_types.Tool]:
        return [mcp_types.Tool(name="echo", input_schema={"type": "object"}, annotations=READ_ONLY)]

    gateway = Gateway(remote("gone", "http://127.0.0.1:9/mcp", timings=PATIENT), seed=seed)
    async with Client(gateway.server) as client:
        assert {t.name for t in await client.list_tools()} == {"echo", "local"}
        assert await code_of(client, "echo") == "backend_unavailable"


async def test_a_down_upstream_is_asked_for_its_lists_less_and_less_often() -> None:
    gateway = Gateway(remote("gone", "http://127.0.0.1:9/mcp", timings=PATIENT))
    asked: list[float] = []
    async with Client(gateway.server) as client:
        for _ in range(200):
            before = gateway.provider.lists._ask_again_at
            await client.list_tools()
            if gateway.provider.lists._ask_again_at != before:
                asked.append(gateway.clock.now)
            gateway.clock.now += 0.5
    assert asked[:5] == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert len(asked) <= 8


NOT_FOUND = refusing(404)


async def reset(_app: Any, _scope: Any, _receive: Any, send: Any) -> None:
    """Begin an answer and break off before its first event."""
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
    )
    raise ConnectionError("reset")


@ERAS
@pytest.mark.parametrize(
    ("fault", "code", "requests"),
    [
        pytest.param(refusing(503), "backend_unavailable", 3, id="503"),
        pytest.param(
            refusing(429, {"retry-after": "60"}), "backend_unavailable", 1, id="429, come back later"
        ),
        pytest.param(
            refusing(502, {"retry-after": "0"}), "backend_unavailable", 3, id="502, come back at once"
        ),
        pytest.param(refusing(500), "backend_refused", 1, id="500"),
        pytest.param(refusing(401), "backend_refused", 1, id="401"),
        pytest.param(NOT_FOUND, "backend_refused", 1, id="404"),
        pytest.param(refusing(302, {"location": "http://elsewhere/"}), "backend_refused", 1, id="a redirect"),
        pytest.param(refusing(200, {"content-type": "text/html"}), "backend_refused", 1, id="HTML"),
        pytest.param(refusing(200, {"content-type": "application/json"}), "backend_refused", 1, id="garbage"),
        pytest.param(reset, "backend_unavailable", 3, id="broken off"),
    ],
)
async def test_requests_upstream_under_each_fault(mode: Any, fault: Any, code: str, requests: int) -> None:
    async with serving(Behind().build()) as served:
        # before 2026-07-28, 404 says that the session is gone: a new one is asked for, once
        anew = int(mode == "legacy" and fault is NOT_FOUND)
        for tool, expected in (("echo", requests + anew), ("change", 1 + anew)):
            async with Client(Gateway.before(served).server, mode=mode) as client:
                await client.call_tool("echo", {"text": "a"})
                served.answer = fault
                before = served.requests
                assert await code_of(client, tool, text="a") == code
                assert served.requests - before == expected
                served.answer = None
                assert await code_of(client, "echo", text="a") == "ok"


async def test_a_call_that_has_told_its_client_something_is_not_sent_again() -> None:
    behind = Behind()
    build = behind.build

    def with_progress() -> FastMCP[Any]:
        server = build()

        @server.tool(annotations=READ_ONLY)
        async def begin(ctx: Context) -> str:
            behind.calls.append("begin")
            await ctx.report_progress(1, 2)
            await anyio.sleep_forever()
            raise AssertionError

        return server

    told = anyio.Event()

    async def on_progress(*_: Any) -> None:
        told.set()

    async with serving(with_progress) as served, Client(Gateway.before(served).server) as client:
        codes: list[str] = []

        async def call() -> None:
            result = await client.call_tool("begin", progress_handler=on_progress, raise_on_error=False)
            codes.append(error_of(result)["code"])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            with anyio.fail_after(60):
                await told.wait()
            await served.stop()
    assert codes == ["backend_unavailable"]
    assert behind.calls == ["begin"]


async def test_a_changed_list_is_passed_on_and_asked_for_again() -> None:
    server = Behind().build()

    @server.tool
    async def grow(ctx: Context) -> str:
        async def grown() -> str:
            return "new"

        server.tool(grown)
        await ctx.session.send_tool_list_changed()
        return "grown"

    told: list[str] = []

    async def on_message(message: Any) -> None:
        told.append(type(message).__name__)

    async with serving(server) as served:
        gateway = Gateway.before(served)
        async with Client(gateway.server, mode="legacy", message_handler=on_message) as client:
            assert "grown" not in {tool.name for tool in await client.list_tools()}
            await client.call_tool("grow")
            await until(lambda: "ToolListChangedNotification" in told)
            assert "grown" in {tool.name for tool in await client.list_tools()}


async def test_credentials_of_a_client_are_not_handed_on() -> None:
    async with serving(Behind().build()) as served:
        front = Gateway(remote("behind", served.url, token="upstream-token", timings=PATIENT)).server
        async with serving(front) as gateway, Client(gateway.url, auth="client-token") as client:
            await client.call_tool("echo", {"text": "a"})
            assert gateway.headers[-1]["authorization"] == "Bearer client-token"
        assert {h["authorization"] for h in served.headers} == {"Bearer upstream-token"}


async def never(*_: Any) -> None:
    await anyio.sleep_forever()


async def test_an_upstream_that_hangs_does_not_hold_up_what_is_not_its_own() -> None:
    timings = replace(PATIENT, stale_list_wait_s=0.01, list_timeout_s=3600.0)
    async with serving(Behind().build()) as served:
        gateway = Gateway.before(served, timings=timings)
        async with Client(gateway.server) as client:
            tools = {tool.name for tool in await client.list_tools()}
            served.answer = never
            gateway.clock.now += 60
            with anyio.fail_after(60):
                assert (await client.call_tool("local")).data == "here"
                assert {tool.name for tool in await client.list_tools()} == tools
                assert await code_of(client, "nothing") == "unknown_tool"


async def test_an_upstream_that_hung_from_the_start_is_waited_for_once() -> None:
    async with serving(Behind().build()) as served:
        served.answer = never
        gateway = Gateway.before(served, timings=replace(PATIENT, list_timeout_s=0.5))

        async def one() -> None:
            async with Client(gateway.server) as client:
                assert [tool.name for tool in await client.list_tools()] == ["local"]

        with anyio.fail_after(300):
            async with anyio.create_task_group() as tasks:
                for _ in range(12):
                    tasks.start_soon(one)
        assert served.requests == 1


def saying(result: Any) -> Callable[..., Any]:
    """Answer every request with this result."""

    async def answer(_app: Any, _scope: Any, _receive: Any, send: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": body})

    return answer


async def test_nonsense_of_an_upstream_ends_its_own_calls_only() -> None:
    async with serving(Behind().build()) as served:
        gateway = Gateway.before(served)
        async with Client(gateway.server) as client:
            tools = {tool.name for tool in await client.list_tools()}
            for nonsense in ({"tools": "none"}, {"content": 7}, {}):
                served.answer = saying(nonsense)
                gateway.clock.now += 60
                assert {tool.name for tool in await client.list_tools()} == tools
                assert await code_of(client, "change", text="a") == "backend_refused"
                assert await code_of(client, "local") == "ok"


async def test_an_answer_without_end_is_not_kept_in_memory() -> None:
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving(Behind().build()))
        transport = PooledHttpTransport(StreamableHttpTransport(served.url), max_answer_bytes=100_000)
        gateway = Gateway(Upstream("behind", transport, timings=PATIENT))
        client = await stack.enter_async_context(Client(gateway.server))
        assert await code_of(client, "echo", text="a") == "ok"
        served.answer = saying({"content": [{"type": "text", "text": "x" * 200_000}]})
        before = served.requests
        assert await code_of(client, "echo", text="a") == "backend_refused"
        assert served.requests == before + 1


def config(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_servers_come_from_an_mcp_servers_file(tmp_path: Path) -> None:
    servers = {"wiki": {"url": "http://w/mcp", "headers": {"x-key": "k"}}, "git": {"command": "git-mcp"}}
    loaded = load_servers(config(tmp_path / "mcp.json", {"mcpServers": servers}))
    assert [server.namespace for server in loaded] == ["wiki", "git"]
    assert not any(server.upstream.ours for server in loaded)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        {"mcpServers": {}},
        {"mcpServers": {"a b": {"url": "http://x"}}},
        {"mcpServers": {"a": {}}},
        pytest.param({"mcpServers": {"search": {"url": "http://x"}}}, id="search_documents is ours"),
        pytest.param(
            {"mcpServers": {"a": {"url": "http://x"}, "a_b": {"url": "http://y"}}}, id="a_b_c is of a or a_b"
        ),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path, content: Any) -> None:
    path = config(tmp_path / "mcp.json", content)
    with pytest.raises(ConfigurationError, match="RESEARCH_MCP_CONFIG"):
        load_servers(path)


async def test_the_names_that_no_other_server_may_begin_are_those_of_the_gateways_tools(
    tmp_path: Path,
) -> None:
    (tmp_path / "research").mkdir()
    gateway = build_gateway(
        Settings(roots=(Root("research", tmp_path / "research"),), audit_log=tmp_path / "audit.jsonl")
    )
    assert {tool.name for tool in await gateway.list_tools(run_middleware=False)} == set(OWN_TOOLS)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="RESEARCH_MCP_CONFIG"):
        load_servers(tmp_path / "none.json")
