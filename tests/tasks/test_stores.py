"""What every store of tasks promises. With a server at `RESEARCH_TEST_REDIS`, the one on Redis is held to it too."""

import os
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from research_shared.errors import ConfigurationError
from research_shared.settings import Settings
from research_shared.tasks.records import NewTask, TaskLimits, TaskStore, TooManyTasks
from research_shared.tasks.stores import MemoryTasks, open_store

REDIS = os.environ.get("RESEARCH_TEST_REDIS")
LIMITS = TaskLimits(tasks=3, held_bytes=1_000, ttl_s=60)
SHORT = TaskLimits(tasks=3, held_bytes=1_000, ttl_s=0.05)
LONG_S = 60.0
PASSED_S = 0.001
"""A lease that has passed when somebody looks again."""


@pytest.fixture(params=["memory", *(["redis"] if REDIS else [])])
def store(request: pytest.FixtureRequest) -> TaskStore:
    if request.param == "memory":
        return MemoryTasks()
    from research_shared.tasks.stores.redis_store import RedisTasks

    return RedisTasks(str(REDIS), namespace=f"{{test-{secrets.token_hex(8)}}}:", poll_s=0.01)


def task(name: str, owner: str = "ann", size: int = 100) -> NewTask:
    return NewTask(task_id=name, owner=owner, work="w" * size, ticket="t")


async def eventually(look: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> Any:
    with anyio.fail_after(60):
        while not wanted(found := await look()):  # noqa: ASYNC110  (the clock of a server cannot be awaited)
            await anyio.sleep(0.005)
    return found


async def test_a_task_is_handed_out_once_oldest_first_and_ends_once(store: TaskStore) -> None:
    async with store:
        for name in ("first", "second"):
            added = await store.add(task(name), LIMITS)
            assert (added.status, added.result, added.expires_at - added.created_at) == ("working", None, 60)
        one, two = await store.claim(LONG_S), await store.claim(LONG_S)
        assert one is not None
        assert two is not None
        assert (one.task_id, one.owner, one.work, one.attempt) == ("first", "ann", "w" * 100, 1)
        assert two.task_id == "second"
        assert await store.claim(LONG_S) is None
        assert await store.renew(one, LONG_S, "half of it")
        found = await store.get("ann", "first")
        assert found is not None
        assert (found.status, found.message) == ("working", "half of it")
        assert await store.finish(one, "completed", "answer", LIMITS) == "stored"
        found = await store.get("ann", "first")
        assert found is not None
        assert (found.status, found.result, found.message) == ("completed", "answer", None)
        assert not await store.renew(one, LONG_S)


async def test_a_task_whose_lease_has_passed_goes_to_another_worker_and_the_first_one_cannot_end_it(
    store: TaskStore,
) -> None:
    async with store:
        await store.add(task("a"), LIMITS)
        slow = await store.claim(PASSED_S)
        quick = await eventually(lambda: store.claim(LONG_S), lambda claim: claim is not None)
        assert slow is not None
        assert (quick.task_id, quick.attempt) == ("a", 2)
        assert not await store.renew(slow, LONG_S)
        assert await store.finish(slow, "completed", "late", LIMITS) == "lost"
        await store.release(slow)
        assert await store.claim(LONG_S) is None
        assert await store.finish(quick, "completed", "in time", LIMITS) == "stored"
        assert await store.finish(slow, "failed", "later still", LIMITS) == "lost"
        found = await store.get("ann", "a")
        assert found is not None
        assert (found.status, found.result) == ("completed", "in time")


async def test_a_task_that_is_given_back_is_taken_again_at_once_and_the_attempt_does_not_count(
    store: TaskStore,
) -> None:
    async with store:
        await store.add(task("a"), LIMITS)
        claim = await store.claim(LONG_S)
        assert claim is not None
        await store.release(claim)
        again = await eventually(lambda: store.claim(LONG_S), lambda claim: claim is not None)
        assert again.attempt == 1
        assert not await store.renew(claim, LONG_S)


async def test_a_cancelled_task_is_handed_out_no_more_and_its_worker_loses_it(store: TaskStore) -> None:
    async with store:
        await store.add(task("waiting"), LIMITS)
        assert await store.cancel("ann", "waiting")
        assert await store.claim(LONG_S) is None
        await store.add(task("running"), LIMITS)
        claim = await store.claim(LONG_S)
        assert claim is not None
        assert await store.cancel("ann", "running")
        assert not await store.renew(claim, LONG_S)
        assert await store.finish(claim, "completed", "too late", LIMITS) == "lost"
        for name in ("waiting", "running"):
            found = await store.get("ann", name)
            assert found is not None
            assert (found.status, found.result) == ("cancelled", None)


async def test_cancelling_a_task_that_has_ended_changes_nothing(store: TaskStore) -> None:
    async with store:
        await store.add(task("a"), LIMITS)
        claim = await store.claim(LONG_S)
        assert claim is not None
        await store.finish(claim, "completed", "answer", LIMITS)
        assert await store.cancel("ann", "a")
        found = await store.get("ann", "a")
        assert found is not None
        assert (found.status, found.result) == ("completed", "answer")


async def test_a_task_of_another_owner_is_not_there(store: TaskStore) -> None:
    async with store:
        await store.add(task("a"), LIMITS)
        assert await store.get("bob", "a") is None
        assert not await store.cancel("bob", "a")
        assert await store.claim(LONG_S) is not None


async def test_an_owner_holds_no_more_tasks_than_it_may_and_others_are_not_concerned(
    store: TaskStore,
) -> None:
    async with store:
        for name in "abc":
            await store.add(task(name), LIMITS)
        with pytest.raises(TooManyTasks) as refused:
            await store.add(task("d"), LIMITS)
        assert refused.value.code == "overloaded"
        await store.add(task("d", owner="bob"), LIMITS)


async def test_an_owner_holds_no_more_bytes_than_it_may_in_work_and_in_results(store: TaskStore) -> None:
    async with store:
        await store.add(task("a", size=500), LIMITS)
        with pytest.raises(TooManyTasks):
            await store.add(task("b", size=600), LIMITS)
        claim = await store.claim(LONG_S)
        assert claim is not None
        assert await store.finish(claim, "completed", "r" * 1_000, LIMITS) == "too_large"
        assert await store.finish(claim, "completed", "r" * 900, LIMITS) == "stored"
        with pytest.raises(TooManyTasks):
            await store.add(task("c", size=100), LIMITS)
        await store.add(task("c", size=50), LIMITS)


async def test_a_task_and_its_result_expire(store: TaskStore) -> None:
    async with store:
        await store.add(task("unclaimed"), SHORT)
        await eventually(lambda: store.get("ann", "unclaimed"), lambda found: found is None)
        assert await store.claim(LONG_S) is None
        await store.add(task("ended"), LIMITS)
        claim = await store.claim(LONG_S)
        assert claim is not None
        assert await store.finish(claim, "completed", "answer", SHORT) == "stored"
        await eventually(lambda: store.get("ann", "ended"), lambda found: found is None)
        for name in "abc":  # what has expired counts no more
            await store.add(task(name), LIMITS)


async def test_waiting_ends_when_a_task_is_added(store: TaskStore) -> None:
    async with store, anyio.create_task_group() as group:
        assert await store.claim(LONG_S) is None

        async def add() -> None:
            await store.add(task("a"), LIMITS)

        group.start_soon(add)
        await eventually(lambda: store.claim(LONG_S), lambda claim: claim is not None)
        await store.ping()


def test_a_store_for_several_processes_needs_a_key_that_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load({"RESEARCH_TASKS_URL": "redis://ann:pw@localhost:6379/0"})
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    with pytest.raises(ConfigurationError, match="RESEARCH_STATE_KEYS") as refused:
        open_store(settings, name="gateway")
    assert "pw" not in str(refused.value)


def test_a_store_on_redis_without_its_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"research-assistant-mcp\[tasks\]"):
        open_store(Settings.load({"RESEARCH_TASKS_URL": "valkey://cache"}), name="gateway")


@pytest.mark.parametrize("option", ["secretpart=1", "max_connections=secretpart", "db=secretpart"])
def test_an_option_that_the_client_of_redis_does_not_take_is_refused_without_showing_it(option: str) -> None:
    address = f"redis://:secretpart@cache/0?{option}"
    settings = Settings.load({"RESEARCH_TASKS_URL": address, "RESEARCH_STATE_KEYS": "k" * 32})
    with pytest.raises(ConfigurationError, match=r"RESEARCH_TASKS_URL=\(hidden\)") as refused:
        open_store(settings, name="gateway")
    assert "secretpart" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "http://cache:6379",
        "memory",
        "redis://a b",
        "redis://user:secretpart/rest@cache:6379/0",
    ],
)
def test_an_address_that_is_none_of_a_store_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"RESEARCH_TASKS_URL=\(hidden\): allowed: off, memory://"
    ) as refused:
        Settings.load({"RESEARCH_TASKS_URL": url})
    assert "secretpart" not in str(refused.value)
