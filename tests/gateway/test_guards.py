"""Limits: what is refused, what is not, and how the refusal reads."""

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.server.middleware import Middleware
from fastmcp.tools import ToolResult
from fastmcp.utilities.types import Image
from mcp import MCPError
from mcp_types import CallToolRequestParams, EmbeddedResource, TextResourceContents

from research_gateway.guards import ConcurrencyLimit, RateLimit, SizeLimit, TimeLimit
from research_gateway.guards.clients import client_key
from research_gateway.guards.size import json_size
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.serving.auth import SharedTokens
from research_shared.serving.drain import Drain
from research_shared.tools.activity import observed, waiting
from support.results import error_of
from support.serving import serving


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Stage:
    """A server whose tool waits until it is let go."""

    def __init__(self, *middleware: Middleware) -> None:
        self.started = 0
        self.cancelled = 0
        self.release = anyio.Event()
        self.server: FastMCP[Any] = FastMCP("stage", middleware=[ErrorBoundary(), *middleware])
        self.server.tool(self.wait, name="wait")
        self.server.tool(self.work, name="work")
        self.server.tool(self.echo, name="echo")
        self.server.resource("text://long")(self.long)
        self.server.prompt(self.brief, name="brief")

    async def wait(self) -> str:
        self.started += 1
        try:
            await self.release.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        return "done"

    async def work(self, ctx: Context, steps: int, pause: float) -> str:
        for step in range(steps):
            await anyio.sleep(pause)
            await ctx.report_progress(step + 1, steps)
        return "worked"

    async def echo(self, text: str) -> str:
        return text

    async def long(self) -> str:
        return "x" * 5_000

    async def brief(self, text: str) -> str:
        return text

    async def begun(self, count: int) -> None:
        with anyio.fail_after(60):
            while self.started < count:
                await anyio.lowlevel.checkpoint()


async def code_of(client: Client[Any], tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments, raise_on_error=False)
    if not result.is_error:
        return "ok"
    code: str = error_of(result)["code"]
    return code


@pytest.mark.parametrize(("per_client", "total"), [(2, 10), (10, 2)])
async def test_a_call_beyond_the_concurrency_limit_is_refused_and_room_is_given_back(
    per_client: int, total: int
) -> None:
    limit = ConcurrencyLimit(per_client=per_client, total=total)
    stage = Stage(limit)
    async with Client(stage.server) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(code_of, client, "wait")
        tasks.start_soon(code_of, client, "wait")
        await stage.begun(2)
        assert limit.in_flight == 2
        refused = await client.call_tool("echo", {"text": "a"}, raise_on_error=False)
        error = error_of(refused)
        assert error["code"] == "overloaded"
        assert error["retryable"] is True
        assert error["retry_after_s"] > 0
        assert await client.list_tools()
        stage.release.set()
    async with Client(stage.server) as client:
        assert await code_of(client, "echo", text="a") == "ok"
    assert limit.in_flight == 0


async def test_a_refused_reading_is_a_protocol_error_with_the_same_structure_and_listings_pass() -> None:
    async with Client(Stage(ConcurrencyLimit(per_client=0, total=1)).server) as client:
        assert await client.list_tools()
        with pytest.raises(MCPError) as refusal:
            await client.read_resource("text://long")
    assert refusal.value.error.data["error"]["code"] == "overloaded"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_asks_too_often_is_told_when_the_next_call_fits(mode: Any) -> None:
    clock = Clock()
    stage = Stage(RateLimit(per_second=2.0, burst=3, clock=clock))
    async with Client(stage.server, mode=mode) as client:
        assert [await code_of(client, "echo", text="a") for _ in range(4)] == ["ok", "ok", "ok", "overloaded"]
        refused = await client.call_tool("echo", {"text": "a"}, raise_on_error=False)
        assert error_of(refused)["retry_after_s"] == 0.5
        clock.now += 0.5
        assert [await code_of(client, "echo", text="a") for _ in range(2)] == ["ok", "overloaded"]


async def test_sessions_of_the_handshake_era_have_a_bucket_each() -> None:
    stage = Stage(RateLimit(per_second=1.0, burst=1, clock=Clock()))
    for _ in range(2):
        async with Client(stage.server, mode="legacy") as client:
            assert [await code_of(client, "echo", text="a") for _ in range(2)] == ["ok", "overloaded"]


async def test_only_so_many_clients_are_remembered() -> None:
    limit = RateLimit(per_second=1.0, burst=1, max_clients=2, clock=Clock())
    stage = Stage(limit)
    for _ in range(3):
        async with Client(stage.server, mode="legacy") as client:
            await code_of(client, "echo", text="a")
    assert len(limit._buckets) == 2


async def test_arguments_and_answers_that_are_too_large_are_refused() -> None:
    stage = Stage(SizeLimit(request_bytes=1_000, response_bytes=600))
    async with Client(stage.server) as client:
        assert await code_of(client, "echo", text="a" * 200) == "ok"
        assert await code_of(client, "echo", text="a" * 1_000) == "request_too_large"
        assert await code_of(client, "echo", text="é" * 400) == "response_too_large"
        with pytest.raises(MCPError) as refusal:
            await client.read_resource("text://long")
        assert refusal.value.error.data["error"]["code"] == "response_too_large"
        assert (await client.get_prompt("brief", {"text": "short"})).messages
        with pytest.raises(MCPError) as refusal:
            await client.get_prompt("brief", {"text": "x" * 700})
        assert refusal.value.error.data["error"]["code"] == "response_too_large"


async def test_a_request_for_a_prompt_or_a_resource_that_is_too_large_is_not_passed_on() -> None:
    stage = Stage(SizeLimit(request_bytes=1_000, response_bytes=100_000))
    async with Client(stage.server) as client:
        assert await client.read_resource("text://long")
        for refused in (
            client.get_prompt("brief", {"text": "x" * 2_000}),
            client.read_resource("text://" + "long" * 500),
        ):
            with pytest.raises(MCPError) as refusal:
                await refused
            assert refusal.value.error.data["error"]["code"] == "request_too_large"


async def wait(client: Client[Any], ended: list[str]) -> None:
    """Call the tool that waits to be released, and note how that ended."""
    ended.append(await code_of(client, "wait"))


async def test_a_tool_that_shows_no_progress_is_cut_off_and_cancelled(
    pass_time: Callable[[float], None],
) -> None:
    stage = Stage(TimeLimit(default_s=3600, ceiling_s=3600, limits={"wait": 60}))
    ended: list[str] = []
    async with Client(stage.server) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(wait, client, ended)
        await stage.begun(1)
        pass_time(60)
    assert ended == ["deadline_exceeded"]
    assert stage.cancelled == 1


@pytest.mark.parametrize("asks_for_progress", [True, False])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_progress_gives_a_tool_its_time_again_also_when_it_is_mounted(
    mode: Any, asks_for_progress: bool, pass_time: Callable[[float], None]
) -> None:
    stage = Stage()

    @stage.server.tool
    async def last(ctx: Context) -> str:
        for step in range(5):
            pass_time(40)
            await ctx.report_progress(step + 1, 5)
            await anyio.lowlevel.checkpoint()
        return "worked"

    limit = TimeLimit(default_s=60, ceiling_s=3600)
    host: FastMCP[Any] = FastMCP("host", middleware=[ErrorBoundary(), limit])
    host.mount(stage.server)
    told: list[float] = []

    async def on_progress(progress: float, _total: float | None, _message: str | None) -> None:
        told.append(progress)

    async with Client(host, mode=mode) as client:
        result = await client.call_tool("last", progress_handler=on_progress if asks_for_progress else None)
    assert result.data == "worked"
    if asks_for_progress:
        assert told == [1, 2, 3, 4, 5]


async def test_progress_cannot_extend_a_call_beyond_the_ceiling() -> None:
    stage = Stage(TimeLimit(default_s=0.2, ceiling_s=0.25))
    async with Client(stage.server) as client:
        assert await code_of(client, "work", steps=50, pause=0.02) == "deadline_exceeded"


async def test_draining_finishes_what_is_in_flight_and_refuses_what_is_new() -> None:
    drain = Drain()
    stage = Stage(drain)
    ended: list[str] = []
    async with Client(stage.server) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(wait, client, ended)
        await stage.begun(1)
        drain.begin()
        assert drain.in_flight == 1
        assert await code_of(client, "echo", text="a") == "shutting_down"
        assert await drain.idle(0.01) is False
        stage.release.set()
        assert await drain.idle(5) is True
    assert ended == ["ok"]


async def test_a_server_without_work_is_idle_as_soon_as_it_drains() -> None:
    drain = Drain()
    drain.begin()
    assert await drain.idle(0) is True


async def test_limits_also_hold_for_calls_from_within_the_process() -> None:
    stage = Stage(
        ConcurrencyLimit(per_client=2, total=2),
        RateLimit(per_second=1.0, burst=2, clock=Clock()),
        SizeLimit(request_bytes=1_000, response_bytes=1_000),
        TimeLimit(default_s=60, ceiling_s=60, limits={"wait": 0.05}),
    )
    assert (await stage.server.call_tool("echo", {"text": "a"})).structured_content == {"result": "a"}
    late = await stage.server.call_tool("wait", {})
    often = await stage.server.call_tool("echo", {"text": "a"})
    codes = [error_of(result)["code"] for result in (late, often)]
    assert codes == ["deadline_exceeded", "overloaded"]


async def test_pictures_and_embedded_resources_count_towards_the_size_of_an_answer() -> None:
    stage = Stage(SizeLimit(request_bytes=1_000, response_bytes=600))

    @stage.server.tool
    async def picture(size: int) -> Image:
        return Image(data=b"x" * size, format="png")

    @stage.server.tool
    async def embedded(size: int) -> list[EmbeddedResource]:
        text = TextResourceContents(uri="text://a", text="x" * size)
        return [EmbeddedResource(type="resource", resource=text)]

    async with Client(stage.server) as client:
        for tool in ("picture", "embedded"):
            assert await code_of(client, tool, size=100) == "ok"
            assert await code_of(client, tool, size=600) == "response_too_large"


async def test_what_a_result_says_in_meta_counts_towards_the_size_of_an_answer() -> None:
    stage = Stage(SizeLimit(request_bytes=1_000, response_bytes=600))

    @stage.server.tool
    async def annotated(size: int) -> ToolResult:
        return ToolResult(content="no", meta={"example.org/note": "x" * size}, is_error=size > 600)

    async with Client(stage.server) as client:
        assert await code_of(client, "annotated", size=100) == "ok"
        for size in (599, 1_000):
            assert await code_of(client, "annotated", size=size) == "response_too_large"


async def test_clients_that_authenticate_are_told_apart_by_their_token() -> None:
    tokens = ("first-token-of-length", "second-token-of-length")
    stage = Stage(RateLimit(per_second=1.0, burst=1, clock=Clock()))
    stage.server.auth = SharedTokens(tokens)
    async with serving(stage.server) as served:
        for token in tokens:
            async with Client(served.url, auth=token) as client:
                assert [await code_of(client, "echo", text="a") for _ in range(2)] == ["ok", "overloaded"]


class Impatient(Middleware):
    async def on_call_tool(self, context: Any, call_next: Any) -> Any:
        raise TimeoutError("its own")


async def test_a_time_limit_of_the_tools_own_is_not_taken_for_ours() -> None:
    stage = Stage(TimeLimit(default_s=60, ceiling_s=60), Impatient())
    assert error_of(await stage.server.call_tool("echo", {"text": "a"}))["code"] == "internal_error"
    stage = Stage(TimeLimit(default_s=60, ceiling_s=60))

    @stage.server.tool
    async def give_up() -> str:
        raise TimeoutError("its own")

    assert error_of(await stage.server.call_tool("give_up", {}))["code"] == "internal_error"


async def bytes_of(client: Client[Any], tool: str, **arguments: Any) -> int:
    """How large the refusal says that the call or its answer is."""
    told = re.search(
        r"([0-9]+) bytes", error_of(await client.call_tool(tool, arguments, raise_on_error=False))["message"]
    )
    assert told is not None
    return int(told[1])


async def test_what_is_exactly_as_large_as_allowed_passes() -> None:
    limit = SizeLimit(request_bytes=10_000, response_bytes=1)
    stage = Stage(limit)
    async with Client(stage.server) as client:
        size = await bytes_of(client, "echo", text="é" * 100)
        assert size > 400  # as text and once more as structured content
        limit.response_bytes = size
        assert await code_of(client, "echo", text="é" * 100) == "ok"
        assert await code_of(client, "echo", text="é" * 100 + "a") == "response_too_large"
        limit.response_bytes, limit.request_bytes = 10_000, 1
        limit.request_bytes = await bytes_of(client, "echo", text="a")
        assert await code_of(client, "echo", text="a") == "ok"
        assert await code_of(client, "echo", text="ab") == "request_too_large"
        limit.response_bytes, limit.request_bytes = 5_000, 10_000
        assert (await client.read_resource("text://long"))[0].text == "x" * 5_000
        assert (await client.get_prompt("brief", {"text": "é" * 2_500})).messages
        with pytest.raises(MCPError):
            await client.get_prompt("brief", {"text": "é" * 2_500 + "a"})
        limit.response_bytes = 4_999
        with pytest.raises(MCPError):
            await client.read_resource("text://long")


async def test_the_client_that_was_silent_longest_is_the_one_that_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking = iter(["a", "b", "a", "c", "a", "b"])
    monkeypatch.setattr("research_gateway.guards.rate.client_key", lambda _context: next(asking))
    stage = Stage(RateLimit(per_second=3.0, burst=1, max_clients=2, clock=Clock()))
    ends = []
    async with Client(stage.server) as client:
        for _ in range(6):
            result = await client.call_tool("echo", {"text": "a"}, raise_on_error=False)
            ends.append(error_of(result)["retry_after_s"] if result.is_error else None)
    assert ends == [None, None, 0.333, None, 0.333, None]


async def test_listings_take_nothing_from_what_a_client_may_ask() -> None:
    stage = Stage(RateLimit(per_second=1.0, burst=1, clock=Clock()))
    async with Client(stage.server) as client:
        for _ in range(3):
            assert await client.list_prompts()
        assert [await code_of(client, "echo", text="a") for _ in range(2)] == ["ok", "overloaded"]


async def test_whom_a_request_counts_against() -> None:
    keys: list[str] = []

    class Keys(Middleware):
        async def on_call_tool(self, context: Any, call_next: Any) -> Any:
            keys.append(client_key(context))
            return await call_next(context)

    stage = Stage(Keys())
    await stage.server.call_tool("echo", {"text": "a"})
    modes: tuple[Any, ...] = ("auto", "legacy")
    for mode in modes:
        async with Client(stage.server, mode=mode) as client:
            await code_of(client, "echo", text="a")
    async with serving(stage.server) as served:
        for mode in modes:
            async with Client(served.url, mode=mode) as client:
                await code_of(client, "echo", text="a")
    stage.server.auth = SharedTokens(["first-token-of-length"])
    async with serving(stage.server) as served, Client(served.url, auth="first-token-of-length") as client:
        await code_of(client, "echo", text="a")
    assert [key.partition(":")[0] for key in keys] == [
        "local",
        "local",
        "session",
        "address",
        "session",
        "principal",
    ]
    assert keys[3] == "address:127.0.0.1"
    assert keys[2] != keys[4]


async def test_nothing_is_kept_of_a_client_whose_requests_have_ended() -> None:
    limit = ConcurrencyLimit(per_client=2, total=2)
    async with Client(Stage(limit).server, mode="legacy") as client:
        assert await code_of(client, "echo", text="a") == "ok"
    assert [dict(held) for held in vars(limit).values() if isinstance(held, Counter)] == [{}]


async def test_a_picture_counts_as_the_text_in_which_it_is_sent() -> None:
    limit = SizeLimit(request_bytes=1_000, response_bytes=136)
    stage = Stage(limit)

    @stage.server.tool
    async def picture() -> Image:
        return Image(data=b"x" * 100, format="png")

    async with Client(stage.server) as client:
        assert await code_of(client, "picture") == "ok"
        limit.response_bytes = 135
        assert await code_of(client, "picture") == "response_too_large"


@pytest.mark.parametrize(("per_client", "total", "whose"), [(1, 10, "this client"), (10, 1, "the server")])
async def test_a_refusal_says_whose_limit_is_reached(per_client: int, total: int, whose: str) -> None:
    stage = Stage(ConcurrencyLimit(per_client=per_client, total=total))
    async with Client(stage.server) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(code_of, client, "wait")
        await stage.begun(1)
        refused = await client.call_tool("echo", {"text": "a"}, raise_on_error=False)
        stage.release.set()
    assert error_of(refused)["message"].startswith(whose)


def test_the_size_of_what_has_no_utf8_form_is_still_measured() -> None:
    message = CallToolRequestParams(name="t", arguments={"\ud800": {"\udfff": [1, "x" * 100]}})
    assert 100 < json_size(message) < 300
    assert json_size({(1, 2): "a", "b": "\ud800" * 9}) == len('{"b": ""}') + 9 * len("\\ud800")


async def test_a_resource_counts_in_bytes_whether_it_is_text_or_not() -> None:
    limit = SizeLimit(request_bytes=1_000, response_bytes=200)
    stage = Stage(limit)

    @stage.server.resource("text://accents")
    async def accents() -> str:
        return "\u00e9" * 100

    @stage.server.resource("data://bytes")
    async def raw() -> bytes:
        return b"x" * 200

    async with Client(stage.server) as client:
        for uri in ("text://accents", "data://bytes"):
            limit.response_bytes = 200
            assert await client.read_resource(uri)
            limit.response_bytes = 199
            with pytest.raises(MCPError):
                await client.read_resource(uri)


async def test_a_bucket_holds_no_more_than_a_burst_after_a_long_silence() -> None:
    clock = Clock()
    stage = Stage(RateLimit(per_second=2.0, burst=2, clock=clock))
    async with Client(stage.server) as client:
        for _ in range(2):
            assert [await code_of(client, "echo", text="a") for _ in range(3)] == ["ok", "ok", "overloaded"]
            clock.now += 1_000


async def test_time_in_a_queue_counts_neither_against_the_limit_nor_against_the_ceiling(
    pass_time: Callable[[float], None],
) -> None:
    stage = Stage(TimeLimit(default_s=60, ceiling_s=100))

    @stage.server.tool
    async def queue(ctx: Context, seconds: float) -> str:
        with waiting("a place", limit_s=math.inf):
            pass_time(1_000)
            await anyio.lowlevel.checkpoint()
        for _ in range(2):
            pass_time(seconds)
            await anyio.lowlevel.checkpoint()
            await ctx.report_progress(1, 2)
            await anyio.lowlevel.checkpoint()
        return "worked"

    async with Client(stage.server) as client:
        assert await code_of(client, "queue", seconds=45) == "ok"
        assert await code_of(client, "queue", seconds=55) == "deadline_exceeded"


async def test_what_goes_on_after_the_call_is_no_matter_of_its_limit() -> None:
    class Lasting(Middleware):
        async def on_call_tool(self, context: Any, call_next: Any) -> Any:
            with observed(context):
                result = await call_next(context)
                with waiting("the disk", limit_s=60):
                    return result

    async with Client(Stage(Lasting(), TimeLimit(default_s=60, ceiling_s=100)).server) as client:
        assert await code_of(client, "echo", text="a") == "ok"
