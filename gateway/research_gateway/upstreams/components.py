"""The tools, resources and prompts of an upstream, as components of the gateway that relay to it."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fastmcp import Context
from fastmcp.prompts import PromptResult
from fastmcp.prompts.base import InputRequiredPromptResult
from fastmcp.resources import ResourceResult
from fastmcp.resources.base import InputRequiredResourceResult
from fastmcp.server.dependencies import get_context
from fastmcp.server.providers.proxy import (
    ClientFactoryT,
    ProxyPrompt,
    ProxyResource,
    ProxyTemplate,
    ProxyTool,
)
from fastmcp.tools import Tool, ToolResult
from fastmcp.tools.base import InputRequiredToolResult
from pydantic import PrivateAttr

from research_gateway._framework import bound_request, params_of_request
from research_gateway.upstreams.downstream import DownstreamRequest, current_downstream
from research_gateway.upstreams.errors import UpstreamFailure
from research_gateway.upstreams.failures import is_unserved, to_gateway_error
from research_gateway.upstreams.offers.attribution import attributed_questions, attributed_result
from research_gateway.upstreams.sessions import Upstream
from research_shared.errors import BackendRefused
from research_shared.middleware.scope_meta import SCOPE_META_KEY
from research_shared.tools.activity import waiting

UpstreamAnswer = TypeVar("UpstreamAnswer")


def _current_context() -> Context | None:
    try:
        return get_context()
    except RuntimeError:
        return None


@contextmanager
def _without_scope(upstream: Upstream) -> Iterator[None]:
    """Remove the scope from a request to a foreign server: it names research folders."""
    context = _current_context()
    request = context.request_context if context is not None else None
    if upstream.ours or request is None or SCOPE_META_KEY not in (request.meta or {}):
        yield
        return
    params = params_of_request(request)
    params["_meta"] = {key: value for key, value in params["_meta"].items() if key != SCOPE_META_KEY}
    with bound_request(request, params):
        yield


@contextmanager
def _downstream_request() -> Iterator[DownstreamRequest | None]:
    """Make the request being served the current downstream request."""
    context = _current_context()
    downstream = DownstreamRequest.of(context) if context is not None else None
    token = current_downstream.set(downstream)
    try:
        yield downstream
    finally:
        current_downstream.reset(token)


async def relayed(upstream: Upstream, call: Callable[[], Awaitable[UpstreamAnswer]]) -> UpstreamAnswer:
    """Await a call to an upstream. Repeat it once if only its session or protocol version was rejected.

    Raises:
        UpstreamFailure: the upstream cannot be reached or does not answer.
        BackendRefused: the upstream answered with a protocol error.
    """
    with _without_scope(upstream), _downstream_request() as downstream:
        try:
            try:
                return await call()
            except Exception as error:
                if not is_unserved(error):
                    raise
            return await call()
        except Exception as error:
            failure = to_gateway_error(
                error,
                upstream.name,
                partial=downstream is not None and downstream.relayed,
                foreign=not upstream.ours,
            )
            if failure is error:
                raise
            raise failure from error


class UpstreamTool(ProxyTool):
    """A tool of an upstream."""

    _upstream: Upstream

    async def run(self, arguments: dict[str, Any], context: Context | None = None) -> ToolResult:
        """Relay the call."""
        upstream = self._upstream
        with waiting(f"the server {upstream.name}", own_beats=True):
            result = await relayed(upstream, lambda: ProxyTool.run(self, arguments, context))
        if upstream.ours:
            return result
        if isinstance(result, InputRequiredToolResult):
            return InputRequiredToolResult(attributed_questions(upstream.name, result.input_required))
        return attributed_result(upstream.name, result)


class UpstreamResource(ProxyResource):
    """A resource of an upstream."""

    _upstream: Upstream

    async def read(self) -> ResourceResult:
        """Relay the reading."""
        upstream = self._upstream
        result = await relayed(upstream, lambda: ProxyResource.read(self))
        if isinstance(result, InputRequiredResourceResult) and not upstream.ours:
            return InputRequiredResourceResult(attributed_questions(upstream.name, result.input_required))
        return result


class UpstreamTemplate(ProxyTemplate):
    """A resource template of an upstream."""

    _upstream: Upstream

    async def create_resource(
        self, uri: str, params: dict[str, Any], context: Context | None = None
    ) -> ProxyResource:
        """Relay the reading of the resource that the URI names."""
        upstream = self._upstream
        made = await relayed(upstream, lambda: ProxyTemplate.create_resource(self, uri, params, context))
        if upstream.ours:
            return made
        read = await made.read()  # it holds what creating it has read
        if not isinstance(read, InputRequiredResourceResult):
            return made
        asked = InputRequiredResourceResult(attributed_questions(upstream.name, read.input_required))
        return ProxyResource(upstream.lease, uri=made.uri, name=made.name, _cached_content=asked)


class UpstreamPrompt(ProxyPrompt):
    """A prompt of an upstream."""

    _upstream: Upstream

    async def render(self, arguments: dict[str, Any]) -> PromptResult:  # type: ignore[override]
        """Relay the rendering."""
        upstream = self._upstream
        result = await relayed(upstream, lambda: ProxyPrompt.render(self, arguments))
        if isinstance(result, InputRequiredPromptResult) and not upstream.ours:
            return InputRequiredPromptResult(attributed_questions(upstream.name, result.input_required))
        return result


class PlaceholderTool(Tool):
    """Placeholder tool for an upstream that has not been reachable yet. Calling it fails with `backend_unavailable`."""

    _upstream: Upstream = PrivateAttr()

    @classmethod
    def of(cls, upstream: Upstream, name: str) -> "PlaceholderTool":
        """Return the placeholder for the tool `name`."""
        tool = cls(name=name, parameters={"type": "object"})
        tool._upstream = upstream
        return tool

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        """Fail.

        Raises:
            UpstreamFailure: always.
        """
        del arguments
        name = self._upstream.name
        raise UpstreamFailure(f"the server {name!r} is not available", upstream=name, transient=False)


class HeldTool(PlaceholderTool):
    """Stands for a tool that has changed since it was first seen. Calling it fails with `backend_refused`."""

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        """Fail.

        Raises:
            BackendRefused: always.
        """
        del arguments
        server = self._upstream.name
        raise BackendRefused(
            f"a tool of the server {server!r} has changed since it was first seen, and is held back",
            hint=f"Tell the operator to look at it and run: research-assistant upstreams accept {server}",
            upstream=server,
        )


def relay_component(
    upstream: Upstream, factory: ClientFactoryT, kind: str, item: Any, *, shown_name: str | None = None
) -> Any:
    """Return the relaying component for one item of an upstream's list of `kind`.

    `shown_name`: the name that clients see, if it is another one than the upstream's own.
    """
    made: Any
    if kind == "tools":
        made = UpstreamTool.from_mcp_tool(factory, item)
    elif kind == "resources":
        made = UpstreamResource.from_mcp_resource(factory, item)
    elif kind == "resource_templates":
        made = UpstreamTemplate.from_mcp_template(factory, item)
    else:
        made = UpstreamPrompt.from_mcp_prompt(factory, item)
    made._upstream = upstream  # noqa: SLF001  (ours: FastMCP's constructor takes no more fields)
    if shown_name is not None and shown_name != item.name:
        made = made.model_copy(update={"name": shown_name})
    return made
