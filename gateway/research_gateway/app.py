"""The gateway: both servers behind one endpoint, under one policy and with one audit trail."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import mcp_types
from fastmcp import FastMCP
from fastmcp.server.middleware import Middleware

from research_documents.completion import documents_completion
from research_documents.resources import DEFAULT_PAGE_SIZE, PageSize, list_in_pages
from research_documents.search import DocumentSearch, engine_from_settings
from research_documents.search.indexed import IndexedPassages
from research_documents.server import build_documents_server
from research_gateway.audit import AuditMiddleware, AuditTrail
from research_gateway.audit.middleware import current_call_ids
from research_gateway.completions import namespaced
from research_gateway.guards import ConcurrencyLimit, RateLimit, SizeLimit, TimeLimit
from research_gateway.health import audit_check, tasks_check, upstream_check
from research_gateway.retry import RetryUpstream
from research_gateway.scope.middleware import PassScopeOn, ScopeFromClientRoots
from research_gateway.scope.resource import add_scope_resource
from research_reasoning.brief_prompts import reasoning_completion
from research_reasoning.server import build_reasoning_server
from research_shared.access.roots import Root
from research_shared.base_errors import ConfigurationError
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.middleware.heartbeat import Heartbeat
from research_shared.policy import policy_middleware
from research_shared.reading.library import Library
from research_shared.retry import RetryPolicy
from research_shared.serving.health import Check, add_readiness, faults_check, index_check, roots_check
from research_shared.serving.identity import new_server
from research_shared.serving.sealing import request_state_security
from research_shared.settings import Settings
from research_shared.tasks import TASKS_LIFESPAN_KEY, TaskStore, add_tasks
from research_shared.tools.completions import CompletionHandler, first_completion_of

if TYPE_CHECKING:
    from research_gateway.upstreams import ForeignServer, ToolPins, UpstreamTimings
    from research_reasoning.models.provider import Provider

GATEWAY_SERVER = "research-assistant"
GATEWAY_INSTRUCTIONS = (
    "A research folder of PDF, Office, mail, web and text documents. list_research_documents shows what there is. "
    "search_documents finds where something is said: words are ranked by relevance (any of them may match), +word "
    'requires, -word excludes, "a phrase" is exact, file_pattern="papers/**" keeps to a folder. read_document reads '
    "around a hit. These are deterministic and cost no model tokens. summarize_document and synthesize_research use a "
    "language model: synthesize_research answers from the whole folder, or from the documents that you name. A reply "
    "that begins with INCOMPLETE rests on less than was asked for: repeat a search in a few seconds, and say of an answer what it lacks. Report no insight as fact "
    "that is not verified."
)

Build = Callable[..., FastMCP[Any]]


def policy(settings: Settings, *, foreign: "Sequence[ForeignServer]" = ()) -> list[Middleware]:
    """Return the middleware inside audit and error boundary, outermost first."""
    limits: list[Middleware] = [
        ConcurrencyLimit(per_client=settings.client_concurrency, total=settings.total_concurrency)
    ]
    if settings.client_rate:
        limits.append(RateLimit(per_second=settings.client_rate, burst=settings.client_burst))
    limits += [
        SizeLimit(request_bytes=settings.max_request_bytes, response_bytes=settings.max_response_bytes),
        TimeLimit(default_s=settings.tool_timeout_s, ceiling_s=settings.tool_ceiling_s),
    ]
    namespaces = tuple(server.namespace for server in foreign)
    if settings.policy is not None:
        limits += [*policy_middleware(settings, namespaces=namespaces), PassScopeOn()]
    if settings.client_roots == "narrow":
        exempt = tuple(f"{namespace}_" for namespace in namespaces)
        limits.append(ScopeFromClientRoots(settings.roots, exempt=exempt))
    retry = RetryPolicy(attempts=3, base_s=0.2, cap_s=2.0, deadline_s=settings.tool_timeout_s)
    return [*limits, RetryUpstream(retry)]


def build_gateway(
    settings: Settings,
    *,
    library: Library | None = None,
    provider: "Provider | None" = None,
    heartbeat: Heartbeat | None = None,
    upstream_timings: "UpstreamTimings | None" = None,
    resource_page_size: PageSize = DEFAULT_PAGE_SIZE,
    task_store: TaskStore | None = None,
) -> FastMCP[Any]:
    """Build one endpoint over the documents and the reasoning server, which share one library.

    Remote servers in the settings replace the local ones. The servers of an `mcpServers` file are added, each in a
    namespace. `library`, the model `provider` and `heartbeat` override those built from the settings.
    `upstream_timings`: how long to wait for remote and added servers. `resource_page_size` limits the pages of
    `resources/list`; a remote documents server has its own. `task_store` keeps tasks in place of that of the settings.

    >>> from pathlib import Path
    >>> from fastmcp import Client
    >>> from research_shared import Root, Settings
    >>> settings = Settings(roots=(Root("research", Path("research")),), audit_log=Path("audit.jsonl"))
    >>> async with Client(build_gateway(settings)) as client:
    ...     tools = await client.list_tools()
    >>> sorted(tool.name for tool in tools)[:2]
    ['list_research_documents', 'read_document']

    `gateway.run(transport="http", port=8000)` serves it; `research-assistant serve` adds draining and authentication.

    Raises:
        ConfigurationError: a research folder, the audit log or the `mcpServers` file is not usable.
    """
    trail = AuditTrail.open(settings)
    foreign = _foreign_servers(settings, upstream_timings)
    pins = _pins(settings) if foreign else None

    @asynccontextmanager
    async def lifespan(_gateway: FastMCP[Any]) -> AsyncIterator[dict[str, Any]]:
        async with trail:
            yield {TASKS_LIFESPAN_KEY: GATEWAY_SERVER}

    gateway = new_server(
        GATEWAY_SERVER,
        instructions=GATEWAY_INSTRUCTIONS,
        lifespan=lifespan,
        middleware=[
            ErrorBoundary(),  # outside of everything, so that a fault of the audit itself is an error of the protocol
            AuditMiddleware(trail),
            ErrorBoundary(),
            heartbeat or Heartbeat(patience_s=settings.tool_timeout_s),
            *policy(settings, foreign=foreign),
        ],
        mask_error_details=True,
        on_duplicate="error",
        # Our servers dereference their own schemas; those of foreign servers stay unchanged.
        dereference_schemas=False,
        shows_apps=True,
        request_state_security=request_state_security(settings),
    )
    add_scope_resource(gateway, settings.roots)
    parts = _GatewayParts(gateway, upstream_timings)
    parts.checks["audit"] = audit_check(trail)
    # The policy is applied once, here; what is mounted serves within the scope of the request. Tasks are made here, too.
    inner = settings.without_tasks().model_copy(update={"policy": None})
    _add_servers(parts, inner, library=library, provider=provider)
    for server in foreign:
        parts.add_foreign(server, pins)
    list_in_pages(gateway, resource_page_size)
    gateway.add_completion_handler(first_completion_of(*parts.completions))
    add_readiness(gateway, parts.checks)
    if settings.metrics:
        _show_figures(parts, trail, needs_token=settings.metrics_token)
    tasks = add_tasks(
        gateway,
        settings,
        has_provider=None if provider is None else True,
        call_ids=current_call_ids,
        store=task_store,
    )
    if tasks is not None and tasks.durable:
        parts.checks["tasks"] = tasks_check(tasks)
    return gateway


def _foreign_servers(settings: Settings, timings: "UpstreamTimings | None") -> "Sequence[ForeignServer]":
    """Load the servers of the `mcpServers` file. Without one, the relay and FastMCP's client are not imported."""
    if settings.mcp_config is None:
        return ()
    from research_gateway.upstreams import UpstreamTimings, load_servers

    return load_servers(settings.mcp_config, timings=timings or UpstreamTimings())


def _pins(settings: Settings) -> "ToolPins":
    """Open the tools of foreign servers as they were first seen."""
    from research_gateway.upstreams import ToolPins

    pins = ToolPins(settings.mcp_pins)
    pins.check()
    return pins


def _show_figures(parts: "_GatewayParts", trail: AuditTrail, *, needs_token: bool) -> None:
    """Count all requests, and serve the metrics of the gateway and its parts at `GET /metrics`."""
    try:
        from research_gateway.metrics import (
            Metrics,
            MetricsMiddleware,
            add_metrics,
            watch_library,
            watch_search,
        )
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "RESEARCH_METRICS needs a package that is not installed: pip install 'research-assistant-mcp[metrics]'"
        ) from error

    metrics = Metrics()
    metrics.watch_trail(trail)
    if parts.searched is not None:
        library, engine = parts.searched
        watch_library(library, metrics)
        watch_search(engine, metrics)
    parts.gateway.middleware.insert(0, MetricsMiddleware(metrics))
    add_metrics(parts.gateway, metrics, needs_token=needs_token)


class _GatewayParts:
    """Collects what the servers behind the gateway contribute: completions, health checks, searched library."""

    def __init__(self, gateway: FastMCP[Any], upstream_timings: "UpstreamTimings | None") -> None:
        self.gateway = gateway
        self._upstream_timings = upstream_timings
        self.completions: list[CompletionHandler] = []
        self.checks: dict[str, Check] = {}
        self.searched: tuple[Library, DocumentSearch] | None = None

    def add_remote(
        self, name: str, url: str, settings: Settings, build: Build, *, documents: bool = False
    ) -> None:
        """Add a remote server of ours, in place of the one that `build` would build.

        `documents`: its resources are the documents.
        """
        from research_gateway.upstreams import UpstreamProvider, UpstreamTimings, remote

        token = settings.upstream_token.get_secret_value() if settings.upstream_token else None
        provider = UpstreamProvider(
            remote(name=name, url=url, token=token, timings=self._upstream_timings or UpstreamTimings()),
            seed=partial(_tool_list, build, settings),
            documents=documents,
        )
        self.gateway.add_provider(provider)
        self.completions.append(provider.complete)
        self.checks[f"upstream:{name}"] = upstream_check(provider, required=True)

    def add_foreign(self, server: "ForeignServer", pins: "ToolPins | None") -> None:
        """Add a foreign server under its namespace."""
        from research_gateway.upstreams import UpstreamProvider

        provider = UpstreamProvider(server.upstream, namespaced=True, pins=pins)
        self.gateway.add_provider(provider, namespace=server.namespace)
        self.completions.append(namespaced(server.namespace, provider.complete))
        self.checks[f"upstream:{server.namespace}"] = upstream_check(provider, required=False)


def _add_servers(
    parts: _GatewayParts, settings: Settings, *, library: Library | None, provider: "Provider | None"
) -> None:
    """Mount the documents and the reasoning server, or add their remote counterparts."""
    if settings.documents_url is None or settings.reasoning_url is None:
        library = library or Library.from_settings(settings)
        parts.checks["roots"] = roots_check(library.roots)
        parts.checks["faults"] = faults_check(library.roots)
    if settings.documents_url is not None:
        url = settings.documents_url
        parts.add_remote(
            name="documents", url=url, settings=settings, build=build_documents_server, documents=True
        )
    else:
        assert library is not None  # noqa: S101  (made above)
        engine = engine_from_settings(library, settings)
        parts.gateway.mount(build_documents_server(settings, library=library, engine=engine))
        parts.completions.append(documents_completion(library))
        parts.checks["index"] = index_check(lambda: engine.indexing, problem=lambda: engine.problem)
        parts.searched = (library, engine)
    if settings.reasoning_url is not None:
        parts.add_remote(
            name="reasoning", url=settings.reasoning_url, settings=settings, build=build_reasoning_server
        )
    else:
        assert library is not None  # noqa: S101  (made above)
        passages = IndexedPassages(parts.searched[1]) if parts.searched is not None else None
        parts.gateway.mount(
            build_reasoning_server(settings, library=library, provider=provider, passages=passages)
        )
        parts.completions.append(reasoning_completion(library))


async def _tool_list(build: Build, settings: Settings) -> list[mcp_types.Tool]:
    """Return the tools of a server of ours, which are the same locally and remotely. The server built here never serves."""
    nowhere = settings.model_copy(update={"roots": (Root("research", Path(gettempdir())),)})
    server = build(nowhere, library=Library.from_settings(nowhere))
    return [tool.to_mcp_tool(name=tool.name) for tool in await server.list_tools(run_middleware=False)]


def create_server() -> FastMCP[Any]:
    """Build the gateway from the environment, for `fastmcp run` and other launchers."""
    return build_gateway(Settings.load())
