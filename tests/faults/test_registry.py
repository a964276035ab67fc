"""The registry of current faults."""

import pytest

from research_shared.faults import FAULT_KINDS, OUT_OF_FILES, ROOT_EMPTIED, WATCHING_FAILED, Faults


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
