"""Fixtures of the gateway's tests."""

import pytest

from research_gateway.upstreams import client, listing, sessions


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as long as a busy machine takes: for a process to start, for a list, and for why a session ended."""
    monkeypatch.setattr(client, "INIT_TIMEOUT_S", 120.0)
    monkeypatch.setattr(listing, "STALE_LIST_WAIT_S", 120.0)
    monkeypatch.setattr(listing, "LIST_TIMEOUT_S", 120.0)
    monkeypatch.setattr(sessions, "CLOSE_REASON_TIMEOUT_S", 60.0)
