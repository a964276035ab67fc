"""Fixtures that every part of the suite uses."""

import asyncio
import gc
import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

# A machine may be slow, and what fails is to be the change: the same examples are tried every time.
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are processors: many tests wait for a process of their own to start or to end."""
    return min(os.cpu_count() or 1, 7) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what is imported by now out of later garbage collections: looking at it again takes a fifth of the tests' time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _time_to_start() -> Iterator[None]:
    """Do not take a process that is slow to start for one that does not know 2026-07-28."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mcp.client.session.DISCOVER_TIMEOUT_SECONDS", 120.0)
        yield


@pytest.fixture(autouse=True)
def _same_user() -> Iterator[None]:
    """Blame the test that leaves the process to another user, not those that come after it."""
    before = os.geteuid()
    yield
    if (left := os.geteuid()) != before:
        os.seteuid(before)
        pytest.fail(f"the process was left to user {left}")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Move the clock of the event loop on by so many seconds: what waits for a time has waited for it at once.

    So a limit can be generous towards a busy machine, and still be seen to hold.
    """
    loop = asyncio.get_running_loop()
    real, passed = loop.time, 0.0

    def move(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + passed)
    return move
