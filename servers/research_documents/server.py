"""The documents server: list, search and read what is in the research folder."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastmcp import Context, FastMCP
from fastmcp.resources import ResourceContent, ResourceResult
from fastmcp.tools.base import ToolResult
from mcp_types import InputRequiredResult, TextContent, ToolAnnotations
from pydantic import Field

from research_documents.completion import PATH_TEMPLATE, documents_completion
from research_documents.excerpts import excerpt, whole_text
from research_documents.listing import DEFAULT_LIMIT, MAX_LIMIT, document_facts, filter_notes, list_page
from research_documents.patterns import nothing_there, pattern_notes
from research_documents.quotes import add_quote_prompts, add_quote_tool
from research_documents.rendering import excerpt_text, listing_text, search_text
from research_documents.resources import (
    DEFAULT_PAGE_SIZE,
    DocumentResources,
    PageSize,
    links_to_documents,
    list_in_pages,
)
from research_documents.results import (
    DocumentExcerpt,
    DocumentFacts,
    DocumentList,
    Embedded,
    Indexing,
    Match,
    SearchResult,
    UnreadableDocument,
)
from research_documents.search import IN_PART, DocumentSearch, SearchOutcome, engine_from_settings
from research_documents.search.passages import DEFAULT_PASSAGE_TOKENS, MAX_PASSAGE_TOKENS
from research_documents.search.request import Mode, Snippet
from research_shared.documents import DocumentText
from research_shared.errors import DocumentNotFound
from research_shared.formats import format_of
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.middleware.capabilities import client_shows_apps
from research_shared.middleware.heartbeat import Heartbeat
from research_shared.middleware.scope_meta import ScopeFromRequest
from research_shared.policy import policy_middleware
from research_shared.reading.filters import DocumentFilter
from research_shared.reading.library import Library
from research_shared.serving.health import add_readiness, faults_check, index_check, roots_check
from research_shared.serving.identity import TITLE, new_server
from research_shared.settings import Settings
from research_shared.telemetry import record
from research_shared.text.sizes import counted
from research_shared.tools.activity import waiting
from research_shared.tools.arguments import READ_TEXT, Choose, clamped, or_default, resolve_path
from research_shared.tools.choices import AskUser, choice_of_document, ending_round
from research_shared.tools.descriptions import described
from research_shared.tools.filters import takes_filter
from research_shared.tools.names import INCOMPLETE
from research_shared.tools.progress import ClientLog, Progress
from research_shared.tools.schemas import output_schema

DOCUMENTS_SERVER = "research-documents"
DOCUMENTS_INSTRUCTIONS = (
    "A research folder of PDF, Office, mail, web and text documents. list_research_documents shows what there is. "
    "search_documents finds where something is said: words are ranked by relevance (any of them may match), +word "
    'requires, -word excludes, "a phrase" is exact, file_pattern="papers/**" keeps to a folder. read_document reads '
    "around a hit: it takes the hit's document and a line number. verify_quotes checks quotes of your own text. If a reply begins with INCOMPLETE, repeat the call in "
    "a few seconds before you conclude anything. Results are deterministic and cost no model tokens."
)
READ_ONLY = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
MAX_CONTEXT_LINES = 20
MAX_LINES = 2_000
MAX_MATCHES = 1_000
MIN_PASSAGE_TOKENS = 200

FilePattern = Annotated[
    str,
    Field(description="paths to keep to: papers/** (a folder), *.pdf (any depth), notes/{a,b}*.md"),
    or_default("*"),
]
Cursor = Annotated[
    str,
    Field(description="next_cursor of the reply before; the rest unchanged"),
    or_default(""),
]
SearchQuery = Annotated[
    str,
    Field(
        min_length=1,
        max_length=10_000,
        description='keyword: words (any may match, more rank higher), +must, -not, "a phrase", prefix*, '
        "AND, OR, path:word, title:word; regex: RE2, case-sensitive only with a capital letter",
    ),
    READ_TEXT,
]
SearchMode = Annotated[
    Mode,
    Field(description="keyword: by relevance; hybrid: by meaning, too; regex: every matching line by path"),
    or_default("keyword", choice=True),
]
HowMuch = Annotated[
    Snippet,
    Field(
        description="context: the best hits with lines around them; line: only the lines, for an overview; "
        "passage: whole passages to answer from, the query may be a question"
    ),
    or_default("context", choice=True),
]


def build_documents_server(
    settings: Settings,
    *,
    library: Library | None = None,
    engine: DocumentSearch | None = None,
    heartbeat: Heartbeat | None = None,
    resource_page_size: PageSize = DEFAULT_PAGE_SIZE,
) -> FastMCP[Any]:
    """Build the documents server over the folders of `settings`.

    It runs on its own, mounted in the gateway, or in any other FastMCP host, with the same tools, results and errors.
    Pass a `library` or an `engine` to share it with other servers. `heartbeat` replaces the default one, which keeps
    calls alive for `tool_timeout_s`. `resource_page_size` limits the pages of `resources/list`.

    >>> from pathlib import Path
    >>> from fastmcp import Client
    >>> from research_shared import Root, Settings
    >>> server = build_documents_server(Settings(roots=(Root("research", Path("research")),)))
    >>> async with Client(server) as client:
    ...     found = await client.call_tool("search_documents", {"query": "moon"})
    >>> [(hit["document"], hit["line_number"]) for hit in found.structured_content["matches"]]
    [('tides.md', 3)]

    In a host of your own, mount it: `host.mount(server)`.

    Raises:
        ConfigurationError: a research folder is not usable.
    """
    documents = library or Library.from_settings(settings)
    search = engine or engine_from_settings(documents, settings)

    @asynccontextmanager
    async def lifespan(_server: FastMCP[Any]) -> AsyncIterator[dict[str, Any]]:
        async with documents, search:
            yield {}

    server = new_server(
        DOCUMENTS_SERVER,
        title=f"{TITLE}: documents",
        instructions=DOCUMENTS_INSTRUCTIONS,
        lifespan=lifespan,
        middleware=[
            ErrorBoundary(),
            heartbeat or Heartbeat(patience_s=settings.tool_timeout_s),
            *policy_middleware(settings),
            ScopeFromRequest(),
        ],
        mask_error_details=True,
        on_duplicate="error",
    )

    _add_listing(server, documents, search)
    _add_search_tool(server, documents, search)
    _add_reading(server, documents)
    add_quote_tool(
        server,
        library=documents,
        engine=search,
        annotations=READ_ONLY,
        log_name=DOCUMENTS_SERVER,
        time_limit_s=settings.tool_timeout_s / 2,
    )
    add_quote_prompts(server)
    if settings.connector_tools:
        _add_connectors(server, documents=documents, search=search, settings=settings)
    _add_resources(server, documents, resource_page_size)
    return server


def _add_connectors(
    server: FastMCP[Any], *, documents: Library, search: DocumentSearch, settings: Settings
) -> None:
    """Add `search` and `fetch`, which only some clients ask for; others need not wait for their module."""
    from research_documents.connectors import add_connector_tools

    add_connector_tools(
        server,
        library=documents,
        engine=search,
        annotations=READ_ONLY,
        mode="keyword" if settings.embedding_dir is None and settings.embedding_url is None else "hybrid",
        document_url=settings.document_url,
        extract_timeout_s=documents.limits.reading_s,
    )


def _add_resources(server: FastMCP[Any], documents: Library, page_size: PageSize) -> None:
    """Add the documents as resources: their template, their list in pages, and the completion of their paths."""
    _add_document_template(server, documents)
    server.add_provider(DocumentResources(documents, page_size))
    list_in_pages(server, page_size)
    server.add_completion_handler(documents_completion(documents))


def _add_listing(server: FastMCP[Any], documents: Library, search: DocumentSearch) -> None:
    @described(
        server.tool,
        title="List research documents",
        annotations=READ_ONLY,
        output_schema=output_schema(DocumentList),
    )
    @takes_filter
    async def list_research_documents(
        ctx: Context,
        file_pattern: FilePattern = "*",
        limit: Annotated[
            int, Field(description="documents on one page, 1 to 1000"), or_default(DEFAULT_LIMIT)
        ] = DEFAULT_LIMIT,
        cursor: Cursor = "",
        *,
        wanted: DocumentFilter,
    ) -> ToolResult:
        """List the documents of the research folder by path, with size, day of change, title, authors, date, versions.

        Start here: the other tools take these paths. To find what is said in them, use search_documents.
        """
        notes = pattern_notes(file_pattern)
        limit = clamped(limit, "limit", least=1, most=MAX_LIMIT, notes=notes)
        page = await list_page(
            documents,
            search,
            pattern=file_pattern,
            wanted=wanted,
            limit=limit,
            cursor=cursor or None,
            notes=notes,
            on_progress=Progress(ctx, 1).advance,
        )
        await ClientLog(ctx, DOCUMENTS_SERVER).info(
            f"{page.count} of {counted(page.total, 'document')} listed"
        )
        return ToolResult(listing_text(page), page.model_dump(mode="json"))


def _add_search_tool(server: FastMCP[Any], documents: Library, search: DocumentSearch) -> None:
    @described(
        server.tool,
        title="Search documents",
        annotations=READ_ONLY,
        output_schema=output_schema(SearchResult),
    )
    @takes_filter
    async def search_documents(
        ctx: Context,
        query: SearchQuery,
        *,
        limit: Annotated[int, Field(description="matches on one page, 1 to 1000"), or_default(10)] = 10,
        mode: SearchMode = "keyword",
        file_pattern: FilePattern = "*",
        snippet: HowMuch = "context",
        context_lines: Annotated[
            int,
            Field(description="show so many lines around each match instead, 1 to 20"),
            or_default(0),
        ] = 0,
        max_tokens: Annotated[
            int,
            Field(description="of all whole passages, 200 to 12000"),
            or_default(DEFAULT_PASSAGE_TOKENS),
        ] = DEFAULT_PASSAGE_TOKENS,
        cursor: Cursor = "",
        wanted: DocumentFilter,
    ) -> ToolResult:
        """Find where something is said. The text groups hits by document: `12: hit`, `12 p3: hit on page 3`, `11 line around it`.

        Use a few words of the answer, not a sentence; try other words when nothing fits. Read around a hit with
        read_document(document_path=document, start_line=line_number - 10). `truncated`: more with the cursor, or
        narrow the search. `indexing` and a warning INCOMPLETE: hits may be missing, repeat in a few seconds.
        `unreadable`: documents, or pages of them, that no search can find anything in.
        """
        notes = pattern_notes(file_pattern)
        limit = clamped(limit, "limit", least=1, most=MAX_MATCHES, notes=notes)
        context_lines = clamped(context_lines, "context_lines", least=0, most=MAX_CONTEXT_LINES, notes=notes)
        max_tokens = clamped(
            max_tokens, "max_tokens", least=MIN_PASSAGE_TOKENS, most=MAX_PASSAGE_TOKENS, notes=notes
        )
        outcome = await search.search(
            query,
            mode=mode,
            limit=limit,
            file_pattern=file_pattern,
            context_lines=context_lines,
            snippet=snippet,
            max_tokens=max_tokens,
            cursor=cursor or None,
            on_progress=Progress(ctx, 1).advance,
            wanted=wanted,
        )
        chosen = filter_notes(search, file_pattern, wanted, found=outcome.total_documents > 0)
        if outcome.total_documents == 0 and not outcome.hits:
            notes += await nothing_there(documents, file_pattern)
        await _report(ClientLog(ctx, DOCUMENTS_SERVER), outcome)
        result = _search_result(outcome, notes, chosen=chosen, documents=document_facts(search, outcome.hits))
        text = search_text(result, ranked=mode != "regex")
        # Links are blocks that other clients pass to their models or do not know.
        links = links_to_documents(result.matches) if client_shows_apps(ctx) else []
        return ToolResult([TextContent(type="text", text=text), *links], result.model_dump(mode="json"))


def _add_reading(server: FastMCP[Any], documents: Library) -> None:
    @described(
        server.tool,
        title="Read document",
        annotations=READ_ONLY,
        output_schema=output_schema(DocumentExcerpt),
    )
    async def read_document(
        ctx: Context,
        document_path: Annotated[
            str, Field(description="path of a listing or a hit; a unique file name will do"), READ_TEXT
        ],
        start_line: Annotated[
            int, Field(description="first line, from 1; smaller numbers mean 1"), or_default(1)
        ] = 1,
        max_lines: Annotated[
            int, Field(description="1 to 2000; long lines may end a reply before"), or_default(200)
        ] = 200,
        page: Annotated[
            int,
            Field(description="read this page, from 1, of a document with pages; 0: by line"),
            or_default(0),
        ] = 0,
    ) -> ToolResult | InputRequiredResult:
        """Read lines of one document, each with the number that search_documents gives, `[page 2]` where a page begins.

        Go on with start_line=next_start_line until it is null.
        """
        notes: list[str] = []
        start_line = clamped(start_line, "start_line", least=1, notes=notes)
        max_lines = clamped(max_lines, "max_lines", least=1, most=MAX_LINES, notes=notes)
        page = clamped(page, "page", least=0, notes=notes)
        record(documents=[document_path])
        try:
            with waiting(document_path, limit_s=documents.limits.reading_s):
                text = await _read_document(
                    documents, document_path, choose=choice_of_document(ctx, document_path)
                )
        except AskUser as ask:
            return ending_round(ask, state="document")
        record(documents=[text.path])
        shown = excerpt(text, start_line=start_line, max_lines=max_lines, page=page or None, notes=notes)
        client_log = ClientLog(ctx, DOCUMENTS_SERVER)
        for note in text.notes:
            await client_log.warning(f"{text.path}: {note}")
        await client_log.info(
            f"{len(shown.lines)} of {counted(shown.total_lines, 'line')} of {text.path} read"
        )
        return ToolResult(excerpt_text(shown), shown.model_dump(mode="json"))


def _add_document_template(server: FastMCP[Any], documents: Library) -> None:
    # The roots confine the path. FastMCP's own check would reject valid names that only look absolute.
    @server.resource(
        PATH_TEMPLATE, name="document", title="Document text", mime_type="text/plain", security=None
    )
    async def document(path: str) -> ResourceResult:
        """The text of one document; a very long one is cut, and says so at its end."""
        record(documents=[path])
        text = await documents.read(path)
        mime_type = "text/markdown" if format_of(text.media_type).markdown else "text/plain"
        return ResourceResult(contents=[ResourceContent(whole_text(text), mime_type=mime_type)])


async def _read_document(library: Library, given: str, *, choose: Choose) -> DocumentText:
    """Read the document that a path names, exactly or leniently."""
    try:
        try:
            return await library.read(given)
        except DocumentNotFound:
            return await library.read(await resolve_path(library, given, choose=choose))
    except DocumentNotFound as error:
        if faults := library.fault_warnings():
            error.hint = " ".join([*faults, error.hint])
        raise


async def _report(client_log: ClientLog, outcome: SearchOutcome) -> None:
    for path, reason in outcome.unreadable:
        how = "was searched" if reason.startswith(IN_PART) else "could not be searched:"
        await client_log.warning(f"{path} {how} {reason}")
    for warning in outcome.warnings:
        await client_log.warning(warning)
    more = ", and there are more" if outcome.truncated else ""
    await client_log.info(
        f"{counted(len(outcome.hits), 'match', 'matches')} in {counted(outcome.total_documents, 'document')}{more}"
    )
    record(documents=sorted({hit.document for hit in outcome.hits}))


def _search_result(
    outcome: SearchOutcome, notes: Sequence[str], *, chosen: Sequence[str], documents: Sequence[DocumentFacts]
) -> SearchResult:
    """Return the result of a search: what is incomplete first, then what the filters did, then the other warnings."""
    incomplete = [warning for warning in outcome.warnings if warning.startswith(INCOMPLETE)]
    others = [warning for warning in outcome.warnings if not warning.startswith(INCOMPLETE)]
    return SearchResult(
        matches=tuple(
            Match(
                document=hit.document,
                line_number=hit.line_number,
                matched_text=hit.matched_text,
                page=hit.page,
                score=None if hit.score is None else float(f"{hit.score:.3g}"),
                before=hit.before,
                after=hit.after,
                ocr=hit.ocr,
            )
            for hit in outcome.hits
        ),
        total_documents=outcome.total_documents,
        truncated=outcome.truncated,
        unreadable=tuple(UnreadableDocument(path=path, reason=reason) for path, reason in outcome.unreadable),
        documents=tuple(documents),
        warnings=(*incomplete, *chosen, *others, *notes),
        next_cursor=outcome.next_cursor,
        embedded=Embedded(
            done=outcome.embedded[0], total=outcome.embedded[1], stopped=outcome.embedding_stopped
        )
        if outcome.embedded
        else None,
        indexing=Indexing(done=outcome.indexing[0], total=outcome.indexing[1]) if outcome.indexing else None,
    )


def build_standalone_server(settings: Settings) -> FastMCP[Any]:
    """Build the documents server for a process of its own: it answers `GET /readyz` as well, and names its faults there.

    Raises:
        ConfigurationError: a research folder is not usable.
    """
    documents = Library.from_settings(settings)
    search = engine_from_settings(documents, settings)
    server = build_documents_server(settings, library=documents, engine=search)
    add_readiness(
        server,
        {
            "roots": roots_check(documents.roots),
            "faults": faults_check(documents.roots),
            "index": index_check(lambda: search.indexing, problem=lambda: search.problem),
        },
    )
    return server


def create_server() -> FastMCP[Any]:
    """Build the documents server from the environment, for `fastmcp run` and other launchers."""
    return build_standalone_server(Settings.load())
