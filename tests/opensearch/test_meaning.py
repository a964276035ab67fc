"""What a server makes of the vectors on a cluster, and of a model or a cluster that does not answer."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from research_documents.opensearch.client import ClusterFailed
from research_documents.opensearch.meaning.field import IndexedModel
from research_documents.opensearch.meaning.search import NO_VECTORS, OTHER_MODEL, ClusterMeaning
from research_documents.search.catalog.selection import Selection
from research_documents.search.semantic.embedder import EmbeddingFailed, Vectors

NO_DOCUMENTS = Selection(readable=(), unreadable=(), everything=True)
MINE = IndexedModel(identity="mine", dimension=3)


class Model:
    """An embedding model that gives each text the same vector, or fails for the reason that is set."""

    batch = 8

    def __init__(self) -> None:
        self.failure: str | None = None
        self.closed = False

    async def identity(self) -> str:
        if self.failure is not None:
            raise EmbeddingFailed(self.failure)
        return "mine"

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        assert query
        return np.array([[0.0, 0.6, 0.8]] * len(texts), dtype=np.float32)

    async def close(self) -> None:
        self.closed = True


def meaning_of(model: Model, indexed: IndexedModel | None = MINE, problem: str = "") -> ClusterMeaning:
    mirror = SimpleNamespace(
        model=indexed,
        state=SimpleNamespace(embedding_problem=problem),
        passages=(3, 4),
        passages_of=lambda entries: (len(entries), 2),
    )
    return ClusterMeaning(model, cast("Any", mirror), clock=lambda: 0.0)


async def test_a_model_that_cannot_be_read_is_named_until_it_can() -> None:
    model = Model()
    meaning = meaning_of(model)
    model.failure = "the embedding model is not there"
    await meaning.open()
    assert (meaning.absent, meaning.coverage_of_all) == ("the embedding model is not there", (0, 4))
    model.failure = None
    await meaning.open()
    assert (meaning.absent, meaning.coverage_of_all, meaning.coverage([])) == ("", (3, 4), (0, 2))
    model.failure = "it is gone again, but its name is known"
    await meaning.open()
    assert meaning.absent == ""
    await meaning.close()
    assert model.closed


@pytest.mark.parametrize(
    ("indexed", "absent"), [(None, NO_VECTORS), (IndexedModel(identity="yours", dimension=3), OTHER_MODEL)]
)
async def test_vectors_that_are_not_there_or_of_another_model_count_for_nothing(
    indexed: IndexedModel | None, absent: str
) -> None:
    meaning = meaning_of(Model(), indexed)
    await meaning.open()
    assert (meaning.absent, meaning.coverage_of_all) == (absent, (0, 4))


async def test_what_kept_the_last_push_from_making_vectors_is_told() -> None:
    assert meaning_of(Model()).problem is None
    problem = "the model is away"
    meaning = meaning_of(Model(), problem=problem)
    assert (meaning.problem, meaning.of(cast("Any", None)).problem) == (problem, problem)


async def test_the_index_is_asked_for_the_neighbours_of_a_query() -> None:
    asked: list[tuple[Sequence[int], int]] = []

    def nearest(codes: Sequence[int], limit: int) -> list[str]:
        asked.append((codes, limit))
        return ["a passage"]

    meaning = meaning_of(Model())
    await meaning.open()
    passages = meaning.of(cast("Any", SimpleNamespace(nearest=nearest)))
    assert passages.coverage([]) == (0, 2)
    vector = await passages.vector_of("what is near?", limit_s=60)
    found: list[Any] = [*passages.nearest(vector, NO_DOCUMENTS, {})]
    assert found == ["a passage"]
    ((codes, limit),) = asked
    assert codes[0] == 0
    assert 0 < codes[1] < codes[2] <= 127
    assert limit > 0
    assert passages.nearest(np.zeros(3, dtype=np.float32), NO_DOCUMENTS, {}) == []
    assert len(asked) == 1  # nothing points anywhere
    with pytest.raises(EmbeddingFailed, match="another size"):
        passages.nearest(np.ones(4, dtype=np.float32), NO_DOCUMENTS, {})


@pytest.mark.parametrize(
    ("status", "expected"), [(400, EmbeddingFailed), (500, EmbeddingFailed), (503, ClusterFailed)]
)
async def test_a_cluster_that_refuses_to_compare_vectors_costs_the_meaning_and_one_that_is_away_the_search(
    status: int, expected: type[Exception]
) -> None:
    def nearest(_codes: Sequence[int], _limit: int) -> list[str]:
        raise ClusterFailed("no", hint="none", status=status)

    meaning = meaning_of(Model())
    await meaning.open()
    passages = meaning.of(cast("Any", SimpleNamespace(nearest=nearest)))
    with pytest.raises(expected):
        passages.nearest(np.ones(3, dtype=np.float32), NO_DOCUMENTS, {})
