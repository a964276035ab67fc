"""`search` and `fetch`, the two tools that ChatGPT and other connectors expect."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_documents.connectors.document_ids import DocumentId
    from research_documents.connectors.tools import add_connector_tools

__all__ = ["DocumentId", "add_connector_tools"]

_HOMES = {"DocumentId": "document_ids", "add_connector_tools": "tools"}
__getattr__ = lazy_exports(__name__, _HOMES)
