"""The reasoning server: `summarize_document` and `synthesize_research`, on whichever route a model can be reached."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from weakref import WeakValueDictionary

import anyio
from fastmcp import Context, FastMCP
from mcp_types import InputRequiredResult, ToolAnnotations
from mcp_types.jsonrpc import MISSING_REQUIRED_CLIENT_CAPABILITY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from research_reasoning.budget import Budget
from research_reasoning.call import Call
from research_reasoning.models.concurrent import Call as ModelCall
from research_reasoning.models.concurrent import ConcurrentModel
from research_reasoning.models.extractive import ExtractiveModel
from research_reasoning.models.protocol import Model, Route
from research_reasoning.models.rounds import MAX_PROMPT_TOKENS, AskClient, RoundsModel, input_required
from research_reasoning.models.session import session_call
from research_reasoning.models.state import Ledger
from research_reasoning.results import Depth, Summary, SummaryLength, Synthesis
from research_reasoning.summarize import STEPS, summarize
from research_reasoning.synthesize import synthesize
from research_shared.boundary import ErrorBoundary
from research_shared.capabilities import client_samples
from research_shared.errors import ModelUnavailable, ResearchError
from research_shared.identity import TITLE, new_server
from research_shared.library import Library
from research_shared.progress import ClientLog, Progress
from research_shared.retry import RetryPolicy
from research_shared.roots import RootsPolicy
from research_shared.scope_meta import ScopeFromRequest
from research_shared.sealing import request_state_security
from research_shared.settings import Settings
from research_shared.telemetry import record
from research_shared.tokens import Estimator, estimate_tokens

if TYPE_CHECKING:
    from research_reasoning.models.provider import Provider

R = TypeVar("R", Summary, Synthesis)

NAME = "research-reasoning"
MAX_DOCUMENTS = 500
MAX_QUESTION = 2_000

INSTRUCTIONS = (
    "Summarize and compare documents of a research folder with a language model. Paths are those that "
    "list_research_documents and search_documents give. Find documents first (list or search), read what matters, then "
    "synthesize over the few documents that bear on the question. Every quote in a synthesis was searched for in its "
    "document; check `verified`, `coverage` and `sources_skipped` before relying on an answer."
)

DocumentPath = Annotated[
    str, Field(min_length=1, max_length=4096, description="Path exactly as list_research_documents gives it")
]
DocumentPaths = Annotated[
    list[DocumentPath],
    Field(
        min_length=1,
        max_length=MAX_DOCUMENTS,
        description="Paths exactly as list_research_documents gives them; the order numbers the citations [1], [2], …",
    ),
]
Question = Annotated[
    str,
    Field(
        min_length=3,
        max_length=MAX_QUESTION,
        description="One question in full; a specific one finds better evidence than a topic",
    ),
]
Length = Annotated[SummaryLength, Field(description="brief: 1 paragraph, standard: 3, detailed: 5 or more")]
HowDeep = Annotated[
    Depth,
    Field(description="overview: little of each document, short answer; detailed: more of each, long answer"),
]


@dataclass(frozen=True)
class _Service:
    """What all calls of one server share."""

    settings: Settings
    library: Library
    provider: "Provider | None"
    retry: RetryPolicy
    estimate: Estimator
    limiters: WeakValueDictionary[str, anyio.CapacityLimiter] = field(default_factory=WeakValueDictionary)
    """Bounds the model calls under way over each session, so that no client waits for another one's model.

    The provider has a limiter of its own, and rounds are bounded one by one.
    """

    async def serve(
        self, context: Context, steps: int, run: Callable[[Call], Awaitable[R]]
    ) -> R | InputRequiredResult:
        """Run one round of a call: to its result, or to what it needs from the client's model."""
        state = context.request_state
        ledger = Ledger.unpack(state) if state is not None else Ledger()
        client = ClientLog(context, NAME, sent=ledger.logged)
        progress = Progress(context, steps, reached=ledger.progress)
        record(call=ledger.call, round=ledger.rounds + 1)
        try:
            model = self._model(context, ledger, client)
            call = Call(self.library, model, ledger, client, progress, self._budget(model), self.estimate)
            result = await run(call)
        except AskClient as ask:
            _record(ledger, "client")
            return input_required(ask, ledger, client, progress)
        except ResearchError as error:
            await client.error(f"{error.code}: {error.message}")
            raise
        _record(ledger, model.route)
        return result

    def _budget(self, model: Model) -> Budget:
        request = self.settings.model_request_tokens
        call = min(self.settings.model_call_tokens, request // 2)
        return Budget(min(call, MAX_PROMPT_TOKENS) if isinstance(model, RoundsModel) else call, request)

    def _model(self, context: Context, ledger: Ledger, client: ClientLog) -> Model:
        """The first route that applies, in the order client, provider, extractive.

        Raises:
            ModelUnavailable: none does.
        """
        route = self.settings.model_route
        if route in {"auto", "client"} and client_samples(context):
            request = context.request_context
            if request is not None and request.protocol_version in MODERN_PROTOCOL_VERSIONS:
                return RoundsModel(
                    ledger,
                    context.input_responses,
                    client=client,
                    retry=self.retry,
                    estimate=self.estimate,
                    at_once=self.settings.model_concurrency,
                )
            limiter = self.limiters.setdefault(
                context.session_id, anyio.CapacityLimiter(self.settings.model_concurrency)
            )
            return self._concurrent("client", session_call(context), limiter, client)
        if route in {"auto", "provider"} and self.provider is not None:
            return self._concurrent("provider", self.provider.call, self.provider.limiter, client)
        if route == "extractive":
            return ExtractiveModel(self.estimate)
        raise ModelUnavailable(
            "this client offers no sampling, and the server has no model of its own",
            mcp_code=MISSING_REQUIRED_CLIENT_CAPABILITY,
            required_capabilities={"sampling": {}},
        )

    def _concurrent(
        self, route: Route, call: ModelCall, limiter: anyio.CapacityLimiter, client: ClientLog
    ) -> ConcurrentModel:
        return ConcurrentModel(route, call, limiter, self.retry, client, self.estimate)


def _record(ledger: Ledger, route: str) -> None:
    usage = ledger.usage
    record(
        route=route,
        model=", ".join(ledger.models) or None,
        model_calls=usage.model_calls,
        attempts=usage.attempts,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
    )


def _provider(settings: Settings) -> "Provider | None":
    if settings.provider is None or settings.provider_model is None:
        return None
    from research_reasoning.models.provider import Provider  # brings an HTTP client, which few need

    return Provider(
        settings.provider,
        settings.provider_model,
        settings.provider_key,
        settings.provider_url,
        concurrency=settings.model_concurrency,
        attempt_timeout_s=settings.model_timeout_s,
    )


def build_reasoning_server(
    settings: Settings,
    library: Library | None = None,
    *,
    provider: "Provider | None" = None,
    retry: RetryPolicy | None = None,
    estimate: Estimator = estimate_tokens,
) -> FastMCP[Any]:
    """The reasoning server over a library, by default its own over the settings' roots.

    `provider`, `retry` and `estimate` replace what the settings would give.

    Raises:
        ConfigurationError: the settings name no research folder.
    """
    service = _Service(
        settings,
        library
        if library is not None
        else Library(RootsPolicy(settings.roots, include_hidden=settings.include_hidden)),
        provider if provider is not None else _provider(settings),
        retry
        or RetryPolicy(settings.retry_attempts, settings.retry_base_s, deadline_s=settings.retry_deadline_s),
        estimate,
    )

    @asynccontextmanager
    async def lifespan(_server: FastMCP[Any]) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(service.library)
            if service.provider is not None:
                await stack.enter_async_context(service.provider.running())
            yield {}

    server = new_server(
        NAME,
        title=f"{TITLE}: reasoning",
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        middleware=[ErrorBoundary(), ScopeFromRequest()],
        mask_error_details=True,
        on_duplicate="error",
        request_state_security=request_state_security(settings),
    )
    _add_tools(server, service)
    _add_prompt(server)
    return server


def _add_tools(server: FastMCP[Any], service: _Service) -> None:
    # Not idempotent in MCP's sense of "the same call has no further effect": each call costs model tokens and may be
    # worded differently. The world it touches is a model outside the server.
    annotations = ToolAnnotations(read_only_hint=True, idempotent_hint=False, open_world_hint=True)

    @server.tool(
        title="Summarize a document",
        annotations=annotations,
        output_schema=Summary.model_json_schema(),
    )
    async def summarize_document(
        context: Context, document_path: DocumentPath, summary_length: Length = "standard"
    ) -> Summary | InputRequiredResult:
        """Summarize one document in 1, 3 or 5+ paragraphs with a language model.

        Use it to decide whether a document is worth reading, or to report on one document. For a question over several
        documents use synthesize_research; for exact words use search_documents and read_document. `coverage` says how
        much of the document the model was shown.
        """

        async def run(call: Call) -> Summary:
            record(documents=[document_path])
            return await summarize(call, document_path, summary_length)

        return await service.serve(context, STEPS, run)

    @server.tool(
        title="Synthesize research over documents",
        annotations=annotations,
        output_schema=Synthesis.model_json_schema(),
    )
    async def synthesize_research(
        context: Context,
        document_paths: DocumentPaths,
        research_question: Question,
        depth: HowDeep = "overview",
    ) -> Synthesis | InputRequiredResult:
        """Answer one research question from several documents, with quotes that were checked against them.

        Choose the documents first with list_research_documents or search_documents: a handful that bear on the
        question beats the whole folder. Gives a cited answer ([1] is the first of `sources`), key insights with their
        evidence, and what could not be used. `answered: false` says that the documents do not answer the question; an
        insight with `verified: false` must not be reported as fact.
        """
        paths = list(dict.fromkeys(document_paths))

        async def run(call: Call) -> Synthesis:
            record(documents=paths)
            return await synthesize(call, paths, research_question, depth)

        return await service.serve(context, len(paths), run)


def _add_prompt(server: FastMCP[Any]) -> None:
    @server.prompt(title="Research brief")
    def research_brief(topic: str) -> str:
        """Work through a research folder on one topic and write a brief with checked evidence."""
        return (
            f"Write a research brief on this topic: {topic}\n\n"
            "1. Call list_research_documents to see what there is.\n"
            "2. Call search_documents with a few different wordings of the topic; note which documents have hits.\n"
            "3. Call read_document around the best hits to make sure that they bear on the topic.\n"
            "4. Call synthesize_research with those documents (three to ten) and one precise question.\n"
            "5. Write the brief: the answer, the key insights with document, page and lines, where sources disagree, "
            "and what the folder does not answer. Report only insights that are verified; name skipped sources."
        )


def create_server() -> FastMCP[Any]:
    """The server that the environment's settings describe, for `fastmcp run`.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    return build_reasoning_server(Settings.load())
