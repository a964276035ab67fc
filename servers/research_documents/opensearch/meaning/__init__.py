"""Ranking by meaning on the cluster: the field of the vectors, and the searches that ask it."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_documents.opensearch.meaning.field import IndexedModel
    from research_documents.opensearch.meaning.search import ClusterMeaning

__all__ = ["ClusterMeaning", "IndexedModel"]

_HOMES = {"ClusterMeaning": "search", "IndexedModel": "field"}
__getattr__ = lazy_exports(__name__, _HOMES)
