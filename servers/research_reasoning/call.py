"""One tool call (or one round of it): everything the reasoning needs, whichever route answers."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Self

from research_reasoning.budget import Budget
from research_reasoning.models.protocol import CHARS_PER_TOKEN, Completion, Model, Outcome, Prompt
from research_reasoning.models.rounds import MAX_ANSWERS_BYTES, MAX_ROUND_BYTES
from research_reasoning.models.state import Ledger
from research_reasoning.results import Usage
from research_reasoning.untrusted import quoted
from research_shared.documents import DocumentText
from research_shared.errors import ModelError
from research_shared.library import Library
from research_shared.progress import ClientLog, Progress
from research_shared.telemetry import record
from research_shared.tokens import Estimator

_DIGEST = 12
"""Characters of a digest that tell two versions of a document apart."""

_NAMED = 5
"""So many are named in a warning; the rest is counted."""

_BYTES_PER_TOKEN = 4.5
"""Of a prompt on the wire, for the estimate of rounds."""

Tell = Callable[[int, Outcome], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one model call is expected to cost."""

    input_tokens: int
    output_tokens: int

    @classmethod
    def of(cls, prompt: Prompt) -> Self:
        """The cost of a prompt."""
        return cls(prompt.expected_tokens, prompt.max_tokens)


@dataclass
class Call:
    """The parts of one call."""

    library: Library
    model: Model
    ledger: Ledger
    client: ClientLog
    progress: Progress
    budget: Budget
    estimate: Estimator

    @property
    def boundary(self) -> str:
        """The mark around untrusted text: 128 random bits, the same in all rounds of a call."""
        return self.ledger.boundary

    async def read(self, path: str) -> DocumentText:
        """The text of a document. A change since an earlier round is told, because what rests on it starts again."""
        text = await self.library.read(path)
        digest = text.digest[:_DIGEST]
        if self.ledger.digests.get(path, digest) != digest:
            await self.client.warning(f"{quoted(path)} changed during the call; its part starts again")
        self.ledger.digests[path] = digest
        return text

    async def announce(self, steps: Sequence[Sequence[Cost]]) -> None:
        """Log what the call is expected to cost, before its first model call. Each step waits for the one before."""
        costs = [cost for step in steps for cost in step]
        rounds = sum(map(_rounds, steps))
        expected = sum(cost.input_tokens for cost in costs)
        out = sum(cost.output_tokens for cost in costs)
        await self.client.info(
            f"planned: {len(costs)} model call{'s' * (len(costs) != 1)} in {rounds} round{'s' * (rounds != 1)}, "
            f"about {expected} tokens in, at most {out} out",
            once=True,
            calls=len(costs),
            rounds=rounds,
            input_tokens=expected,
            output_tokens=out,
        )

    async def ask(
        self, prompts: Sequence[Prompt], *, reserve: int = 0, tell: Tell | None = None
    ) -> list[Outcome]:
        """The outcomes of prompts, asked all at once; each is logged and counted once in all rounds.

        `tell` hears of each outcome as soon as it is known, `reserve` is the number of rounds later steps need.
        """

        async def done(index: int, outcome: Outcome) -> None:
            await self._account(prompts[index], outcome)
            if tell is not None:
                await tell(index, outcome)

        # While a later step is to come, one call's worth is kept back for it.
        ceiling = self.budget.request_tokens - (self.budget.call_tokens if reserve > 1 else 0)

        def spend(key: str, tokens: int) -> bool:
            return self.ledger.spend(key, tokens, ceiling)

        return await self.model.complete(prompts, done, spend=spend, reserve=reserve)

    async def _account(self, prompt: Prompt, outcome: Outcome) -> None:
        ledger = self.ledger
        if prompt.key in ledger.counted:
            return
        ledger.counted.add(prompt.key)
        usage = ledger.usage
        usage.model_calls += 1
        if isinstance(outcome, ModelError):
            usage.attempts += int(outcome.details.get("attempts", 1))
            record(stop_reason=outcome.details.get("reason", outcome.code))
            await self.client.error(outcome.message)
            return
        usage.attempts += outcome.attempts
        usage.input_tokens += outcome.input_tokens
        usage.output_tokens += outcome.output_tokens
        record(stop_reason="length" if outcome.cut else "end")
        if outcome.model not in ledger.models:
            ledger.models.append(outcome.model)
        await self.client.info(
            f"the model answered for {prompt.label}: about {outcome.output_tokens} tokens out",
            model=outcome.model,
            output_tokens=outcome.output_tokens,
        )
        if outcome.cut:
            ledger.cut.append(prompt.label)
            await self.client.warning(f"the model's answer for {prompt.label} was cut at its length limit")

    def cut_warnings(self) -> list[str]:
        """What the result has to say about answers that stopped at their length limit."""
        cut = self.ledger.cut
        if not cut:
            return []
        more = f" and {len(cut) - _NAMED} more" if len(cut) > _NAMED else ""
        return [
            f"the model's answers were cut at their length limit for {', '.join(sorted(cut)[:_NAMED])}{more}"
        ]

    def usage(self) -> Usage:
        """What the call has cost up to now."""
        spent = self.ledger.usage
        return Usage(
            model_calls=spent.model_calls,
            attempts=spent.attempts,
            rounds=self.ledger.rounds,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
        )

    @property
    def model_name(self) -> str:
        """The models that answered, in the order of their first answers."""
        return ", ".join(self.ledger.models) or "none"


def _rounds(step: Sequence[Cost]) -> int:
    """How many rounds a step takes where its prompts and answers go through the client."""
    sent = sum(cost.input_tokens for cost in step) * _BYTES_PER_TOKEN / MAX_ROUND_BYTES
    received = sum(cost.output_tokens for cost in step) * CHARS_PER_TOKEN / MAX_ANSWERS_BYTES
    return max(1, math.ceil(sent), math.ceil(received))


def completed(outcome: Outcome) -> Completion:
    """The answer, or its error raised.

    Raises:
        ModelError: there is no answer.
    """
    if isinstance(outcome, ModelError):
        raise outcome
    return outcome
