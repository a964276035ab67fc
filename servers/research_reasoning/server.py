"""The reasoning server: `summarize_document` and `synthesize_research`, on whichever route a model can be reached."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal
from weakref import WeakValueDictionary

from fastmcp import Context, FastMCP
from fastmcp.apps import AppConfig
from fastmcp.tools.base import ToolResult
from mcp_types import InputRequiredResult, ToolAnnotations
from mcp_types.jsonrpc import MISSING_REQUIRED_CLIENT_CAPABILITY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from research_reasoning.apps import AnswerApp, answer_meta
from research_reasoning.brief_prompts import add_research_prompts, reasoning_completion
from research_reasoning.budget import Budget
from research_reasoning.call import Call
from research_reasoning.evidence.prepared import PreparedDocuments
from research_reasoning.folder.narrowing import narrowed_folder
from research_reasoning.folder.scanning import ScannedPassages
from research_reasoning.follow_up import (
    FOLLOW_UP_PURPOSE,
    FOLLOW_UP_TTL_S,
    MAX_FOLLOW_UP_CHARS,
    carried_evidence,
    follow_up_token,
)
from research_reasoning.inquiry import MAX_ASPECT_CHARS, MAX_ASPECTS, Inquiry
from research_reasoning.models.concurrent import Attempt, ConcurrentModel
from research_reasoning.models.fallback import FallbackModel, give_up_client, with_fallback
from research_reasoning.models.limiter import CallLimiter
from research_reasoning.models.protocol import Model, OutputRoom, Route, input_room
from research_reasoning.models.rounds import (
    MAX_PROMPT_TOKENS,
    AskClient,
    RoundsModel,
    input_required,
    is_unanswered,
)
from research_reasoning.models.session import session_call
from research_reasoning.models.state import Ledger
from research_reasoning.remedies import model_hint
from research_reasoning.replies.fitting import MAX_RESULT_TOKENS, fitted
from research_reasoning.replies.rendering import summary_text, synthesis_text
from research_reasoning.replies.results import (
    AnswerFormat,
    Depth,
    ExportFormat,
    Summary,
    SummaryLength,
    Synthesis,
)
from research_reasoning.requested import MAX_REQUESTED_DOCUMENTS, WholeFolder, fitting, requested
from research_shared.document_urls import LinkTemplate
from research_shared.errors import ModelUnavailable, ResearchError
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.middleware.capabilities import client_samples, client_shows_apps
from research_shared.middleware.heartbeat import Heartbeat
from research_shared.middleware.scope_meta import ScopeFromRequest
from research_shared.policy import policy_middleware
from research_shared.reading.filters import DocumentFilter
from research_shared.reading.library import Library
from research_shared.reading.passage_search import PassageSearch
from research_shared.retry import RetryPolicy
from research_shared.serving.identity import TITLE, new_server
from research_shared.serving.sealing import TokenSealer, request_state_security
from research_shared.settings import Settings
from research_shared.tasks import TASKS_LIFESPAN_KEY, add_tasks
from research_shared.telemetry import record
from research_shared.text.tokens import Estimator, estimator_for
from research_shared.tools.arguments import READ_LIST, READ_TEXT, or_default, resolve_path
from research_shared.tools.choices import AskUser, choice_of_document
from research_shared.tools.descriptions import described
from research_shared.tools.filters import takes_filter
from research_shared.tools.names import ANSWER_APP_URI
from research_shared.tools.progress import ClientLog, Progress
from research_shared.tools.schemas import output_schema

if TYPE_CHECKING:
    from research_reasoning.models.provider import Provider

REASONING_SERVER = "research-reasoning"
MAX_QUESTION = 2_000
FOLDER_STEPS = 21
"""Steps of a question over the folder, until it is known how many documents are read."""
MIN_RESULT_TOKENS = 8_000
"""Tokens of a structured result that an export leaves to the answer, however long it is."""
MIN_CALL_TOKENS = 1_000
"""A call is planned with as many tokens, however short the model's context is said to be."""

REASONING_INSTRUCTIONS = (
    "Answers questions about a research folder, and summarizes its documents, with a language model. "
    "synthesize_research answers one question from the whole folder, or from the documents that you name; "
    "summarize_document is about one document. A reply that begins with INCOMPLETE rests on "
    "less than was asked for: say so. Report no insight as fact that is not verified."
)

DocumentPath = Annotated[
    str,
    Field(
        min_length=1, max_length=4096, description="path of a listing or a hit; a unique file name will do"
    ),
    READ_TEXT,
]
DocumentPaths = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=4096)]],
    Field(
        max_length=MAX_REQUESTED_DOCUMENTS,
        description="paths of a listing or of hits, folders, patterns such as papers/*.pdf; their order numbers [1], [2]. "
        "Left out: the server chooses passages from the whole folder; patterns over many documents limit it",
    ),
    READ_LIST,
]
Question = Annotated[
    str,
    Field(
        min_length=3,
        max_length=MAX_QUESTION,
        description="one whole question; a specific one finds better evidence than a topic",
    ),
    READ_TEXT,
]
Length = Annotated[
    SummaryLength,
    Field(description="brief: 1 paragraph, standard: 3, detailed: 5 or more"),
    or_default("standard", choice=True),
]
HowDeep = Annotated[
    Depth,
    Field(description="overview: a short answer; detailed: a long one from more of each document"),
    or_default("overview", choice=True),
]


AnswerLayout = Annotated[
    AnswerFormat,
    Field(
        description="prose; table: documents by aspects, each entry with its quote; timeline: dated events in order"
    ),
    or_default("prose", choice=True),
]
Aspects = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MAX_ASPECT_CHARS)]],
    Field(
        max_length=MAX_ASPECTS,
        description="columns of a table, such as method, cost; left out: the model chooses",
    ),
    READ_LIST,
]


ExportAs = Annotated[
    Literal["", "markdown", "bibtex", "csl-json"],
    Field(
        description="also give the answer as a file: markdown (footnotes), bibtex or csl-json (its sources)"
    ),
    or_default("", choice=True),
]
FollowUp = Annotated[
    str,
    Field(
        max_length=2 * MAX_FOLLOW_UP_CHARS,
        description="follow_up of the last answer, for a question that goes on from it: its evidence is used again",
    ),
    or_default(""),
]


Run = Callable[[Call], Awaitable[ToolResult]]


@dataclass(frozen=True)
class _Service:
    """What all calls of one server share."""

    settings: Settings
    library: Library
    provider: "Provider | None"
    retry: RetryPolicy
    estimate: Estimator
    prepared: PreparedDocuments
    passages: PassageSearch
    sealer: TokenSealer
    links: LinkTemplate | None
    limiters: WeakValueDictionary[str, CallLimiter] = field(default_factory=WeakValueDictionary)
    """Bounds the model calls in flight over each session, so that no client waits for another one's model.

    The provider has a limiter of its own, and rounds are bounded one by one.
    """

    async def serve(
        self,
        context: Context,
        prepare: Callable[[Ledger], Awaitable[tuple[int, Run]]],
    ) -> ToolResult | InputRequiredResult:
        """Run one round of a call, to its result or to the requests for the client's model.

        `prepare` returns the number of progress steps of the call, and the coroutine function that runs it.
        """
        state = context.request_state
        ledger = Ledger.unpack(state) if state is not None else Ledger()
        client = ClientLog(context, REASONING_SERVER, sent=ledger.logged)
        record(call=ledger.call, round=ledger.rounds + 1)
        model: Model | None = None
        try:
            # Before the user is asked anything: without a model no choice helps.
            model = await self._model(context, ledger, client)
            steps, run = await prepare(ledger)
            progress = Progress(context, steps, reached=ledger.progress)
            budget = self._budget(model)
            call = Call(
                self.library, model, ledger, client, progress, budget, self.estimate, kept=self.prepared
            )
            return await run(call)
        except AskUser as ask:
            return input_required(ask.requests, ledger, client)
        except AskClient as ask:
            ledger.progress = progress.reached
            return input_required(ask.requests, ledger, client)
        except ResearchError as error:
            if isinstance(error, ModelUnavailable) and error.hint == error.default_hint:
                error.hint = model_hint(
                    self.settings,
                    has_provider=self.provider is not None,
                    provider_refused=model is not None and model.route == "provider",
                )
            await client.error(f"{error.code}: {error.message}")
            raise
        finally:
            # Also of a call that was cancelled: what was spent is spent.
            if model is not None:
                _record(ledger, model.route)

    async def completed(
        self, call: Call, result: Synthesis, inquiry: Inquiry, export: ExportFormat | None
    ) -> Synthesis:
        """Return an answer with the token for questions that follow it, and with the file that it is asked as.

        Raises:
            ResponseTooLarge: the file would be longer than a reply holds.
        """
        token = follow_up_token(self.sealer, result, inquiry, call.ledger.digests)
        if export is None:
            return result.model_copy(update={"follow_up": token})
        from research_reasoning.exports import exported

        file = await exported(result, export, self.library, self.link, self.estimate)
        room = max(MIN_RESULT_TOKENS, MAX_RESULT_TOKENS - self.estimate(file.content))
        shorter = fitted(result, self.estimate, limit=room)
        return shorter.model_copy(update={"follow_up": token, "export": file})

    def link(self, path: str, page: int | None) -> str | None:
        """Return the address of a document, or of a page of it, in the operator's document system."""
        return None if self.links is None else self.links.link(path, page)

    def _budget(self, model: Model) -> Budget:
        request = self.settings.model_request_tokens
        call = min(self.settings.model_call_tokens, request // 2)
        if isinstance(model, RoundsModel):
            call = min(call, MAX_PROMPT_TOKENS)
        elif model.route == "provider" and self.provider is not None and self.provider.learned.context_tokens:
            # What the provider refused before is not sent again.
            fitting = input_room(self.provider.learned.context_tokens, 0, self._room)
            call = min(call, max(fitting, MIN_CALL_TOKENS))
        return Budget(call, request)

    async def _model(self, context: Context, ledger: Ledger, client: ClientLog) -> Model:
        """Return the first route that applies, in the order client, provider, extractive.

        With `auto`, the provider replaces a client that does not answer for the rest of the call.

        Raises:
            ModelUnavailable: no route applies.
        """
        route = self.settings.model_route
        fallback = self.provider if route == "auto" else None
        samples = route in {"auto", "client"} and client_samples(context)
        # A proxy that had to ask the client for us says that it does not sample; others come back without an answer.
        gave_up = ledger.rounds > 0 and (not samples or is_unanswered(ledger, context.input_responses))
        if fallback is not None and gave_up:
            await give_up_client(ledger, client)
            return FallbackModel(self._provided(fallback, client), ledger)
        if samples:
            request = context.request_context
            if request is not None and request.protocol_version in MODERN_PROTOCOL_VERSIONS:
                return RoundsModel(
                    ledger,
                    context.input_responses,
                    client=client,
                    retry=self.retry,
                    estimate=self.estimate,
                    room=self._room,
                    at_once=self.settings.model_concurrency,
                )
            limiter = self.limiters.setdefault(
                context.session_id, CallLimiter(self.settings.model_concurrency)
            )
            ask = session_call(context)
            if fallback is None:
                return self._concurrent("client", ask, limiter, client)
            ask = with_fallback(ask, fallback.call, fallback.limiter, ledger, client)
            return FallbackModel(self._concurrent("client", ask, limiter, client), ledger)
        if route in {"auto", "provider"} and self.provider is not None:
            return self._provided(self.provider, client)
        if route == "extractive":
            from research_reasoning.models.extractive import ExtractiveModel

            return ExtractiveModel(self.estimate)
        raise ModelUnavailable(
            "this client offers no sampling, and the server has no model of its own"
            if self.provider is None
            else "this client offers no sampling, and the server may use no other model",
            mcp_code=MISSING_REQUIRED_CLIENT_CAPABILITY,
            required_capabilities={"sampling": {}},
        )

    def _provided(self, provider: "Provider", client: ClientLog) -> ConcurrentModel:
        return self._concurrent("provider", provider.call, provider.limiter, client)

    def _concurrent(
        self, route: Route, call: Attempt, limiter: CallLimiter, client: ClientLog
    ) -> ConcurrentModel:
        return ConcurrentModel(route, call, limiter, self.retry, client, self.estimate, self._room)

    @property
    def _room(self) -> OutputRoom:
        return OutputRoom(self.settings.thinking_tokens, self.settings.max_output_tokens)


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
    if (open_ := ledger.unfinished).model_calls:
        record(unfinished_model_calls=open_.model_calls, unfinished_input_tokens=open_.input_tokens)


def _provider(settings: Settings) -> "Provider | None":
    if settings.provider is None or settings.provider_model is None:
        return None
    from research_reasoning.models.provider import Provider  # brings an HTTP client, which few need
    from research_reasoning.models.provider.wire import Options

    return Provider(
        settings.provider,
        settings.provider_model,
        settings.provider_key,
        settings.provider_url,
        concurrency=settings.model_concurrency,
        attempt_timeout_s=settings.model_timeout_s,
        options=Options(
            limit=settings.provider_limit,
            effort=settings.reasoning_effort,
            structured=settings.structured_output,
            extra=settings.provider_body,
        ),
        headers=settings.provider_headers,
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
    service = _Service(
        settings,
        library,
        provider if provider is not None else _provider(settings),
        retry
        or RetryPolicy(
            attempts=settings.retry_attempts,
            base_s=settings.retry_base_s,
            deadline_s=settings.retry_deadline_s,
        ),
        estimate,
        PreparedDocuments(estimate),
        passages if passages is not None else ScannedPassages(library),
        TokenSealer(settings, purpose=FOLLOW_UP_PURPOSE, ttl_s=FOLLOW_UP_TTL_S),
        LinkTemplate.parse(settings.document_url) if settings.document_url is not None else None,
    )

    @asynccontextmanager
    async def lifespan(_server: FastMCP[Any]) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(service.library)
            if service.provider is not None:
                await stack.enter_async_context(service.provider)
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
    _add_tools(server, service)
    server.add_provider(AnswerApp())
    add_research_prompts(server)
    server.add_completion_handler(reasoning_completion(service.library))
    add_tasks(server, settings, has_provider=service.provider is not None)
    return server


def _add_tools(server: FastMCP[Any], service: _Service) -> None:
    # Not idempotent in MCP's sense of "the same call has no further effect": each call costs model tokens and may be
    # worded differently. The world it touches is a model outside the server.
    annotations = ToolAnnotations(read_only_hint=True, idempotent_hint=False, open_world_hint=True)

    @described(
        server.tool,
        title="Summarize a document",
        annotations=annotations,
        output_schema=output_schema(Summary),
    )
    async def summarize_document(
        context: Context, document_path: DocumentPath, summary_length: Length = "standard"
    ) -> ToolResult | InputRequiredResult:
        """Summarize one document in 1, 3 or 5+ paragraphs with a language model.

        To decide whether a document is worth reading, or to report on one. For a question, or for several documents,
        use synthesize_research; for exact words use search_documents and read_document. A reply that begins with
        INCOMPLETE rests on a part of the document: `coverage` has the lines that the model was shown, read_document
        gives the others. `route`: whose model wrote it: client (yours), provider (the server's), extractive (none:
        sentences chosen by rule).
        """

        async def prepare(ledger: Ledger) -> tuple[int, Run]:
            from research_reasoning.summarize import STEPS, summarize

            record(documents=[document_path])
            path = ledger.get_result("path") or await resolve_path(
                service.library, document_path, choose=choice_of_document(context, document_path)
            )
            ledger.set_result("path", path, replaces=[])
            record(documents=[path])

            async def run(call: Call) -> ToolResult:
                result = await summarize(call, path, summary_length)
                return ToolResult(summary_text(result), result.model_dump(mode="json"))

            return STEPS, run

        return await service.serve(context, prepare)

    @described(
        server.tool,
        title="Synthesize research over documents",
        annotations=annotations,
        output_schema=output_schema(Synthesis),
        app=AppConfig(resource_uri=ANSWER_APP_URI),
    )
    @takes_filter
    async def synthesize_research(
        context: Context,
        *,
        document_paths: DocumentPaths = [],  # noqa: B006  (never changed; a list in the schema)
        research_question: Question,
        depth: HowDeep = "overview",
        format: AnswerLayout = "prose",  # noqa: A002  (what people call it)
        aspects: Aspects = [],  # noqa: B006  (never changed; a list in the schema)
        follow_up: FollowUp = "",
        export: ExportAs = "",
        wanted: DocumentFilter,
    ) -> ToolResult | InputRequiredResult:
        """Answer one research question from the folder or from named documents, with quotes that were looked up in them.

        `format` table gives `table` (documents by aspects, entries with quotes) in place of prose, timeline `timeline`.
        `follow_up` of an answer, passed with the next question, uses its evidence again.

        Without document_paths, passages of all documents that the filters (type to tags) admit compete to be shown to
        the model; `selection` says what was
        searched, `sources` what was read and why, `not_answered` what stays open. [1] in the answer is the first of
        `sources`. `verified: false`: a quote is not in its document, or `flags` name what the quotes do not hold; do
        not report the insight as fact. `answered: false`: the documents do not answer the question; search for others. `partial: true`: findings per document
        instead of one answer; ask about fewer. `sources_skipped`: documents that were not used, each with its
        `reason`. `coverage.complete: false`: only the passages that fit the question best were shown to the model;
        read_document gives the rest. `route`: whose model answered: client (yours), provider (the server's),
        extractive (none: sentences chosen by rule).
        """
        inquiry = _inquiry(research_question, format, aspects)

        async def prepare(ledger: Ledger) -> tuple[int, Run]:
            record(documents=document_paths)
            carried = carried_evidence(service.sealer, follow_up) if follow_up else None
            asked = inquiry if carried is None else replace(inquiry, earlier=carried.questions)
            chosen = await requested(service.library, document_paths, ledger, wanted)
            if chosen == WholeFolder() and carried is None:
                chosen = await narrowed_folder(context, service.library, ledger)
            if isinstance(chosen, list):
                chosen = await fitting(service.library, chosen, wanted, ledger)
                record(documents=[entry.path for entry in chosen])
                chosen = chosen if carried is None else WholeFolder.among(chosen, wanted)

            async def run(call: Call) -> ToolResult:
                if isinstance(chosen, WholeFolder):
                    from research_reasoning.folder import ask_folder

                    result = await ask_folder(call, service.passages, chosen, asked, depth, carried=carried)
                else:
                    from research_reasoning.synthesize import synthesize

                    result = await synthesize(call, chosen, asked, depth)
                result = await service.completed(call, result, asked, export or None)
                shown = result.model_dump(mode="json")
                return ToolResult(
                    synthesis_text(result, estimate=service.estimate),
                    shown,
                    meta=await answer_meta(shown, library=service.library, link=service.link)
                    if client_shows_apps(context)
                    else None,
                )

            return len(chosen) if isinstance(chosen, list) else FOLDER_STEPS, run

        return await service.serve(context, prepare)


def _inquiry(question: str, answer_format: AnswerFormat, aspects: Sequence[str]) -> Inquiry:
    """Return what is asked. Aspects alone ask for a table, too."""
    named = tuple(dict.fromkeys(" ".join(aspect.split()) for aspect in aspects if aspect.strip()))
    if named and answer_format == "prose":
        answer_format = "table"
    return Inquiry(question=question, format=answer_format, aspects=named if answer_format == "table" else ())


def create_server() -> FastMCP[Any]:
    """Build the reasoning server from the environment, for `fastmcp run` and other launchers.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    return build_reasoning_server(Settings.load())
