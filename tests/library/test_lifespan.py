"""A resource that several servers share is opened by the first and closed by the last."""

import anyio
import anyio.lowlevel
import pytest

from research_shared.lifespan import SharedLifespan


class Resource(SharedLifespan):
    def __init__(self) -> None:
        self.events: list[str] = []
        self.broken = False

    async def _open(self) -> None:
        if self.broken:
            raise OSError("cannot be opened")
        self.events.append("open")

    async def _close(self) -> None:
        self.events.append("close")


async def test_the_last_user_to_leave_closes_what_the_first_one_opened() -> None:
    resource = Resource()
    first, second = resource, resource
    await first.__aenter__()
    async with second:
        await first.__aexit__(None, None, None)
        assert resource.events == ["open"]
    assert resource.events == ["open", "close"]
    async with resource:
        assert resource.events == ["open", "close", "open"]


async def test_a_resource_that_could_not_be_opened_is_opened_by_the_next_user() -> None:
    resource = Resource()
    resource.broken = True
    with pytest.raises(OSError, match="cannot be opened"):
        await resource.__aenter__()
    resource.broken = False
    async with resource:
        assert resource.events == ["open"]
    assert resource.events == ["open", "close"]


class SlowResource(SharedLifespan):
    """Takes as long to open and to close as the test wants."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.may_go_on = anyio.Event()

    async def _open(self) -> None:
        self.events.append("opening")
        await self.may_go_on.wait()
        self.events.append("open")

    async def _close(self) -> None:
        self.events.append("closing")
        await anyio.lowlevel.checkpoint()
        self.events.append("closed")


async def test_a_second_user_waits_until_the_resource_is_open() -> None:
    resource = SlowResource()

    async def use() -> None:
        async with resource:
            assert resource.events == ["opening", "open"]
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as users:
        users.start_soon(use)
        users.start_soon(use)
        await anyio.wait_all_tasks_blocked()
        assert resource.events == ["opening"]
        resource.may_go_on.set()
    assert resource.events == ["opening", "open", "closing", "closed"]


async def test_a_user_who_comes_while_it_is_closed_waits_for_that() -> None:
    resource = SlowResource()
    resource.may_go_on.set()
    await resource.__aenter__()

    async def use() -> None:
        async with resource:
            resource.events.append("used")

    async with anyio.create_task_group() as users:
        users.start_soon(resource.__aexit__, None, None, None)
        users.start_soon(use)
    assert resource.events == [
        "opening",
        "open",
        "closing",
        "closed",
        "opening",
        "open",
        "used",
        "closing",
        "closed",
    ]


async def test_a_user_who_gives_up_while_it_is_opened_leaves_it_to_the_next() -> None:
    resource = SlowResource()
    async with anyio.create_task_group() as users:
        users.start_soon(resource.__aenter__)
        await anyio.wait_all_tasks_blocked()
        users.cancel_scope.cancel()
    resource.may_go_on.set()
    async with resource:
        assert resource.events == ["opening", "opening", "open"]
    assert resource.events[-2:] == ["closing", "closed"]
