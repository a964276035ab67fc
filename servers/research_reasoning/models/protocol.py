"""The protocol between the reasoning and the models that answer its prompts."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal, Protocol, Self

from research_shared.errors import ModelError
from research_shared.text.visible import visible

Route = Literal["client", "provider", "extractive"]


@dataclass(frozen=True, slots=True)
class Body:
    """The messages sent to a model for one prompt."""

    system: str
    text: str


@dataclass(frozen=True, slots=True)
class Extract:
    """The content of a prompt, for the route without a model, which answers with sentences of that content."""

    kind: Literal["evidence", "summary", "combine"]
    lines: tuple[str, ...] = ()
    question: str = ""
    amount: int = 3
    findings: tuple[tuple[str, str], ...] = ()
    """For `combine`: evidence mark and claim, in the order of the sources."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to a model.

    `key` is a digest of everything that `build` derives the body from. The body is built on demand, because a round that
    already has the answer does not need it.
    """

    key: str
    label: str
    max_tokens: int
    build: Callable[[], Awaitable[Body]]
    extract: Callable[[], Awaitable[Extract]]
    expected_tokens: int = 0
    """The estimate of the body's size before it is built, for the pre-flight log and the budget."""
    repair: "Callable[[str], Prompt | None]" = lambda _answer: None
    """Returns the prompt that asks to correct an answer, or None for a well-formed answer."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A usable answer.

    `cut` is true if the model stopped at its length limit. `output_tokens` is an estimate if the carrier reports none;
    `input_tokens` is the carrier's count for the successful attempt.
    """

    text: str
    model: str
    cut: bool = False
    input_tokens: int | None = None
    output_tokens: int = 0
    attempts: int = 1


PromptOutcome = Completion | ModelError
"""An answer, or the error after the last attempt."""

Done = Callable[[int, PromptOutcome], Awaitable[Prompt | None]]
"""Receives the index and outcome of each prompt as soon as it is known; returns the prompt to ask instead, if any."""


Spend = Callable[[str, int, int], bool]
"""Charges an attempt to the request's budget, unless it was charged before; returns False if too few tokens are left.

Arguments: the prompt's key, the number of the attempt among the answered ones, its estimated input tokens.
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Expected tokens of one model call."""

    input_tokens: int
    output_tokens: int

    @classmethod
    def of(cls, prompt: Prompt) -> Self:
        """The cost of a prompt."""
        return cls(prompt.expected_tokens, prompt.max_tokens)


class Model(Protocol):
    """Answers prompts concurrently, within its limits."""

    @property
    def route(self) -> Route:
        """The route that the answers take."""
        ...

    def rounds(self, step: Sequence[Cost], reserve: int) -> int:
        """Return the round trips that these calls take if made at once."""
        ...

    async def complete(
        self, prompts: Sequence[Prompt], done: Done, *, spend: Spend, reserve: int = 0
    ) -> list[PromptOutcome]:
        """Return the outcomes in the order of the prompts. `reserve` is the number of rounds that later steps need."""
        ...


def key_of(*parts: object) -> str:
    """Return a short digest of everything that determines a prompt."""
    joined = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return sha256(joined).hexdigest()[:24]


class AttemptFailed(Exception):
    """One attempt produced nothing usable. `retry` is False, True, or the minimum seconds to wait."""

    def __init__(self, reason: str, message: str, *, retry: bool | float) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry = retry


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as a carrier received it, unchecked. `blocks` are the types of its content blocks."""

    text: str
    model: str
    stop_reason: str | None
    blocks: tuple[str, ...] = ("text",)
    input_tokens: int | None = None
    output_tokens: int | None = None


MAX_ANSWER_CHARS = 200_000
CHARS_PER_TOKEN = 8
"""Upper bound on characters per token. An answer longer than its token limit at this rate is cut."""

MAX_MODEL_NAME = 100
_NOT_IN_NAMES = re.compile(r"[^\w .:/@+-]|[\r\n]|(?<=/)/+|_{2,}")
_LENGTH = {"maxTokens", "max_tokens", "length", "model_context_window_exceeded"}
_TOOL = {"toolUse", "tool_use", "tool_calls", "function_call"}
_REFUSED = {"refusal", "content_filter", "safety"}


def judge(answer: RawAnswer, max_tokens: int) -> RawAnswer:
    """Return a usable answer, cut where it goes far beyond the model's limit.

    Raises:
        AttemptFailed: names what is wrong: `refused`, `tool_use`, `wrong_shape`, `oversized`, `truncated` or `empty`.
    """
    if answer.stop_reason in _REFUSED:
        raise AttemptFailed("refused", "the model refused to answer", retry=False)
    if answer.stop_reason in _TOOL or "tool_use" in answer.blocks:
        raise AttemptFailed("tool_use", "the model asked for a tool although none was offered", retry=True)
    if any(block != "text" for block in answer.blocks):
        raise AttemptFailed("wrong_shape", "the model did not answer with text", retry=True)
    if len(answer.text) > MAX_ANSWER_CHARS:
        raise AttemptFailed("oversized", "the model's answer is far longer than was asked for", retry=True)
    if not visible(answer.text).strip():
        if was_cut(answer):
            raise AttemptFailed(
                "truncated", "the model reached its length limit without an answer", retry=True
            )
        raise AttemptFailed("empty", "the model's answer was empty", retry=True)
    answer = replace(answer, model=model_name(answer.model))
    if len(answer.text) > max_tokens * CHARS_PER_TOKEN:
        return replace(answer, text=answer.text[: max_tokens * CHARS_PER_TOKEN], stop_reason="max_tokens")
    return answer


def model_name(name: str) -> str:
    """Return the name that a model reports as one short line without markup: it is untrusted."""
    return _NOT_IN_NAMES.sub("", name)[:MAX_MODEL_NAME] or "unnamed"


def was_cut(answer: RawAnswer) -> bool:
    """Return whether the model stopped at its length limit."""
    return answer.stop_reason in _LENGTH
