"""The documents server: list, search and read, deterministic and without a language model."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_documents.search import DocumentSearch, SearchEngine
    from research_documents.server import build_documents_server, create_server

__all__ = ["DocumentSearch", "SearchEngine", "build_documents_server", "create_server"]

_HOMES = {
    "DocumentSearch": "search",
    "SearchEngine": "search",
    "build_documents_server": "server",
    "create_server": "server",
}
__getattr__ = lazy_exports(__name__, _HOMES)
