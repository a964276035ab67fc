"""A process of several has a processor of its own, what it starts for other work has all."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pytest

from research_shared import processors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads are bound on Linux only")

Result = TypeVar("Result")
SHOW = "import json, os; print(json.dumps(sorted(os.sched_getaffinity(0))))"


@pytest.fixture
def usable(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """The processors of the suite, which a test leaves in a thread of its own (`in_thread`)."""
    monkeypatch.setattr(processors, "_all", frozenset())
    monkeypatch.setattr(processors, "_own", frozenset())
    before = os.sched_getaffinity(0)
    yield before
    assert os.sched_getaffinity(0) == before


def in_thread(work: Callable[[], Result]) -> Result:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def here() -> set[int]:
    return os.sched_getaffinity(0)


def of_a_process() -> set[int]:
    return set(json.loads(subprocess.check_output([sys.executable, "-c", SHOW])))


def test_each_process_has_a_processor_of_its_own_if_there_are_as_many(usable: set[int]) -> None:
    def bound(number: int) -> set[int]:
        assert processors.bind_process(number, of=len(usable))
        return here()

    own = [in_thread(partial(bound, number)) for number in range(1, len(usable) + 1)]
    assert own == [{processor} for processor in sorted(usable)]


@pytest.mark.parametrize("more", [-1, 1])
def test_with_more_or_fewer_processors_the_system_chooses(usable: set[int], more: int) -> None:
    def left_alone() -> set[int]:
        assert not processors.bind_process(1, of=len(usable) + more)
        processors.use_all_processors()
        with processors.all_processors():
            assert here() == usable
        return here()

    assert in_thread(left_alone) == usable


def test_work_outside_the_interpreter_runs_anywhere(usable: set[int]) -> None:
    def started() -> None:
        processors.bind_process(1, of=len(usable))
        own = here()
        with processors.all_processors():
            assert of_a_process() == usable
        assert here() == own
        assert of_a_process() == own
        assert in_thread(here) == own
        with ThreadPoolExecutor(1, initializer=processors.use_all_processors) as pool:
            assert pool.submit(here).result() == usable
        assert here() == own

    in_thread(started)


def test_blocks_that_end_in_another_order_leave_the_later_one_unbound(usable: set[int]) -> None:
    def interleaved() -> None:
        processors.bind_process(1, of=len(usable))
        own = here()
        first, second = processors.all_processors(), processors.all_processors()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert of_a_process() == usable
        second.__exit__(None, None, None)
        assert here() == own

    in_thread(interleaved)


def test_processors_that_were_taken_from_the_process_are_done_without(
    usable: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = frozenset({max(usable) + 1_000})

    def started() -> None:
        monkeypatch.setattr(processors, "_all", gone)
        monkeypatch.setattr(processors, "_own", gone)
        with processors.all_processors():
            assert of_a_process() == usable
        assert here() == usable

    in_thread(started)
