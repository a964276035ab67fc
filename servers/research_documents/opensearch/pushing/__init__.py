"""Feeding the cluster: what of the folder is not there yet, and the one indexer that brings it."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_documents.opensearch.pushing.cluster_index import ClusterIndex
    from research_documents.opensearch.pushing.indexer import Indexer
    from research_documents.opensearch.pushing.lease import IndexHeld, IndexLease
    from research_documents.opensearch.pushing.report import PushReport

__all__ = ["ClusterIndex", "IndexHeld", "IndexLease", "Indexer", "PushReport"]

_HOMES = {
    "ClusterIndex": "cluster_index",
    "IndexHeld": "lease",
    "IndexLease": "lease",
    "Indexer": "indexer",
    "PushReport": "report",
}
__getattr__ = lazy_exports(__name__, _HOMES)
