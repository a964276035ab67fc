"""Routes to a model: which one answers the prompts of a call, and how much it may be asked."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from fastmcp import Context
from mcp_types.jsonrpc import MISSING_REQUIRED_CLIENT_CAPABILITY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from research_reasoning.budget import Budget
from research_reasoning.models.concurrent import Attempt, ConcurrentModel
from research_reasoning.models.fallback import FallbackModel, give_up_client, with_fallback
from research_reasoning.models.limiter import CallLimiter
from research_reasoning.models.protocol import Model, OutputRoom, Route, input_room
from research_reasoning.models.rounds import MAX_PROMPT_TOKENS, RoundsModel, is_unanswered
from research_reasoning.models.session import session_call
from research_reasoning.models.state import Ledger
from research_reasoning.remedies import model_hint
from research_shared.errors import ModelUnavailable
from research_shared.middleware.capabilities import client_samples
from research_shared.retry import RetryPolicy
from research_shared.settings import Settings
from research_shared.text.tokens import Estimator
from research_shared.tools.progress import ClientLog

if TYPE_CHECKING:
    from research_reasoning.models.provider import Provider

MIN_CALL_TOKENS: Final = 1_000
"""A call is planned with as many tokens, however short the model's context is said to be."""


@dataclass(frozen=True, kw_only=True)
class ModelRoutes:
    """The routes of one server, tried in the order client, provider, extractive."""

    settings: Settings
    provider: "Provider | None"
    retry: RetryPolicy
    estimate: Estimator
    limiters: WeakValueDictionary[str, CallLimiter] = field(default_factory=WeakValueDictionary)
    """Bounds the model calls in flight over each session, so that no client waits for another one's model.

    The provider has a limiter of its own, and rounds are bounded one by one.
    """

    async def choose(self, context: Context, ledger: Ledger, client: ClientLog) -> Model:
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

    def budget(self, model: Model) -> Budget:
        """Return how many tokens a request and each of its prompts may have with this model."""
        request = self.settings.model_request_tokens
        call = min(self.settings.model_call_tokens, request // 2)
        if isinstance(model, RoundsModel):
            call = min(call, MAX_PROMPT_TOKENS)
        elif model.route == "provider" and self.provider is not None and self.provider.learned.context_tokens:
            # What the provider refused before is not sent again.
            fitting = input_room(self.provider.learned.context_tokens, 0, self._room)
            call = min(call, max(fitting, MIN_CALL_TOKENS))
        return Budget(call, request)

    def hint(self, model: Model | None) -> str:
        """Return the next step for a caller who gets no model. `model` is the one that failed, if one was chosen."""
        return model_hint(
            self.settings,
            has_provider=self.provider is not None,
            provider_refused=model is not None and model.route == "provider",
        )


def provider_of(settings: Settings) -> "Provider | None":
    """Return the provider of the settings, None if they name none."""
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
