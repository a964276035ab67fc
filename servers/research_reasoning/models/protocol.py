"""The one protocol between the reasoning and whatever answers its prompts."""

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
    """What is sent to a model for one prompt."""

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

    `key` identifies it by content: the digests of everything that `build` derives its body from. The body is built
    only when it is needed, because a round that finds the answer already given does not need it.
    """

    key: str
    label: str
    max_tokens: int
    build: Callable[[], Awaitable[Body]]
    extract: Callable[[], Awaitable[Extract]]
    expected_tokens: int = 0
    """The estimate of the body's size before it is built, for the pre-flight log and the budget."""
    repair: "Callable[[str], Prompt | None]" = lambda _answer: None
    """Gives the prompt that asks to correct an answer, or None for an answer of the form that was asked for."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A usable answer.

    `cut` says that the model stopped at its length limit. `output_tokens` is an estimate when the carrier reports none;
    `input_tokens` is what it reports for the attempt that succeeded.
    """

    text: str
    model: str
    cut: bool = False
    input_tokens: int | None = None
    output_tokens: int = 0
    attempts: int = 1


PromptOutcome = Completion | ModelError
"""An answer, or the error that stands in its place after the last attempt."""

Done = Callable[[int, PromptOutcome], Awaitable[Prompt | None]]
"""Told the index and the outcome of each prompt as soon as it is known; gives what to ask in its place, if anything."""


Spend = Callable[[str, int, int], bool]
"""Takes what one more attempt costs out of the request's budget, unless it was taken before; False when it has too little.

The prompt's key, the number of the attempt among those that were answered, and its estimated input tokens.
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one model call is expected to cost."""

    input_tokens: int
    output_tokens: int

    @classmethod
    def of(cls, prompt: Prompt) -> Self:
        """The cost of a prompt."""
        return cls(prompt.expected_tokens, prompt.max_tokens)


class Model(Protocol):
    """Answers prompts, as many at once as its limits allow."""

    @property
    def route(self) -> Route:
        """Which way the answers come."""
        ...

    def rounds(self, step: Sequence[Cost], reserve: int) -> int:
        """How many round trips these calls take when they are made at once."""
        ...

    async def complete(
        self, prompts: Sequence[Prompt], done: Done, *, spend: Spend, reserve: int = 0
    ) -> list[PromptOutcome]:
        """The outcomes, in the order of the prompts. `reserve` is the number of rounds that later steps need."""
        ...


def key_of(*parts: object) -> str:
    """A short digest of everything that determines a prompt."""
    joined = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return sha256(joined).hexdigest()[:24]


class AttemptFailed(Exception):
    """One attempt gave nothing usable. `retry` is False, True, or the seconds to wait at least."""

    def __init__(self, reason: str, message: str, *, retry: bool | float) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry = retry


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What a carrier received, before it is judged. `blocks` are the types of its content blocks."""

    text: str
    model: str
    stop_reason: str | None
    blocks: tuple[str, ...] = ("text",)
    input_tokens: int | None = None
    output_tokens: int | None = None


MAX_ANSWER_CHARS = 200_000
CHARS_PER_TOKEN = 8
"""More characters than a token has. What of an answer lies beyond its limit on tokens at this rate is dropped."""

MAX_MODEL_NAME = 100
_NOT_IN_NAMES = re.compile(r"[^\w .:/@+-]|[\r\n]|(?<=/)/+|_{2,}")
_LENGTH = {"maxTokens", "max_tokens", "length", "model_context_window_exceeded"}
_TOOL = {"toolUse", "tool_use", "tool_calls", "function_call"}
_REFUSED = {"refusal", "content_filter", "safety"}


def judge(answer: RawAnswer, max_tokens: int) -> RawAnswer:
    """The answer again, if it can be used; what goes far beyond the limit that the model was given is cut off.

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
    """The name that a model gives itself, as one short line without markup: nobody vouches for it."""
    return _NOT_IN_NAMES.sub("", name)[:MAX_MODEL_NAME] or "unnamed"


def was_cut(answer: RawAnswer) -> bool:
    """Whether the model stopped at its length limit."""
    return answer.stop_reason in _LENGTH
