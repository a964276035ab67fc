"""Calls that become tasks: through the whole gateway, in the memory of one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client, FastMCP
from mcp import MCPError
from mcp_types import CallToolResult
from pydantic import SecretStr

from research_gateway.app import build_gateway
from research_gateway.cli.session import Session, session_of
from research_reasoning.server import build_reasoning_server
from research_shared.errors import ERROR_META_KEY
from research_shared.settings import Settings
from research_shared.tasks.records import (
    Claim,
    NewTask,
    TaskLimits,
    TaskRecord,
    TaskStore,
    TaskStoreUnavailable,
)
from research_shared.tasks.stores import MemoryTasks, open_store
from support.providers import listening
from support.scripted import ScriptedModel
from support.serving import until
from support.tasks import (
    POLICY,
    SUMMARIZE,
    TASKS,
    AsksForTasks,
    DrivesTasks,
    HeldProvider,
    acknowledged,
    asked,
    ended,
    principal,
    provided,
    research_folder,
    settings_for,
    submit,
    submitted,
    trail,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return research_folder(tmp_path)


def asking(settings: Settings, **options: Any) -> Client[Any]:
    return Client(build_gateway(settings), extensions=[AsksForTasks()], **options)


@asynccontextmanager
async def held(folder: Path, **changes: Any) -> AsyncIterator[tuple[Client[Any], HeldProvider]]:
    """A gateway whose provider answers when it is told to."""
    async with (
        listening(HeldProvider(ScriptedModel())) as provider,
        asking(provided(folder, provider, **changes)) as client,
    ):
        yield client, provider


async def test_the_result_of_a_task_is_the_answer_that_a_call_without_one_gets(folder: Path) -> None:
    async with asking(settings_for(folder)) as client, Client(build_gateway(settings_for(folder))) as plain:
        answer = await ended(client, (await submitted(client, *SUMMARIZE)).task_id)
        expected = await plain.call_tool_mcp(*SUMMARIZE)
        assert answer.status == "completed"
        assert CallToolResult.model_validate(answer.result) == expected


async def test_a_task_tells_its_progress_and_the_trail_has_the_work_under_the_id_of_the_call(
    folder: Path,
) -> None:
    async with held(folder) as (client, provider):
        task = await submitted(client, *SUMMARIZE)
        assert (task.status, task.ttl_ms) == ("working", 14_400_000)
        await until(lambda: provider.open_now == 1)
        working = await asked(client, task.task_id)
        assert working.status == "working"
        assert working.status_message is not None
        assert working.status_message.startswith("2 of 3: ")
        provider.release.set()
        await ended(client, task.task_id)
    events = [event for event in trail(folder) if event.get("tool") == "summarize_document"]
    submission, work = events[:2], events[2:]
    assert [event["event"] for event in events] == ["start", "end", "start", "end"]
    assert submission[1]["task"] == task.task_id
    logical = submission[0]["call_id"]
    assert {event["logical_call_id"] for event in events} == {logical}
    assert {event["parent_call_id"] for event in work} == {logical}
    assert {(event["task"], event["attempt"]) for event in work} == {(task.task_id, 1)}
    assert work[0]["transport"] == "task"
    assert work[0]["client"] == submission[0]["client"]
    assert (work[1]["model_calls"], work[1]["input_tokens"], work[1]["output_tokens"]) == (1, 11, 7)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_that_does_not_ask_for_tasks_gets_none(folder: Path, mode: Any) -> None:
    async with Client(build_gateway(settings_for(folder)), mode=mode) as client:
        assert isinstance(await submit(client, *SUMMARIZE), CallToolResult)
        with pytest.raises(MCPError) as refused:
            await asked(client, "none")
    assert refused.value.error.code == (-32021 if mode == "auto" else -32601)


async def test_tools_that_need_no_model_and_arguments_of_calls_that_lend_one_are_answered_at_once(
    folder: Path,
) -> None:
    async def sampling(*_: Any) -> str:
        return "The moon does it."

    async with asking(settings_for(folder)) as client:
        assert isinstance(await submit(client, "list_research_documents", {}), CallToolResult)
    lending = settings_for(folder, model_route="auto")
    async with asking(lending, sampling_handler=sampling) as client:
        answer = await client.call_tool(*SUMMARIZE)
        assert answer.structured_content is not None
        assert answer.structured_content["route"] == "client"


async def test_cancelling_a_task_ends_its_model_call(folder: Path) -> None:
    async with held(folder, tasks_lease_s=0.1) as (client, provider):
        task = await submitted(client, *SUMMARIZE)
        await until(lambda: provider.open_now == 1)
        await acknowledged(client, task.task_id, "tasks/cancel")
        assert (await asked(client, task.task_id)).status == "cancelled"
        await until(lambda: provider.aborted == 1)
        await until(lambda: any(event.get("outcome") == "cancelled" for event in trail(folder)))
        assert (await asked(client, task.task_id)).result is None
    assert len(provider.requests) == 1


async def test_a_task_that_waits_for_no_input_ignores_it(folder: Path) -> None:
    async with asking(settings_for(folder)) as client:
        task = await submitted(client, *SUMMARIZE)
        await acknowledged(client, task.task_id, "tasks/update", inputResponses={"unknown": {}})
        assert (await ended(client, task.task_id)).status == "completed"


async def test_a_task_of_another_principal_does_not_exist(folder: Path) -> None:
    async with asking(settings_for(folder)) as client:
        with principal("ann"):
            task = await submitted(client, *SUMMARIZE)
            await ended(client, task.task_id)
        with principal("bob"):
            for method in ("tasks/get", "tasks/cancel"):
                refusals = []
                for task_id in (task.task_id, "made-up"):
                    with pytest.raises(MCPError) as refused:
                        await asked(client, task_id, method)
                    refusals.append(refused.value.error.message.replace(task_id, "…"))
                assert refusals == ["Task … not found"] * 2
        with principal("ann"):
            assert (await asked(client, task.task_id)).status == "completed"


async def test_a_worker_sees_what_the_caller_may_see_and_no_more(folder: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    async with asking(settings_for(folder, policy=policy)) as client:
        outcomes = {}
        for name in ("ann", "bob"):
            with principal(name):
                answer = await ended(client, (await submitted(client, *SUMMARIZE)).task_id)
                assert answer.result is not None
                outcomes[name] = answer.result.get("_meta", {}).get(ERROR_META_KEY, {}).get("code")
        assert outcomes == {"ann": None, "bob": "document_not_found"}
    work = [event for event in trail(folder) if event.get("transport") == "task"]
    assert [event["principal"]["client_id"] for event in work] == ["ann", "bob"]


async def test_the_roots_of_a_client_narrow_its_task(folder: Path) -> None:
    settings, drives = settings_for(folder, client_roots="narrow"), DrivesTasks()
    roots = [(folder / "public").as_uri()]
    async with Client(build_gateway(settings), extensions=[drives], roots=roots) as client:
        for path, error in (("public/winds.md", None), ("tides.md", "document_not_found")):
            result = await client.call_tool(
                "summarize_document", {"document_path": path}, raise_on_error=False
            )
            assert (result.meta or {}).get(ERROR_META_KEY, {}).get("code") == error
    assert len(drives.made) == 2


def asking_with(store: TaskStore, settings: Settings) -> Client[Any]:
    return Client(build_gateway(settings, task_store=store), extensions=[AsksForTasks()])


async def test_a_caller_with_too_many_tasks_is_told_so_and_others_are_served(folder: Path) -> None:
    settings = settings_for(folder, tasks_per_caller=1)
    async with asking(settings) as client:
        with principal("ann"):
            await submitted(client, *SUMMARIZE)
            refused = await submit(client, *SUMMARIZE)
            assert isinstance(refused, CallToolResult)
            assert refused.meta is not None
            assert refused.meta[ERROR_META_KEY]["code"] == "overloaded"
        with principal("bob"):
            await submitted(client, *SUMMARIZE)


class Unreachable(MemoryTasks):
    async def add(self, task: NewTask, limits: TaskLimits) -> TaskRecord:
        raise TaskStoreUnavailable("the store of the tasks does not answer")

    async def claim(self, lease_s: float) -> Claim | None:
        raise TaskStoreUnavailable("the store of the tasks does not answer")

    async def get(self, owner: str, task_id: str) -> TaskRecord | None:
        raise TaskStoreUnavailable("the store of the tasks does not answer")


async def test_without_the_store_calls_are_answered_at_once_and_questions_about_tasks_say_why(
    folder: Path,
) -> None:
    async with asking_with(Unreachable(), settings_for(folder)) as client:
        answer = await submit(client, *SUMMARIZE)
        assert isinstance(answer, CallToolResult)
        assert not answer.is_error
        with pytest.raises(MCPError, match="the store of the tasks does not answer"):
            await asked(client, "some-task")


async def test_a_store_holds_nothing_that_can_be_read_or_changed(folder: Path) -> None:
    store = MemoryTasks()
    async with asking_with(store, settings_for(folder)) as client:
        with principal("ann"):
            task = await submitted(client, *SUMMARIZE)
            await ended(client, task.task_id)
            other = await submitted(client, "summarize_document", {"document_path": "public/winds.md"})
            await ended(client, other.task_id)
            kept = repr(store._held)
            assert not [
                word for word in ("tides.md", "moon pulls", '"ann"', "summarize_document") if word in kept
            ]
            one, two = store._held.values()
            one.result, two.result = two.result, one.result
            with pytest.raises(MCPError, match="not found"):
                await asked(client, task.task_id)
        # Who can write to the store gives a task to somebody else.
        (owner, _), (elsewhere, _) = list(store._held)
        assert owner == elsewhere
        with principal("bob"):
            mine = await submitted(client, *SUMMARIZE)
            (bob,) = {whose for whose, _ in store._held} - {owner}
            store._held[bob, other.task_id] = store._held.pop((owner, other.task_id))
            with pytest.raises(MCPError, match="not found"):
                await asked(client, other.task_id)
            await ended(client, mine.task_id)


async def test_a_shell_takes_no_task_that_waits_for_the_servers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research_shared.logs.configure_logging", lambda _level, **_: None)
    opened: list[str] = []

    def open_seen(settings: Settings, *, name: str) -> TaskStore | None:
        opened.append(settings.tasks_url.get_secret_value())
        return open_store(settings, name=name)

    monkeypatch.setattr("research_shared.tasks.adding.open_store", open_seen)
    settings = settings_for(folder).model_copy(
        update={"tasks_url": SecretStr("redis://127.0.0.1:1/0"), "state_keys": (SecretStr("k" * 32),)}
    )

    async def job(session: Session) -> bool:
        return "documents" in await session.call("list_research_documents")

    assert await anyio.to_thread.run_sync(lambda: session_of(settings, job))
    assert set(opened) == {"off"}


async def test_tasks_can_be_turned_off(folder: Path) -> None:
    async with asking(settings_for(folder, tasks_url="off")) as client:
        assert isinstance(await submit(client, *SUMMARIZE), CallToolResult)
        assert TASKS not in (client.server_capabilities.extensions or {})


async def test_mounted_in_a_server_that_does_not_answer_for_tasks_calls_are_answered_at_once(
    folder: Path,
) -> None:
    host = FastMCP[Any]("host")
    host.mount(build_gateway(settings_for(folder)))
    async with Client(host, extensions=[AsksForTasks()]) as client:
        assert isinstance(await submit(client, *SUMMARIZE), CallToolResult)


async def test_the_reasoning_server_alone_offers_tasks(folder: Path) -> None:
    server = build_reasoning_server(settings_for(folder))
    async with Client(server, extensions=[AsksForTasks()]) as client:
        task = await submitted(client, *SUMMARIZE)
        assert (await ended(client, task.task_id)).status == "completed"
