import anyio

from research_shared.telemetry import collecting, record


def test_without_a_collector_recording_does_nothing() -> None:
    record(route="provider")
    with collecting() as facts:
        pass
    assert facts == {}


async def test_facts_of_tasks_started_by_the_call_reach_its_collector() -> None:
    async def work(name: str) -> None:
        record(**{name: 1, "last": name})

    with collecting() as facts:
        async with anyio.create_task_group() as group:
            group.start_soon(work, "a")
        await work("b")
    assert facts == {"a": 1, "b": 1, "last": "b"}


def test_an_outer_collector_gets_the_facts_of_the_inner_one() -> None:
    with collecting() as outer:
        record(tool="outer")
        with collecting() as inner:
            record(tool="inner")
        record(done=True)
    assert (outer, inner) == ({"tool": "inner", "done": True}, {"tool": "inner"})
