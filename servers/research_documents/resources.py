"""The documents of the folder as resources: `resources/list` in pages, however many there are.

FastMCP lists all resources of a server and then cuts out a page. For a folder of 100,000 documents that is too late, so
the servers here ask for a page first: `list_in_pages` puts the cursor of a request where `DocumentResources` and, behind
a gateway, the relay to a remote documents server find it. What else a server lists comes before the documents. A host
that knows nothing of this gets the first page of the documents and the template for all of them.
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
from fastmcp.server.middleware import CallNext, MiddlewareContext
from fastmcp.server.providers import Provider
from fastmcp.utilities.versions import VersionSpec, dedupe_with_versions
from mcp.server.context import ServerRequestContext
from mcp_types import Annotations, ListResourcesResult, PaginatedRequestParams
from pydantic import AnyUrl

from research_shared.document_urls import document_uri
from research_shared.documents import DocumentInfo
from research_shared.errors import InvalidCursor
from research_shared.middleware.layer import Layer
from research_shared.reading.library import Library
from research_shared.tools.cursors import decode_cursor, encode_cursor, fingerprint

PAGE_ENTRIES: Final = 500
"""Clients that go through the pages by themselves stop after some: FastMCP's after 250."""
PAGE_BYTES: Final = 256 * 1024
"""A page stays well below the 1 MiB that clients accept in one server-sent event."""
_QUESTION: Final = fingerprint("resources")
_OTHERS, _DOCUMENTS = "others", "documents"


@dataclass(slots=True)
class ResourcePage:
    """One page of a listing while it is put together.

    `cursor` is the client's. `after` is the cursor of the documents within it, None for their beginning. Whoever lists
    documents gives them to `take`, or says with `fail` why it cannot.
    """

    cursor: str | None
    begun: bool = False
    after: str | None = None
    next_cursor: str | None = None
    _skip: int = 0
    _beyond_others: bool = False
    _taken: dict[str, mcp_types.Resource] = field(default_factory=dict)
    _next_after: str | None = None
    _failure: Exception | None = None

    def begin(self) -> None:
        """Read the cursor.

        Raises:
            InvalidCursor: it is none of ours.
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
        """Keep these documents for the page, and give what stands for them on the way through the server."""
        components = [_component(document) for document in documents]
        self._taken = {
            str(component.uri): document for component, document in zip(components, documents, strict=True)
        }
        self._next_after = next_after
        return components

    def fail(self, error: Exception) -> None:
        """Say why there are no documents: a server goes on without what it cannot list, a page must not."""
        self._failure = error

    def finish(self, listed: Sequence[Resource]) -> list[Resource]:
        """What of all that is listed belongs on the page.

        Raises:
            Exception: the one that kept the documents from being listed.
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
        end = self._skip + PAGE_ENTRIES
        if len(others) > end:
            self.next_cursor = encode_cursor(_QUESTION, [_OTHERS, end])
            documents = []
        return others[self._skip : end] + documents

    def entry(self, resource: Resource) -> mcp_types.Resource:
        """A resource as the client gets it: FastMCP's components have no size."""
        return self._taken.get(str(resource.uri)) or resource.to_mcp_resource(uri=str(resource.uri))


_page: ContextVar[ResourcePage | None] = ContextVar("research_resource_page", default=None)


def current_page() -> ResourcePage | None:
    """The page that is asked for; None where all resources are, by a host that does not page."""
    return _page.get()


class DocumentResources(Provider):
    """Lists the documents of a library, a page at a time. Its template reads them."""

    def __init__(self, library: Library) -> None:
        super().__init__()
        self._library = library

    async def _list_resources(self) -> Sequence[Resource]:
        page = current_page() or ResourcePage(None)
        try:
            found = await self._library.documents_after(page.after or "", PAGE_ENTRIES + 1)
        except Exception as error:  # (FastMCP would log it and list the rest)
            page.fail(error)
            raise
        shown = _fitting(found)
        return page.take(
            [to_resource(info) for info in shown], shown[-1].path if len(shown) < len(found) else None
        )

    async def _get_resource(self, uri: str, version: VersionSpec | None = None) -> Resource | None:
        del uri, version
        return None


def to_resource(info: DocumentInfo) -> mcp_types.Resource:
    """A document as an entry of `resources/list`."""
    return mcp_types.Resource(
        uri=document_uri(info.path),
        name=info.path,
        title=info.filename,
        mime_type=info.media_type,
        size=info.size_bytes,
        annotations=Annotations(last_modified=info.modified.isoformat().replace("+00:00", "Z")),
    )


def _fitting(found: Sequence[DocumentInfo]) -> Sequence[DocumentInfo]:
    """As many of the first documents as fit on a page, and at least one."""
    size = 0
    for count, info in enumerate(found[:PAGE_ENTRIES]):
        size += len(json.dumps(info.path)) + len(json.dumps(info.filename)) + len(document_uri(info.path))
        if count and size > PAGE_BYTES:
            return found[:count]
    return found[:PAGE_ENTRIES]


def _component(document: mcp_types.Resource) -> Resource:
    return Resource(
        uri=AnyUrl(document.uri),
        name=document.name,
        title=document.title,
        mime_type=document.mime_type or "text/plain",
        annotations=document.annotations,
    )


class ResourcePages(Layer):
    """Puts the page of a listing together, within whatever narrows, limits and records the request."""

    async def on_list_resources(
        self,
        context: MiddlewareContext[mcp_types.ListResourcesRequest],
        call_next: CallNext[mcp_types.ListResourcesRequest, Sequence[Resource]],
    ) -> Sequence[Resource]:
        """Read the cursor, list, and keep what belongs on the page."""
        page = current_page()
        if page is None or page.begun:  # nobody pages, or the server that this one is mounted in does
            return await call_next(context)
        page.begin()
        return page.finish(await call_next(context))


def list_in_pages(server: FastMCP[Any]) -> None:
    """Have a server answer `resources/list` in pages of at most `PAGE_ENTRIES` documents.

    Add it after the server's other middlewares.
    """
    server.add_middleware(ResourcePages())

    async def list_resources(
        ctx: ServerRequestContext[Any], params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        page = ResourcePage(params.cursor if params is not None else None)
        token = _page.set(page)
        try:
            with bind_request_context(ctx):
                shown = await server.list_resources()
        finally:
            _page.reset(token)
        return ListResourcesResult(
            resources=[page.entry(resource) for resource in shown], next_cursor=page.next_cursor
        )

    # Private to FastMCP, whose own handler can only cut a page out of the whole list; the SDK's method is public.
    server._mcp_server.add_request_handler("resources/list", PaginatedRequestParams, list_resources)  # noqa: SLF001
