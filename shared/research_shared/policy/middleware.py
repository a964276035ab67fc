"""Serves each request within what the operator's policy gives its caller."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import mcp_types
from fastmcp.exceptions import NotFoundError
from fastmcp.prompts.base import Prompt, PromptResult
from fastmcp.resources.base import Resource, ResourceResult
from fastmcp.resources.template import ResourceTemplate
from fastmcp.server.dependencies import get_access_token
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import Tool, ToolResult

from research_shared.access.scope import narrowed_scope
from research_shared.policy.file import load_policy
from research_shared.policy.rules import Access, Caller, Policy
from research_shared.serving.auth import principal_of
from research_shared.settings import Settings
from research_shared.telemetry import record

C = TypeVar("C", Tool, Prompt)
U = TypeVar("U", Resource, ResourceTemplate)
_NO_REFERENCE = mcp_types.PromptReference(type="ref/prompt", name="")


def current_caller(groups_claim: str) -> Caller:
    """Return who sends the current request: the subject of its JWT or the name of its token; nobody without either."""
    token = get_access_token()
    if token is None:
        return Caller()
    return Caller.of_claims(principal_of(token), token.claims or {}, groups_claim)


class PolicyMiddleware(Middleware):
    """Narrows the scope of each request to the folders of its caller, and hides tools that the caller may not call.

    What a caller may not see does not exist for it: a hidden tool is unknown, a hidden document is not found. `namespaces`
    are those of foreign servers: their prompts and resources are for callers whose tools include `namespace_*`.

    >>> from fastmcp import FastMCP
    >>> from research_shared.policy import Rule
    >>> rule = Rule(name="everybody", principals=("*",), allow=("public/**",))
    >>> server = FastMCP("host", middleware=[PolicyMiddleware(Policy(rules=(rule,), default_principal="guest"))])
    """

    def __init__(
        self,
        policy: Policy,
        *,
        namespaces: Sequence[str] = (),
        caller: Callable[[str], Caller] = current_caller,
    ) -> None:
        self.policy = policy
        self.namespaces = tuple(namespaces)
        self._caller = caller

    def _access(self) -> Access:
        return self.policy.access_of(self._caller(self.policy.groups_claim))

    def _shows(self, name: str) -> bool:
        """Return whether the caller may use the foreign server that a prompt's name or a resource's URI belongs to, if any."""
        path = name.partition("://")[2]
        access = self._access()
        return all(
            access.may_call(f"{namespace}_")
            for namespace in self.namespaces
            if name.startswith(f"{namespace}_") or path.startswith(f"{namespace}/")
        )

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Serve the request within the caller's scope."""
        access = self._access()
        match getattr(context.message, "ref", None):
            case mcp_types.PromptReference(name=name) | mcp_types.ResourceTemplateReference(uri=name):
                if not self._shows(name):
                    context = context.copy(message=context.message.model_copy(update={"ref": _NO_REFERENCE}))
        with narrowed_scope(access.scope) as effective:
            record(rules=access.names, effective_scope=effective)
            return await call_next(context)

    async def on_list_tools(
        self,
        context: MiddlewareContext[mcp_types.ListToolsRequest],
        call_next: CallNext[mcp_types.ListToolsRequest, Sequence[Tool]],
    ) -> Sequence[Tool]:
        """List the tools that the caller may call."""
        access = self._access()
        return [tool for tool in await call_next(context) if access.may_call(tool.name)]

    async def on_call_tool(
        self,
        context: MiddlewareContext[mcp_types.CallToolRequestParams],
        call_next: CallNext[mcp_types.CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Call a tool, unless it is hidden from the caller."""
        if not self._access().may_call(context.message.name):
            raise NotFoundError(f"Unknown tool: {context.message.name!r}")
        return await call_next(context)

    async def on_list_prompts(
        self,
        context: MiddlewareContext[mcp_types.ListPromptsRequest],
        call_next: CallNext[mcp_types.ListPromptsRequest, Sequence[Prompt]],
    ) -> Sequence[Prompt]:
        """List the prompts of servers that the caller may use."""
        return [prompt for prompt in await call_next(context) if self._shows(prompt.name)]

    async def on_get_prompt(
        self,
        context: MiddlewareContext[mcp_types.GetPromptRequestParams],
        call_next: CallNext[mcp_types.GetPromptRequestParams, PromptResult],
    ) -> PromptResult:
        """Render a prompt of a server that the caller may use."""
        if not self._shows(context.message.name):
            raise NotFoundError(f"Unknown prompt: {context.message.name!r}")
        return await call_next(context)

    async def on_list_resources(
        self,
        context: MiddlewareContext[mcp_types.ListResourcesRequest],
        call_next: CallNext[mcp_types.ListResourcesRequest, Sequence[Resource]],
    ) -> Sequence[Resource]:
        """List the resources of servers that the caller may use."""
        return [resource for resource in await call_next(context) if self._shows(str(resource.uri))]

    async def on_list_resource_templates(
        self,
        context: MiddlewareContext[mcp_types.ListResourceTemplatesRequest],
        call_next: CallNext[mcp_types.ListResourceTemplatesRequest, Sequence[ResourceTemplate]],
    ) -> Sequence[ResourceTemplate]:
        """List the resource templates of servers that the caller may use."""
        return [template for template in await call_next(context) if self._shows(template.uri_template)]

    async def on_read_resource(
        self,
        context: MiddlewareContext[mcp_types.ReadResourceRequestParams],
        call_next: CallNext[mcp_types.ReadResourceRequestParams, ResourceResult],
    ) -> ResourceResult:
        """Read a resource of a server that the caller may use."""
        uri = str(context.message.uri)
        # FastMCP does not take the namespace off a URI with a line break, and a server that is hidden would answer for it.
        if not (uri.isprintable() and self._shows(uri)):
            raise NotFoundError(f"Unknown resource: {uri!r}")
        return await call_next(context)


def policy_middleware(settings: Settings, *, namespaces: Sequence[str] = ()) -> list[Middleware]:
    """Return the middleware of the operator's policy; none without a policy.

    Raises:
        ConfigurationError: the file is no policy.
    """
    if settings.policy is None:
        return []
    return [PolicyMiddleware(load_policy(settings.policy), namespaces=namespaces)]
