"""What the session and the provider have in common: calls of their own, made at once, each with its own retries."""

from collections.abc import Awaitable, Callable, Sequence

import anyio

from research_reasoning.models.protocol import (
    AttemptFailed,
    Body,
    Completion,
    Done,
    Outcome,
    Prompt,
    RawAnswer,
    Spend,
    judge,
    was_cut,
)
from research_shared.errors import BudgetExceeded, DeadlineExceeded, ModelError, ModelFailed, ModelUnavailable
from research_shared.progress import ClientLog
from research_shared.retry import RetryPolicy
from research_shared.tokens import Estimator

Call = Callable[[Body, int], Awaitable[RawAnswer]]
"""Makes one attempt: a body and the limit on output tokens give an answer."""


NOT_ASKED = "not asked, because the request's budget of input tokens is used up"


class Unavailable(Exception):
    """The other side cannot answer at all; trying again would not help."""


async def complete_concurrently(
    prompts: Sequence[Prompt],
    call: Call,
    done: Done,
    *,
    spend: Spend,
    limiter: anyio.CapacityLimiter,
    retry: RetryPolicy,
    client: ClientLog,
    estimate: Estimator,
) -> list[Outcome]:
    """Answer all prompts, at most as many at a time as the limiter allows. Cancelling it cancels every call."""
    outcomes: list[Outcome | None] = [None] * len(prompts)

    async def one(index: int, prompt: Prompt) -> None:
        async with limiter:
            outcome = await _answer(prompt, call, spend=spend, retry=retry, client=client, estimate=estimate)
        outcomes[index] = outcome
        await done(index, outcome)

    async with anyio.create_task_group() as group:
        for index, prompt in enumerate(prompts):
            group.start_soon(one, index, prompt)
    return [outcome for outcome in outcomes if outcome is not None]


async def _answer(
    prompt: Prompt, call: Call, *, spend: Spend, retry: RetryPolicy, client: ClientLog, estimate: Estimator
) -> Outcome:
    body = await prompt.build()
    expected = estimate(body.system) + estimate(body.text)
    if not spend(prompt.key, expected):
        return failure(prompt, "budget", NOT_ASKED, 0)
    made = 0

    async def attempt(number: int) -> Completion:
        nonlocal made
        made = number
        await client.info(
            f"asking the model for {prompt.label}: about {expected} tokens in, at most {prompt.max_tokens} out"
            + (f" (attempt {number} of {retry.attempts})" if number > 1 else "")
        )
        answer = judge(await call(body, prompt.max_tokens), prompt.max_tokens)
        return Completion(
            answer.text,
            answer.model,
            cut=was_cut(answer),
            input_tokens=expected if answer.input_tokens is None else answer.input_tokens,
            output_tokens=estimate(answer.text) if answer.output_tokens is None else answer.output_tokens,
            attempts=number,
        )

    async def tell(number: int, wait: float, error: Exception) -> None:
        await client.warning(
            f"the model call for {prompt.label} failed (attempt {number} of {retry.attempts}): {error}; "
            f"trying again after {wait:.1f} s"
        )

    def verdict(error: Exception) -> bool | float:
        return error.retry if isinstance(error, AttemptFailed) else False

    try:
        return await retry.run(attempt, verdict=verdict, before_retry=tell)
    except AttemptFailed as error:
        return failure(prompt, error.reason, error.message, made)
    except DeadlineExceeded as error:
        return failure(prompt, "deadline", error.message, made)
    except Unavailable as error:
        return ModelUnavailable(str(error))


def failure(prompt: Prompt, reason: str, message: str, attempts: int) -> ModelError:
    """The error that stands for a prompt without an answer."""
    if reason == "budget":
        return BudgetExceeded(f"{prompt.label}: {message}", reason=reason, attempts=attempts)
    times = "once" if attempts == 1 else f"{attempts} times"
    return ModelFailed(f"{prompt.label}: {message} (tried {times})", reason=reason, attempts=attempts)
