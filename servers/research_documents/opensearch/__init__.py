"""The passage index on an OpenSearch cluster: one indexer feeds it, many servers search it."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_documents.opensearch.layout import DocumentRecord, IndexNames, PushState

__all__ = ["DocumentRecord", "IndexNames", "PushState"]

_HOMES = {
    "DocumentRecord": "layout",
    "IndexNames": "layout",
    "PushState": "layout",
}
__getattr__ = lazy_exports(__name__, _HOMES)
