"""The search contract runs over each place where the index can be."""

from collections.abc import Iterator

import pytest

from support.backends import Backend
from support.opensearch import SEARCH_BACKENDS


@pytest.fixture(scope="session", params=SEARCH_BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Where the index is."""
    made = Backend(request.param)
    yield made
    made.close()
