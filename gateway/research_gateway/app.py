"""The gateway: both servers behind one endpoint."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastmcp import FastMCP

from research_documents.completion import path_completion
from research_documents.server import build_documents_server
from research_gateway.audit import AuditMiddleware, AuditTrail
from research_reasoning.server import build_reasoning_server
from research_shared.boundary import ErrorBoundary
from research_shared.library import Library
from research_shared.sealing import request_state_security
from research_shared.settings import Settings

NAME = "research-assistant"
INSTRUCTIONS = (
    "A research folder of PDF, Markdown and text documents. list_research_documents shows what there is; "
    "search_documents finds where something is said; read_document reads around a hit. These three are deterministic "
    "and cost no model tokens. summarize_document and synthesize_research use a language model: pass them the paths "
    "that listing and search gave, and prefer a few well-chosen documents to many."
)


def build_gateway(settings: Settings, *, library: Library | None = None) -> FastMCP[Any]:
    """One endpoint over the documents and the reasoning server, which share one library."""
    documents = library or Library.from_settings(settings)
    trail = AuditTrail.open(settings)

    @asynccontextmanager
    async def lifespan(_gateway: FastMCP[Any]) -> AsyncIterator[dict[str, Any]]:
        async with trail:
            yield {}

    gateway: FastMCP[Any] = FastMCP(
        NAME,
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        middleware=[AuditMiddleware(trail), ErrorBoundary()],
        mask_error_details=True,
        on_duplicate="error",
        request_state_security=request_state_security(settings),
    )
    gateway.mount(build_documents_server(settings, library=documents))
    gateway.mount(build_reasoning_server(settings, library=documents))
    # A mounted server's own completion handler is not reachable through its parent.
    gateway.add_completion_handler(path_completion(documents))
    return gateway


def create_server() -> FastMCP[Any]:
    """The gateway as the environment configures it, for `fastmcp run` and other launchers."""
    return build_gateway(Settings.load())
