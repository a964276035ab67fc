"""Calls of several rounds in MCP 2026-07-28: nothing stays in a server, and nothing that comes back is trusted."""

import base64
import json
import random
import string
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from mcp import MCPError
from mcp_types import (
    CallToolResult,
    CreateMessageRequest,
    CreateMessageResult,
    ElicitResult,
    ImageContent,
    InputRequiredResult,
    TextContent,
)

from research_reasoning import build_reasoning_server
from research_reasoning.models.rounds import MAX_ROUND_BYTES, MAX_ROUNDS
from research_reasoning.models.state import MAX_PACKED_BYTES, Ledger
from research_shared.errors import BudgetExceeded, InvalidArguments
from support.carriers import connected, no_wait, settings
from support.results import error_of
from support.scripted import MODEL, Reply, ScriptedModel
from support.sizes import FULL

PATHS = ["tor.md", "notes/mix.txt", "cache.md"]
ARGUMENTS = {"document_paths": PATHS, "research_question": "Who talks to whom?"}
KEY_A, KEY_B = "a" * 40, "b" * 40


class Driver:
    """A client that answers rounds by hand, each round at any of the servers."""

    def __init__(self, clients: list[Client[Any]], model: ScriptedModel) -> None:
        self.clients = clients
        self.model = model
        self.logs: list[str] = []
        self.progress: list[tuple[float, float | None]] = []

    async def send(
        self,
        responses: dict[str, Any] | None = None,
        state: str | None = None,
        *,
        at: int = 0,
        tool: str = "synthesize_research",
        arguments: dict[str, Any] | None = None,
    ) -> CallToolResult | InputRequiredResult:
        result = await self.clients[at].session.call_tool(
            tool,
            ARGUMENTS if arguments is None else arguments,
            input_responses=responses,
            request_state=state,
            progress_callback=self.reached,
            allow_input_required=True,
        )
        assert isinstance(result, CallToolResult | InputRequiredResult)
        return result

    async def reached(self, progress: float, total: float | None, message: str | None) -> None:
        if progress == int(progress):  # between two steps, heartbeats come on a slow machine
            self.progress.append((progress, total))

    async def ask(self, **options: Any) -> InputRequiredResult:
        result = await self.send(**options)
        assert isinstance(result, InputRequiredResult), result
        return result

    def answers(self, ask: InputRequiredResult) -> dict[str, Any]:
        return {key: self.answer(request) for key, request in (ask.input_requests or {}).items()}

    def answer(self, request: Any) -> CreateMessageResult:
        assert isinstance(request, CreateMessageRequest)
        (content,) = request.params.messages[0].content_as_list
        assert isinstance(content, TextContent)
        reply = self.model.answer(request.params.system_prompt or "", content.text)
        return message(reply.text, reply.stop)

    async def finish(self, ask: InputRequiredResult, **options: Any) -> dict[str, Any]:
        """Answer everything that is asked until the call ends."""
        result: CallToolResult | InputRequiredResult = ask
        rounds = 0
        while isinstance(result, InputRequiredResult):
            rounds += 1
            assert rounds <= MAX_ROUNDS
            result = await self.send(self.answers(result), result.request_state, **options)
        assert not result.is_error, result.structured_content
        content: dict[str, Any] | None = result.structured_content
        assert content is not None
        return content


def message(text: str, stop: str = "endTurn") -> CreateMessageResult:
    content = TextContent(type="text", text=text)
    return CreateMessageResult(role="assistant", content=content, model=MODEL, stop_reason=stop)


@asynccontextmanager
async def driving(
    folder: Path, *keys: str | None, model: ScriptedModel | None = None, **changes: Any
) -> AsyncIterator[Driver]:
    """Servers over one folder, one for each set of state keys."""

    async def sampling(*_args: Any) -> str:
        raise AssertionError("rounds are answered by hand")

    servers = [
        build_reasoning_server(
            settings(folder, state_keys=key or "", **changes), retry=no_wait(random=lambda: 0.0)
        )
        for key in (keys or (KEY_A,))
    ]
    clients: list[Client[Any]] = []
    driver = Driver(clients, model or ScriptedModel())

    async def log(entry: Any) -> None:
        driver.logs.append(entry.data)

    async with AsyncExitStack() as stack:
        for server in servers:
            client = Client(server, sampling_handler=sampling, log_handler=log)
            clients.append(await stack.enter_async_context(client))
        yield driver


async def test_all_documents_are_asked_in_the_first_round_and_combined_in_the_second(folder: Path) -> None:
    async with driving(folder) as driver:
        first = await driver.ask()
        assert len(first.input_requests or {}) == 3
        second = await driver.send(driver.answers(first), first.request_state)
        assert isinstance(second, InputRequiredResult)
        assert len(second.input_requests or {}) == 1
        result = await driver.finish(second)
    assert result["usage"]["rounds"] == 2
    assert driver.model.counts == {"evidence": 3, "combine": 1}


async def test_any_replica_with_the_keys_takes_any_round(folder: Path) -> None:
    rotated = f"{KEY_B},{KEY_A}"
    async with driving(folder, KEY_A, rotated, KEY_B) as driver:
        first = await driver.ask(at=0)
        second = await driver.ask(responses=driver.answers(first), state=first.request_state, at=1)
        result = await driver.finish(second, at=2)
    assert result["sources_used"] == 3
    assert driver.model.counts == {"evidence": 3, "combine": 1}


async def test_rounds_that_go_to_replicas_at_random_come_to_one_result(folder: Path) -> None:
    model = ScriptedModel(
        always=lambda kind, _text: Reply("") if kind == "evidence" and len(model.calls) % 3 else None
    )
    results = []
    seen: set[tuple[bool, ...]] = set()
    async with connected("modern-replicas", folder, model, seed=7) as session:
        for _ in range(12 if FULL else 6):
            model.calls.clear()
            before = len(session.replicas)
            result = await session.call("synthesize_research", **ARGUMENTS)
            ports = session.replicas[before:]
            assert len(ports) > result["usage"]["rounds"] >= 2
            seen.add(tuple(port == ports[0] for port in ports))
            results.append({key: value for key, value in result.items() if key not in {"usage", "follow_up"}})
    assert len(set(session.replicas)) == 2
    assert any(not all(same) for same in seen)
    assert all(result["sources_used"] + result["sources_skipped"] == 3 for result in results)
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("keys", [(KEY_A, KEY_B), (None, None)])
async def test_a_replica_without_the_key_refuses_the_round(
    folder: Path, keys: tuple[str | None, ...]
) -> None:
    async with driving(folder, *keys) as driver:
        first = await driver.ask(at=0)
        with pytest.raises(MCPError) as refused:
            await driver.send(driver.answers(first), first.request_state, at=1)
    assert refused.value.data == {"reason": "invalid_request_state"}


async def test_tampered_and_misplaced_state_is_refused(folder: Path) -> None:
    async with driving(folder) as driver:
        first = await driver.ask()
        state, answers = first.request_state or "", driver.answers(first)
        flipped = state[:-2] + ("A" if state[-2] != "A" else "B") + state[-1]
        other = ARGUMENTS | {"research_question": "Who else?"}
        cases: list[dict[str, Any]] = [
            {"state": flipped},
            {"state": "made up"},
            {"state": state, "arguments": other},
            {"state": state, "tool": "summarize_document", "arguments": {"document_path": "tor.md"}},
        ]
        for case in cases:
            with pytest.raises(MCPError) as refused:
                await driver.send(answers, **case)
            assert refused.value.data == {"reason": "invalid_request_state"}


async def test_an_expired_state_is_refused_and_the_call_can_be_made_again_from_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("research_shared.serving.sealing.STATE_TTL_S", 1e-6)
    async with driving(folder) as driver:
        first = await driver.ask()
        with pytest.raises(MCPError, match=r"expired.*call again from the start") as refused:
            await driver.send(driver.answers(first), first.request_state)
        assert refused.value.data == {"reason": "invalid_request_state"}
        again = await driver.ask()
    assert len(again.input_requests or {}) == len(first.input_requests or {}) > 0
    assert "requestState rejected on tools/call: expired" in [
        record.getMessage() for record in caplog.records
    ]


async def test_the_client_cannot_read_its_state(folder: Path) -> None:
    async with driving(folder) as driver:
        first = await driver.ask()
        second = await driver.ask(responses=driver.answers(first), state=first.request_state)
    for token in (first.request_state or "", second.request_state or ""):
        assert token.startswith("v1.")
        assert "onion" not in token.lower()


async def test_answers_to_questions_that_were_not_asked_are_ignored(folder: Path) -> None:
    async with driving(folder) as driver:
        first = await driver.ask()
        forged = {key: message('{"relevant": false, "findings": []}') for key in first.input_requests or {}}
        again = await driver.ask(responses=forged)
        assert len(again.input_requests or {}) == 3
        answers = driver.answers(first) | {"0" * 24 + ".1": message("extra"), "x": message("extra")}
        second = await driver.ask(responses=answers, state=first.request_state)
        result = await driver.finish(second)
    assert result["key_insights"][0]["verified"] is True


async def test_an_attempt_s_answer_does_not_count_for_another_attempt(folder: Path) -> None:
    async with driving(folder) as driver:
        first = await driver.ask()
        empty = {key: message("") for key in first.input_requests or {}}
        retry = await driver.ask(responses=empty, state=first.request_state)
        assert {key.rpartition(".")[2] for key in retry.input_requests or {}} == {"2"}
        stale = await driver.ask(responses=driver.answers(first), state=retry.request_state)
        assert stale.input_requests == retry.input_requests


@pytest.mark.parametrize("kept", [0, 1, 2])
async def test_what_the_client_leaves_out_is_asked_again(folder: Path, kept: int) -> None:
    async with driving(folder) as driver:
        first = await driver.ask()
        answers = dict(list(driver.answers(first).items())[:kept])
        second = await driver.ask(responses=answers or None, state=first.request_state)
        assert set(second.input_requests or {}) == set(first.input_requests or {}) - set(answers)
        result = await driver.finish(second)
    assert result["sources_used"] == 3
    assert result["usage"]["attempts"] == 4


@pytest.mark.parametrize(
    "wrong",
    [
        ElicitResult(action="decline"),
        CreateMessageResult(
            role="assistant",
            content=ImageContent(type="image", data="AA==", mime_type="image/png"),
            model=MODEL,
        ),
        message("y" * 250_000),
    ],
)
async def test_an_answer_of_another_kind_counts_as_a_failed_attempt(folder: Path, wrong: Any) -> None:
    async with driving(folder) as driver:
        ask = await driver.ask()
        bad = next(iter(ask.input_requests or {})).rpartition(".")[0]
        for _ in range(3):
            answers = {k: wrong if k.startswith(bad) else v for k, v in driver.answers(ask).items()}
            result = await driver.send(answers, ask.request_state)
            assert isinstance(result, InputRequiredResult)
            ask = result
        done = await driver.finish(ask)
    assert [source["status"] for source in done["sources"]] == ["skipped", "used", "used"]
    assert "3 times" in done["sources"][0]["reason"]


async def test_a_malformed_answer_is_a_protocol_error(folder: Path) -> None:
    async with driving(folder) as driver:
        first = await driver.ask()
        key = next(iter(first.input_requests or {}))
        request = {"role": "assistant", "content": {"type": "text"}, "model": 7}
        with pytest.raises((MCPError, ValueError)):
            await driver.send({key: request}, first.request_state)


async def test_a_document_that_changes_between_rounds_starts_its_part_again(folder: Path) -> None:
    async with driving(folder) as driver:
        first = await driver.ask()
        answers = driver.answers(first)
        (folder / "cache.md").write_text(
            "# Caches\n\nAdaptive replacement balances recency against frequency of use.\n"
        )
        second = await driver.ask(responses=answers, state=first.request_state)
        assert len(second.input_requests or {}) == 1
        third = await driver.ask(responses=driver.answers(second), state=second.request_state)
        (folder / "tor.md").unlink()
        result = await driver.finish(third)
    assert any("cache.md" in line and "changed" in line for line in driver.logs)
    statuses = {source["path"]: source["status"] for source in result["sources"]}
    assert statuses == {"tor.md": "skipped", "notes/mix.txt": "used", "cache.md": "used"}
    quotes = [item for insight in result["key_insights"] for item in insight["evidence"]]
    assert all(item["verified"] for item in quotes)
    assert {item["document"] for item in quotes} == {"notes/mix.txt", "cache.md"}
    assert any(item["quote"].startswith("Adaptive replacement") for item in quotes)


async def test_a_client_that_never_answers_usefully_is_asked_at_most_eight_times(folder: Path) -> None:
    async with driving(folder, model_call_tokens=2_000) as driver:
        result = await driver.send()
        rounds = 0
        while isinstance(result, InputRequiredResult):
            rounds += 1
            assert rounds < 20
            result = await driver.send(None, result.request_state)
    assert rounds <= MAX_ROUNDS
    assert result.is_error
    assert error_of(result)["code"] == "model_failed"


async def test_log_lines_and_progress_are_not_repeated_in_later_rounds(folder: Path) -> None:
    async with driving(folder) as driver:
        await driver.finish(await driver.ask())
    assert driver.progress == [(1, 3), (2, 3), (3, 3)]
    assert len([line for line in driver.logs if line.startswith("reading")]) == 3
    assert len([line for line in driver.logs if line.startswith("planned")]) == 1
    assert len([line for line in driver.logs if line.startswith("asking")]) == 4
    assert len([line for line in driver.logs if line.startswith("the model answered")]) == 4


async def test_progress_counts_a_document_once_however_often_it_is_asked_about(folder: Path) -> None:
    asked: dict[str, int] = {}

    def troubled(kind: str, text: str) -> Reply | None:
        name = next(name for name in PATHS if name in text) if kind == "evidence" else ""
        asked[name] = asked.get(name, 0) + 1
        if name == "tor.md":
            return Reply("no", "refusal")
        return Reply("") if name and asked[name] <= 2 else None

    async with driving(folder, model=ScriptedModel(always=troubled)) as driver:
        ask = await driver.ask()
        seen = []
        for _ in range(2):
            ask = await driver.ask(responses=driver.answers(ask), state=ask.request_state)
            seen.append(list(driver.progress))
        await driver.finish(ask)
    assert seen == [[(1, 3)], [(1, 3)]]
    assert driver.progress == [(1, 3), (2, 3), (3, 3)]


async def test_progress_ends_at_its_total_when_a_document_goes_away_between_rounds(folder: Path) -> None:
    async with driving(folder) as driver:
        first = await driver.ask()
        answers = driver.answers(first)
        last = list(answers)[-1]
        second = await driver.ask(responses=answers | {last: message("")}, state=first.request_state)
        (folder / "cache.md").unlink()
        await driver.finish(second)
    assert driver.progress == [(1, 3), (2, 3), (3, 3)]


async def test_the_usage_of_several_rounds_is_what_was_logged(folder: Path) -> None:
    async with driving(folder) as driver:
        result = await driver.finish(await driver.ask())
    logged = [line for line in driver.logs if line.startswith("asking")]
    assert result["usage"]["input_tokens"] == sum(int(line.split("about ")[1].split()[0]) for line in logged)


def test_state_of_another_making_is_refused_with_a_clear_error() -> None:
    good = Ledger()
    inner = zlib.decompress(base64.b85decode(good.pack()))
    assert Ledger.unpack(good.pack()).call == good.call

    def packed(data: bytes) -> str:
        return base64.b85encode(zlib.compress(data)).decode()

    older = json.loads(inner) | {"v": 0}
    bomb = b"[" + b" " * (9 * 1024 * 1024) + b"]"
    for wrong in (
        "",
        "no base85 \x00",
        packed(b"{}"),
        packed(b"[]"),
        packed(json.dumps(older).encode()),
        packed(bomb),
    ):
        with pytest.raises(InvalidArguments):
            Ledger.unpack(wrong)


def wire_size(ask: InputRequiredResult) -> int:
    return len(ask.model_dump_json(by_alias=True).encode())


async def test_hundreds_of_documents_stay_within_the_limits_of_a_round(folder: Path) -> None:
    count = 200 if FULL else 100
    names = [f"many/{number:03}.md" for number in range(count)]
    (folder / "many").mkdir()
    for number, name in enumerate(names):
        body = "\n\n".join(
            f"Relay {number} learns of neighbour {n} only, and of nobody else at all." for n in range(300)
        )
        (folder / name).write_text(f"# Note {number}\n\n{body}\n", encoding="utf-8")
    arguments = {
        "document_paths": names,
        "research_question": "What does a relay learn?",
        "depth": "detailed",
    }
    async with driving(folder) as driver:
        result: CallToolResult | InputRequiredResult = await driver.ask(arguments=arguments)
        rounds = 0
        while isinstance(result, InputRequiredResult):
            rounds += 1
            assert wire_size(result) <= MAX_ROUND_BYTES
            result = await driver.send(driver.answers(result), result.request_state, arguments=arguments)
    content = result.structured_content or {}
    assert not result.is_error, content
    assert rounds <= MAX_ROUNDS
    assert (content["sources_used"], content["sources_skipped"]) == (count, 0)
    partly = [source for source in content["sources"] if not source["coverage"]["complete"]]
    assert len(partly) == count
    assert all(source["coverage"]["ranges"] for source in partly)
    assert any("used in part" in warning for warning in content["warnings"])


async def test_more_documents_than_the_budget_can_serve_are_refused_with_a_number(folder: Path) -> None:
    async with driving(folder, model_request_tokens=6_000, model_call_tokens=3_000) as driver:
        names = [f"{number}.md" for number in range(50)]
        result = await driver.send(arguments={"document_paths": names, "research_question": "What is it?"})
    assert isinstance(result, CallToolResult)
    error = error_of(result)
    assert (error["code"], error["limit"]) == ("budget_exceeded", 3)


@pytest.mark.parametrize("carrier", ["modern-memory", "provider-openai"])
async def test_answers_far_over_their_limit_are_cut_alike_on_every_route(folder: Path, carrier: str) -> None:
    letters = random.Random(1).choices(string.ascii_letters + "     ", k=100_000)
    names = [f"n{number}.md" for number in range(50)]
    for name in names:
        (folder / name).write_text(f"# Note {name}\n\nRelays remove one layer of encryption each.\n")
    model = ScriptedModel(always=lambda _kind, _text: Reply("".join(letters)))
    async with connected(carrier, folder, model) as session:
        result = await session.call(
            "synthesize_research", document_paths=names, research_question="What is removed?"
        )
    assert result["sources_used"] == 50
    assert any("cut at its length limit" in line for line in session.levels("warning"))
    assert max(len(text) for kind, _, text in model.calls if kind == "repair") < 14_000


def test_a_state_that_is_too_large_to_be_carried_is_refused_by_the_server_that_makes_it() -> None:
    ledger = Ledger()
    ledger.set_result("big", random.Random(1).randbytes(MAX_PACKED_BYTES).hex(), replaces=[])
    with pytest.raises(BudgetExceeded):
        ledger.pack()


async def test_a_repair_is_asked_beside_what_is_still_open(folder: Path) -> None:
    model = ScriptedModel({'"tor.md"': [Reply("prose")], '"cache.md"': [Reply("")]})
    async with driving(folder, model=model) as driver:
        first = await driver.ask()
        second = await driver.ask(responses=driver.answers(first), state=first.request_state)
        requests: list[Any] = list((second.input_requests or {}).values())
        kinds = sorted(request.params.system_prompt[:7] for request in requests)
        result = await driver.finish(second)
    assert kinds == ["Find wh", "The use"]
    assert (result["usage"]["rounds"], result["usage"]["model_calls"], result["usage"]["attempts"]) == (
        3,
        5,
        6,
    )


@pytest.mark.parametrize(
    ("count", "depth", "lines"),
    [
        (1, "overview", 9),
        (40, "overview", 9),
        (70, "detailed", 400),
        *([(90, "overview", 9), (130, "detailed", 9)] if FULL else []),
    ],
)
async def test_as_many_rounds_are_planned_as_are_taken(
    folder: Path, count: int, depth: str, lines: int
) -> None:
    names = [f"n{number}.md" for number in range(count)]
    for number, name in enumerate(names):
        body = "\n\n".join(f"Relay {number} learns of neighbour {n} only." for n in range(lines))
        (folder / name).write_text(f"# Note {number}\n\n{body}\n", encoding="utf-8")
    async with connected("modern-memory", folder) as session:
        result = await session.call(
            "synthesize_research", document_paths=names, research_question="What is learnt?", depth=depth
        )
        (planned,) = [line for line in session.levels("info") if line.startswith("planned")]
    assert result["sources_used"] == count
    assert f"{count + 1} model calls in {result['usage']['rounds']} rounds" in planned


async def test_a_round_stays_within_its_limits_whatever_the_operator_allows_a_call(folder: Path) -> None:
    text = "Relays remove one layer of encryption each and learn only their own neighbours.\n\n" * 20_000
    (folder / "long.md").write_text(text, encoding="utf-8")
    arguments = {"document_path": "long.md"}
    async with driving(folder, model_call_tokens=250_000, model_request_tokens=600_000) as driver:
        ask = await driver.ask(tool="summarize_document", arguments=arguments)
        assert len(ask.input_requests or {}) > 1
        assert wire_size(ask) <= MAX_ROUND_BYTES
