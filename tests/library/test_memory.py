"""The collector is tuned in a dedicated process and left alone in the process of another program."""

import gc
from collections.abc import Iterator

import pytest

from research_shared.serving import memory


@pytest.fixture(autouse=True)
def thawed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(memory, "_dedicated", False)
    before = gc.get_freeze_count()
    threshold = gc.get_threshold()
    yield
    gc.enable()
    gc.set_threshold(*threshold)
    if gc.get_freeze_count() > before:
        gc.unfreeze()


def test_in_the_process_of_another_program_the_collector_is_left_alone() -> None:
    before = gc.get_freeze_count(), gc.get_threshold()
    memory.trim_memory()
    assert (gc.get_freeze_count(), gc.get_threshold()) == before


def test_the_collector_is_disabled_until_a_dedicated_process_has_started() -> None:
    memory.disable_gc_for_startup()
    assert not gc.isenabled()
    memory.tune_gc_for_dedicated_process()
    assert gc.isenabled()


def test_in_a_dedicated_process_the_heap_is_frozen_after_a_build() -> None:
    often = gc.get_threshold()[0]
    memory.tune_gc_for_dedicated_process()
    before = gc.get_freeze_count()
    assert before > 0
    assert gc.get_threshold()[0] > often
    built = [[number] for number in range(1_000)]
    memory.trim_memory()
    assert gc.get_freeze_count() >= before + len(built)
