"""The reasoning server: `summarize_document` and `synthesize_research`, on whichever route a model can be reached."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastmcp import FastMCP

from research_reasoning.apps import AnswerApp
from research_reasoning.brief_prompts import add_research_prompts, reasoning_completion
from research_reasoning.evidence.prepared import PreparedDocuments
from research_reasoning.folder.scanning import ScannedPassages
from research_reasoning.follow_up import FOLLOW_UP_PURPOSE, FOLLOW_UP_TTL_S
from research_reasoning.models.routes import ModelRoutes, provider_of
from research_reasoning.tools import REASONING_SERVER, ReasoningService, add_reasoning_tools
from research_shared.document_urls import LinkTemplate
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.middleware.heartbeat import Heartbeat
from research_shared.middleware.scope_meta import ScopeFromRequest
from research_shared.policy import policy_middleware
from research_shared.reading.library import Library
from research_shared.reading.passage_search import PassageSearch
from research_shared.retry import RetryPolicy
from research_shared.serving.identity import TITLE, new_server
from research_shared.serving.sealing import TokenSealer, request_state_security
from research_shared.settings import Settings
from research_shared.tasks import TASKS_LIFESPAN_KEY, add_tasks
from research_shared.text.tokens import Estimator, estimator_for

if TYPE_CHECKING:
    from research_reasoning.models.provider import Provider

REASONING_INSTRUCTIONS = (
    "Answers questions about a research folder, and summarizes its documents, with a language model. "
    "synthesize_research answers one question from the whole folder, or from the documents that you name; "
    "summarize_document is about one document. A reply that begins with INCOMPLETE rests on "
    "less than was asked for: say so. Report no insight as fact that is not verified."
)


def build_reasoning_server(
    settings: Settings,
    library: Library | None = None,
    *,
    provider: "Provider | None" = None,
    retry: RetryPolicy | None = None,
    estimate: Estimator | None = None,
    heartbeat: Heartbeat | None = None,
    passages: PassageSearch | None = None,
) -> FastMCP[Any]:
    """Build the reasoning server over a library, by default a new one over the settings' roots.

    `passages` finds evidence for questions over the whole folder, by default a scan of the documents. `provider`, `retry`, `estimate` (tokens of a text) and `heartbeat` replace those of the settings.

    >>> from pathlib import Path
    >>> from fastmcp import Client
    >>> from research_shared import Root, Settings
    >>> settings = Settings(roots=(Root("research", Path("research")),), model_route="extractive")
    >>> async with Client(build_reasoning_server(settings)) as client:
    ...     summary = await client.call_tool("summarize_document", {"document_path": "tides.md"})
    >>> summary.structured_content["route"], "The moon pulls the sea." in summary.structured_content["summary"]
    ('extractive', True)

    Raises:
        ConfigurationError: the settings name no research folder.
    """
    estimate = estimate or estimator_for(settings.provider_model)
    if library is None:
        library = Library.from_settings(settings)
    routes = ModelRoutes(
        settings=settings,
        provider=provider if provider is not None else provider_of(settings),
        retry=retry
        or RetryPolicy(
            attempts=settings.retry_attempts,
            base_s=settings.retry_base_s,
            deadline_s=settings.retry_deadline_s,
        ),
        estimate=estimate,
    )
    service = ReasoningService(
        library=library,
        routes=routes,
        estimate=estimate,
        prepared=PreparedDocuments(estimate),
        passages=passages if passages is not None else ScannedPassages(library),
        sealer=TokenSealer(settings, purpose=FOLLOW_UP_PURPOSE, ttl_s=FOLLOW_UP_TTL_S),
        links=LinkTemplate.parse(settings.document_url) if settings.document_url is not None else None,
    )

    @asynccontextmanager
    async def lifespan(_server: FastMCP[Any]) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(library)
            if routes.provider is not None:
                await stack.enter_async_context(routes.provider)
            letting_go = asyncio.create_task(service.prepared.let_go())
            stack.callback(letting_go.cancel)
            yield {TASKS_LIFESPAN_KEY: REASONING_SERVER}

    server = new_server(
        REASONING_SERVER,
        title=f"{TITLE}: reasoning",
        instructions=REASONING_INSTRUCTIONS,
        lifespan=lifespan,
        middleware=[
            ErrorBoundary(),
            heartbeat or Heartbeat(patience_s=settings.tool_timeout_s),
            *policy_middleware(settings),
            ScopeFromRequest(),
        ],
        mask_error_details=True,
        on_duplicate="error",
        shows_apps=True,
        request_state_security=request_state_security(settings),
    )
    add_reasoning_tools(server, service)
    server.add_provider(AnswerApp())
    add_research_prompts(server)
    server.add_completion_handler(reasoning_completion(library))
    add_tasks(server, settings, has_provider=routes.provider is not None)
    return server


def create_server() -> FastMCP[Any]:
    """Build the reasoning server from the environment, for `fastmcp run` and other launchers.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    return build_reasoning_server(Settings.load())
