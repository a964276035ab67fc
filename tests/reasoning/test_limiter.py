"""How many calls a server gets at once, and which waits count against a limit."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import anyio
import pytest

from research_reasoning.models.limiter import CallLimiter, Flight


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def test_a_server_on_a_person_s_machine_begins_with_few_calls_and_gets_more(stack: ExitStack) -> None:
    limiter = CallLimiter(8, first=2)
    seen = [limiter.allowed]
    for _ in range(9):
        with limiter.flight() as flight:
            limiter.answered(flight)
        seen.append(limiter.allowed)
    assert seen == [2, 3, 4, 5, 6, 7, 8, 8, 8, 8]


async def test_a_refusal_for_want_of_time_halves_the_calls_once_for_all_that_were_in_flight(
    stack: ExitStack,
) -> None:
    limiter = CallLimiter(16)
    flights = [stack.enter_context(limiter.flight()) for _ in range(16)]
    for flight in flights[4:]:
        limiter.overloaded(flight)
    assert limiter.allowed == 8
    later = stack.enter_context(limiter.flight())
    limiter.overloaded(later)
    assert limiter.allowed == 4
    for _ in range(4):
        limiter.answered(stack.enter_context(limiter.flight()))
    assert limiter.allowed == 4
    limiter.answered(stack.enter_context(limiter.flight()))
    assert limiter.allowed == 5


async def test_a_server_never_gets_less_than_one_call() -> None:
    limiter = CallLimiter(4)
    for _ in range(5):
        with limiter.flight() as flight:
            limiter.overloaded(flight)
    assert limiter.allowed == 1


@pytest.mark.parametrize(
    ("order", "seconds", "allowed"),
    [
        (range(5), 4, 3),  # in turn, ever later: half of the six in flight
        (range(5), 0.1, 10),  # too quick to matter
        ((5, 3, 8, 1, 7), 4, 10),  # in any order: a server that answers all at once
    ],
)
async def test_a_server_that_answers_in_turn_is_found_out(
    stack: ExitStack,
    order: range | tuple[int, ...],
    seconds: float,
    allowed: int,
    pass_time: Callable[[float], None],
) -> None:
    limiter = CallLimiter(10)
    open_flights: list[tuple[ExitStack, Flight]] = []
    for _ in range(10):
        one = stack.enter_context(ExitStack())
        open_flights.append((one, one.enter_context(limiter.flight())))
    for index in order:
        pass_time(seconds)
        ends, flight = open_flights[index]
        limiter.answered(flight)
        ends.close()
    assert limiter.allowed == allowed


async def test_the_wait_for_calls_that_were_sent_before_counts_against_no_limit(
    pass_time: Callable[[float], None],
) -> None:
    limiter = CallLimiter(2)
    ended: list[str] = []

    async def call(name: str, answered: anyio.Event) -> None:
        with limiter.flight() as flight:
            with limiter.time_limit(60, flight):
                await answered.wait()
                limiter.answered(flight)
                ended.append(f"{name} answered")
                return
            ended.append(f"{name} timed out")

    first, second, third = anyio.Event(), anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as group:
        for name, event in (("first", first), ("second", second), ("third", third)):
            group.start_soon(call, name, event)
            await anyio.wait_all_tasks_blocked()
        pass_time(50)
        first.set()
        await anyio.wait_all_tasks_blocked()
        pass_time(50)
        third.set()  # an answer to a later call does not prolong the second
        await anyio.wait_all_tasks_blocked()
        assert ended == ["first answered", "third answered"]
        pass_time(20)
    assert ended == ["first answered", "third answered", "second timed out"]
