"""The client's model in MCP 2026-07-28. There is no channel to the client, so a round ends with its open prompts.

A tool runs from the top in every round. Earlier answers come from the ledger, and the first step with open prompts ends
the round with all of them. The server keeps no state of a call, so any replica can take the next round.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from mcp_types import (
    CreateMessageRequest,
    CreateMessageResult,
    CreateMessageResultWithTools,
    InputRequest,
    InputRequiredResult,
)

from research_reasoning.models.concurrent import asking, failure, out_of_budget
from research_reasoning.models.protocol import (
    CHARS_PER_TOKEN,
    AttemptFailed,
    Completion,
    Cost,
    Done,
    OutputRoom,
    Prompt,
    PromptOutcome,
    RawAnswer,
    Route,
    Spend,
    holds_enough,
    judge,
    was_cut,
)
from research_reasoning.models.session import from_sampling, sampling_request
from research_reasoning.models.state import Ledger
from research_shared.retry import RetryPolicy
from research_shared.text.tokens import Estimator
from research_shared.tools.activity import waiting
from research_shared.tools.progress import ClientLog

MAX_ROUNDS = 8
"""Rounds of one call. Clients stop at 10 (the default of the Python and the TypeScript SDK)."""

MAX_ROUND_BYTES = 512 * 1024
"""Prompts and state of one round. Half of what a client takes in one server-sent event (1 MiB)."""

MAX_ANSWERS_BYTES = 768 * 1024
"""State and the longest answers of one round, which come back in one request (1 MiB at the gateway)."""

SEALED_GROWTH = 1.9
"""Size of a sealed state relative to the packed one: Base64 twice, because a proxy seals the sealed state again."""

MAX_PROMPT_TOKENS = 40_000
"""Largest prompt, whatever the operator allows. At eight bytes per token it leaves room for the state."""

_BYTES_PER_TOKEN = 4.5
"""Bytes of a prompt on the wire, for the estimate of rounds."""

THINKING_BYTES_PER_TOKEN = 2
"""Expected bytes for each token of the room for thinking: few clients send the thinking, and few models use the room."""

_REQUEST_BYTES = 160
"""Overhead of each prompt in a round: its key in the requests and in the state."""


class AskClient(Exception):
    """Ends a round: the prompts in `requests` need the client's model. Control flow, never an error."""

    def __init__(self, requests: Mapping[str, CreateMessageRequest]) -> None:
        super().__init__("the client's model is needed")
        self.requests = requests


def known_outcome(ledger: Ledger, prompt: Prompt) -> PromptOutcome | None:
    """Return the outcome of a prompt from the rounds so far, if any."""
    if prompt.key in ledger.answers:
        return ledger.answers[prompt.key]
    if prompt.key in ledger.failures:
        return failure(prompt, *ledger.failures[prompt.key])
    return None


def is_unanswered(ledger: Ledger, responses: Mapping[str, Any] | None) -> bool:
    """Return whether the client was asked and answered none of the prompts."""
    return bool(ledger.asked) and not any(
        f"{key}.{attempt}" in (responses or {}) for key, attempt in ledger.asked.items()
    )


class RoundsModel:
    """Takes answers from the ledger and ends the round if any are missing."""

    route: Route = "client"

    def __init__(
        self,
        ledger: Ledger,
        responses: Mapping[str, Any] | None,
        *,
        client: ClientLog,
        retry: RetryPolicy,
        estimate: Estimator,
        room: OutputRoom = OutputRoom(),  # noqa: B008  (frozen)
        at_once: int = 32,
    ) -> None:
        self._room = room
        self._at_once = at_once
        self._ledger = ledger
        self._responses = responses or {}
        self._client = client
        self._retry = retry
        self._estimate = estimate
        self._backoff = 0.0
        self._last: dict[str, AttemptFailed] = {}
        self._asked = dict(ledger.asked)
        ledger.asked = {}

    def rounds(self, step: Sequence[Cost], reserve: int) -> int:
        """Return the rounds that these calls take if the state is small and no answer fails."""
        rounds = begin = 0
        while begin < len(step):
            most = self._most(len(step) - begin, MAX_ROUNDS - reserve - rounds)
            room, answers = float(MAX_ROUND_BYTES), float(MAX_ANSWERS_BYTES)
            end = begin
            while end < min(len(step), begin + most):
                room -= step[end].input_tokens * _BYTES_PER_TOKEN + _REQUEST_BYTES
                answers -= self._answer_bytes(step[end].output_tokens)
                if end > begin and min(room, answers) < 0:
                    break
                end += 1
            begin = end
            rounds += 1
        return rounds

    def _answer_bytes(self, answer_tokens: int) -> int:
        return answer_tokens * CHARS_PER_TOKEN + self._room.thinking * THINKING_BYTES_PER_TOKEN

    def _most(self, missing: int, left: int) -> int:
        """Return how many prompts one round asks.

        Few, because answers that overrun their limits can together be too large for one request. But half of the rounds
        must suffice: the others are for retries.
        """
        return max(self._at_once, math.ceil(missing / max(1, left // 2)))

    async def complete(
        self, prompts: Sequence[Prompt], done: Done, *, spend: Spend, reserve: int = 0
    ) -> list[PromptOutcome]:
        """Return the outcomes once all are known.

        Raises:
            AskClient: some are unknown, and a round is left.
        """
        outcomes: dict[int, PromptOutcome] = {}
        missing: list[tuple[int, Prompt]] = []
        for index, asked in enumerate(prompts):
            prompt: Prompt | None = asked
            while prompt is not None:
                outcome = await self._known(prompt)
                if outcome is None:
                    missing.append((index, prompt))
                    break
                outcomes[index] = outcome
                prompt = await done(index, outcome)
        left = MAX_ROUNDS - reserve - self._ledger.rounds
        if left > 0:
            most = self._most(len(missing), left)
            for start in range(0, len(missing), most):
                await self._ask([prompt for _, prompt in missing[start : start + most]], spend)
        for index, prompt in missing:
            # A prompt has an outcome here only if there was no budget to ask it.
            tried = self._ledger.attempts.get(prompt.key, 0)
            outcomes[index] = await self._known(prompt) or failure(
                prompt, "rounds", "no round is left to ask in", tried
            )
            await done(index, outcomes[index])
        return [outcomes[index] for index in range(len(prompts))]

    async def _known(self, prompt: Prompt) -> PromptOutcome | None:
        """Return the outcome of a prompt, if known. Processes the client's answer of this round."""
        key, ledger = prompt.key, self._ledger
        ledger.touched.add(key)
        if key not in ledger.answers and key not in ledger.failures and key in self._asked:
            await self._take(prompt, self._asked.pop(key))
        return known_outcome(ledger, prompt)

    async def _take(self, prompt: Prompt, attempt: int) -> None:
        response = self._responses.get(f"{prompt.key}.{attempt}")
        if response is None:
            await self._client.warning(f"the client left {prompt.label} unanswered; asking again")
            return
        ledger = self._ledger
        ledger.attempts[prompt.key] = attempt
        more = attempt < self._retry.attempts
        grows = self._limit(prompt, more_cuts=1) > self._limit(prompt)
        try:
            answer = _judged(response, prompt, self._estimate, again=more and grows)
        except AttemptFailed as error:
            cut = error.reason == "truncated"
            if error.retry is False or not more or (cut and not grows):
                ledger.failures[prompt.key] = (error.reason, error.message, attempt)
                return
            self._last[prompt.key] = error
            if cut:
                ledger.cuts[prompt.key] = ledger.cuts.get(prompt.key, 0) + 1
            else:
                self._backoff = max(self._backoff, self._retry.delay(attempt))
            await self._client.warning(
                f"the model call for {prompt.label} failed (attempt {attempt} of {self._retry.attempts}): "
                f"{error}; asking again{' with more room' if cut else ''}"
            )
            return
        ledger.answers[prompt.key] = Completion(
            answer.text,
            answer.model,
            cut=was_cut(answer),
            output_tokens=self._estimate(answer.text),
            attempts=attempt,
        )

    def _limit(self, prompt: Prompt, more_cuts: int = 0) -> int:
        """Return the output tokens of the next attempt: more after answers that were cut."""
        return self._room.after_cuts(prompt.max_tokens, self._ledger.cuts.get(prompt.key, 0) + more_cuts)

    async def _ask(self, prompts: Sequence[Prompt], spend: Spend) -> None:
        """End the round with as many of the prompts as fit. The rest is asked in the next round.

        Returns only if there is no budget for any of them.
        """
        ledger = self._ledger
        state = len(ledger.pack()) * SEALED_GROWTH
        room, answers = MAX_ROUND_BYTES - state, MAX_ANSWERS_BYTES - state
        requests: dict[str, CreateMessageRequest] = {}
        for prompt in prompts:
            body = await prompt.build()
            expected = self._estimate(body.system) + self._estimate(body.text)
            tried = ledger.attempts.get(prompt.key, 0)
            if not spend(prompt.key, tried + 1, expected):
                why = out_of_budget(self._last.get(prompt.key))
                ledger.failures[prompt.key] = (why.reason, why.message, tried)
                continue
            limit = self._limit(prompt)
            request = sampling_request(body, limit)
            room -= len(request.model_dump_json().encode()) + _REQUEST_BYTES
            answers -= self._answer_bytes(prompt.max_tokens)
            if requests and min(room, answers) < 0:
                break
            requests[f"{prompt.key}.{tried + 1}"] = request
            ledger.asked[prompt.key] = tried + 1
            await self._client.info(asking(prompt, expected, limit, tried + 1, self._retry.attempts))
        if not requests:
            return
        if self._backoff:
            with waiting("the next attempt at the model", limit_s=self._backoff):
                await (self._retry.sleep or anyio.sleep)(self._backoff)
        ledger.rounds += 1
        raise AskClient(requests)


def _judged(response: object, prompt: Prompt, estimate: Estimator, *, again: bool) -> RawAnswer:
    """Return the usable answer of a response. With `again`, one that was cut is not usable if it holds too little.

    Raises:
        AttemptFailed: names what is wrong.
    """
    received = _raw(response)
    answer = judge(received, prompt.max_tokens)
    if again and not holds_enough(prompt, received, answer.text, estimate):
        raise AttemptFailed("truncated", "the answer stopped at its length limit", retry=True)
    return answer


def _raw(response: object) -> RawAnswer:
    if isinstance(response, CreateMessageResult | CreateMessageResultWithTools):
        return from_sampling(response)
    raise AttemptFailed(
        "wrong_shape", "the client answered with something else than a model's message", retry=True
    )


def input_required(
    requests: Mapping[str, InputRequest], ledger: Ledger, client: ClientLog
) -> InputRequiredResult:
    """Return the result that ends a round."""
    ledger.logged = sorted(client.sent)
    return InputRequiredResult(input_requests=dict(requests), request_state=ledger.pack())
