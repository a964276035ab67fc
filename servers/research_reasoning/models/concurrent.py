"""Model of the session and provider routes: concurrent calls, each with its own retries."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio

from research_reasoning.models.protocol import (
    AttemptFailed,
    Body,
    Completion,
    Cost,
    Done,
    Prompt,
    PromptOutcome,
    RawAnswer,
    Route,
    Spend,
    judge,
    was_cut,
)
from research_shared.errors import BudgetExceeded, DeadlineExceeded, ModelError, ModelFailed, ModelUnavailable
from research_shared.retry import RetryPolicy
from research_shared.text.tokens import Estimator
from research_shared.tools.activity import waiting
from research_shared.tools.progress import ClientLog

Attempt = Callable[[Body, int], Awaitable[RawAnswer]]
"""Makes one attempt. Arguments: the body and the limit of output tokens."""


class Unavailable(Exception):
    """The model cannot be reached at all. Another attempt would not help."""


@dataclass(frozen=True, slots=True)
class ConcurrentModel:
    """Asks each prompt in a call of its own. The limiter bounds the concurrent calls."""

    route: Route
    call: Attempt
    limiter: anyio.CapacityLimiter
    retry: RetryPolicy
    client: ClientLog
    estimate: Estimator

    def rounds(self, step: Sequence[Cost], reserve: int) -> int:
        """Return 1: all calls of a step are made at once."""
        del step, reserve
        return 1

    async def complete(
        self, prompts: Sequence[Prompt], done: Done, *, spend: Spend, reserve: int = 0
    ) -> list[PromptOutcome]:
        """Answer all prompts. Cancellation cancels every call."""
        del reserve
        outcomes: dict[int, PromptOutcome] = {}

        async def one(index: int, prompt: Prompt | None) -> None:
            while prompt is not None:
                outcomes[index] = await self._in_turn(prompt, spend)
                prompt = await done(index, outcomes[index])

        async with anyio.create_task_group() as group:
            for index, prompt in enumerate(prompts):
                group.start_soon(one, index, prompt)
        return [outcomes[index] for index in range(len(prompts))]

    async def _in_turn(self, prompt: Prompt, spend: Spend) -> PromptOutcome:
        """Return the outcome of a prompt. The wait for a slot and the wait for the model each end by the retry deadline."""
        what = f"the model: {prompt.label}"
        with waiting(what, limit_s=self.retry.deadline_s):
            await self.limiter.acquire()
        try:
            with waiting(what, limit_s=self.retry.deadline_s):
                return await self._answer(prompt, spend)
        finally:
            self.limiter.release()

    async def _answer(self, prompt: Prompt, spend: Spend) -> PromptOutcome:
        body = await prompt.build()
        expected = self.estimate(body.system) + self.estimate(body.text)
        made = answered = 0
        last: AttemptFailed | None = None

        async def attempt(number: int) -> Completion:
            nonlocal made, answered
            if not spend(prompt.key, answered + 1, expected):
                raise out_of_budget(last)
            made = number
            await self.client.info(asking(prompt, expected, number, self.retry.attempts))
            answer = await self.call(body, prompt.max_tokens)
            answered += 1
            answer = judge(answer, prompt.max_tokens)
            return Completion(
                answer.text,
                answer.model,
                cut=was_cut(answer),
                input_tokens=answer.input_tokens,
                output_tokens=self.estimate(answer.text)
                if answer.output_tokens is None
                else answer.output_tokens,
                attempts=number,
            )

        async def tell(number: int, wait: float, error: Exception) -> None:
            await self.client.warning(
                f"the model call for {prompt.label} failed (attempt {number} of {self.retry.attempts}): {error}; "
                f"trying again after {wait:.1f} s"
            )

        def verdict(error: Exception) -> bool | float:
            nonlocal last
            last = error if isinstance(error, AttemptFailed) else None
            return last.retry if last is not None else False

        try:
            return await self.retry.run(attempt, verdict=verdict, before_retry=tell)
        except AttemptFailed as error:
            return failure(prompt, error.reason, error.message, made)
        except DeadlineExceeded as error:
            return failure(prompt, "deadline", error.message, made)
        except Unavailable as error:
            return ModelUnavailable(str(error))


def asking(prompt: Prompt, expected: int, attempt: int, attempts: int) -> str:
    """Return the log message before a model call."""
    again = f" (attempt {attempt} of {attempts})" if attempt > 1 else ""
    return f"asking the model for {prompt.label}: about {expected} tokens in, at most {prompt.max_tokens} out{again}"


def out_of_budget(last: AttemptFailed | None) -> AttemptFailed:
    """Return why a prompt is not asked, or not asked again after the failed attempt `last`."""
    if last is None:
        return AttemptFailed(
            "budget", "not asked, because the request's budget of input tokens is used up", retry=False
        )
    return AttemptFailed(
        last.reason, f"{last.message}, and the request's budget of input tokens is used up", retry=False
    )


def failure(prompt: Prompt, reason: str, message: str, attempts: int) -> ModelError:
    """Return the error of a prompt without an answer."""
    if reason == "budget":
        return BudgetExceeded(f"{prompt.label}: {message}", reason=reason, attempts=attempts)
    times = {0: "", 1: " (tried once)"}.get(attempts, f" (tried {attempts} times)")
    return ModelFailed(f"{prompt.label}: {message}{times}", reason=reason, attempts=attempts)
