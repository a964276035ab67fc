"""Fallback from the client's model to the provider's, for clients that declare sampling and do not answer it, as bridges do.

The first unanswered request shows it. The rest of the call goes to the provider; earlier answers of the client's model
are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from research_reasoning.models.concurrent import Attempt, ConcurrentModel, Unavailable
from research_reasoning.models.limiter import CallLimiter
from research_reasoning.models.protocol import (
    Body,
    Cost,
    Done,
    Prompt,
    PromptOutcome,
    RawAnswer,
    Route,
    Spend,
)
from research_reasoning.models.rounds import known_outcome
from research_reasoning.models.state import Ledger
from research_shared.tools.progress import ClientLog

UNANSWERED = "the client declares sampling but does not answer it; the provider's model answers instead"


async def give_up_client(ledger: Ledger, client: ClientLog) -> None:
    """Use the provider for the rest of the call, and warn the client."""
    ledger.client_given_up = True
    await client.warning(UNANSWERED, once=True)


def with_fallback(
    ask_client: Attempt,
    ask_provider: Attempt,
    limiter: CallLimiter,
    ledger: Ledger,
    client: ClientLog,
) -> Attempt:
    """Return an attempt that uses the client's model until it turns out not to answer, then the provider's.

    `limiter` bounds the provider's calls over all requests.
    """

    async def call(body: Body, max_tokens: int) -> RawAnswer:
        if not ledger.client_given_up:
            try:
                return await ask_client(body, max_tokens)
            except Unavailable:
                await give_up_client(ledger, client)
        async with limiter.slot():
            return await ask_provider(body, max_tokens)

    return call


@dataclass(frozen=True, slots=True)
class FallbackModel:
    """A model that asks the client first, or continues where rounds with the client ended."""

    model: ConcurrentModel
    ledger: Ledger

    @property
    def route(self) -> Route:
        """`provider` once the provider answers instead of the client, else `client`."""
        return "provider" if self.ledger.client_given_up else "client"

    def rounds(self, step: Sequence[Cost], reserve: int) -> int:
        """Return 1: all calls of a step are made at once."""
        return self.model.rounds(step, reserve)

    async def complete(
        self, prompts: Sequence[Prompt], done: Done, *, spend: Spend, reserve: int = 0
    ) -> list[PromptOutcome]:
        """Return the outcomes: those of earlier rounds, and new ones for the open prompts."""
        outcomes: dict[int, PromptOutcome] = {}
        still_open: list[tuple[int, Prompt]] = []
        for index, asked in enumerate(prompts):
            prompt: Prompt | None = asked
            while prompt is not None and (outcome := known_outcome(self.ledger, prompt)) is not None:
                outcomes[index] = outcome
                prompt = await done(index, outcome)
            if prompt is not None:
                still_open.append((index, prompt))

        async def tell(position: int, outcome: PromptOutcome) -> Prompt | None:
            return await done(still_open[position][0], outcome)

        answered = await self.model.complete(
            [prompt for _, prompt in still_open], tell, spend=spend, reserve=reserve
        )
        outcomes |= {index: outcome for (index, _), outcome in zip(still_open, answered, strict=True)}
        return [outcomes[index] for index in range(len(prompts))]
