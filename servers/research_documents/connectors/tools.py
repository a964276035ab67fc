"""`search` and `fetch` as tools of a server.

The result shapes are OpenAI's: `search` returns ids, titles and URLs, `fetch` the text of an id. Both return one text item
of JSON, and the same as structured content. An id is a `DocumentId`.
"""

from typing import Annotated, Any, Final

from fastmcp import Context, FastMCP
from mcp_types import ToolAnnotations
from pydantic import Field

from research_documents.connectors.connector import Connector
from research_documents.connectors.parts import MAX_TOKENS
from research_documents.connectors.results import ConnectorResults, FetchedDocument
from research_documents.search import IN_PART, DocumentSearch, SearchOutcome
from research_documents.search.request import Mode
from research_shared.document_urls import LinkTemplate
from research_shared.reading.library import Library
from research_shared.telemetry import record
from research_shared.text.sizes import counted
from research_shared.tools.arguments import READ_TEXT
from research_shared.tools.descriptions import described
from research_shared.tools.progress import ClientLog, Progress
from research_shared.tools.schemas import output_schema

MAX_HITS: Final = 60
"""Hits requested per search; several hits on one page become one result."""


def _connector_warnings(outcome: SearchOutcome) -> tuple[str, ...]:
    """Return why results may be missing; an incomplete index comes first."""
    if not outcome.unreadable:
        return outcome.warnings
    count = len(outcome.unreadable)
    partial = sum(reason.startswith(IN_PART) for _, reason in outcome.unreadable)
    said = [
        counted(number, f"document {one}", f"documents {many}")
        for number, one, many in (
            (count - partial, "gives no text and was not searched", "give no text and were not searched"),
            (partial, "was searched in part", "were searched in part"),
        )
        if number
    ]
    return (*outcome.warnings, *said)


def add_connector_tools(
    server: FastMCP[Any],
    *,
    library: Library,
    engine: DocumentSearch,
    annotations: ToolAnnotations,
    mode: Mode = "keyword",
    document_url: str | None = None,
    extract_timeout_s: float = 60.0,
    max_tokens: int = MAX_TOKENS,
) -> None:
    """Add `search` and `fetch` to a server.

    `mode` is how `search` ranks. `document_url` is a `LinkTemplate`; without it, URLs are `research://` URIs. Progress is reported while `fetch` waits
    for a document, for up to `extract_timeout_s` seconds. `max_tokens` is the estimated size of one fetched text.

    Raises:
        ValueError: `document_url` is not a valid template.
    """
    links = LinkTemplate.parse(document_url) if document_url is not None else None
    connector = Connector(
        library=library, links=links, extract_timeout_s=extract_timeout_s, max_tokens=max_tokens
    )
    _add_search(server, connector=connector, engine=engine, mode=mode, annotations=annotations)
    _add_fetch(server, connector=connector, annotations=annotations)


def _add_search(
    server: FastMCP[Any],
    *,
    connector: Connector,
    engine: DocumentSearch,
    mode: Mode,
    annotations: ToolAnnotations,
) -> None:
    @described(
        server.tool,
        title="Search the research folder",
        annotations=annotations,
        output_schema=output_schema(ConnectorResults),
    )
    async def search(
        ctx: Context,
        query: Annotated[
            str,
            Field(
                min_length=1,
                max_length=10_000,
                description='words (the more of them a passage has, the better), "a phrase", +must, -not',
            ),
            READ_TEXT,
        ],
    ) -> ConnectorResults:
        """Find documents of the research folder (PDF, Office, mail, text) by words; best first. Then fetch a result by its id.

        Results are pages of PDFs and documents or parts of other files. A warning that begins with INCOMPLETE says that
        the index is still being built: search again in a few seconds.
        """
        outcome = await engine.search(query, mode=mode, limit=MAX_HITS, on_progress=Progress(ctx, 1).advance)
        results = await connector.results(outcome)
        record(documents=sorted({hit.document for hit in outcome.hits}))
        client_log = ClientLog(ctx, server.name)
        warnings = _connector_warnings(outcome)
        for warning in warnings:
            await client_log.warning(warning)
        await client_log.info(
            f"{counted(len(results), 'result')} in {counted(outcome.total_documents, 'document')}"
        )
        return ConnectorResults(results=tuple(results), warnings=warnings)


def _add_fetch(server: FastMCP[Any], *, connector: Connector, annotations: ToolAnnotations) -> None:
    @described(
        server.tool,
        title="Fetch a document",
        annotations=annotations,
        output_schema=output_schema(FetchedDocument),
    )
    async def fetch(
        ctx: Context,
        id: Annotated[  # noqa: A002  (the name is the contract's)
            str,
            Field(
                min_length=1,
                max_length=20_000,
                description="an id that search gave, or a document's path: the whole document, "
                "#page=3 behind it for one page, #lines=2001- for the lines from there",
                examples=["papers/tor.pdf#page=3", "notes/log.txt"],
            ),
            READ_TEXT,
        ],
    ) -> FetchedDocument:
        """Get the text of a document, a page or a part that search found.

        A long text is cut at a line's end. Then metadata.truncated is true, and metadata.next_id and the last line of the
        text name the id that gets the rest.
        """
        fetched = await connector.fetch(id)
        await ClientLog(ctx, server.name).info(
            f"{fetched.id} fetched: lines {fetched.metadata.lines} of {fetched.metadata.total_lines}"
        )
        return fetched
