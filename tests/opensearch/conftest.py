"""Tests on a real node run where it is asked for: elsewhere they are not collected, rather than skipped."""

from collections.abc import Iterator

import httpx
import pytest

from research_documents.opensearch.layout import IndexNames
from support.fake_cluster import Cluster, FakeCluster
from support.opensearch import NODE_ASKED_FOR, cluster_url, new_prefix

collect_ignore_glob = [] if NODE_ASKED_FOR else ["test_node*.py"]


@pytest.fixture(scope="session")
def cluster() -> str:
    """The address of the node."""
    return cluster_url()


@pytest.fixture
def prefix(cluster: str) -> Iterator[str]:
    """How the names of this test's indices begin. They are deleted after it."""
    name = new_prefix()
    yield name
    found = httpx.get(f"{cluster}/_cat/indices/{name}-*?h=index", timeout=60).text.split()
    for index in found:
        httpx.delete(f"{cluster}/{index}", timeout=60).raise_for_status()


@pytest.fixture
def cluster_in_use(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The real node where it is asked for, else one in memory: the same tests, with the same outcome."""
    if NODE_ASKED_FOR:
        names = IndexNames(prefix=request.getfixturevalue("prefix"))
        used = Cluster(names, None, request.getfixturevalue("cluster"))
    else:
        used = Cluster(IndexNames(prefix=new_prefix()), FakeCluster())
    yield used
    for client in used.clients:
        client.close()
