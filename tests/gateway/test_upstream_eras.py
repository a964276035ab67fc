"""Clients and upstreams of different protocol eras, and clients that must not be taken for each other."""

import sys
from pathlib import Path
from typing import Any

import anyio
import mcp_types
import pytest
from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.logging import LogMessage
from fastmcp.client.transports import StdioTransport
from mcp_types import TextContent

from research_gateway.upstreams import Upstream
from support.serving import serving
from support.sizes import FULL
from support.upstreams import ERAS, PATIENT, Behind, Gateway, elicit, modern_only, old_fashioned, sample


async def test_an_upstream_of_an_earlier_era_serves_clients_of_both_without_mixing_them() -> None:
    async with serving(Behind().build()) as served:
        served.answer = old_fashioned
        gateway = Gateway.before(served)
        async with Client(gateway.server, sampling_handler=sample) as client:
            assert (await client.call_tool("echo", {"text": "a"})).data == "a"
            seen = [(await client.call_tool("about")).data for _ in range(2)]
            # it cannot be asked for its model there, and is not said to have one
            assert [one["declares"] for one in seen] == [[], []]
            assert seen[0]["session"] != seen[1]["session"]
            assert seen[0]["modern"] is False
        async with Client(gateway.server, mode="legacy", sampling_handler=sample) as client:
            seen = [(await client.call_tool("about")).data for _ in range(2)]
            assert seen[0]["declares"] == ["sampling"]
            assert seen[0]["session"] == seen[1]["session"]


async def test_a_client_of_an_earlier_era_is_served_by_an_upstream_that_knows_only_the_new_one() -> None:
    logs: list[str] = []
    progress: list[float] = []

    async def on_log(message: LogMessage) -> None:
        logs.append(message.level)

    async def on_progress(done: float, *_: Any) -> None:
        progress.append(done)

    async with serving(Behind().build()) as served:
        served.answer = modern_only
        handlers: dict[str, Any] = {"sampling_handler": sample, "elicitation_handler": elicit}
        handlers |= {"log_handler": on_log, "progress_handler": on_progress, "roots": ["file:///r"]}
        async with Client(Gateway.before(served).server, mode="legacy", **handlers) as client:
            assert (await client.call_tool("echo", {"text": "a"})).data == "a"
            seen = (await client.call_tool("about")).data
            assert (seen["modern"], seen["declares"]) == (True, ["elicitation", "roots", "sampling"])
            assert (await client.call_tool("ask")).data == "the-model endTurn {'value': 'yes'} file:///r"
            assert (await client.call_tool("talk")).data == "said"
            assert (await client.read_resource("note://x"))[0].text == "note x"
        # three lists, and one request for each call but the one that asks, which has two rounds
        assert served.requests < 15
    assert logs == ["warning", "error"]
    assert progress == [1, 2]


@ERAS
async def test_clients_that_are_asked_at_the_same_time_each_answer_for_themselves(mode: Any) -> None:
    async def one(number: int, gateway: Gateway) -> None:
        async def model(*_: Any) -> mcp_types.CreateMessageResult:
            await anyio.lowlevel.checkpoint()
            content = TextContent(type="text", text="thought")
            return mcp_types.CreateMessageResult(
                role="assistant", content=content, model=f"model-{number}", stop_reason="endTurn"
            )

        async def user(*_: Any) -> ElicitResult[Any]:
            return ElicitResult(action="accept", content={"value": f"user-{number}"})

        handlers: dict[str, Any] = {"sampling_handler": model, "elicitation_handler": user}
        async with Client(gateway.server, mode=mode, roots=[f"file:///{number}"], **handlers) as client:
            for _ in range(3):
                said = (await client.call_tool("ask")).data
                assert said == f"model-{number} endTurn {{'value': 'user-{number}'}} file:///{number}"

    async with serving(Behind().build()) as served:
        gateway = Gateway.before(served)
        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(one, number, gateway)


async def test_a_question_that_belongs_to_no_call_goes_with_one_that_is_in_flight() -> None:
    behind = Behind()
    async with serving(behind.build()) as served:
        front = Gateway.before(served).server
        handlers: dict[str, Any] = {"sampling_handler": sample, "elicitation_handler": elicit}
        async with Client(front, mode="legacy", roots=["file:///r"], **handlers) as client:
            said: list[str] = []

            async def ask_later() -> None:
                said.append((await client.call_tool("wait_and_ask")).data)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask_later)
                with anyio.fail_after(60):
                    await behind.hanging.wait()
                await client.call_tool("echo", {"text": "a"})
                behind.released.set()
    assert said == ["the-model"]


def process() -> StdioTransport:
    """A server in a process of its own, which talks over pipes."""
    code = "from support.upstreams import Behind; Behind().build().run(show_banner=False)"
    env = {"PYTHONPATH": str(Path(__file__).parents[1])}
    return StdioTransport(sys.executable, ["-W", "ignore", "-c", code], env=env, keep_alive=False)


@pytest.mark.parametrize("mode", ["auto", "legacy"] if FULL else ["auto"])
async def test_lines_of_a_process_reach_the_client_whose_call_they_belong_to(mode: Any) -> None:
    heard: dict[str, list[str]] = {"one": [], "two": []}

    def client(gateway: Gateway, name: str) -> Client[Any]:
        async def on_log(message: LogMessage) -> None:
            heard[name].append(message.level)

        info = mcp_types.Implementation(name=name, version="1")
        return Client(gateway.server, mode=mode, client_info=info, log_handler=on_log)

    gateway = Gateway(Upstream("process", process, timings=PATIENT))
    async with client(gateway, "one") as one, client(gateway, "two") as two:
        for each, name in ((one, "one"), (two, "two"), (one, "one")):
            assert (await each.call_tool("talk")).data == "said"
            assert (await each.call_tool("about")).data["name"] == name
        # clients of 2026-07-28 share a process; the others have one each, beside the one that is asked for the lists
        assert gateway.upstream.sessions_opened == (1 if mode == "auto" else 3)
    assert heard == {"one": ["warning", "error"] * 2, "two": ["warning", "error"]}
