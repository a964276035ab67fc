"""Narrows the scope of requests to the roots declared by the client."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio.to_thread
import mcp_types
from fastmcp import Context
from fastmcp.prompts.base import InputRequiredPromptResult, PromptResult
from fastmcp.resources.base import InputRequiredResourceResult, ResourceResult
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import InputRequiredToolResult, ToolResult
from mcp import MCPError
from mcp.shared.exceptions import NoBackChannelError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from research_gateway._framework import bound_request, params_of_request
from research_gateway.scope.client_roots import narrowed_by
from research_gateway.scope.rounds import ROOTS_KEY, ScopeRound, ask_for_roots
from research_shared.access.roots import EVERYTHING, Root, Scope, current_scope, narrowed_scope
from research_shared.errors import ScopeEmpty
from research_shared.logs import get_logger
from research_shared.middleware.scope_meta import SCOPE_META_KEY
from research_shared.telemetry import record
from research_shared.tools.activity import waiting
from research_shared.tools.names import SCOPE_URI

log = get_logger("research.scope")

EMPTY_SCOPE = Scope(())
_TELLING = frozenset({"completion/complete", "resources/list"})
"""Methods that name documents but cannot ask the client for its roots."""


class ScopeFromClientRoots(Middleware):
    """Limits each request to the intersection of `roots` and the client's declared `file://` roots.

    A client without the roots capability sees all `roots`. A client whose roots have nothing in common with them can
    read nothing, nor can one of before 2026-07-28 that a server without sessions does not know. Before 2026-07-28, roots are requested with `roots/list`, once for a session and again after a change
    notification. Since then, they are requested in the first round of a call, and the scope is sealed in its state.
    `exempt` lists name prefixes of tools that read no research documents (those of foreign servers).

    >>> from pathlib import Path
    >>> from fastmcp import FastMCP
    >>> server = FastMCP("host")
    >>> server.add_middleware(ScopeFromClientRoots([Root("research", Path("/srv/research"))]))
    """

    def __init__(self, roots: Sequence[Root], *, exempt: Sequence[str] = ()) -> None:
        self.roots = tuple(roots)
        self.exempt = tuple(exempt)

    async def on_notification(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Drop the cached roots of a session after a change notification."""
        if context.method == "notifications/roots/list_changed" and context.fastmcp_context is not None:
            await context.fastmcp_context.delete_state(ROOTS_KEY)
        return await call_next(context)

    async def on_call_tool(
        self,
        context: MiddlewareContext[mcp_types.CallToolRequestParams],
        call_next: CallNext[mcp_types.CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Call the tool within the scope. Ask for the roots first if necessary."""
        if any(context.message.name.startswith(prefix) for prefix in self.exempt):
            return await call_next(context)
        answer = await self._scoped(context, call_next)
        return (
            InputRequiredToolResult(answer) if isinstance(answer, mcp_types.InputRequiredResult) else answer
        )

    async def on_read_resource(
        self,
        context: MiddlewareContext[mcp_types.ReadResourceRequestParams],
        call_next: CallNext[mcp_types.ReadResourceRequestParams, ResourceResult],
    ) -> ResourceResult:
        """Read the resource within the scope."""
        answer = await self._scoped(context, call_next)
        return (
            InputRequiredResourceResult(answer)
            if isinstance(answer, mcp_types.InputRequiredResult)
            else answer
        )

    async def on_get_prompt(
        self,
        context: MiddlewareContext[mcp_types.GetPromptRequestParams],
        call_next: CallNext[mcp_types.GetPromptRequestParams, PromptResult],
    ) -> PromptResult:
        """Render the prompt within the scope."""
        answer = await self._scoped(context, call_next)
        return (
            InputRequiredPromptResult(answer) if isinstance(answer, mcp_types.InputRequiredResult) else answer
        )

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Serve completions and `resources/list` within the scope; within nothing if the roots cannot be requested."""
        ctx = context.fastmcp_context
        if context.method not in _TELLING or ctx is None:
            return await call_next(context)
        unknown = _is_unknown(ctx)
        if not unknown and not _declares_roots(ctx):
            return await call_next(context)
        with narrowed_scope(EMPTY_SCOPE if unknown or _modern(ctx) else await self._session_scope(ctx)):
            return await call_next(context)

    async def _scoped(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Return the result within the scope, or an `InputRequiredResult` that asks for the roots."""
        ctx = context.fastmcp_context
        if ctx is not None and _is_unknown(ctx):
            if _needs_documents(context):
                raise ScopeEmpty(
                    "this server keeps no sessions, so that it cannot ask a client of this protocol version for its roots",
                    hint="Connect with a client of MCP 2026-07-28, or ask the operator for a server that keeps sessions.",
                )
            return await self._within(context, call_next, EMPTY_SCOPE)
        if ctx is None or not _declares_roots(ctx):
            return await call_next(context)
        if not _modern(ctx):
            return await self._within(context, call_next, await self._session_scope(ctx))
        rounds = await anyio.to_thread.run_sync(
            ScopeRound.of, ctx.request_state, ctx.input_responses, self.roots
        )
        if rounds.scope is None:
            begins = not rounds.asked and await _only_reads(ctx, context)
            return ask_for_roots(None, await _first_asks(context, call_next) if begins else None)
        async with _unwrapped(context, rounds) as own:
            answer = await self._within(own, call_next, rounds.scope)
        asks = getattr(answer, "input_required", None)
        return answer if asks is None else ask_for_roots(rounds.scope, asks)

    async def _within(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any], scope: Scope
    ) -> Any:
        with narrowed_scope(scope) as effective:
            record(scope=list(effective.prefixes), effective_scope=effective)
            if not effective.prefixes and _needs_documents(context):
                raise ScopeEmpty("the roots of this client and the research folders have nothing in common")
            with _passed_on(context, effective):
                return await call_next(context)

    async def _session_scope(self, ctx: Context) -> Scope:
        """Return the scope of a session before 2026-07-28."""
        cached = await ctx.get_state(ROOTS_KEY)
        if cached is None:
            try:
                with waiting("the client to say its roots"):
                    listed = (
                        await ctx.session.send_request(
                            mcp_types.ListRootsRequest(), mcp_types.ListRootsResult
                        )
                    ).roots
            except (MCPError, NoBackChannelError) as error:
                log.warning("roots/list failed; the client can read nothing", error=str(error))
                return EMPTY_SCOPE
            cached = [str(root.uri) for root in listed]
            await ctx.set_state(ROOTS_KEY, cached)
        return await anyio.to_thread.run_sync(narrowed_by, self.roots, cached)


def _modern(ctx: Context) -> bool:
    return (
        ctx.request_context is not None and ctx.request_context.protocol_version in MODERN_PROTOCOL_VERSIONS
    )


def _declares_roots(ctx: Context) -> bool:
    if ctx.request_context is None:
        return False
    capabilities = ctx.session.client_capabilities
    return capabilities is not None and capabilities.roots is not None


def _is_unknown(ctx: Context) -> bool:
    """Return whether a request of before 2026-07-28 comes without the handshake that says what its client can do."""
    return ctx.request_context is not None and not _modern(ctx) and ctx.session.client_capabilities is None


def _needs_documents(context: MiddlewareContext[Any]) -> bool:
    if context.method == "resources/read":
        return str(context.message.uri) != SCOPE_URI
    return context.method == "tools/call"


async def _only_reads(ctx: Context, context: MiddlewareContext[Any]) -> bool:
    """Return whether the request calls a read-only, idempotent tool."""
    if context.method != "tools/call":
        return False
    tool = await ctx.fastmcp.get_tool(context.message.name)
    hints = tool.annotations if tool is not None else None
    return bool(hints is not None and hints.read_only_hint and hints.idempotent_hint)


async def _first_asks(
    context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
) -> mcp_types.InputRequiredResult | None:
    """Return what an idempotent tool asks for before it reads any document, to be asked in the same round."""
    try:
        with narrowed_scope(EMPTY_SCOPE):
            answer = await call_next(context)
    except Exception as error:  # noqa: BLE001  (the real call follows in the next round, with its own errors)
        log.debug("the tool asks nothing before it reads documents", error=type(error).__name__)
        return None
    return getattr(answer, "input_required", None)


@asynccontextmanager
async def _unwrapped(
    context: MiddlewareContext[Any], rounds: ScopeRound
) -> AsyncIterator[MiddlewareContext[Any]]:
    """Show the inner tool only its own state and answers."""
    ctx = context.fastmcp_context
    assert ctx is not None  # noqa: S101  (checked by the caller)
    assert ctx.request_context is not None  # noqa: S101
    request = ctx.request_context
    params = {
        name: value
        for name, value in params_of_request(request).items()
        if name not in {"inputResponses", "requestState"}
    }
    own = mcp_types.InputResponseRequestParams(
        input_responses=dict(rounds.answers) if rounds.answers else None, request_state=rounds.state
    )
    params |= own.model_dump(by_alias=True, mode="json", exclude_none=True)
    message = context.message
    if isinstance(message, mcp_types.InputResponseRequestParams):
        message = message.model_copy(
            update={"input_responses": own.input_responses, "request_state": own.request_state}
        )
    with bound_request(request, params):
        yield context.copy(message=message)


class PassScopeOn(Middleware):
    """Puts the scope of each request into its `_meta`, for our servers behind a relay.

    >>> from fastmcp import FastMCP
    >>> server = FastMCP("host")
    >>> server.add_middleware(PassScopeOn())
    """

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Serve the request with its scope in its `_meta`."""
        with _passed_on(context, current_scope()):
            return await call_next(context)


@contextmanager
def _passed_on(context: MiddlewareContext[Any], scope: Scope) -> Iterator[None]:
    """Put the scope into the request's `_meta`, which the relay forwards to remote servers."""
    ctx = context.fastmcp_context
    request = ctx.request_context if ctx is not None else None
    if request is None or scope == EVERYTHING:
        yield
        return
    params = params_of_request(request)
    params["_meta"] = {**(params.get("_meta") or {}), SCOPE_META_KEY: scope.to_json()}
    with bound_request(request, params):
        yield
