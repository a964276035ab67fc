"""The scope of a request: the operator's ceiling, narrowed by the roots that the client declares."""

import json
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import anyio.to_thread
import mcp_types
from fastmcp import Context, FastMCP
from fastmcp.prompts.base import InputRequiredPromptResult, PromptResult
from fastmcp.resources.base import InputRequiredResourceResult, ResourceResult
from fastmcp.server.dependencies import bind_request_context
from fastmcp.server.middleware import CallNext, MiddlewareContext
from fastmcp.tools.base import InputRequiredToolResult, ToolResult
from mcp import MCPError
from mcp.shared.exceptions import NoBackChannelError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from research_shared.activity import waiting
from research_shared.errors import ScopeEmpty
from research_shared.layer import Layer
from research_shared.logs import get_logger
from research_shared.names import shown
from research_shared.roots import EVERYTHING, Root, Scope, current_scope, narrowed_scope
from research_shared.scope_meta import SCOPE_META_KEY
from research_shared.telemetry import record

log = get_logger("research.scope")

NOTHING = Scope(())
SCOPE_URI = "research://scope"
ROOTS_KEY = "research_gateway_roots"
"""The name under which the middleware asks for roots in a round, and the session state that caches the answer."""
MAX_CLIENT_ROOTS = 256
_STATE_MARK = "research-scope:"
_TELLING = frozenset({"completion/complete", "resources/list"})
"""Requests that name documents and that no client answers questions for."""


def narrowed_by(roots: Sequence[Root], uris: Iterable[str]) -> Scope:
    """The part of the operator's roots that client roots cover; never more than the operator's roots.

    A client root that is a research folder, or holds it, gives the whole folder; one that lies in it gives that part;
    anything else gives nothing. Directories are compared as they are written and as they really are.
    """
    prefixes: set[str] = set()
    for uri in list(uris)[:MAX_CLIENT_ROOTS]:
        for path in _directories(uri):
            for root in roots:
                prefixes.update(_prefixes(root, path, led=len(roots) > 1))
    covered = [prefix for prefix in prefixes if not Scope(tuple(prefixes - {prefix})).admits(prefix)]
    return Scope(tuple(sorted(covered)))


def _directories(uri: str) -> Iterator[bytes]:
    """The absolute directories that a `file://` URI on this machine can mean: as written, and with links followed."""
    try:
        parts = urlsplit(uri)
        path = unquote_to_bytes(parts.path)
    except ValueError:  # malformed, or half of a surrogate pair, which has no bytes
        return
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or parts.query or parts.fragment:
        return
    if not path.startswith(b"/") or b"\0" in path:
        return
    real = os.path.realpath(path)
    # What `..` means depends on links, so only the file system can say where such a path leads.
    if b".." not in path.split(b"/"):
        yield os.path.normpath(b"/" + path.lstrip(b"/"))
    yield real


def _prefixes(root: Root, path: bytes, *, led: bool) -> Iterator[str]:
    directory = os.fsencode(root.directory)
    for base in {os.path.normpath(directory), os.path.realpath(directory)}:
        if base == path or _within(path, base):
            yield root.name if led else ""
        elif _within(base, path):
            inner = shown(path[len(base.rstrip(b"/")) + 1 :])
            yield f"{root.name}/{inner}" if led else inner


def _within(outer: bytes, inner: bytes) -> bool:
    return inner.startswith(outer.rstrip(b"/") + b"/")


@dataclass(frozen=True, slots=True)
class _Rounds:
    """What a call brought along from the round before: the scope that was found, and what belongs to the tool."""

    scope: Scope | None
    state: str | None
    answers: Mapping[str, Any] | None
    asked: bool

    @classmethod
    def of(cls, state: str | None, answers: Mapping[str, Any] | None, roots: Sequence[Root]) -> "_Rounds":
        if state is None or not state.startswith(_STATE_MARK):
            return cls(None, state, answers, asked=False)
        carried = json.loads(state.removeprefix(_STATE_MARK))
        inner = {key: value for key, value in (answers or {}).items() if key != ROOTS_KEY}
        if carried["scope"] is not None:
            scope = Scope(tuple(carried["scope"]))
        else:
            answer = (answers or {}).get(ROOTS_KEY)
            if answer is None:
                return cls(None, carried["state"], inner or None, asked=True)
            listed = answer.roots if isinstance(answer, mcp_types.ListRootsResult) else []
            scope = narrowed_by(roots, (str(root.uri) for root in listed))
        return cls(scope, carried["state"], inner or None, asked=True)


def _sealed(scope: Scope | None, state: str | None) -> str:
    return _STATE_MARK + json.dumps({"scope": None if scope is None else scope.prefixes, "state": state})


def _asking(
    scope: Scope | None, inner: mcp_types.InputRequiredResult | None
) -> mcp_types.InputRequiredResult:
    """What the client is asked: the tool's own questions, and for its roots as long as they are not known."""
    requests = dict((inner.input_requests if inner is not None else None) or {})
    if scope is None:
        requests[ROOTS_KEY] = mcp_types.ListRootsRequest()
    state = _sealed(scope, inner.request_state if inner is not None else None)
    if inner is None:
        return mcp_types.InputRequiredResult(input_requests=requests, request_state=state)
    return inner.model_copy(update={"input_requests": requests or None, "request_state": state})


class ScopeFromClientRoots(Layer):
    """Serves each request within the ceiling as the client's declared `file://` roots narrow it.

    A client that declares no roots capability is served within the whole ceiling; one that declares it and has no root
    in common with the ceiling can read nothing. Before 2026-07-28 roots are asked for with `roots/list`, once for a
    session and again when the client says that they have changed. Since then they are asked for in the first round of a
    call, and their scope rides sealed in its state. `exempt` names the tools that read no research documents (those of
    other people's servers), whose callers are not asked.
    """

    def __init__(self, roots: Sequence[Root], *, exempt: Sequence[str] = ()) -> None:
        self.roots = tuple(roots)
        self.exempt = tuple(exempt)

    async def on_notification(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Forget a session's roots when its client says that they have changed."""
        if context.method == "notifications/roots/list_changed" and context.fastmcp_context is not None:
            await context.fastmcp_context.delete_state(ROOTS_KEY)
        return await call_next(context)

    async def on_call_tool(
        self,
        context: MiddlewareContext[mcp_types.CallToolRequestParams],
        call_next: CallNext[mcp_types.CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Call the tool within the scope, after asking for the roots where that is needed."""
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
        """Serve completions and `resources/list` within the scope; where a client cannot be asked for its roots, within nothing."""
        ctx = context.fastmcp_context
        if context.method not in _TELLING or ctx is None or not _declares_roots(ctx):
            return await call_next(context)
        with narrowed_scope(NOTHING if _modern(ctx) else await self._session_scope(ctx)):
            return await call_next(context)

    async def _scoped(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """The answer within the scope, or the `InputRequiredResult` that asks for what is missing."""
        ctx = context.fastmcp_context
        if ctx is None or ctx.request_context is None or not _declares_roots(ctx):
            return await call_next(context)
        if not _modern(ctx):
            return await self._within(context, call_next, await self._session_scope(ctx))
        rounds = await anyio.to_thread.run_sync(
            _Rounds.of, ctx.request_state, ctx.input_responses, self.roots
        )
        if rounds.scope is None:
            begins = not rounds.asked and await _only_reads(context)
            return _asking(None, await _first_asks(context, call_next) if begins else None)
        async with _unwrapped(context, rounds) as own:
            answer = await self._within(own, call_next, rounds.scope)
        asks = getattr(answer, "input_required", None)
        return answer if asks is None else _asking(rounds.scope, asks)

    async def _within(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any], scope: Scope
    ) -> Any:
        with narrowed_scope(scope) as effective:
            record(scope=list(effective.prefixes))
            if not effective.prefixes and _needs_documents(context):
                raise ScopeEmpty("the roots of this client and the research folders have nothing in common")
            with _passed_on(context, effective):
                return await call_next(context)

    async def _session_scope(self, ctx: Context) -> Scope:
        """The scope of a session of before 2026-07-28."""
        cached = await ctx.get_state(ROOTS_KEY)
        if cached is None:
            try:
                with waiting("the client to say its roots"):
                    listed = (await ctx.session.list_roots()).roots
            except (MCPError, NoBackChannelError) as error:
                log.warning("the client did not answer roots/list; it can read nothing", error=str(error))
                return NOTHING
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


def _needs_documents(context: MiddlewareContext[Any]) -> bool:
    if context.method == "resources/read":
        return str(context.message.uri) != SCOPE_URI
    return context.method == "tools/call"


async def _only_reads(context: MiddlewareContext[Any]) -> bool:
    """Whether the request calls a tool that changes nothing and that may be called twice."""
    if context.fastmcp_context is None or context.method != "tools/call":
        return False
    tool = await context.fastmcp_context.fastmcp.get_tool(context.message.name)
    hints = tool.annotations if tool is not None else None
    return bool(hints is not None and hints.read_only_hint and hints.idempotent_hint)


async def _first_asks(
    context: MiddlewareContext[Any], call_next: CallNext[Any, Any]
) -> mcp_types.InputRequiredResult | None:
    """What a repeatable tool asks for before it has seen any document, so that it can be asked in the same round."""
    try:
        with narrowed_scope(NOTHING):
            answer = await call_next(context)
    except Exception as error:  # noqa: BLE001  (the call proper comes in the next round, with its own errors)
        log.debug("the tool cannot begin without documents", error=type(error).__name__)
        return None
    return getattr(answer, "input_required", None)


@asynccontextmanager
async def _unwrapped(
    context: MiddlewareContext[Any], rounds: _Rounds
) -> AsyncIterator[MiddlewareContext[Any]]:
    """Show what lies within only its own state and answers, as if the roots had never been asked for."""
    ctx = context.fastmcp_context
    assert ctx is not None  # noqa: S101  (the caller has looked)
    assert ctx.request_context is not None  # noqa: S101
    served = ctx.request_context._srctx  # noqa: SLF001  (FastMCP's documented way to the SDK's context)
    params = {k: v for k, v in (served.params or {}).items() if k not in {"inputResponses", "requestState"}}
    own = mcp_types.InputResponseRequestParams(
        input_responses=dict(rounds.answers) if rounds.answers else None, request_state=rounds.state
    )
    params |= own.model_dump(by_alias=True, mode="json", exclude_none=True)
    message = context.message
    if isinstance(message, mcp_types.InputResponseRequestParams):
        message = message.model_copy(
            update={"input_responses": own.input_responses, "request_state": own.request_state}
        )
    with bind_request_context(replace(served, params=params)):
        yield context.copy(message=message)


@contextmanager
def _passed_on(context: MiddlewareContext[Any], scope: Scope) -> Iterator[None]:
    """Put the scope into the request's `_meta`, from where a relay to a remote server takes it along."""
    ctx = context.fastmcp_context
    request = ctx.request_context if ctx is not None else None
    if request is None or scope == EVERYTHING:
        yield
        return
    served = request._srctx  # noqa: SLF001
    params = dict(served.params or {})
    params["_meta"] = {**(params.get("_meta") or {}), SCOPE_META_KEY: list(scope.prefixes)}
    with bind_request_context(replace(served, params=params)):
        yield


def describe_scope(scope: Scope, roots: Sequence[Root]) -> dict[str, Any]:
    """What a client is told about its scope: public names only."""
    everything = "" in scope.prefixes
    if everything:
        message = "All research folders can be read."
    elif scope.prefixes:
        message = "Only documents at or beneath these paths can be read."
    else:
        message = "Nothing can be read: " + ScopeEmpty.default_hint
    return {
        "roots": [root.name for root in roots],
        "everything": everything,
        "paths": [] if everything else list(scope.prefixes),
        "message": message,
    }


def add_scope_resource(server: FastMCP[Any], roots: Sequence[Root]) -> None:
    """Show the effective scope of whoever asks as the resource `research://scope`."""

    @server.resource(SCOPE_URI, name="scope", title="What this client can read", mime_type="application/json")
    async def scope() -> str:
        """Which part of the research folders this client can read."""
        return json.dumps(describe_scope(current_scope(), roots))
