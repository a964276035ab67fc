"""A FastAPI application that carries the gateway under a prefix, beside routes of its own.

    RESEARCH_ROOTS=FOLDER uvicorn --app-dir examples/fastapi app:app

`/research/mcp` is the endpoint for MCP clients, `/research/readyz` says whether the gateway is ready, and `/find?words=…`
is a route of the application that uses a tool itself. Settings are those of the environment.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request
from fastmcp import Client
from fastmcp.client.logging import LogMessage
from pydantic import BaseModel

from research_gateway import build_gateway
from research_shared import Settings

PREFIX = "/research"


async def unprinted(_message: LogMessage) -> None:
    """Keep the gateway's log messages to this client out of our log: what they say is in the results too."""


class Place(BaseModel):
    """A place where something is said."""

    document: str
    line: int
    text: str


def create_app(settings: Settings) -> FastAPI:
    """Return the application. It gives and checks nothing of its own: put your authentication in front of `PREFIX`."""
    gateway = build_gateway(settings)
    # Without authentication, a page in a browser must not be taken for a client: names of this machine are checked.
    mcp_app = gateway.http_app(
        path="/mcp", host_origin_protection=True, allowed_hosts=settings.allowed_hosts or None
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # A mounted application's lifespan is not entered by itself: the gateway's opens the audit trail and starts the
        # index. A client in this process serves the routes of this application, without a network.
        async with mcp_app.lifespan(mcp_app), Client(gateway, log_handler=unprinted) as client:
            app.state.research = client
            yield

    app = FastAPI(title="Our service", lifespan=lifespan)

    @app.get("/find")
    async def find(
        request: Request, words: Annotated[str, Query(min_length=1)], limit: int = 3
    ) -> list[Place]:
        """Return the best places for some words."""
        found = await request.app.state.research.call_tool(
            "search_documents", {"query": words, "limit": limit}, raise_on_error=False
        )
        if found.is_error:
            raise HTTPException(status_code=502, detail=found.content[0].text)
        return [
            Place(document=hit["document"], line=hit["line_number"], text=hit["matched_text"])
            for hit in found.structured_content["matches"]
        ]

    app.mount(PREFIX, mcp_app)
    return app


def __getattr__(name: str) -> FastAPI:
    """Make `app` when uvicorn asks for it, so that importing this file reads no environment."""
    if name == "app":
        return create_app(Settings.load())
    raise AttributeError(name)
