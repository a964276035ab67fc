"""The vectors in the index of passages: their field, what they were made with, and the query that compares them.

A passage has a nested record for each of its parts: which bytes of the document it is, and its vector as the embedded index has
it, in signed bytes, to be compared by its direction. The engine `lucene` of the k-NN plugin does that, which needs no native
library.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

PARTS: Final = "parts"
PART_VECTORS: Final = f"{PARTS}.vector"
NEIGHBOURS: Final = 300
"""Passages that each shard looks for. It follows a graph of neighbours: the more it looks for, the fewer near ones it misses."""
EVERY_PASSAGE: Final[dict[str, Any]] = {"term": {"folders": ""}}
"""Matches each passage, and no part of one: the plugin applies a filter to parts themselves unless it cannot match any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedModel:
    """The model whose vectors an index holds, see `Embedder.identity`, and how many components they have."""

    identity: str
    dimension: int

    def meta(self) -> dict[str, Any]:
        """Return it as it is kept with an index."""
        return asdict(self)

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Self | None:
        """Return what is kept with an index; None if that has no vectors.

        Raises:
            KeyError, TypeError: something else wrote it.
        """
        found = meta.get("embedding")
        return None if found is None else cls(identity=found["identity"], dimension=found["dimension"])


def parts_field(model: IndexedModel) -> dict[str, Any]:
    """Return the field of the parts of passages, as a property of a mapping."""
    place = {"type": "long", "index": False, "doc_values": False}
    vector = {
        "type": "knn_vector",
        "dimension": model.dimension,
        "data_type": "byte",
        "method": {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil"},
    }
    return {PARTS: {"type": "nested", "properties": {"vector": vector, "begin": place, "end": place}}}


def nearest_query(
    codes: Sequence[int], *, filters: Sequence[Mapping[str, Any]], excluded: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the query for the passages whose nearest parts are nearest to a vector, each with that part as its inner hit.

    Passages that the filters do not admit, or that are excluded, take no place among the neighbours.
    """
    asked: dict[str, Any] = {"vector": list(codes), "k": NEIGHBOURS}
    if filters or excluded:
        chosen: dict[str, Any] = {"filter": [EVERY_PASSAGE, *filters]}
        asked["filter"] = {"bool": chosen | ({"must_not": list(excluded)} if excluded else {})}
    return {
        "nested": {
            "path": PARTS,
            "score_mode": "max",
            "query": {"knn": {PART_VECTORS: asked}},
            "inner_hits": {"size": 1},
        }
    }


def cosine_of(score: float) -> float:
    """Return the cosine that a score of the cluster stands for.

    >>> cosine_of(0.75)
    0.5
    """
    return 2.0 * score - 1.0
