"""A resource that several servers share is opened by the first and closed by the last."""

import pytest

from research_shared.serving.lifespan import SharedLifespan


class Resource(SharedLifespan):
    def __init__(self) -> None:
        self.events: list[str] = []
        self.broken = False

    def _open(self) -> None:
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
