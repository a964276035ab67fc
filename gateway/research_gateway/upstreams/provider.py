"""FastMCP provider for the components of an upstream.

While the upstream is down, its last known lists are served and calls fail with `backend_unavailable`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import anyio
import mcp_types
from fastmcp.apps import UI_MIME_TYPE
from fastmcp.client import Client
from fastmcp.prompts import Prompt
from fastmcp.resources import Resource, ResourceTemplate
from fastmcp.server.providers.proxy import ClientFactoryT, ProxyProvider
from fastmcp.tools import Tool
from fastmcp.utilities.versions import VersionSpec
from mcp import MCPError
from mcp_types import METHOD_NOT_FOUND

from research_documents.resources import ResourcePage, current_page
from research_gateway.upstreams.components import HeldTool, PlaceholderTool, relay_component, relayed
from research_gateway.upstreams.listing import KnownLists
from research_gateway.upstreams.offers.apps import APP_SCHEME, names_app
from research_gateway.upstreams.offers.foreign import ForeignOffers
from research_gateway.upstreams.offers.names import can_be_namespaced, namespaced_uri
from research_gateway.upstreams.offers.pins import ToolPins
from research_gateway.upstreams.sessions import Upstream
from research_shared.access.scope import EVERYTHING, current_scope
from research_shared.document_urls import DOCUMENT_URI
from research_shared.errors import BackendRefused
from research_shared.middleware.scope_meta import SCOPE_META_KEY

MAX_COMPLETIONS = 100
MAX_COMPLETION = 8_192
"""Characters of one completed value."""
Seed = Callable[[], Awaitable[Sequence[mcp_types.Tool]]]


class UpstreamProvider(ProxyProvider):
    """The components of one upstream.

    `seed` gives the tools to list before the upstream's first answer. `namespaced`: names with the upstream's prefix
    can only be its own, so a call of an unknown one fails with `backend_unavailable`. `documents`: its resources are
    documents, which are many and depend on the client's scope, so they are requested page by page and not cached.
    `watch`: poll the upstream in the background. `pins`: the tools of foreign servers as they were first seen.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        seed: Seed | None = None,
        namespaced: bool = False,
        documents: bool = False,
        watch: bool = True,
        pins: ToolPins | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(cast("ClientFactoryT", upstream.lease))
        self._offers = None if upstream.ours else ForeignOffers(upstream.name, pins or ToolPins())
        self.upstream = upstream
        self._seed = seed
        self._namespaced = namespaced
        self._documents = documents
        self._watch = watch
        self.lists = KnownLists(
            upstream=upstream.name,
            fetch=self._fetch,
            seeded=self._seeded,
            timings=upstream.timings,
            clock=clock,
        )
        upstream.on_change = self.lists.forget

    @property
    def available(self) -> bool | None:
        """Whether the upstream answered the last refresh; None before the first."""
        return self.lists.available

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Poll the upstream while the gateway runs. Close its sessions when the gateway stops."""
        # Not a task group: a server's lifespan may exit in another task than it was entered in.
        watcher = asyncio.create_task(self.lists.watch()) if self._watch else None
        async with self.upstream:
            try:
                yield
            finally:
                if watcher is not None:
                    watcher.cancel()
                    await asyncio.wait([watcher])
                await self.lists.stop()

    @property
    def held_back(self) -> int:
        """Number of tools that are not offered, because they have changed since they were first seen."""
        return len(self._offers.held) if self._offers is not None else 0

    async def _list_tools(self) -> Sequence[Tool]:
        return await self.lists.get("tools")

    async def _list_resources(self) -> Sequence[Resource]:
        if not self._documents:
            return await self.lists.get("resources")
        page = current_page() or ResourcePage(None)
        try:
            listed = await relayed(self.upstream, lambda: self._documents_after(page.after))
        except Exception as error:  # (FastMCP would log it and list the rest)
            # A server of ours already refuses with the gateway's own error codes.
            said = error.__cause__ if isinstance(error, BackendRefused) else None
            page.fail(said if isinstance(said, MCPError) else error)
            raise
        own = [item for item in listed.resources if item.uri.startswith(DOCUMENT_URI)]
        return page.take(own, listed.next_cursor)

    async def _documents_after(self, cursor: str | None) -> mcp_types.ListResourcesResult:
        """Request the page after `cursor`, within the scope of the request being served."""
        params = mcp_types.PaginatedRequestParams(cursor=cursor, _meta=_scope_meta())
        with anyio.fail_after(self.upstream.timings.list_timeout_s):
            async with self._leased() as client:
                return await client.session.list_resources(params=params)

    def _leased(self) -> AbstractAsyncContextManager[Client[Any]]:
        return cast("AbstractAsyncContextManager[Client[Any]]", self.upstream.lease())

    async def _list_resource_templates(self) -> Sequence[ResourceTemplate]:
        return await self.lists.get("resource_templates")

    async def _list_prompts(self) -> Sequence[Prompt]:
        return await self.lists.get("prompts")

    async def _fetch(self, kind: str) -> Sequence[Any]:
        items = await relayed(self.upstream, lambda: self._asked(kind))
        if self._offers is None:
            return [self._component(kind, item) for item in items]
        offered = []
        for name, item in await asyncio.to_thread(self._offers.chosen, kind, items):
            try:
                offered.append(self._component(kind, item, shown_name=name))
            except (ValueError, TypeError) as error:  # what MCP allows and FastMCP does not
                self._offers.leave_out(kind, name, f"it cannot be offered: {type(error).__name__}")
        return offered

    async def _asked(self, kind: str) -> Sequence[Any]:
        if kind == "resources" and self._documents:
            return ()
        async with self._leased() as client:
            try:
                return await self._pages(kind, client)
            except MCPError as error:
                if error.code == METHOD_NOT_FOUND:
                    return ()
                raise

    async def _pages(self, kind: str, client: Any) -> Sequence[Any]:
        """Return the items of all pages together, within the limits of the upstream."""
        items: list[Any] = []
        cursor: str | None = None
        seen: set[str] = set()
        ask = getattr(client, f"list_{kind}_mcp")
        while True:
            page = await ask(cursor=cursor)
            items += getattr(page, kind)
            cursor = page.next_cursor
            if cursor is None or cursor in seen or len(items) >= self.upstream.limits.items:
                return items[: self.upstream.limits.items]
            seen.add(cursor)

    def _component(self, kind: str, item: Any, *, shown_name: str | None = None) -> Any:
        return relay_component(
            upstream=self.upstream,
            factory=self.client_factory,
            kind=kind,
            item=item,
            shown_name=shown_name,
        )

    async def _seeded(self, kind: str) -> Sequence[Any]:
        if kind != "tools" or self._seed is None:
            return ()
        return [self._component(kind, tool) for tool in await self._seed()]

    async def _lookup(self, kind: str, matches: Callable[[Any], bool]) -> Any:
        """Return the matching component of the last known list; refresh the list if none matches."""
        known = self.lists.known(kind)
        if known is None and kind == "tools" and self._seed is not None:
            # The tools of a server of ours are fixed, so a miss needs no round trip.
            return next(filter(matches, await self._seeded(kind)), None)
        found = next(filter(matches, known or ()), None)
        return found or next(filter(matches, await self.lists.get(kind)), None)

    async def _get_tool(self, name: str, version: VersionSpec | None = None) -> Tool | None:
        del version
        tool: Tool | None = await self._lookup("tools", lambda tool: tool.name == name)
        if tool is None and self._offers is not None and name in self._offers.held:
            return HeldTool.of(self.upstream, name)
        if tool is None and self._namespaced and self.lists.known("tools") is None:
            tool = PlaceholderTool.of(self.upstream, name)
        return tool

    async def _get_resource(self, uri: str, version: VersionSpec | None = None) -> Resource | None:
        del version
        if self._namespaced and not can_be_namespaced(uri):
            return None
        if uri.lower().startswith(APP_SCHEME):
            return await self._app(uri)
        found: Resource | None = await self._lookup("resources", lambda item: str(item.uri) == uri)
        return found

    async def _app(self, uri: str) -> Resource | None:
        """Return the app at a `ui://` URI, if one of the upstream's tools names it or it is listed."""
        shown = namespaced_uri(self.upstream.name, uri) if self._namespaced else uri
        if await self._lookup("tools", lambda tool: names_app(tool, shown)) is not None:
            item = mcp_types.Resource(uri=uri, name=uri, mime_type=UI_MIME_TYPE)
            return cast("Resource", self._component("resources", item))
        found: Resource | None = await self._lookup("resources", lambda item: str(item.uri) == uri)
        return found

    async def _get_resource_template(
        self, uri: str, version: VersionSpec | None = None
    ) -> ResourceTemplate | None:
        del version
        if self._namespaced and not can_be_namespaced(uri):
            return None
        found: ResourceTemplate | None = await self._lookup(
            "resource_templates", lambda item: item.matches(uri) is not None
        )
        return found

    async def _get_prompt(self, name: str, version: VersionSpec | None = None) -> Prompt | None:
        del version
        found: Prompt | None = await self._lookup("prompts", lambda item: item.name == name)
        return found

    async def complete(
        self,
        ref: mcp_types.PromptReference | mcp_types.ResourceTemplateReference,
        argument: mcp_types.CompletionArgument,
        context: mcp_types.CompletionContext | None,
    ) -> mcp_types.Completion | None:
        """Complete an argument of one of the upstream's prompts or templates; None for any other reference."""
        if isinstance(ref, mcp_types.PromptReference):
            own = any(prompt.name == ref.name for prompt in await self._list_prompts())
        else:
            templates = await self._list_resource_templates()
            own = any(template.uri_template == ref.uri for template in templates)
        if not own:
            return None

        meta = _scope_meta() if self.upstream.ours else None

        async def ask() -> mcp_types.CompleteResult:
            params = mcp_types.CompleteRequestParams(ref=ref, argument=argument, context=context, _meta=meta)
            async with self._leased() as client:
                return await client.session.send_request(
                    mcp_types.CompleteRequest(params=params), mcp_types.CompleteResult
                )

        try:
            return _within_limit((await relayed(self.upstream, ask)).completion)
        except BackendRefused:
            return None


def _within_limit(completion: mcp_types.Completion) -> mcp_types.Completion:
    """Return at most 100 values, as the protocol allows, and none that is longer than a URI can be."""
    values = [value for value in completion.values if len(value) <= MAX_COMPLETION][:MAX_COMPLETIONS]
    if values == completion.values:
        return completion
    return completion.model_copy(update={"values": values, "has_more": True})


def _scope_meta() -> mcp_types.RequestParamsMeta | None:
    """Return the `_meta` that carries the current scope to a server of ours."""
    scope = current_scope()
    if scope == EVERYTHING:
        return None
    return cast("mcp_types.RequestParamsMeta", {SCOPE_META_KEY: scope.to_json()})
