"""The documents of the folder as resources: `resources/list` in pages, however many there are.

FastMCP lists all resources of a server before it cuts out a page, which is too slow for a folder of 100,000 documents.
`list_in_pages` therefore publishes the cursor of the request, and `DocumentResources` (or, in a gateway, the relay to a
remote documents server) lists only that page. Other resources of the server come before the documents. A host that does
not page gets the first page of the documents and the template for all of them.
"""

import json
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import mcp_types
from fastmcp import FastMCP
from fastmcp.resources import Resource
from fastmcp.server.dependencies import bind_request_context
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.server.providers import Provider
from fastmcp.utilities.versions import VersionSpec, dedupe_with_versions
from mcp.server.context import ServerRequestContext
from mcp_types import Annotations, ListResourcesResult, PaginatedRequestParams
from pydantic import AnyUrl

from research_documents.results import Match
from research_shared._framework import low_level_server
from research_shared.document_urls import document_uri
from research_shared.documents import DocumentInfo
from research_shared.errors import InvalidCursor
from research_shared.formats import media_type_of, place
from research_shared.reading.library import Library
from research_shared.tools.cursors import decode_cursor, encode_cursor, fingerprint

MAX_DOCUMENT_LINKS: Final = 10
"""Links to documents that one reply has."""
_QUESTION: Final = fingerprint("resources")
_OTHERS, _DOCUMENTS = "others", "documents"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSize:
    """Limits of one page.

    `entries`: clients that follow cursors by themselves stop after some pages (FastMCP's after 250), so that a page holds
    many. `size_bytes`: well below the 1 MiB that clients accept in one server-sent event.
    """

    entries: int = 500
    size_bytes: int = 256 * 1024


DEFAULT_PAGE_SIZE: Final = PageSize()


@dataclass(slots=True)
class ResourcePage:
    """One page of a listing while it is assembled.

    `cursor` is the client's cursor, and `after` the cursor of the documents inside it (None for the first). The provider
    that lists documents passes at most `size` of them to `take`, or reports its error with `fail`.
    """

    cursor: str | None
    size: PageSize = DEFAULT_PAGE_SIZE
    begun: bool = False
    after: str | None = None
    next_cursor: str | None = None
    _skip: int = 0
    _beyond_others: bool = False
    _taken: dict[str, mcp_types.Resource] = field(default_factory=dict)
    _next_after: str | None = None
    _failure: Exception | None = None

    def begin(self) -> None:
        """Decode the cursor.

        Raises:
            InvalidCursor: this server did not make it.
        """
        self.begun = True
        if self.cursor is None:
            return
        match decode_cursor(self.cursor, _QUESTION):
            case [str(kind), str(after)] if kind == _DOCUMENTS:
                self._beyond_others, self.after = True, after
            case [str(kind), int(skip)] if kind == _OTHERS and skip > 0:
                self._skip = skip
            case _:
                raise InvalidCursor("the cursor is not one of this server's")

    def take(self, documents: Sequence[mcp_types.Resource], next_after: str | None) -> list[Resource]:
        """Store the documents of the page; return the components that represent them inside the server."""
        components = [_component(document) for document in documents]
        self._taken = {
            str(component.uri): document for component, document in zip(components, documents, strict=True)
        }
        self._next_after = next_after
        return components

    def fail(self, error: Exception) -> None:
        """Record why documents could not be listed. FastMCP would skip a failing provider; a page must not."""
        self._failure = error

    def finish(self, listed: Sequence[Resource]) -> list[Resource]:
        """Select the resources that belong on this page.

        Raises:
            Exception: the error recorded by `fail`.
        """
        if self._failure is not None:
            raise self._failure
        documents = [resource for resource in listed if str(resource.uri) in self._taken]
        if self._next_after is not None:
            self.next_cursor = encode_cursor(_QUESTION, [_DOCUMENTS, self._next_after])
        if self._beyond_others:
            return documents
        unique = dedupe_with_versions(list(listed), lambda resource: str(resource.uri))
        others = [resource for resource in unique if str(resource.uri) not in self._taken]
        end = self._skip + self.size.entries
        if len(others) > end:
            self.next_cursor = encode_cursor(_QUESTION, [_OTHERS, end])
            documents = []
        return others[self._skip : end] + documents

    def entry(self, resource: Resource) -> mcp_types.Resource:
        """Return a resource as it is sent: with its size, which FastMCP's components lack."""
        return self._taken.get(str(resource.uri)) or resource.to_mcp_resource(uri=str(resource.uri))


_page: ContextVar[ResourcePage | None] = ContextVar("research_resource_page", default=None)


def current_page() -> ResourcePage | None:
    """Return the page being assembled; None if the host does not page."""
    return _page.get()


class DocumentResources(Provider):
    """Provider that lists the documents of a library one page at a time. The template reads them.

    `page_size` applies in a host that does not page; `list_in_pages` says it otherwise.
    """

    def __init__(self, library: Library, page_size: PageSize = DEFAULT_PAGE_SIZE) -> None:
        super().__init__()
        self._library = library
        self._page_size = page_size

    async def _list_resources(self) -> Sequence[Resource]:
        page = current_page() or ResourcePage(None, self._page_size)
        try:
            found = await self._library.documents_after(page.after or "", page.size.entries + 1)
        except Exception as error:  # (FastMCP would log it and list the rest)
            page.fail(error)
            raise
        shown = _fitting(found, page.size)
        return page.take(
            [to_resource(info) for info in shown], shown[-1].path if len(shown) < len(found) else None
        )

    async def _get_resource(self, uri: str, version: VersionSpec | None = None) -> Resource | None:
        del uri, version
        return None


def to_resource(info: DocumentInfo) -> mcp_types.Resource:
    """Convert a document to an entry of `resources/list`."""
    return mcp_types.Resource(
        uri=document_uri(info.path),
        name=info.path,
        title=info.filename,
        mime_type=info.media_type,
        size=info.size_bytes,
        annotations=Annotations(last_modified=info.modified.isoformat().replace("+00:00", "Z")),
    )


def links_to_documents(matches: Sequence[Match]) -> list[mcp_types.ResourceLink]:
    """Return links to the documents of hits, best first, each with the page of its best hit. They are for people."""
    best: dict[str, Match] = {}
    for match in matches:
        best.setdefault(match.document, match)
    return [
        mcp_types.ResourceLink(
            type="resource_link",
            uri=document_uri(path),
            name=path,
            title=", ".join(filter(None, (path.rpartition("/")[2], place(path, match.page)))),
            mime_type=media_type_of(path),
            annotations=Annotations(audience=["user"]),
        )
        for path, match in list(best.items())[:MAX_DOCUMENT_LINKS]
    ]


def _fitting(found: Sequence[DocumentInfo], page_size: PageSize) -> Sequence[DocumentInfo]:
    """Return the first documents that fit on a page, but at least one."""
    size = 0
    for count, info in enumerate(found[: page_size.entries]):
        size += len(json.dumps(info.path)) + len(json.dumps(info.filename)) + len(document_uri(info.path))
        if count and size > page_size.size_bytes:
            return found[:count]
    return found[: page_size.entries]


def _component(document: mcp_types.Resource) -> Resource:
    return Resource(
        uri=AnyUrl(document.uri),
        name=document.name,
        title=document.title,
        mime_type=document.mime_type or "text/plain",
        annotations=document.annotations,
    )


class ResourcePages(Middleware):
    """Middleware that assembles the page of a listing, inside the scope, limits and audit of the request.

    `list_in_pages` adds it, and makes the server read the cursors:

    >>> from fastmcp import FastMCP
    >>> server = FastMCP("host")
    >>> list_in_pages(server)
    """

    async def on_list_resources(
        self,
        context: MiddlewareContext[mcp_types.ListResourcesRequest],
        call_next: CallNext[mcp_types.ListResourcesRequest, Sequence[Resource]],
    ) -> Sequence[Resource]:
        """Decode the cursor, list, and select the resources of the page."""
        page = current_page()
        if page is None or page.begun:  # the host does not page, or the server this one is mounted in does
            return await call_next(context)
        page.begin()
        return page.finish(await call_next(context))


def list_in_pages(server: FastMCP[Any], page_size: PageSize = DEFAULT_PAGE_SIZE) -> None:
    """Make a server answer `resources/list` in pages of at most `page_size`.

    Call it after adding the other middlewares of the server.
    """
    server.add_middleware(ResourcePages())

    async def list_resources(
        ctx: ServerRequestContext[Any], params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        page = ResourcePage(params.cursor if params is not None else None, page_size)
        token = _page.set(page)
        try:
            with bind_request_context(ctx):
                shown = await server.list_resources()
        finally:
            _page.reset(token)
        return ListResourcesResult(
            resources=[page.entry(resource) for resource in shown], next_cursor=page.next_cursor
        )

    low_level_server(server).add_request_handler("resources/list", PaginatedRequestParams, list_resources)
