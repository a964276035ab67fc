"""The protocol between the reasoning and the models that answer its prompts."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Literal, Protocol, Self

from research_reasoning.models.thinking import refuses, without_thinking
from research_shared.errors import ModelError
from research_shared.text.visible import visible

Route = Literal["client", "provider", "extractive"]

BUSY_STATUSES = frozenset({429, 503, 529})
"""HTTP statuses of a server that has too much to do. The reason of such a failed attempt is `http_` and the status."""


@dataclass(frozen=True, slots=True)
class Body:
    """The messages sent to a model for one prompt.

    `schema` is the JSON schema of the answer, for a carrier with structured outputs; None asks for prose.
    """

    system: str
    text: str
    schema: Mapping[str, Any] | None = None
    brief: bool = False
    """Whether little thinking will do, for a carrier that can say so."""


@dataclass(frozen=True, slots=True)
class Extract:
    """The content of a prompt, for the route without a model, which answers with sentences of that content."""

    kind: Literal["evidence", "passages", "summary", "combine"]
    lines: tuple[str, ...] = ()
    question: str = ""
    amount: int = 3
    findings: tuple[tuple[str, str], ...] = ()
    """For `combine`: evidence mark and claim, in the order of the sources."""
    sources: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """For `passages`: the number of each document, and the lines that are shown of it."""
    title: str = ""
    """For `summary`: the document's title."""
    format: Literal["prose", "table", "timeline"] = "prose"
    """For `evidence` and `passages`: what the findings are for."""
    aspects: tuple[str, ...] = ()
    """The columns of a table."""


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
    brief: bool = False
    """Whether little thinking will do."""
    usable: Callable[[str], bool] | None = None
    """Whether an answer that stopped at its length limit can be used. By default, whether it is half as long as asked for."""
    smaller: "Callable[[int], Prompt | None]" = lambda _tokens: None
    """Returns the same question with less content, at most so many tokens in all, or None if too little would be left.

    The prompt has the same key, and takes the place of this one.
    """


@dataclass(frozen=True, slots=True)
class Completion:
    """A usable answer.

    `cut` is true if the model stopped at its length limit. `output_tokens` is an estimate if the carrier reports none;
    `input_tokens` is the carrier's count for the successful attempt. `unread` is about how many tokens of the prompt that
    count leaves out: a server that cuts prompts silently shows itself there.
    """

    text: str
    model: str
    cut: bool = False
    input_tokens: int | None = None
    output_tokens: int = 0
    attempts: int = 1
    unread: int = 0


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
    """One attempt produced nothing usable. `retry` is False, True, or the minimum seconds to wait.

    `lasting` says that the same call fails again later, too. `busy` says that the server has too much to do.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        retry: bool | float,
        hint: str | None = None,
        lasting: bool = False,
        busy: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry = retry
        self.hint = hint
        self.lasting = lasting
        self.busy = busy


class ContextExceeded(AttemptFailed):
    """The prompt is longer than the model takes. The two sizes are in the model's tokens, if it told them."""

    def __init__(self, message: str, *, limit: int | None, sent: int | None) -> None:
        super().__init__("context_length", message, retry=False, lasting=True)
        self.limit = limit
        self.sent = sent


@dataclass(frozen=True, slots=True)
class OutputRoom:
    """Output tokens that a model may use. Models count their thinking towards the limit they are given.

    `thinking` are the tokens left for it besides the answer's, `most` bounds both together, but never below the answer's.
    """

    thinking: int = 8_000
    most: int = 32_000

    def first(self, answer_tokens: int) -> int:
        """Return the limit of the first attempt at an answer."""
        return max(answer_tokens, min(answer_tokens + self.thinking, self.most))

    def more(self, room: int) -> int | None:
        """Return the limit after an answer that was cut at `room`, or None if there is no more."""
        return min(2 * room, self.most) if room < self.most else None

    def after_cuts(self, answer_tokens: int, cuts: int) -> int:
        """Return the limit of an attempt after so many answers that were cut."""
        room = self.first(answer_tokens)
        for _ in range(cuts):
            room = self.more(room) or room
        return room


_SAFETY = 0.9
"""Fraction of a limit that is used: the sizes are estimates."""


def input_room(limit: int, answer_tokens: int, room: OutputRoom | None = None) -> int:
    """Return the tokens of a prompt that leave the model its room for the answer, at most half of a context of `limit`."""
    wanted = (room or OutputRoom()).first(answer_tokens)
    return int((limit - min(wanted, limit // 2)) * _SAFETY)


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
    """Return a usable answer without its thinking, cut where it goes far beyond the tokens that were asked for.

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
    text, unclosed = without_thinking(answer.text)
    answer = replace(answer, text=text, model=model_name(answer.model))
    if refuses(text):
        raise AttemptFailed("refused", "the model refused to answer", retry=False)
    if not visible(text).strip():
        if was_cut(answer) or unclosed:
            raise AttemptFailed(
                "truncated", "the model reached its length limit before it had written an answer", retry=True
            )
        raise AttemptFailed("empty", "the model's answer was empty", retry=True)
    if len(text) > max_tokens * CHARS_PER_TOKEN:
        return replace(answer, text=text[: max_tokens * CHARS_PER_TOKEN], stop_reason="max_tokens")
    return answer


def model_name(name: str) -> str:
    """Return the name that a model reports as one short line without markup: it is untrusted."""
    return _NOT_IN_NAMES.sub("", name)[:MAX_MODEL_NAME] or "unnamed"


def was_cut(answer: RawAnswer) -> bool:
    """Return whether the model stopped at its length limit."""
    return answer.stop_reason in _LENGTH


def holds_enough(prompt: Prompt, received: RawAnswer, text: str, estimate: Callable[[str], int]) -> bool:
    """Return whether an answer can be used as it is. One that the model was stopped in may hold too little.

    Args:
        prompt: what was asked.
        received: the answer as it was received.
        text: the answer without its thinking.
        estimate: gives the tokens of a text.
    """
    if not was_cut(received):
        return True
    if prompt.usable is not None:
        return prompt.usable(text)
    return 2 * estimate(text) >= prompt.max_tokens
