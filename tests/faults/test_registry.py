"""The registry of current faults."""

import errno
from types import SimpleNamespace
from typing import Any

import pytest

from research_shared.faults import (
    FAULT_KINDS,
    OUT_OF_FILES,
    ROOT_EMPTIED,
    WATCHING_FAILED,
    WORKERS_FAILED,
    Faults,
)
from research_shared.reading.extraction.pool import WorkerPool
from research_shared.reading.extraction.worker import Worker, WorkerNotStarted


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_fault_is_logged_when_it_begins_and_when_it_ends_however_often_it_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = Faults()
    for _ in range(3):
        faults.begin(WATCHING_FAILED, error=OSError(28, "No space left on device"))
        faults.begin(ROOT_EMPTIED, "papers")
    assert [(fault.kind.name, fault.about) for fault in faults.current] == [
        ("root_emptied", "papers"),
        ("watching_failed", ""),
    ]
    for _ in range(3):
        faults.end(WATCHING_FAILED)
        faults.end(ROOT_EMPTIED, "notes")
    assert [fault.kind for fault in faults.current] == [ROOT_EMPTIED]
    assert [record.message for record in caplog.records] == [
        WATCHING_FAILED.began,
        ROOT_EMPTIED.began,
        WATCHING_FAILED.ended,
    ]
    logged = vars(caplog.records[0]), vars(caplog.records[1])
    assert (logged[0]["fault"], logged[0]["error"]) == (
        "watching_failed",
        "[Errno 28] No space left on device",
    )
    assert (logged[1]["fault"], logged[1]["root"]) == ("root_emptied", "papers")


def test_a_fault_that_comes_and_goes_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    faults = Faults(clock)
    for _ in range(5):
        faults.begin(OUT_OF_FILES)
        clock.now += OUT_OF_FILES.settle_s / 2
        faults.end(OUT_OF_FILES)
    assert [fault.kind for fault in faults.current] == [OUT_OF_FILES]
    clock.now += OUT_OF_FILES.settle_s
    faults.end(OUT_OF_FILES)
    assert faults.current == ()
    assert [record.message for record in caplog.records] == [OUT_OF_FILES.began, OUT_OF_FILES.ended]


def test_every_kind_has_a_name_of_its_own_and_stands_in_the_documentation() -> None:
    from pathlib import Path

    names = [kind.name for kind in FAULT_KINDS]
    assert names == sorted(set(names))
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    for kind in FAULT_KINDS:
        assert f"`{kind.name}`" in page
        assert kind.began.partition(";")[0].partition(":")[0] in page


async def test_a_worker_that_goes_on_ends_the_fault_that_its_start_was_too_soon_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, failing = [0.0], True

    async def start(*_args: Any) -> Any:
        if failing:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return SimpleNamespace(alive=True, stop=stop)

    async def stop() -> None:
        """Stop nothing."""

    monkeypatch.setattr(Worker, "start", start)
    faults = Faults(lambda: now[0])
    pool = WorkerPool(2, 1 << 20, faults=faults)
    async with pool.slot() as first, pool.slot() as second:
        with pytest.raises(WorkerNotStarted):
            await first.worker()
        failing, now[0] = False, 1.0
        for slot in (first, second):
            await slot.worker()
        assert [fault.kind for fault in faults.current] == [WORKERS_FAILED]
        now[0] = 10.0
        await first.worker()
        assert faults.current == ()
    await pool.stop()
