"""Tasks that outlive a gateway, over each store. CI runs this with a Redis server at `RESEARCH_TEST_REDIS` (see `run.py`)."""

import os
import secrets
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client
from mcp import MCPError

from research_gateway.app import build_gateway
from research_shared.errors import ERROR_META_KEY
from research_shared.settings import Settings
from research_shared.tasks.records import TaskStore
from research_shared.tasks.runner import MAX_WORKERS_LOST
from research_shared.tasks.stores import MemoryTasks
from support.providers import listening
from support.scripted import ScriptedModel
from support.serving import until
from support.tasks import (
    POLICY,
    SUMMARIZE,
    AsksForTasks,
    HeldProvider,
    asked,
    ended,
    principal,
    provided,
    research_folder,
    settings_for,
    submitted,
    trail,
)

REDIS = os.environ.get("RESEARCH_TEST_REDIS")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return research_folder(tmp_path)


@pytest.fixture(params=["memory", *(["redis"] if REDIS else [])])
def store(request: pytest.FixtureRequest) -> TaskStore:
    if request.param == "memory":
        return MemoryTasks()
    from research_shared.tasks.stores.redis_store import RedisTasks

    return RedisTasks(str(REDIS), namespace=f"{{test-{secrets.token_hex(8)}}}:", poll_s=0.01)


def asking_with(store: TaskStore, settings: Settings) -> Client[Any]:
    return Client(build_gateway(settings, task_store=store), extensions=[AsksForTasks()])


async def test_a_result_is_not_shown_to_a_caller_whose_view_has_become_narrower(
    folder: Path, tmp_path: Path, store: TaskStore
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    keys = ("k" * 32,)
    async with asking_with(store, settings_for(folder, policy=policy, state_keys=keys)) as client:
        with principal("ann"):
            task = await submitted(client, *SUMMARIZE)
            await ended(client, task.task_id)
    policy.write_text(POLICY.replace('allow = ["**"]', 'allow = ["public/**"]'))
    async with asking_with(store, settings_for(folder, policy=policy, state_keys=keys)) as client:
        with principal("ann"), pytest.raises(MCPError, match="not found"):
            await asked(client, task.task_id)


async def test_a_task_is_worked_on_by_another_gateway_with_the_same_store_and_key(
    folder: Path, store: TaskStore
) -> None:
    settings = settings_for(folder, state_keys=("k" * 32,))
    async with asking_with(store, settings.model_copy(update={"tasks_concurrency": 0})) as client:
        task = await submitted(client, *SUMMARIZE)
        assert (await asked(client, task.task_id)).status == "working"
        async with Client(build_gateway(settings, task_store=store)):
            assert (await ended(client, task.task_id)).status == "completed"


async def test_a_task_of_a_gateway_that_stops_is_given_back(folder: Path, store: TaskStore) -> None:
    keys = ("k" * 32,)
    async with listening(HeldProvider(ScriptedModel())) as provider:
        settings = provided(folder, provider, state_keys=keys)
        async with asking_with(store, settings) as client:
            task = await submitted(client, *SUMMARIZE)
            await until(lambda: provider.open_now == 1)
        provider.release.set()
        async with asking_with(store, settings) as client:
            assert (await ended(client, task.task_id)).status == "completed"
    starts = [
        event for event in trail(folder) if event.get("transport") == "task" and event["event"] == "start"
    ]
    assert [event["attempt"] for event in starts] == [1, 1]


async def test_a_task_whose_workers_end_again_and_again_fails(folder: Path, store: TaskStore) -> None:
    settings = settings_for(folder, state_keys=("k" * 32,))
    async with asking_with(store, settings.model_copy(update={"tasks_concurrency": 0})) as client:
        task = await submitted(client, *SUMMARIZE)
        for _ in range(MAX_WORKERS_LOST):
            await until_claimed(store)
        async with Client(build_gateway(settings, task_store=store)):
            answer = await ended(client, task.task_id)
    assert (answer.status, answer.result) == ("failed", None)
    assert answer.error == {"code": -32603, "message": "3 workers ended while they worked on this task"}


async def until_claimed(store: TaskStore) -> None:
    """Take a task as a worker does that is heard of no more."""
    with anyio.fail_after(60):
        while await store.claim(0.001) is None:  # noqa: ASYNC110  (a lease that passes cannot be awaited)
            await anyio.sleep(0.002)


async def test_a_result_larger_than_a_caller_may_hold_is_an_error(folder: Path) -> None:
    words = " ".join(secrets.token_hex(4) for _ in range(4_000))
    (folder / "noise.md").write_text(f"{words}.\n")
    async with asking_with(MemoryTasks(), settings_for(folder, tasks_bytes_per_caller=4_096)) as client:
        task = await submitted(
            client, "summarize_document", {"document_path": "noise.md", "summary_length": "detailed"}
        )
        answer = await ended(client, task.task_id)
    assert answer.status == "completed"
    assert answer.result is not None
    assert answer.result["isError"]
    assert answer.result["_meta"][ERROR_META_KEY]["code"] == "response_too_large"
