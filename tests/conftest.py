"""Fixtures that every part of the suite uses."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
