"""The caller's model in MCP 2026-07-28: there is no channel to the client, so a round ends by asking.

A tool runs from the top in every round. Whatever was answered comes from the ledger, and the first step that finds
open prompts ends the round with all of them. Nothing about a call stays in the server, so any replica can take over.
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

from research_reasoning.models.concurrent import NOT_ASKED, failure
from research_reasoning.models.protocol import (
    CHARS_PER_TOKEN,
    AttemptFailed,
    Completion,
    Done,
    Outcome,
    Prompt,
    RawAnswer,
    Route,
    Spend,
    judge,
    was_cut,
)
from research_reasoning.models.session import from_sampling, sampling_request
from research_reasoning.models.state import Ledger
from research_shared.progress import ClientLog, Progress
from research_shared.retry import RetryPolicy
from research_shared.tokens import Estimator

MAX_ROUNDS = 8
"""Rounds of one call. Clients stop at 10 (the default of the Python and the TypeScript SDK)."""

MAX_ROUND_BYTES = 512 * 1024
"""Prompts and state of one round. Half of what a client takes in one server-sent event (1 MiB)."""

MAX_ANSWERS_BYTES = 768 * 1024
"""State and the longest answers of one round, which come back in one request (1 MiB at the gateway)."""

SEALED_GROWTH = 1.9
"""How much longer than a packed state a sealed one is: Base64 twice, for a proxy seals what its upstream sealed."""


class AskClient(Exception):
    """Ends a round: the prompts in `requests` need the client's model. Control flow, never an error."""

    def __init__(self, requests: Mapping[str, CreateMessageRequest]) -> None:
        super().__init__("the client's model is needed")
        self.requests = requests


class RoundsModel:
    """Finds answers in the ledger and ends the round when some are missing."""

    route: Route = "client"

    def __init__(
        self,
        ledger: Ledger,
        responses: Mapping[str, Any] | None,
        *,
        client: ClientLog,
        retry: RetryPolicy,
        estimate: Estimator,
        at_once: int = 32,
    ) -> None:
        self._at_once = at_once
        self._ledger = ledger
        self._responses = responses or {}
        self._client = client
        self._retry = retry
        self._estimate = estimate
        self._backoff = 0.0
        self._asked = dict(ledger.asked)
        ledger.asked = {}

    async def complete(
        self, prompts: Sequence[Prompt], done: Done, *, spend: Spend, reserve: int = 0
    ) -> list[Outcome]:
        """The outcomes when all are known.

        Raises:
            AskClient: some are not, and there is a round left to ask in.
        """
        outcomes: dict[int, Outcome] = {}
        for index, prompt in enumerate(prompts):
            outcome = await self._known(prompt)
            if outcome is not None:
                outcomes[index] = outcome
                await done(index, outcome)
        missing = [index for index in range(len(prompts)) if index not in outcomes]
        left = MAX_ROUNDS - reserve - self._ledger.rounds
        if missing and left > 0:
            # A model that overruns its limits makes answers that together are too large for one request. Half of the
            # rounds must do, though: the others are for what fails.
            most = max(self._at_once, math.ceil(len(missing) / max(1, left // 2)))
            for start in range(0, len(missing), most):
                await self._ask([prompts[index] for index in missing[start : start + most]], spend)
        for index in missing:
            # Known by now is only what there was no budget to ask.
            tried = self._ledger.attempts.get(prompts[index].key, 0)
            outcomes[index] = await self._known(prompts[index]) or failure(
                prompts[index], "rounds", "no round is left to ask in", tried
            )
            await done(index, outcomes[index])
        return [outcomes[index] for index in range(len(prompts))]

    async def _known(self, prompt: Prompt) -> Outcome | None:
        """The outcome of a prompt if it has one; takes in what the client answered in this round."""
        key, ledger = prompt.key, self._ledger
        ledger.touched.add(key)
        if key not in ledger.answers and key not in ledger.failures and key in self._asked:
            await self._take(prompt, self._asked.pop(key))
        if key in ledger.answers:
            return ledger.answers[key]
        if key in ledger.failures:
            return failure(prompt, *ledger.failures[key])
        return None

    async def _take(self, prompt: Prompt, attempt: int) -> None:
        response = self._responses.get(f"{prompt.key}.{attempt}")
        if response is None:
            await self._client.warning(f"the client left {prompt.label} unanswered; asking again")
            return
        ledger = self._ledger
        ledger.attempts[prompt.key] = attempt
        try:
            answer = judge(_raw(response), prompt.max_tokens)
        except AttemptFailed as error:
            if error.retry is False or attempt >= self._retry.attempts:
                ledger.failures[prompt.key] = (error.reason, error.message, attempt)
                return
            self._backoff = max(self._backoff, self._retry.delay(attempt))
            await self._client.warning(
                f"the model call for {prompt.label} failed (attempt {attempt} of {self._retry.attempts}): "
                f"{error}; asking again"
            )
            return
        ledger.answers[prompt.key] = Completion(
            answer.text,
            answer.model,
            cut=was_cut(answer),
            input_tokens=ledger.spent.get(prompt.key, prompt.expected_tokens),
            output_tokens=self._estimate(answer.text),
            attempts=attempt,
        )

    async def _ask(self, prompts: Sequence[Prompt], spend: Spend) -> None:
        """End the round with as many of the prompts as fit; the rest will be missing again in the next one.

        Returns only when there is budget for none of them.
        """
        ledger = self._ledger
        state = len(ledger.pack()) * SEALED_GROWTH
        room, answers = MAX_ROUND_BYTES - state, MAX_ANSWERS_BYTES - state
        requests: dict[str, CreateMessageRequest] = {}
        for prompt in prompts:
            body = await prompt.build()
            expected = self._estimate(body.system) + self._estimate(body.text)
            if not spend(prompt.key, expected):
                ledger.failures[prompt.key] = ("budget", NOT_ASKED, 0)
                continue
            request = sampling_request(body, prompt.max_tokens)
            room -= len(request.model_dump_json().encode()) + 160
            answers -= prompt.max_tokens * CHARS_PER_TOKEN
            if requests and min(room, answers) < 0:
                break
            attempt = ledger.attempts.get(prompt.key, 0) + 1
            requests[f"{prompt.key}.{attempt}"] = request
            ledger.asked[prompt.key] = attempt
            await self._client.info(
                f"asking the model for {prompt.label}: about {expected} tokens in, at most {prompt.max_tokens} out"
                + (f" (attempt {attempt} of {self._retry.attempts})" if attempt > 1 else "")
            )
        if not requests:
            return
        if self._backoff:
            await (self._retry.sleep or anyio.sleep)(self._backoff)
        ledger.rounds += 1
        raise AskClient(requests)


def _raw(response: object) -> RawAnswer:
    if isinstance(response, CreateMessageResult | CreateMessageResultWithTools):
        return from_sampling(response)
    raise AttemptFailed(
        "wrong_shape", "the client answered with something else than a model's message", retry=True
    )


def input_required(
    ask: AskClient, ledger: Ledger, client: ClientLog, progress: Progress
) -> InputRequiredResult:
    """The result that ends a round."""
    ledger.logged = sorted(client.sent)
    ledger.progress = progress.reached
    requests: dict[str, InputRequest] = dict(ask.requests)
    return InputRequiredResult(input_requests=requests, request_state=ledger.pack())
