"""What an error looks like to a client: alone, mounted in somebody's host, behind the gateway, in both eras."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from fastmcp import Client, FastMCP
from fastmcp.server.middleware import Middleware
from fastmcp.tools.base import RawStructuredToolResult, ToolResult
from mcp import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, InputRequiredResult, TextContent

from research_shared.errors import InternalError, ResearchError
from research_shared.middleware.boundary import (
    CALL_AGAIN,
    STATE_REFUSED,
    STRUCTURED_META_KEY,
    ErrorBoundary,
    without_structured_content,
)
from support.raising import error_classes, example, raising_server
from support.results import error_of
from support.serving import serving
from support.upstreams import ERAS, Gateway

KINDS = list(error_classes())


@asynccontextmanager
async def reached(how: str, mode: Any) -> AsyncIterator[Client[Any]]:
    """A client of the raising server, which is alone, mounted in another host, or behind a gateway."""
    if how == "relayed":
        async with serving(raising_server()) as served, Client(Gateway.before(served).server, mode=mode) as c:
            yield c
        return
    server = raising_server()
    if how == "mounted":
        server = FastMCP("host")
        server.mount(raising_server())
    async with Client(server, mode=mode) as client:
        yield client


def test_every_error_has_a_code_of_its_own_and_a_hint() -> None:
    codes = [kind.code for kind in KINDS if "code" in vars(kind)]
    assert len(codes) == len(set(codes)) > 20
    assert all(kind.default_hint for kind in KINDS)


@ERAS
@pytest.mark.parametrize("how", ["alone", "mounted", "relayed"])
async def test_every_error_arrives_as_text_and_payload_without_structured_content(
    how: str, mode: Literal["auto", "legacy"]
) -> None:
    async with reached(how, mode) as client:
        declared = {tool.name: tool.output_schema for tool in await client.list_tools()}["fail"]
        assert declared == {"type": "object", "additionalProperties": {"type": "integer"}}  # no error fits it
        for kind in KINDS:
            result = await client.call_tool_mcp("fail", {"name": kind.__name__})
            assert "structured_content" not in result.model_fields_set
            expected = example(kind)
            assert error_of(result) == {
                "code": kind.code,
                "message": expected.message,
                "hint": expected.hint,
                "retryable": kind.retryable,
                **expected.details,
            }


@ERAS
@pytest.mark.parametrize("how", ["alone", "mounted", "relayed"])
async def test_unexpected_errors_and_wrong_arguments_arrive_alike(how: str, mode: Any) -> None:
    async with reached(how, mode) as client:
        unexpected = await client.call_tool("fail", {"name": "?"}, raise_on_error=False)
        assert error_of(unexpected)["code"] == "internal_error"
        assert len(error_of(unexpected)["error_id"]) == 16
        assert "passwd" not in repr(unexpected)
        wrong = await client.call_tool("fail", {"name": [1]}, raise_on_error=False)
        assert error_of(wrong)["code"] == "invalid_arguments"
        assert error_of(wrong)["message"].startswith("name: ")


@ERAS
@pytest.mark.parametrize("how", ["alone", "relayed"])
async def test_a_tool_that_is_not_there_is_an_error_of_ours(how: str, mode: Any) -> None:
    async with reached(how, mode) as client:
        unknown = await client.call_tool("nothing", raise_on_error=False)
    assert error_of(unknown)["code"] == "unknown_tool"


@ERAS
async def test_a_resource_that_fails_is_a_protocol_error_with_the_payload_as_its_data(mode: Any) -> None:
    async with reached("alone", mode) as client:
        for kind in KINDS:
            with pytest.raises(MCPError) as failure:
                await client.read_resource(f"fail://{kind.__name__}")
            error = failure.value.error
            assert error.message == example(kind).message
            assert error.data == {"error": example(kind).payload()}
            expected = (
                INTERNAL_ERROR if kind.code in {"internal_error", "audit_unavailable"} else INVALID_PARAMS
            )
            assert error.code == expected


def another_server() -> FastMCP[Any]:
    """A server of somebody else, whose errors have structured content."""
    server: FastMCP[Any] = FastMCP("another")

    @server.tool
    async def fail(told: str, held: Any = None, note: str = "") -> ToolResult:
        meta = {"example.org/note": note} if note else None
        return ToolResult(
            content=[TextContent(type="text", text=told)] if told else [],
            structured_content=held,
            meta=meta,
            is_error=True,
        )

    @server.tool
    async def succeed() -> dict[str, int]:
        return {"n": 1}

    return server


@ERAS
@pytest.mark.parametrize("how", ["mounted", "relayed"])
async def test_what_another_server_put_into_an_error_is_kept_out_of_the_way(how: str, mode: Any) -> None:
    async with serving(another_server()) as served:
        host: FastMCP[Any] = FastMCP("host", middleware=[ErrorBoundary()])
        host.mount(another_server())
        server = host if how == "mounted" else Gateway.before(served).server
        async with Client(server, mode=mode) as client:
            held = {"why": ["a", 1]}
            both = await client.call_tool_mcp("fail", {"told": "no", "held": held, "note": "n"})
            assert both.is_error
            assert "structured_content" not in both.model_fields_set
            assert both.content == [TextContent(type="text", text="no")]
            assert both.meta is not None
            assert both.meta[STRUCTURED_META_KEY] == held
            assert both.meta["example.org/note"] == "n"
            mute = await client.call_tool_mcp("fail", {"told": "", "held": held})
            assert "structured_content" not in mute.model_fields_set
            assert isinstance(mute.content[0], TextContent)
            assert json.loads(mute.content[0].text) == held
            plain = await client.call_tool_mcp("fail", {"told": "no"})
            assert plain.content == [TextContent(type="text", text="no")]
            assert STRUCTURED_META_KEY not in (plain.meta or {})
            assert (await client.call_tool("succeed")).structured_content == {"n": 1}


@ERAS
async def test_an_error_whose_structure_is_no_object_is_kept_too(mode: Any) -> None:
    server: FastMCP[Any] = FastMCP("another", middleware=[ErrorBoundary()])

    @server.tool
    async def fail(held: Any) -> ToolResult:
        return RawStructuredToolResult([TextContent(type="text", text="no")], held, is_error=True)

    async with Client(server, mode=mode) as client:
        for held in (["a", 1], None):
            result = await client.call_tool_mcp("fail", {"held": held})
            assert result.is_error
            assert "structured_content" not in result.model_fields_set
            assert (result.meta or {}).get(STRUCTURED_META_KEY) == held


async def test_a_cause_of_ours_is_what_is_told() -> None:
    server: FastMCP[Any] = FastMCP("wrapping", middleware=[ErrorBoundary()])

    @server.tool
    async def wrapped() -> int:
        try:
            raise InternalError("inner", error_id="ab12")
        except ResearchError as error:
            raise ValueError("outer") from error

    async with Client(server) as client:
        result = await client.call_tool("wrapped", raise_on_error=False)
    assert error_of(result)["error_id"] == "ab12"


class Refusing(Middleware):
    """Middleware of a host that refuses calls in the protocol's own way."""

    def __init__(self, data: Any = None) -> None:
        self.data = data

    async def on_call_tool(self, context: Any, call_next: Any) -> Any:
        raise MCPError(code=-32_042, message="first visit the page", data=self.data)


@ERAS
async def test_a_protocol_error_of_what_is_behind_the_boundary_stays_one(mode: Any) -> None:
    for data, message in ((None, "first visit the page"), (STATE_REFUSED, CALL_AGAIN)):
        server: FastMCP[Any] = FastMCP("refusing", middleware=[ErrorBoundary(), Refusing(data)])
        server.tool(lambda: 1, name="one")
        async with Client(server, mode=mode) as client:
            with pytest.raises(MCPError) as failure:
                await client.call_tool("one")
        told = failure.value.error
        assert (told.code, told.message, told.data) == (-32_042, message, data)


def test_only_errors_of_tools_are_changed() -> None:
    asks = InputRequiredResult(request_state="s")
    assert without_structured_content(asks) is asks
    fine = ToolResult(structured_content={"n": 1})
    assert without_structured_content(fine) is fine


@ERAS
async def test_what_is_not_there_is_refused_as_without_the_boundary(mode: Any) -> None:
    told = []
    for middleware in ([], [ErrorBoundary()]):
        async with Client(FastMCP[Any]("empty", middleware=middleware), mode=mode) as client:
            with pytest.raises(MCPError) as failure:
                await client.read_resource("data://none")
            told.append((failure.value.error.code, failure.value.error.message))
    assert told[0] == told[1]
