"""Fixtures of the search's tests."""

import time
from types import SimpleNamespace

import pytest


@pytest.fixture
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as old enough for its time stamps to be trusted.

    It is the kernel that stamps them, so that the clock they are compared with is put forward instead.
    """
    later = SimpleNamespace(time_ns=lambda: time.time_ns() + 1_000_000_000)
    monkeypatch.setattr("research_documents.search.index.reader.time", later)
