"""Search by meaning: vectors of passages, made by a local model or by an endpoint, fused with the keyword ranking.

What needs NumPy is imported when it is first used: it comes with the extra `semantic`.
"""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_documents.search.semantic.embedder import Embedder, EmbeddingFailed
    from research_documents.search.semantic.endpoint import EmbeddingEndpoint
    from research_documents.search.semantic.local_model import LocalModel
    from research_documents.search.semantic.semantic_index import SemanticIndex

__all__ = ["Embedder", "EmbeddingEndpoint", "EmbeddingFailed", "LocalModel", "SemanticIndex"]

_HOMES = {
    "Embedder": "embedder",
    "EmbeddingEndpoint": "endpoint",
    "EmbeddingFailed": "embedder",
    "LocalModel": "local_model",
    "SemanticIndex": "semantic_index",
}
__getattr__ = lazy_exports(__name__, _HOMES)
