"""What all calls of the tools share: a round from the client's state to a result, or to a request for its model."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fastmcp import Context
from fastmcp.tools.base import ToolResult
from mcp_types import InputRequiredResult

from research_reasoning.call import Call
from research_reasoning.evidence.prepared import PreparedDocuments
from research_reasoning.follow_up import follow_up_token
from research_reasoning.inquiry import Inquiry
from research_reasoning.models.protocol import Model
from research_reasoning.models.rounds import AskClient, input_required
from research_reasoning.models.routes import ModelRoutes
from research_reasoning.models.state import Ledger
from research_reasoning.replies.fitting import MAX_RESULT_TOKENS, fitted
from research_reasoning.replies.results import ExportFormat, Synthesis
from research_shared.document_urls import LinkTemplate
from research_shared.errors import ModelUnavailable, ResearchError
from research_shared.reading.library import Library
from research_shared.reading.passage_search import PassageSearch
from research_shared.serving.sealing import TokenSealer
from research_shared.telemetry import record
from research_shared.text.tokens import Estimator
from research_shared.tools.choices import AskUser
from research_shared.tools.progress import ClientLog, Progress

REASONING_SERVER: Final = "research-reasoning"
MIN_RESULT_TOKENS: Final = 8_000
"""Tokens of a structured result that an export leaves to the answer, however long it is."""

Run = Callable[[Call], Awaitable[ToolResult]]


@dataclass(frozen=True, kw_only=True)
class ReasoningService:
    """What all calls of one server share."""

    library: Library
    routes: ModelRoutes
    estimate: Estimator
    prepared: PreparedDocuments
    passages: PassageSearch
    sealer: TokenSealer
    links: LinkTemplate | None

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
            model = await self.routes.choose(context, ledger, client)
            steps, run = await prepare(ledger)
            progress = Progress(context, steps, reached=ledger.progress)
            budget = self.routes.budget(model)
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
                error.hint = self.routes.hint(model)
            await client.error(f"{error.code}: {error.message}")
            raise
        finally:
            # Also of a call that was cancelled: what was spent is spent.
            if model is not None:
                _record_usage(ledger, model.route)

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


def _record_usage(ledger: Ledger, route: str) -> None:
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
