"""The collector is told what stays in processes of our own, and left alone in those of others."""

import gc
from collections.abc import Iterator

import pytest

from research_shared.serving import memory


@pytest.fixture(autouse=True)
def thawed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(memory, "_owned", False)
    before = gc.get_freeze_count()
    threshold = gc.get_threshold()
    yield
    gc.enable()
    gc.set_threshold(*threshold)
    if gc.get_freeze_count() > before:
        gc.unfreeze()


def test_in_the_process_of_another_program_the_collector_is_left_alone() -> None:
    before = gc.get_freeze_count(), gc.get_threshold()
    memory.tidy()
    assert (gc.get_freeze_count(), gc.get_threshold()) == before


def test_the_collector_rests_until_a_process_of_our_own_has_started() -> None:
    memory.begin_start()
    assert not gc.isenabled()
    memory.own_process()
    assert gc.isenabled()


def test_in_a_process_of_our_own_what_was_built_is_looked_through_no_more() -> None:
    often = gc.get_threshold()[0]
    memory.own_process()
    before = gc.get_freeze_count()
    assert before > 0
    assert gc.get_threshold()[0] > often
    built = [[number] for number in range(1_000)]
    memory.tidy()
    assert gc.get_freeze_count() >= before + len(built)
