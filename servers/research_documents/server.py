"""The documents server: list, search and read what is in the research folder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastmcp import Context, FastMCP
from fastmcp.resources import ResourceContent, ResourceResult
from mcp_types import ToolAnnotations
from pydantic import Field

from research_documents.completion import PATH_TEMPLATE, path_completion
from research_documents.excerpts import excerpt, whole_text
from research_documents.listing import list_page
from research_documents.results import (
    DocumentExcerpt,
    DocumentList,
    Indexing,
    Match,
    SearchResult,
    Unreadable,
)
from research_documents.search import SearchEngine, SearchOutcome
from research_shared.boundary import ErrorBoundary
from research_shared.identity import TITLE, new_server
from research_shared.library import Library
from research_shared.progress import ClientLog, Progress
from research_shared.scope_meta import ScopeFromRequest
from research_shared.settings import Settings
from research_shared.telemetry import record

NAME = "research-documents"
INSTRUCTIONS = (
    "A research folder of PDF, Markdown and text documents. Call list_research_documents to see what there is, "
    "search_documents to find where something is said, and read_document to read around a hit: a hit's document and "
    "line_number are what read_document takes. Results are deterministic and cost no model tokens."
)
READ_ONLY = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)

DocumentPath = Annotated[
    str,
    Field(
        description="path of a document, exactly as list_research_documents gives it",
        examples=["reports/q3.pdf"],
    ),
]
FilePattern = Annotated[
    str,
    Field(
        description="glob over document paths: * within a directory, ** across, ? one character, [a-z], {pdf,md}; "
        "without a slash it matches at any depth",
        examples=["*.pdf", "reports/**/*.md"],
    ),
]
Cursor = Annotated[
    str | None, Field(description="next_cursor of the page before; the other arguments must not change")
]


def build_documents_server(
    settings: Settings, *, library: Library | None = None, engine: SearchEngine | None = None
) -> FastMCP[Any]:
    """The documents server over the folders of `settings`.

    It runs alone, mounted in the gateway or in any other FastMCP host, with the same tools, results and errors.
    A `library` or an `engine` that is passed in is shared with whoever else uses it.
    """
    documents = library or Library.from_settings(settings)
    search = engine or SearchEngine.from_settings(documents, settings)

    @asynccontextmanager
    async def lifespan(_server: FastMCP[Any]) -> AsyncIterator[dict[str, Any]]:
        async with documents, search:
            yield {}

    server = new_server(
        NAME,
        title=f"{TITLE}: documents",
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        middleware=[ErrorBoundary(), ScopeFromRequest()],
        mask_error_details=True,
        on_duplicate="error",
    )

    @server.tool(title="List research documents", annotations=READ_ONLY)
    async def list_research_documents(
        ctx: Context,
        file_pattern: FilePattern = "*",
        limit: Annotated[int, Field(ge=1, le=1_000, description="documents on one page")] = 200,
        cursor: Cursor = None,
    ) -> DocumentList:
        """List the documents of the research folder, sorted by path, with size, type and time of change.

        Start here: the other tools take the paths that this one gives.
        """
        page = await list_page(documents, file_pattern, limit, cursor)
        await ClientLog(ctx, NAME).info(f"{page.count} of {page.total} documents listed")
        return page

    @server.tool(title="Search documents", annotations=READ_ONLY)
    async def search_documents(
        ctx: Context,
        query: Annotated[
            str,
            Field(
                min_length=1,
                max_length=10_000,
                description='keyword mode: words, "a phrase", +must, -not, prefix*, AND, OR, path:word, title:word; '
                "regex mode: a regular expression (RE2 syntax), case-sensitive only if it has a capital letter",
            ),
        ],
        limit: Annotated[int, Field(ge=1, le=1_000, description="matches on one page")] = 10,
        mode: Annotated[
            Literal["keyword", "regex"],
            Field(description="keyword ranks by relevance; regex finds every line"),
        ] = "keyword",
        file_pattern: FilePattern = "*",
        context_lines: Annotated[
            int, Field(ge=0, le=20, description="lines shown before and after a match")
        ] = 0,
        cursor: Cursor = None,
    ) -> SearchResult:
        """Find where something is said: each match names its document, line and (in PDFs) page.

        Read around a match with read_document(document_path=document, start_line=line_number - 10).
        """
        progress = Progress(ctx, 1)

        async def advance(done: int, total: int) -> None:
            progress.total = total
            await progress.to(done, "documents searched")

        outcome = await search.search(
            query,
            mode=mode,
            limit=limit,
            file_pattern=file_pattern,
            context_lines=context_lines,
            cursor=cursor,
            on_progress=advance,
        )
        await _report(ClientLog(ctx, NAME), outcome)
        return _search_result(outcome)

    @server.tool(title="Read document", annotations=READ_ONLY)
    async def read_document(
        ctx: Context,
        document_path: DocumentPath,
        start_line: Annotated[int, Field(ge=1, description="first line, 1-based")] = 1,
        max_lines: Annotated[int, Field(ge=1, le=2_000, description="lines at the most")] = 200,
        page: Annotated[
            int | None, Field(ge=1, description="read this page instead (1-based, documents with pages only)")
        ] = None,
    ) -> DocumentExcerpt:
        """Read lines of one document, numbered as search_documents counts them.

        Go on with start_line=next_start_line until it is null.
        """
        record(documents=[document_path])
        text = await documents.read(document_path)
        shown = excerpt(text, start_line=start_line, max_lines=max_lines, page=page)
        tell = ClientLog(ctx, NAME)
        for note in text.notes:
            await tell.warning(f"{document_path}: {note}")
        await tell.info(f"{len(shown.lines)} of {shown.total_lines} lines of {document_path} read")
        return shown

    # The roots confine the path; the framework's own screening would turn away names that only look absolute.
    @server.resource(
        PATH_TEMPLATE, name="document", title="Document text", mime_type="text/plain", security=None
    )
    async def document(path: str) -> ResourceResult:
        """The text of one document; a very long one is cut, and says so at its end."""
        record(documents=[path])
        text = await documents.read(path)
        mime_type = "text/markdown" if text.media_type == "text/markdown" else "text/plain"
        return ResourceResult(contents=[ResourceContent(whole_text(text), mime_type=mime_type)])

    server.add_completion_handler(path_completion(documents))
    return server


async def _report(tell: ClientLog, outcome: SearchOutcome) -> None:
    for path, reason in outcome.unreadable:
        await tell.warning(f"{path} could not be searched: {reason}")
    for warning in outcome.warnings:
        await tell.warning(warning)
    more = ", and there are more" if outcome.truncated else ""
    await tell.info(f"{len(outcome.hits)} matches in {outcome.total_documents} documents{more}")
    record(documents=sorted({hit.document for hit in outcome.hits}))


def _search_result(outcome: SearchOutcome) -> SearchResult:
    return SearchResult(
        matches=tuple(
            Match(
                document=hit.document,
                line_number=hit.line_number,
                matched_text=hit.matched_text,
                page=hit.page,
                score=hit.score,
                before=hit.before,
                after=hit.after,
            )
            for hit in outcome.hits
        ),
        total_documents=outcome.total_documents,
        truncated=outcome.truncated,
        unreadable=tuple(Unreadable(path=path, reason=reason) for path, reason in outcome.unreadable),
        warnings=outcome.warnings,
        next_cursor=outcome.next_cursor,
        indexing=Indexing(done=outcome.indexing[0], total=outcome.indexing[1]) if outcome.indexing else None,
    )


def create_server() -> FastMCP[Any]:
    """The documents server as the environment configures it, for `fastmcp run` and other launchers."""
    return build_documents_server(Settings.load())
