"""Context of one tool call or one of its rounds, independent of the route."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from research_reasoning.budget import Budget
from research_reasoning.evidence.prepared import PreparedDocuments
from research_reasoning.models.fallback import UNANSWERED
from research_reasoning.models.protocol import Completion, Cost, Model, Prompt, PromptOutcome
from research_reasoning.models.state import Ledger
from research_reasoning.replies.results import Usage
from research_reasoning.replies.untrusted import quoted
from research_shared.documents import DocumentText
from research_shared.errors import ModelError
from research_shared.reading.library import Library
from research_shared.telemetry import record
from research_shared.text.sizes import counted
from research_shared.text.tokens import Estimator
from research_shared.tools.activity import waiting
from research_shared.tools.names import INCOMPLETE
from research_shared.tools.progress import ClientLog, Progress

_DIGEST = 12
"""Characters of a digest that identify a version of a document."""

MIN_CORRECTION, MAX_CORRECTION = 0.5, 2.0
"""Bounds on the correction of estimates. A report below the first is of a model that read only a part of its prompt."""

_NAMED = 5
"""Items that a warning names; the rest is counted."""

Tell = Callable[[int, PromptOutcome], Awaitable[None]]


@dataclass
class Call:
    """Everything that one call needs."""

    library: Library
    model: Model
    ledger: Ledger
    client: ClientLog
    progress: Progress
    budget: Budget
    base_estimate: Estimator
    """The tokens of a text, before any model has reported what it counts."""
    kept: PreparedDocuments | None = None
    """What earlier rounds and calls have computed from documents."""
    _expected: dict[str, int] = field(default_factory=dict)
    """Tokens of each prompt by `base_estimate`, when it was last asked."""
    _reported: dict[str, tuple[int, int]] = field(default_factory=dict)
    """For each prompt: the tokens that the model reported, and those expected."""

    @cached_property
    def prepared(self) -> PreparedDocuments:
        """What is computed from documents once."""
        return self.kept if self.kept is not None else PreparedDocuments(self.base_estimate)

    @property
    def correction(self) -> float:
        """Tokens that the model of this call counts for each one of `base_estimate`, from what it reported so far."""
        reported = sum(tokens for tokens, _ in self._reported.values())
        expected = sum(tokens for _, tokens in self._reported.values())
        if not expected:
            return 1.0
        return min(MAX_CORRECTION, max(MIN_CORRECTION, reported / expected))

    def estimate(self, text: str) -> int:
        """Return the tokens of a text, corrected by what the model of this call reported."""
        return round(self.base_estimate(text) * self.correction)

    @property
    def boundary(self) -> str:
        """Mark around untrusted text: 128 random bits, the same in all rounds of a call."""
        return self.ledger.boundary

    async def read(self, path: str) -> DocumentText:
        """Return the text of a document. Warn the client if it changed since an earlier round: its part starts again."""
        with waiting(path, limit_s=self.library.limits.reading_s):
            text = await self.library.read(path)
        digest = text.digest[:_DIGEST]
        if self.ledger.digests.get(path, digest) != digest:
            await self.client.warning(f"{quoted(path)} changed during the call; its part starts again")
        self.ledger.digests[path] = digest
        return text

    async def announce(self, *steps: tuple[Sequence[Cost], int]) -> None:
        """Log the expected cost of the call, before its first model call.

        Each step is a pair: the costs of its concurrent calls, and the rounds reserved for later steps. Steps run in turn.
        """
        if self.model.route == "extractive":
            await self.client.info("no model is used: sentences are chosen from the documents", once=True)
            return
        costs = [cost for step, _ in steps for cost in step]
        rounds = sum(self.model.rounds(step, reserve) for step, reserve in steps)
        expected = sum(cost.input_tokens for cost in costs)
        out = sum(cost.output_tokens for cost in costs)
        await self.client.info(
            f"planned: {len(costs)} model call{'s' * (len(costs) != 1)} in {rounds} round{'s' * (rounds != 1)}, "
            f"about {counted(expected, 'token')} in, at most {out} out",
            once=True,
        )

    async def ask(
        self, prompts: Sequence[Prompt], *, reserve: int = 0, tell: Tell | None = None
    ) -> list[PromptOutcome]:
        """Return the outcomes of prompts, asked concurrently. Each is logged and counted once in all rounds.

        A malformed answer gets one repair, whose outcome replaces it. `tell` receives each final outcome at once.
        `reserve` is the number of rounds that later steps need.
        """
        current = list(prompts)

        async def done(index: int, outcome: PromptOutcome) -> Prompt | None:
            prompt = current[index]
            await self._account(prompt, outcome)
            repair = prompt.repair(outcome.text) if isinstance(outcome, Completion) else None
            if repair is not None:
                current[index] = repair
            elif tell is not None:
                await tell(index, outcome)
            return repair

        # One call's input is reserved for a later step.
        ceiling = self.budget.request_tokens - (self.budget.call_tokens if reserve > 1 else 0)
        first = {prompt.key: prompt.expected_tokens for prompt in prompts}

        def spend(key: str, attempt: int, tokens: int) -> bool:
            self._expected[key] = tokens
            tokens = round(tokens * self.correction)
            # Retries and repairs must not use the tokens of prompts that have not been asked yet.
            more = attempt > 1 or key not in first
            held = sum(size for other, size in first.items() if other not in self.ledger.spent) if more else 0
            return self.ledger.spend(key, attempt, tokens, ceiling - held)

        return await self.model.complete(prompts, done, spend=spend, reserve=reserve)

    async def _account(self, prompt: Prompt, outcome: PromptOutcome) -> None:
        ledger = self.ledger
        if prompt.key in ledger.counted:
            return
        ledger.counted.add(prompt.key)
        if isinstance(outcome, ModelError):
            self._count(prompt, int(outcome.details.get("attempts", 1)))
            record(stop_reason=outcome.details.get("reason", outcome.code))
            await self.client.error(outcome.message)
            return
        if outcome.model not in ledger.models:
            ledger.models.append(outcome.model)
        if self.model.route == "extractive":
            await self.client.info(f"chose sentences for {prompt.label}")
            return
        self._correct(prompt.key, outcome.input_tokens)
        self._count(prompt, outcome.attempts, outcome.input_tokens)
        ledger.usage.output_tokens += outcome.output_tokens
        record(stop_reason="length" if outcome.cut else "end")
        await self.client.info(
            f"the model answered for {prompt.label}: about {counted(outcome.output_tokens, 'token')} out ({outcome.model})"
        )
        if outcome.unread:
            ledger.unread[prompt.label] = outcome.unread
        if outcome.cut:
            ledger.cut.append(prompt.label)
            await self.client.warning(f"the model's answer for {prompt.label} was cut at its length limit")

    def _correct(self, key: str, reported: int | None) -> None:
        """Learn from what a model reported how many tokens it takes for a text."""
        expected = self._expected.get(key, 0)
        if reported is not None and expected and reported >= expected * MIN_CORRECTION:
            self._reported[key] = (reported, expected)

    def _count(self, prompt: Prompt, attempts: int, reported: int | None = None) -> None:
        """Add a model call to the usage. `reported` input tokens replace the estimate of one attempt."""
        usage = self.ledger.usage
        paid, cost = self.ledger.spent.get(prompt.key, (0, 0))
        usage.model_calls += attempts > 0
        usage.attempts += attempts
        usage.input_tokens += cost if reported is None else cost - cost // max(1, paid) + reported

    def model_warnings(self) -> list[str]:
        """Return warnings about a fallback of the model, prompts that it did not read whole, and answers that were cut."""
        warnings = [UNANSWERED] if self.ledger.client_given_up else []
        if unread := self.ledger.unread:
            label, tokens = max(unread.items(), key=lambda item: item[1])
            more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
            warnings.append(
                f"{INCOMPLETE}: the model's server seems to have cut the prompt for {label}{more}: it counts about {tokens} "
                "tokens less than were sent. Have the operator load the model with a longer context (Ollama: "
                "OLLAMA_CONTEXT_LENGTH or num_ctx in RESEARCH_PROVIDER_BODY), or lower RESEARCH_MODEL_CALL_TOKENS"
            )
        if cut := self.ledger.cut:
            more = f" and {len(cut) - _NAMED} more" if len(cut) > _NAMED else ""
            named = ", ".join(sorted(cut)[:_NAMED])
            warnings.append(
                f"{INCOMPLETE}: the model's answers were cut at their length limit for {named}{more}"
            )
        return warnings

    def usage(self) -> Usage:
        """Return the usage so far."""
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


def completed(outcome: PromptOutcome) -> Completion:
    """Return the answer.

    Raises:
        ModelError: the outcome is an error.
    """
    if isinstance(outcome, ModelError):
        raise outcome
    return outcome
