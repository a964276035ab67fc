"""What a client hears of a call that waits, and what keeps such a call alive."""

import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.server.middleware import Middleware
from fastmcp.tools.base import ToolResult

from research_gateway.guards import TimeLimit
from research_gateway.upstreams import UpstreamProvider, remote
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.middleware.heartbeat import Heartbeat
from research_shared.serving.sealing import STATE_TTL_S
from research_shared.serving.transports.keep_alive import EVERY_S
from research_shared.settings import Settings
from research_shared.tools.activity import activity_of, observed, waiting
from research_shared.tools.progress import Progress
from support.serving import serving, until
from support.upstreams import code_of

Report = tuple[float, float | None, str | None]
QUICK = Heartbeat(after_s=0.01, every_s=0.01, relayed_s=0.0)
SECONDS = re.compile(r" \((\d+) s\)$")
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


class Heard:
    """What a client was told, in order; what waits for a report can be let go by it."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.working = anyio.Event()
        """Set when a tool has begun."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.reports.append((progress, total, message))

    @property
    def values(self) -> list[float]:
        return [value for value, _, _ in self.reports]

    @property
    def messages(self) -> list[str]:
        """The messages without the seconds."""
        return [SECONDS.sub("", message or "") for _, _, message in self.reports]

    @property
    def seconds(self) -> list[int]:
        """How long something had been waited for, by each message that says so."""
        return [int(match[1]) for *_, message in self.reports if (match := SECONDS.search(message or ""))]

    async def beats(self, count: int, begin: str = "") -> None:
        """Wait until so many reports are in whose message begins like this."""
        await until(lambda: sum(message.startswith(begin) for message in self.messages) >= count)

    def rise(self) -> bool:
        return all(a < b for a, b in pairwise(self.values))


def working(heard: Heard, *middleware: Middleware) -> FastMCP[Any]:
    """A server whose tools go on when their client has heard enough, or never."""
    server: FastMCP[Any] = FastMCP("working", middleware=[ErrorBoundary(), *middleware])

    @server.tool
    async def three_steps(ctx: Context, said: str = "") -> str:
        progress = Progress(ctx, 3)
        for step in (1, 2, 3):
            with waiting(f"step {step}"):
                await heard.beats(2 * step if said else 2, said or f"waiting for step {step}")
            await progress.to(step, f"done {step}")
        return "worked"

    @server.tool
    async def parts(ctx: Context) -> str:
        progress = Progress(ctx, 1)
        for part in range(1, 4):
            await heard.beats(3 * part, "waiting for parts")
            # less than the heartbeats have told meanwhile
            await progress.to(part / 10_000, f"part {part}")
        await progress.to(1, "done")
        return "worked"

    @server.tool
    async def silent() -> str:
        heard.working.set()
        await heard.beats(3)
        return "worked"

    @server.tool
    async def many() -> str:
        with waiting("the first"), waiting("the second"), waiting("a\u202ethird\n"):
            await heard.beats(1)
        return "worked"

    @server.tool
    async def hang() -> str:
        heard.working.set()
        await anyio.sleep_forever()
        return "late"

    return server


@MODES
async def test_heartbeats_rise_below_the_next_whole_step_and_say_what_is_waited_for(mode: Any) -> None:
    heard = Heard()
    async with Client(working(heard, QUICK), mode=mode, progress_handler=heard) as client:
        assert (await client.call_tool("three_steps")).data == "worked"
    assert heard.rise()
    steps = [report for report in heard.reports if (report[2] or "").startswith("done")]
    assert steps == [(1, 3, "done 1"), (2, 3, "done 2"), (3, 3, "done 3")]
    assert heard.messages[-1] == "done 3"
    for step in (1, 2, 3):
        told = [
            report
            for report in heard.reports
            if SECONDS.sub("", report[2] or "") == f"waiting for step {step}"
        ]
        assert len(told) >= 2
        assert all(step - 1 < value < step and total == 3 for value, total, _ in told)


async def test_a_report_below_the_last_heartbeat_is_told_above_it() -> None:
    heard = Heard()
    async with Client(working(heard, QUICK), progress_handler=heard) as client:
        await client.call_tool("parts")
    assert heard.rise()
    assert [message for message in heard.messages if message.startswith("part")] == [
        "part 1",
        "part 2",
        "part 3",
    ]
    assert heard.reports[-1] == (1, 1, "done")


async def test_a_tool_that_says_nothing_is_waited_for_by_name() -> None:
    heard = Heard()
    async with Client(working(heard, QUICK), progress_handler=heard) as client:
        await client.call_tool("silent")
    assert heard.rise()
    assert set(heard.messages) == {"waiting for silent"}
    assert all(0 < value < 1 for value in heard.values)


async def test_of_several_the_first_is_named_and_nothing_that_does_not_print() -> None:
    heard = Heard()
    async with Client(working(heard, QUICK), progress_handler=heard) as client:
        await client.call_tool("many")
    assert heard.messages[0] == "waiting for the first and 2 more"
    again = Heard()
    server = working(again, QUICK)

    @server.tool
    async def named() -> str:
        with waiting("a\u202eb\nc" + "d" * 500):
            await again.beats(1)
        return "worked"

    async with Client(server, progress_handler=again) as client:
        await client.call_tool("named")
    assert again.messages[0] == f"waiting for a b c{'d' * 195}"


async def test_the_first_heartbeat_comes_within_five_seconds_and_the_next_within_ten(
    pass_time: Callable[[float], None],
) -> None:
    heard = Heard()
    async with (
        Client(working(heard, Heartbeat()), progress_handler=heard) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.call_tool, "silent")
        await anyio.wait_all_tasks_blocked()
        pass_time(5)
        await heard.beats(1)
        pass_time(10)
        await heard.beats(2)
        pass_time(10)
    assert heard.messages == ["waiting for silent"] * 3
    assert all(a <= b < a + 5 for a, b in zip((5, 15, 25), heard.seconds, strict=True))


async def test_a_client_that_asks_for_no_progress_is_told_nothing() -> None:
    heard = Heard()
    server = working(heard, QUICK)

    @server.tool
    async def beaten(ctx: Context) -> bool:
        activity = activity_of(ctx)
        return activity is not None and activity.beating

    async with Client(server, progress_handler=heard) as client:
        silent = await client.session.call_tool("beaten", {})
        asking = await client.call_tool("beaten")
    assert (silent.structured_content, asking.data) == ({"result": False}, True)
    assert heard.reports == []


async def test_a_heartbeat_that_cannot_be_sent_fails_no_call() -> None:
    heard = Heard()
    tried = 0

    async def broken(_progress: float, _total: float | None, _message: str | None) -> None:
        nonlocal tried
        tried += 1
        raise (anyio.ClosedResourceError if tried == 1 else RuntimeError)

    class Breaking(Middleware):
        async def on_call_tool(self, context: Any, call_next: Any) -> Any:
            with observed(context) as activity:
                activity.send = broken
                return await call_next(context)

    server = working(heard, Breaking(), QUICK)

    @server.tool
    async def patient() -> str:
        await until(lambda: tried >= 2)
        return "worked"

    async with Client(server, progress_handler=heard) as client:
        assert (await client.call_tool("patient")).data == "worked"


def mounted(server: FastMCP[Any], *middleware: Middleware) -> FastMCP[Any]:
    host: FastMCP[Any] = FastMCP("host", middleware=[ErrorBoundary(), *middleware])
    host.mount(server)
    return host


@MODES
async def test_a_mounted_server_beats_in_a_host_that_does_not(mode: Any) -> None:
    heard = Heard()
    host = mounted(working(heard, QUICK), TimeLimit(default_s=60, ceiling_s=60))
    async with Client(host, mode=mode, progress_handler=heard) as client:
        assert (await client.call_tool("three_steps")).data == "worked"
    assert heard.rise()
    assert "waiting for step 1" in heard.messages


@MODES
async def test_of_two_heartbeats_in_one_process_the_outer_one_beats(
    mode: Any, pass_time: Callable[[float], None]
) -> None:
    heard = Heard()
    host = mounted(working(heard, Heartbeat(after_s=1)), Heartbeat(after_s=2))
    async with Client(host, mode=mode, progress_handler=heard) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "many")
        await anyio.wait_all_tasks_blocked()
        pass_time(2)
    assert heard.messages == ["waiting for the first and 2 more"]


@asynccontextmanager
async def relaying(upstream: FastMCP[Any], *middleware: Middleware) -> AsyncIterator[FastMCP[Any]]:
    """A gateway in front of a server that is reached over HTTP."""
    async with serving(upstream) as served:
        gateway: FastMCP[Any] = FastMCP("gateway", middleware=[ErrorBoundary(), *middleware])
        gateway.add_provider(UpstreamProvider(remote("behind", served.url), watch=False))
        yield gateway


@MODES
async def test_a_relayed_call_beats_although_its_upstream_is_silent(mode: Any) -> None:
    heard = Heard()
    async with (
        relaying(working(heard), QUICK) as gateway,
        Client(gateway, mode=mode, progress_handler=heard) as client,
    ):
        arguments = {"said": "waiting for the server behind"}
        assert (await client.call_tool("three_steps", arguments)).data == "worked"
    assert heard.rise()
    # Before the call is sent upstream, the gateway has to know the tool.
    beats = {message for message in heard.messages if not message.startswith("done")}
    assert (
        {"waiting for the server behind"}
        <= beats
        <= {"waiting for the server behind", "waiting for three_steps"}
    )
    assert [r for r in heard.reports if (r[2] or "").startswith("done")] == [
        (1, 3, "done 1"),
        (2, 3, "done 2"),
        (3, 3, "done 3"),
    ]


@MODES
async def test_a_relayed_call_whose_upstream_beats_is_not_told_twice(
    mode: Any, pass_time: Callable[[float], None]
) -> None:
    heard = Heard()
    async with (
        relaying(working(heard, Heartbeat()), Heartbeat()) as gateway,
        Client(gateway, mode=mode, progress_handler=heard) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.call_tool, "silent")
        await heard.working.wait()
        for count in (1, 2, 3):
            pass_time(4 if count == 1 else 8)
            await heard.beats(count)
    assert heard.rise()
    assert all(message == "waiting for silent" for message in heard.messages)
    assert len(heard.reports) == 3


async def ended(client: Client[Any], tool: str, codes: list[str]) -> None:
    codes.append(await code_of(client, tool))


@MODES
async def test_heartbeats_keep_no_tool_alive_that_merely_hangs(
    mode: Any, pass_time: Callable[[float], None]
) -> None:
    heard, codes = Heard(), list[str]()
    server = working(heard, Heartbeat(), TimeLimit(default_s=60, ceiling_s=3600))
    async with (
        Client(server, mode=mode, progress_handler=heard) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(ended, client, "hang", codes)
        await anyio.wait_all_tasks_blocked()
        for count in range(1, 6):
            pass_time(10)
            await heard.beats(count)
        assert codes == []
        pass_time(10)
    assert codes == ["deadline_exceeded"]


async def test_what_is_waited_for_with_a_limit_of_its_own_keeps_a_call_alive_until_then(
    pass_time: Callable[[float], None],
) -> None:
    heard, codes = Heard(), list[str]()
    server = working(heard, Heartbeat(patience_s=60), TimeLimit(default_s=60, ceiling_s=3600))
    answered, answers = anyio.Event(), list[float]()

    @server.tool
    async def think(_ctx: Context) -> str:
        with waiting("the model", limit_s=600):
            await answered.wait()
        answers.append(1)
        await anyio.sleep_forever()
        return "late"

    async with Client(server, progress_handler=heard) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(ended, client, "think", codes)
        await anyio.wait_all_tasks_blocked()
        for count in range(1, 13):
            pass_time(50)
            await heard.beats(count)
        assert codes == []
        assert heard.messages[-1] == "waiting for the model"
        answered.set()
        await until(lambda: bool(answers))
        pass_time(50)
        await heard.beats(13)
        assert heard.messages[-1] == "waiting for think"
        assert codes == []
        pass_time(10)
    assert codes == ["deadline_exceeded"]


@pytest.mark.parametrize(("ceiling_s", "ends_s"), [(3600, 160), (100, 100)])
async def test_a_wait_ends_by_its_own_limit_and_the_calls_or_by_the_ceiling(
    ceiling_s: float, ends_s: float, pass_time: Callable[[float], None]
) -> None:
    codes = list[str]()
    server = working(Heard(), TimeLimit(default_s=60, ceiling_s=ceiling_s))

    @server.tool
    async def stuck() -> str:
        with waiting("the model", limit_s=100):
            await anyio.sleep_forever()
        return "late"

    async with Client(server) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(ended, client, "stuck", codes)
        await anyio.wait_all_tasks_blocked()
        pass_time(ends_s - 10)
        await anyio.wait_all_tasks_blocked()
        assert codes == []
        pass_time(10)
    assert codes == ["deadline_exceeded"]


@MODES
async def test_an_upstream_that_hangs_falls_silent_and_is_ended_by_the_gateway(
    mode: Any, pass_time: Callable[[float], None]
) -> None:
    heard, codes = Heard(), list[str]()
    async with (
        relaying(
            working(heard, Heartbeat(patience_s=30)),
            Heartbeat(patience_s=40),
            TimeLimit(default_s=40, ceiling_s=3600),
        ) as gateway,
        Client(gateway, mode=mode, progress_handler=heard) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(ended, client, "hang", codes)
        await heard.working.wait()
        while not codes:
            pass_time(4)
            await anyio.sleep(0.01)
    assert codes == ["deadline_exceeded"]
    assert heard.rise()
    own = [message for message in heard.messages if message == "waiting for hang"]
    assert 2 <= len(own) <= 5


async def test_a_place_in_a_queue_counts_against_no_limit_of_the_call(
    pass_time: Callable[[float], None],
) -> None:
    heard, codes = Heard(), list[str]()
    server = working(heard, Heartbeat(patience_s=60), TimeLimit(default_s=60, ceiling_s=300))
    served = anyio.Event()

    @server.tool
    async def queue() -> str:
        with waiting("a slot", limit_s=math.inf):
            await served.wait()
        heard.working.set()
        with waiting("the model", limit_s=1_000):
            await anyio.sleep_forever()
        return "late"

    async with Client(server, progress_handler=heard) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(ended, client, "queue", codes)
        await anyio.wait_all_tasks_blocked()
        for count in range(1, 5):
            pass_time(1_000)
            await heard.beats(count)
        assert heard.messages[-1].startswith("waiting for a slot")
        served.set()
        await heard.working.wait()
        pass_time(250)
        await anyio.wait_all_tasks_blocked()
        assert codes == []
        pass_time(60)
    assert codes == ["deadline_exceeded"]


async def test_a_call_from_within_the_process_has_the_same_limits(pass_time: Callable[[float], None]) -> None:
    server = working(Heard(), QUICK, TimeLimit(default_s=60, ceiling_s=3600))
    results: list[ToolResult] = []

    async def call() -> None:
        results.append(await server.call_tool("hang", {}))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        pass_time(60)
    assert results[0].is_error


def test_the_defaults_leave_room_for_a_model_that_thinks_and_agree_with_each_other() -> None:
    fields = {name: field.default for name, field in Settings.model_fields.items()}
    attempt, model_call = fields["model_timeout_s"], fields["retry_deadline_s"]
    assert attempt >= 600
    assert model_call >= 2 * attempt
    assert fields["tool_ceiling_s"] >= 2 * model_call  # evidence, then the combination
    assert fields["tool_ceiling_s"] <= STATE_TTL_S
    rhythm = Heartbeat()
    assert rhythm.after_s + rhythm.relayed_s <= 5
    assert rhythm.every_s + rhythm.relayed_s < 10
    assert EVERY_S < 15
