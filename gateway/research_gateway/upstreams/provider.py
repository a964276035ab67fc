"""The tools, resources and prompts of an upstream, as components of the gateway.

They stay listed from the last known list while the upstream is down; calls then end with `backend_unavailable`.
"""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import anyio
import mcp_types
from fastmcp import Context
from fastmcp.client import Client
from fastmcp.prompts import Prompt, PromptResult
from fastmcp.resources import Resource, ResourceResult, ResourceTemplate
from fastmcp.server.dependencies import bind_request_context, get_context
from fastmcp.server.providers.proxy import (
    ClientFactoryT,
    ProxyPrompt,
    ProxyProvider,
    ProxyResource,
    ProxyTemplate,
    ProxyTool,
)
from fastmcp.tools import Tool, ToolResult
from fastmcp.utilities.versions import VersionSpec
from mcp import MCPError
from mcp_types import METHOD_NOT_FOUND

from research_gateway.retry import UpstreamFailure
from research_gateway.upstreams.failures import is_session_gone, translated
from research_gateway.upstreams.front import Front, current_front
from research_gateway.upstreams.sessions import Upstream
from research_shared.errors import BackendRefused
from research_shared.logs import get_logger
from research_shared.scope_meta import SCOPE_META_KEY

log = get_logger("research.upstreams")

T = TypeVar("T")
LIST_TIMEOUT_S = 5.0
FRESH_S = 5.0
"""How long a list is given without asking again."""
KINDS = ("tools", "resources", "resource_templates", "prompts")
BACKOFF_S = (1.0, 30.0)
"""The first and the longest time for which an upstream that did not answer is not asked for its lists."""


def _context() -> Context | None:
    try:
        return get_context()
    except RuntimeError:
        return None


@contextmanager
def _own_meta(upstream: Upstream) -> Iterator[None]:
    """Keep the scope from servers of other people: it holds names of research folders."""
    context = _context()
    request = context.request_context if context is not None else None
    if upstream.ours or request is None or SCOPE_META_KEY not in (request.meta or {}):
        yield
        return
    served = request._srctx  # noqa: SLF001  (FastMCP's documented way to the SDK's context)
    params = dict(served.params or {})
    params["_meta"] = {key: value for key, value in params["_meta"].items() if key != SCOPE_META_KEY}
    with bind_request_context(replace(served, params=params)):
        yield


@contextmanager
def _in_front() -> Iterator[Front | None]:
    """Remember for whom something is sent upstream."""
    context = _context()
    front = Front.of(context) if context is not None else None
    token = current_front.set(front)
    try:
        yield front
    finally:
        current_front.reset(token)


async def relayed(upstream: Upstream, call: Callable[[], Awaitable[T]]) -> T:
    """Await a call to an upstream; once more when the upstream had merely forgotten the session.

    Raises:
        UpstreamFailure: the upstream cannot be reached or does not answer.
        BackendRefused: it answered with a protocol error.
    """
    with _own_meta(upstream), _in_front() as front:
        try:
            try:
                return await call()
            except Exception as error:
                if not is_session_gone(error):
                    raise
            return await call()
        except Exception as error:
            failure = translated(error, upstream.name, partial=front is not None and front.relayed)
            if failure is error:
                raise
            raise failure from error


class UpstreamTool(ProxyTool):
    """A tool of an upstream."""

    _upstream: Upstream

    async def run(self, arguments: dict[str, Any], context: Context | None = None) -> ToolResult:
        """Relay the call."""
        return await relayed(self._upstream, lambda: ProxyTool.run(self, arguments, context))


class UpstreamResource(ProxyResource):
    """A resource of an upstream."""

    _upstream: Upstream

    async def read(self) -> ResourceResult:
        """Relay the reading."""
        return await relayed(self._upstream, lambda: ProxyResource.read(self))


class UpstreamTemplate(ProxyTemplate):
    """A resource template of an upstream."""

    _upstream: Upstream

    async def create_resource(
        self, uri: str, params: dict[str, Any], context: Context | None = None
    ) -> ProxyResource:
        """Relay the reading of the resource that the URI names."""
        return await relayed(
            self._upstream, lambda: ProxyTemplate.create_resource(self, uri, params, context)
        )


class UpstreamPrompt(ProxyPrompt):
    """A prompt of an upstream."""

    _upstream: Upstream

    async def render(self, arguments: dict[str, Any]) -> PromptResult:  # type: ignore[override]
        """Relay the rendering."""
        return await relayed(self._upstream, lambda: ProxyPrompt.render(self, arguments))


class _UnreachedTool(Tool):
    """Stands for whatever tool of an upstream that has never answered, so that its callers are told why it fails."""

    _upstream: Upstream | None = None

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        """Say that the upstream is not there."""
        del arguments
        name = self._upstream.name if self._upstream is not None else ""
        raise UpstreamFailure(f"the server {name!r} is not available", upstream=name, transient=False)


@dataclass(slots=True)
class _Known:
    """The last known list of one kind of component."""

    items: Sequence[Any]
    at: float


Seed = Callable[[], Awaitable[Sequence[mcp_types.Tool]]]


class UpstreamProvider(ProxyProvider):
    """The components of one upstream.

    `seed` gives the tools to list as long as the upstream has never answered. `namespaced` says that names with the
    upstream's prefix can only be its own, so that a call of one is known to fail because of the upstream.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        seed: Seed | None = None,
        namespaced: bool = False,
        watch: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(cast("ClientFactoryT", upstream.lease))
        self.upstream = upstream
        upstream.on_change = self.forget_lists
        self.available: bool | None = None
        self._seed = seed
        self._namespaced = namespaced
        self._watch = watch
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._locks: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._failures = 0
        self._ask_again_at = 0.0

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Learn what the upstream offers while the gateway runs, and close its sessions when the gateway stops."""
        # A task of its own: a server's lifespan may be left in another task than it was entered in.
        watcher = asyncio.create_task(self._keep_known()) if self._watch else None
        async with self.upstream.keeping():
            try:
                yield
            finally:
                if watcher is not None:
                    watcher.cancel()
                    await asyncio.wait([watcher])

    async def _keep_known(self) -> None:
        """Ask for all lists at first and whenever the upstream may be back, so that they are known when it goes."""
        while True:
            if self.available is not True or len(self._known) < len(KINDS):
                for kind in KINDS:
                    await self._listed(kind)
            await anyio.sleep(BACKOFF_S[0] if self.available is not True else FRESH_S)

    async def _list_tools(self) -> Sequence[Tool]:
        return await self._listed("tools")

    async def _list_resources(self) -> Sequence[Resource]:
        return await self._listed("resources")

    async def _list_resource_templates(self) -> Sequence[ResourceTemplate]:
        return await self._listed("resource_templates")

    async def _list_prompts(self) -> Sequence[Prompt]:
        return await self._listed("prompts")

    async def _listed(self, kind: str) -> Sequence[Any]:
        """The list of one kind: a fresh one if the upstream answers in time, else the last known one."""
        known = self._known.get(kind)
        now = self._clock()
        if (known is not None and now - known.at < FRESH_S) or now < self._ask_again_at:
            return known.items if known is not None else await self._seeded(kind)
        if known is not None and self._locks[kind].locked():
            return known.items
        async with self._locks[kind]:
            again = self._known.get(kind)
            if again is not None and again is not known:
                return again.items
            return await self._refreshed(kind)

    async def _refreshed(self, kind: str) -> Sequence[Any]:
        try:
            with anyio.fail_after(LIST_TIMEOUT_S):
                items = await relayed(self.upstream, lambda: self._fetch(kind))
        except (UpstreamFailure, BackendRefused, TimeoutError) as error:
            self.available = False
            wait = min(BACKOFF_S[0] * 2.0**self._failures, BACKOFF_S[1])
            self._failures = min(self._failures + 1, 16)
            self._ask_again_at = self._clock() + wait
            log.warning(
                "an upstream does not list", upstream=self.upstream.name, kind=kind, error=repr(error)
            )
            known = self._known.get(kind)
            return known.items if known is not None else await self._seeded(kind)
        self.reached()
        self._known[kind] = _Known(items, self._clock())
        return items

    def forget_lists(self) -> None:
        """Ask for the lists again when they are next wanted; they stay known until there are others."""
        for known in self._known.values():
            known.at = -math.inf

    def reached(self) -> None:
        """Note that the upstream answers."""
        self.available = True
        self._failures, self._ask_again_at = 0, 0.0

    async def _fetch(self, kind: str) -> Sequence[Any]:
        try:
            async with cast("AbstractAsyncContextManager[Client[Any]]", self.upstream.lease()) as client:
                listed: Sequence[Any] = await getattr(client, f"list_{kind}")()
        except MCPError as error:
            if error.code == METHOD_NOT_FOUND:
                return ()
            raise
        return [self._component(kind, item) for item in listed]

    def _component(self, kind: str, item: Any) -> Any:
        factory = self.client_factory
        component: Any
        if kind == "tools":
            component = UpstreamTool.from_mcp_tool(factory, item)
        elif kind == "resources":
            component = UpstreamResource.from_mcp_resource(factory, item)
        elif kind == "resource_templates":
            component = UpstreamTemplate.from_mcp_template(factory, item)
        else:
            component = UpstreamPrompt.from_mcp_prompt(factory, item)
        component._upstream = self.upstream  # noqa: SLF001  (ours: FastMCP's constructor takes no more fields)
        return component

    async def _seeded(self, kind: str) -> Sequence[Any]:
        if kind != "tools" or self._seed is None:
            return ()
        return [self._component(kind, tool) for tool in await self._seed()]

    async def _lookup(self, kind: str, matches: Callable[[Any], bool]) -> Any:
        """The component that matches, from the last known list; the upstream is asked when none does."""
        known = self._known.get(kind)
        if known is not None and (found := next(filter(matches, known.items), None)) is not None:
            return found
        return next(filter(matches, await self._listed(kind)), None)

    async def _get_tool(self, name: str, version: VersionSpec | None = None) -> Tool | None:
        del version
        tool: Tool | None = await self._lookup("tools", lambda tool: tool.name == name)
        if tool is None and self._namespaced and "tools" not in self._known:
            tool = _UnreachedTool(name=name, parameters={"type": "object"})
            tool._upstream = self.upstream  # noqa: SLF001
        return tool

    async def _get_resource(self, uri: str, version: VersionSpec | None = None) -> Resource | None:
        del version
        found: Resource | None = await self._lookup("resources", lambda item: str(item.uri) == uri)
        return found

    async def _get_resource_template(
        self, uri: str, version: VersionSpec | None = None
    ) -> ResourceTemplate | None:
        del version
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
        """What the upstream proposes for an argument of one of its prompts or templates; None if it is not its own."""
        if isinstance(ref, mcp_types.PromptReference):
            own = any(prompt.name == ref.name for prompt in await self._list_prompts())
        else:
            templates = await self._list_resource_templates()
            own = any(template.uri_template == ref.uri for template in templates)
        if not own:
            return None

        async def ask() -> mcp_types.CompleteResult:
            async with cast("AbstractAsyncContextManager[Client[Any]]", self.upstream.lease()) as client:
                return await client.session.complete(
                    ref,
                    {"name": argument.name, "value": argument.value},
                    context.arguments if context else None,
                )

        try:
            return (await relayed(self.upstream, ask)).completion
        except BackendRefused:
            return None
