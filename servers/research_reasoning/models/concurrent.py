"""Model of the session and provider routes: concurrent calls, each with its own retries."""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio

from research_reasoning.models.limiter import CallLimiter
from research_reasoning.models.protocol import (
    BUSY_STATUSES,
    AttemptFailed,
    Body,
    Completion,
    ContextExceeded,
    Cost,
    Done,
    OutputRoom,
    Prompt,
    PromptOutcome,
    RawAnswer,
    Route,
    Spend,
    holds_enough,
    input_room,
    judge,
    was_cut,
)
from research_reasoning.remedies import reason_hint
from research_shared.errors import BudgetExceeded, DeadlineExceeded, ModelError, ModelFailed, ModelUnavailable
from research_shared.retry import RetryPolicy, Uncounted, Verdict
from research_shared.telemetry import record_duration
from research_shared.telemetry.spans import span
from research_shared.text.sizes import counted
from research_shared.text.tokens import Estimator
from research_shared.tools.activity import waiting
from research_shared.tools.progress import ClientLog

Attempt = Callable[[Body, int], Awaitable[RawAnswer]]
"""Makes one attempt. Arguments: the body and the limit of output tokens."""

MAX_SHRUNK = 2
"""How often a prompt that is too long is made smaller: the second time if the model did not say how long it may be."""

MAX_UNCOUNTED = 20
"""Attempts that a busy server may refuse before they count."""

_BUSY_REASONS = frozenset(f"http_{status}" for status in BUSY_STATUSES)
_BUDGET_MARGIN = 32
"""Tokens of a context that the server's template takes besides the messages."""

UNREAD_FROM = 2_000
"""Prompts of fewer estimated tokens show no silent cut: the estimate is too coarse."""

_UNREAD_FRACTION = 0.5


class Unavailable(Exception):
    """The model cannot be reached at all. Another attempt would not help."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(slots=True)
class _Question:
    """A prompt on its way to an answer: what was tried, and how it is asked next."""

    prompt: Prompt
    estimate: Estimator
    room: OutputRoom
    limit: int
    """Output tokens of the next attempt."""
    body: Body = field(default_factory=lambda: Body("", ""))
    expected: int = 0
    made: int = 0
    answered: int = 0
    shrunk: int = 0
    uncounted: int = 0
    answers_before: int = 0
    best: RawAnswer | None = None
    last: AttemptFailed | None = None

    async def build(self) -> None:
        if not self.expected:
            self.body = replace(await self.prompt.build(), brief=self.prompt.brief)
            self.expected = max(1, self.estimate(self.body.system) + self.estimate(self.body.text))

    def grow(self) -> bool:
        """Leave the model more room. Return False if there is no more."""
        more = self.room.more(self.limit)
        if more is None:
            return False
        self.limit = more
        return True

    async def fit(self, error: ContextExceeded) -> bool:
        """Fit the model's context: with less room for the answer, or with less content. Return False if neither will do."""
        limit, wanted = error.limit, self.prompt.max_tokens
        sent = error.sent or self.expected
        if limit is not None and wanted <= (left := limit - sent - _BUDGET_MARGIN) < self.limit:
            self._bound(left)
            return True
        if self.shrunk == MAX_SHRUNK:
            return False
        per_token = self.expected / sent  # the estimate's tokens for each of the model's
        most = self.expected // 2 if limit is None else int(input_room(limit, wanted, self.room) * per_token)
        smaller = self.prompt.smaller(min(most, self.expected - 1))
        if smaller is None:
            return False
        before, self.expected = self.expected, 0
        self.prompt, self.shrunk = smaller, self.shrunk + 1
        await self.build()
        if limit is not None:
            self._bound(max(wanted, min(self.limit, limit - int(self.expected / per_token) - _BUDGET_MARGIN)))
        return self.expected < before

    def _bound(self, limit: int) -> None:
        self.limit = limit
        self.room = replace(self.room, most=limit)

    def keep(self, answer: RawAnswer) -> RawAnswer:
        """Return the longest answer so far."""
        if self.best is None or len(answer.text) >= len(self.best.text):
            self.best = answer
        return self.best


@dataclass(frozen=True, slots=True)
class ConcurrentModel:
    """Asks each prompt in a call of its own. The limiter bounds the concurrent calls."""

    route: Route
    call: Attempt
    limiter: CallLimiter
    retry: RetryPolicy
    client: ClientLog
    estimate: Estimator
    room: OutputRoom = field(default_factory=OutputRoom)

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
                outcomes[index] = await self._answer(prompt, spend)
                prompt = await done(index, outcomes[index])

        async with anyio.create_task_group() as group:
            for index, prompt in enumerate(prompts):
                group.start_soon(one, index, prompt)
        return [outcomes[index] for index in range(len(prompts))]

    async def _answer(self, prompt: Prompt, spend: Spend) -> PromptOutcome:
        question = _Question(prompt, self.estimate, self.room, self.room.first(prompt.max_tokens))
        what = f"the model: {prompt.label}"

        async def attempt(_number: int) -> Completion:
            question.answers_before = self.limiter.answers
            await question.build()
            return await self._attempt(question, spend)

        async def sleep(seconds: float) -> None:
            with waiting(what, limit_s=seconds):
                await (self.retry.sleep or anyio.sleep)(seconds)

        @asynccontextmanager
        async def slot() -> AsyncIterator[None]:
            # The wait for a slot ends when other calls end, which have limits of their own. It counts against none.
            with waiting(what, limit_s=math.inf):
                await self.limiter.acquire()
            try:
                with waiting(what, limit_s=self.retry.deadline_s):
                    yield
            finally:
                self.limiter.release()

        async def tell(_number: int, wait: float, error: Exception) -> None:
            await self.client.warning(
                f"the model call for {prompt.label} failed (attempt {question.made} of {self.retry.attempts}): "
                f"{error}; trying again after {wait:.1f} s"
            )

        try:
            return await replace(self.retry, sleep=sleep).run(
                attempt,
                verdict=lambda error: self._verdict(question, error),
                before_retry=tell,
                slot=slot,
                time_limit=self.limiter.time_limit,
            )
        except AttemptFailed as error:
            return failure(
                prompt,
                error.reason,
                error.message,
                question.made,
                hint=error.hint,
                lasting=error.lasting,
                **_sizes(question, error),
            )
        except DeadlineExceeded as error:
            return failure(prompt, "deadline", error.message, question.made)
        except Unavailable as error:
            return ModelUnavailable(str(error), hint=error.hint)

    def _verdict(self, question: _Question, error: Exception) -> Verdict:
        """Return what follows a failed attempt. A server that answers others is busy, and its refusals do not count."""
        if not isinstance(error, AttemptFailed):
            question.last = None
            return False
        question.last = error
        busy = error.busy or (
            error.reason in _BUSY_REASONS and self.limiter.answers > question.answers_before
        )
        if not busy or error.retry is False or question.uncounted == MAX_UNCOUNTED:
            return error.retry
        question.uncounted += 1
        return Uncounted(0.0 if error.retry is True else error.retry)

    async def _attempt(self, question: _Question, spend: Spend) -> Completion:
        """Ask until there is an answer: again with more room if it was cut, with a smaller prompt if that was too long."""
        while True:
            prompt = question.prompt
            if not spend(prompt.key, question.answered + 1, question.expected):
                if question.best is not None:
                    return self._completion(question, question.best)
                raise out_of_budget(question.last)
            question.made += 1
            await self.client.info(
                asking(prompt, question.expected, question.limit, question.made, self.retry.attempts)
            )
            try:
                received = await self._timed_call(question)
            except ContextExceeded as error:
                if not await question.fit(error):
                    raise
                question.made -= 1
                await self.client.info(f"{prompt.label} is too long for the model; asking with less")
                continue
            question.answered += 1
            again = question.made < self.retry.attempts
            try:
                answer = judge(received, prompt.max_tokens)
            except AttemptFailed as error:
                question.last = error
                if error.reason != "truncated":
                    raise
                if not (again and question.grow()):
                    if question.best is not None:
                        return self._completion(question, question.best)
                    error.retry = False
                    raise
                continue
            if not holds_enough(prompt, received, answer.text, self.estimate):
                answer = question.keep(answer)
                if again and question.grow():
                    continue
            return self._completion(question, answer)

    async def _timed_call(self, question: _Question) -> RawAnswer:
        """Make the attempt in a span, and record how long it took, however it ends."""
        begun = time.perf_counter()
        try:
            with span("model call", route=self.route, attempt=question.made) as current:
                current.set_attribute("gen_ai.operation.name", "chat")
                received = await self.call(question.body, question.limit)
                current.set_attribute("gen_ai.response.model", received.model)
                if received.input_tokens is not None:
                    current.set_attribute("gen_ai.usage.input_tokens", received.input_tokens)
                if received.output_tokens is not None:
                    current.set_attribute("gen_ai.usage.output_tokens", received.output_tokens)
                return received
        finally:
            record_duration(time.perf_counter() - begun)

    def _completion(self, question: _Question, answer: RawAnswer) -> Completion:
        read, expected = answer.input_tokens, question.expected
        cut_silently = bool(read) and expected > UNREAD_FROM and (read or 0) < expected * _UNREAD_FRACTION
        return Completion(
            answer.text,
            answer.model,
            cut=was_cut(answer),
            input_tokens=read,
            output_tokens=self.estimate(answer.text)
            if answer.output_tokens is None
            else answer.output_tokens,
            attempts=question.made,
            unread=expected - (read or 0) if cut_silently else 0,
        )


def _sizes(question: _Question, error: AttemptFailed) -> dict[str, int]:
    """Return what is known about a prompt that is too long, in estimated tokens, and about the model's context."""
    if not isinstance(error, ContextExceeded):
        return {}
    sizes = {"prompt_tokens": question.expected}
    return sizes if error.limit is None else sizes | {"context_tokens": error.limit}


def asking(prompt: Prompt, expected: int, limit: int, attempt: int, attempts: int) -> str:
    """Return the log message before a model call."""
    again = f" (attempt {attempt} of {attempts})" if attempt > 1 else ""
    return f"asking the model for {prompt.label}: about {counted(expected, 'token')} in, at most {limit} out{again}"


def out_of_budget(last: AttemptFailed | None) -> AttemptFailed:
    """Return why a prompt is not asked, or not asked again after the failed attempt `last`."""
    if last is None:
        return AttemptFailed(
            "budget", "not asked, because the request's budget of input tokens is used up", retry=False
        )
    return AttemptFailed(
        last.reason,
        f"{last.message}, and the request's budget of input tokens is used up",
        retry=False,
        hint=last.hint,
    )


def failure(
    prompt: Prompt,
    reason: str,
    message: str,
    attempts: int,
    *,
    hint: str | None = None,
    lasting: bool = False,
    **details: int,
) -> ModelError:
    """Return the error of a prompt without an answer."""
    if reason == "budget":
        return BudgetExceeded(f"{prompt.label}: {message}", reason=reason, attempts=attempts)
    times = {0: "", 1: " (tried once)"}.get(attempts, f" (tried {attempts} times)")
    failed = ModelFailed(
        f"{prompt.label}: {message}{times}",
        hint=hint or reason_hint(reason),
        reason=reason,
        attempts=attempts,
        **details,
    )
    failed.retryable = not lasting
    return failed
