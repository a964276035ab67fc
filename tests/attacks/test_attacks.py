"""Every way out of the folder that we know of, tried on the documents server and through the gateway."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.exceptions import McpError, ToolError
from mcp_types import ResourceTemplateReference

from attacks.conftest import SERVERS, Target, servers_of
from support import attack_cases as cases
from support.attack_cases import Case, all_cases
from support.results import answer_of
from support.sizes import FULL
from support.world import CANARY, READABLE

LIMIT_S = 1.0
"""Seconds of the processor that an answer may take."""
TRIES = 5
"""What is slow by itself is slow every time; what other work of this process delays is not."""
CASES = all_cases()
REASONING = {cases.SUMMARIZE, cases.SYNTHESIZE}
ERROR_CODES = {
    "document_not_found",
    "invalid_arguments",
    "invalid_pattern",
    "no_readable_documents",
    "unsupported_type",
    "request_too_large",
}


def filled(value: Any, target: Target) -> Any:
    if not isinstance(value, str):
        return value
    world = target.world
    for name, directory in (
        ("{folder}", str(world.folder)),
        ("{outside}", str(world.outside)),
        ("{stripped}", str(world.outside).lstrip("/")),
    ):
        value = value.replace(name, directory)
    return value.replace("{{", "{").replace("}}", "}")


QUESTION = "what about the quokka?"
TOOLS: dict[str, Callable[[Any], tuple[str, dict[str, Any]]]] = {
    cases.READ: lambda value: ("read_document", {"document_path": value}),
    cases.SUMMARIZE: lambda value: ("summarize_document", {"document_path": value}),
    cases.SYNTHESIZE: lambda value: (
        "synthesize_research",
        {"document_paths": [value], "research_question": QUESTION},
    ),
    cases.LIST: lambda value: ("list_research_documents", {"file_pattern": value, "limit": 1000}),
    cases.SEARCH: lambda value: (
        "search_documents",
        {"query": "zebrafinch OR wombat", "file_pattern": value, "limit": 1000},
    ),
    cases.REGEX: lambda value: (
        "search_documents",
        {"query": "zebrafinch|wombat", "mode": "regex", "file_pattern": value, "limit": 1000},
    ),
}


async def ask(target: Target, case: Case) -> dict[str, Any]:
    """The whole reply, as JSON, with `error` for refusals of whatever kind."""
    try:
        return await _reply(target.client, case.operation, filled(case.input, target))
    except (McpError, ToolError, UnicodeEncodeError) as error:
        # Half a character cannot even be sent.
        return {"error": {"code": "protocol", "message": str(error)}}


async def _reply(client: Client[Any], operation: str, value: Any) -> dict[str, Any]:
    if operation in TOOLS:
        name, arguments = TOOLS[operation](value)
        result = await client.call_tool(name, arguments, raise_on_error=False)
        return {
            **answer_of(result),
            "text": [block.model_dump(mode="json") for block in result.content],
        }
    if operation == cases.RESOURCE:
        contents = await client.read_resource(f"research://documents/{value}")
        return {"contents": [content.model_dump(mode="json") for content in contents]}
    reference = ResourceTemplateReference(uri="research://documents/{path*}")
    completion = await client.complete(reference, {"name": "path", "value": value})
    return {"values": completion.values, "total": completion.total}


def without_echo(reply: dict[str, Any], sent: Any) -> str:
    """The reply without what the client itself sent: the protocol layer names the URI that it could not find."""
    whole = json.dumps(reply, ensure_ascii=False)
    return whole.replace(sent, "") if isinstance(sent, str) and sent else whole


def check(case: Case, reply: dict[str, Any]) -> None:
    code = reply.get("error", {}).get("code")
    if case.operation == cases.COMPLETE:
        assert set(reply["values"]) <= READABLE
        assert reply["total"] <= len(READABLE)
    elif case.expectation == cases.INVALID:
        assert code in {"invalid_arguments", "invalid_pattern", "request_too_large", "protocol"}
    elif case.operation in REASONING:
        assert code in ERROR_CODES or (reply.get("sources_used") == 0)
    elif case.expectation == cases.NOT_FOUND:
        assert code == "document_not_found"
    elif case.expectation == cases.UNSUPPORTED:
        assert code in (
            {"unsupported_type"} if case.operation == cases.READ else {"unsupported_type", "protocol"}
        )
    elif case.expectation == cases.REFUSED:
        assert code in {*ERROR_CODES, "protocol"}
    elif case.expectation == cases.TEXT:
        assert code is None
        assert "wombat inside" in json.dumps(reply)
    elif case.operation == cases.LIST:
        assert {document["path"] for document in reply["documents"]} == case.expectation
        assert (reply["count"], reply["total"]) == (len(case.expectation), len(case.expectation))
    else:
        assert {match["document"] for match in reply["matches"]} == case.expectation
        assert reply["total_documents"] <= len(READABLE)
        assert reply["unreadable"] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_nothing_gets_out(target: Target, case: Case) -> None:
    if case.operation in REASONING and target.kind != "gateway":
        tools = {tool.name for tool in await target.client.list_tools()}
        assert not tools & {"summarize_document", "synthesize_research"}
        return
    took = LIMIT_S
    for _ in range(TRIES):
        started = time.process_time()
        reply = await ask(target, case)
        took = min(took, time.process_time() - started)
        if took < LIMIT_S:
            break
    check(case, reply)
    whole = without_echo(reply, filled(case.input, target))
    assert CANARY not in whole
    assert str(target.world.base) not in whole
    assert "Traceback" not in whole
    assert took < LIMIT_S, case.reason


def named(match: re.Match[str]) -> str:
    """Nothing, once it is seen that all paths that are named are listed."""
    assert set(match[1].replace("\\\\", "\\").split(", ")) <= READABLE
    return ""


async def test_a_refusal_is_the_same_whether_or_not_something_is_there(target: Target) -> None:
    pairs = (
        ("../outside/secret.md", "../outside/none.md"),
        ("{outside}/secret.md", "{outside}/none.md"),
        ("out.md", "dangling.md"),
        ("outdir/secret.md", "outdir/none.md"),
        (".secret.md", ".none.md"),
        ("fifo.md", "none.md"),
    )
    for operation in (cases.READ, cases.RESOURCE):
        for pair in pairs:
            answers = {
                without_echo(await ask(target, Case("pair", operation, path, None, "")), filled(path, target))
                for path in pair
            }
            # What is near is a matter of what was asked and of what is listed, never of what is there besides.
            answers = {
                re.sub(r"The nearest paths are: (.*?)\. (?=Call)", named, answer) for answer in answers
            }
            # A URI is put in its normal form before it is looked for, so its echo may differ from what was sent.
            assert len({re.sub(r"(secret|none|out|dangling|fifo)\.(md)", "", a) for a in answers}) == 1


async def test_what_is_listed_is_exactly_what_can_be_read(target: Target) -> None:
    reply = await ask(target, Case("all", cases.LIST, "*", None, ""))
    paths = [document["path"] for document in reply["documents"]]
    assert paths == sorted(READABLE)
    for path in paths:
        escaped = path.replace("{", "{{").replace("}", "}}")
        check(
            case := Case(path, cases.READ, escaped, cases.TEXT, ""),
            await ask(target, case),
        )


def test_there_are_enough_attacks() -> None:
    assert len(CASES) >= 150
    assert len({case.id for case in CASES}) == len(CASES)
    assert all(case.reason for case in CASES)


def test_each_attack_is_tried_and_each_kind_on_every_server() -> None:
    tried = {case.id: servers_of(case) for case in CASES}
    assert all(tried.values())
    for operation in {case.operation for case in CASES}:
        assert frozenset().union(*(tried[case.id] for case in CASES if case.operation == operation)) == {
            *SERVERS
        }
    assert not FULL or set(tried.values()) == {frozenset(SERVERS)}
