"""From the client's model to the provider's: a client may declare sampling and then not answer it, as bridges do.

Which it is shows when it is asked. From then on the call goes on with the provider; what the client's model answered
before is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from research_reasoning.models.concurrent import Attempt, ConcurrentModel, Unavailable
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
    """Ask the provider for the rest of the call, and say so."""
    ledger.client_given_up = True
    await client.warning(UNANSWERED, once=True)


def with_fallback(
    ask_client: Attempt,
    ask_provider: Attempt,
    limiter: anyio.CapacityLimiter,
    ledger: Ledger,
    client: ClientLog,
) -> Attempt:
    """Makes attempts with the client's model until it turns out not to answer, then with the provider's.

    `limiter` bounds the calls of the provider over all requests.
    """

    async def call(body: Body, max_tokens: int) -> RawAnswer:
        if not ledger.client_given_up:
            try:
                return await ask_client(body, max_tokens)
            except Unavailable:
                await give_up_client(ledger, client)
        async with limiter:
            return await ask_provider(body, max_tokens)

    return call


@dataclass(frozen=True, slots=True)
class FallbackModel:
    """A model whose calls go to the client first, or that goes on where rounds with the client ended."""

    model: ConcurrentModel
    ledger: Ledger

    @property
    def route(self) -> Route:
        """The provider as soon as it answers instead of the client."""
        return "provider" if self.ledger.client_given_up else "client"

    def rounds(self, step: Sequence[Cost], reserve: int) -> int:
        """One: all calls of a step are made at once."""
        return self.model.rounds(step, reserve)

    async def complete(
        self, prompts: Sequence[Prompt], done: Done, *, spend: Spend, reserve: int = 0
    ) -> list[PromptOutcome]:
        """The outcomes that earlier rounds came to, and those of the prompts that are still open."""
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
