"""Stand-ins for the models that people run, each with one habit of a real server.

They answer as `ScriptedModel` does, over both wire formats and as a client's model. Tokens are four characters each.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mcp import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    CreateMessageRequestParams,
    CreateMessageResult,
    SamplingMessage,
    TextContent,
)

from support.providers import FakeProvider, anthropic, openai, send
from support.scripted import MODEL, Reply, ScriptedModel

DRAFT: Final = (
    'The user wants {"relevant": false, "findings": []} or {"answered": false, "synthesis": "draft", "insights": []}. '
    "I look at the text first."
)
ENDLESS: Final = "<think>\n" + "Okay, the user asks about the document. First I list what it says. " * 20

REQUIRED: Final = frozenset({"model", "messages", "system"})


@dataclass(frozen=True, kw_only=True)
class Habit:
    """What is special about a model or its server."""

    thinks: int = 0
    """Tokens of thinking before the first word. They count towards the limit, and are not shown."""
    before: str = ""
    """What stands in the answer before the answer."""
    never_ends: str | None = None
    """What it has written when it reaches its limit, whatever that is."""
    context: int | None = None
    """The longest prompt, in tokens."""
    wording: str = "openai"
    """Whose words a prompt that is too long is refused with."""
    counts_answer: bool = False
    """Whether the prompt and the limit of the answer together must fit the context."""
    reads: float = 1.0
    """How much of a prompt of more than 2,000 tokens it reads."""
    knows: frozenset[str] | None = None
    """The parameters that it takes besides the required ones; None for all."""
    one_slot: str = ""
    """How it treats calls while it answers one: `queue` or `refuse`; nothing if it answers all at once."""
    error_inside: bool = False
    """Whether its first response of all is an error with status 200."""
    remedy: str = ""
    """A setting that the hint of the error names, for a habit that no request can meet."""


MODES: Final[Mapping[str, Habit]] = {
    "plain": Habit(),
    "thinks 1,500": Habit(thinks=1_500),
    "thinks 12,000": Habit(thinks=12_000),
    "thinks in tags": Habit(before=f"<think>\n{DRAFT}\n</think>\n\n"),
    "thinks, end only": Habit(before=f"{DRAFT}\n</think>\n\n"),
    "thinks for ever in tags": Habit(never_ends=ENDLESS, remedy="RESEARCH_THINKING_TOKENS"),
    "thinks for ever": Habit(never_ends="", remedy="RESEARCH_THINKING_TOKENS"),
    "context, llama.cpp": Habit(context=2_048, wording="llamacpp"),
    "context, vLLM": Habit(context=2_048, wording="vllm"),
    "context, vLLM with the answer": Habit(context=4_096, wording="vllm", counts_answer=True),
    "context, LM Studio": Habit(context=2_048, wording="lmstudio"),
    "context, OpenAI": Habit(context=2_048, wording="openai"),
    "context, Anthropic": Habit(context=2_048, wording="anthropic"),
    "context, unsaid": Habit(context=2_048, wording="unsaid"),
    "context, none to speak of": Habit(context=100, wording="openai", remedy="RESEARCH_MODEL_CALL_TOKENS"),
    "one slot, queue": Habit(one_slot="queue"),
    "one slot, refuse": Habit(one_slot="refuse"),
    "knows max_tokens": Habit(knows=frozenset({"max_tokens"})),
    "knows max_completion_tokens": Habit(knows=frozenset({"max_completion_tokens"})),
    "error inside": Habit(error_inside=True),
    "cuts silently": Habit(reads=0.2),
}
"""The habits by name, for tables of tests."""

HTTP_ONLY: Final = frozenset(
    name
    for name, habit in MODES.items()
    if habit.one_slot or habit.knows or habit.error_inside or habit.reads < 1 or habit.counts_answer
)
"""Habits of a server, which a client's model cannot show."""


class Refused(Exception):
    """The server does not take the request."""

    def __init__(self, status: int, payload: Any) -> None:
        super().__init__(json.dumps(payload))
        self.status = status
        self.payload = payload


def too_long(wording: str, size: int, limit: int) -> Refused:
    """The refusal of a prompt that is too long, in the words of a server."""
    openai_words = f"This model's maximum context length is {limit} tokens."
    code: dict[str, Any] = {
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    payloads: dict[str, Any] = {
        "llamacpp": {
            "error": {
                "code": 400,
                "message": f"request ({size} tokens) exceeds the available context size ({limit} tokens), try "
                "increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": size,
                "n_ctx": limit,
            }
        },
        "vllm": {
            "error": {
                "message": f"{openai_words} However, your request has {size} input tokens.",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            }
        },
        "lmstudio": {
            "error": f"Trying to keep the first {size} tokens when context the overflows. However, the model is loaded "
            f"with context length of only {limit} tokens, which is not enough."
        },
        "openai": {"error": {"message": openai_words, **code}},
        "anthropic": {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": f"prompt is too long: {size} tokens > {limit} maximum",
            },
        },
        "unsaid": {"error": {"message": "Input is too long for requested model."}},
    }
    return Refused(400, payloads[wording])


@dataclass
class StandIn(ScriptedModel):
    """A model with a habit. `limits` are the limits of output tokens that it was given, in order."""

    habit: Habit = field(default_factory=Habit)
    limits: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def complete(self, system: str, text: str, limit: int) -> Reply:
        """The reply within a limit of output tokens.

        Raises:
            Refused: the prompt is too long.
        """
        habit = self.habit
        size = (len(system) + len(text)) // 4
        self.limits.append(limit)
        self.sizes.append(size)
        needed = size + (limit if habit.counts_answer else 0)
        if habit.context is not None and needed > habit.context:
            raise too_long(habit.wording, size, habit.context)
        if habit.never_ends is not None:
            return Reply(habit.never_ends, "maxTokens")
        reply = self.answer(system, text)
        written = habit.before + reply.text
        room = limit - habit.thinks
        if room < len(written) // 4:
            return Reply(written[: max(0, room) * 4], "maxTokens")
        return Reply(written, reply.stop)

    async def sample(
        self, messages: list[SamplingMessage], params: CreateMessageRequestParams, _context: Any
    ) -> CreateMessageResult:
        (content,) = messages[0].content_as_list
        assert isinstance(content, TextContent)
        assert (params.tools, params.temperature) == (None, None)
        try:
            reply = self.complete(params.system_prompt or "", content.text, params.max_tokens)
        except Refused as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from error
        block = TextContent(type="text", text=reply.text)
        return CreateMessageResult(role="assistant", content=block, model=MODEL, stop_reason=reply.stop)


@dataclass
class StandInServer(FakeProvider):
    """A server with the habit of its model, over both wire formats."""

    answering: int = 0
    took_s: float = 0.01
    """Seconds that an answer of a server with one slot takes."""

    def __post_init__(self) -> None:
        assert isinstance(self.model, StandIn)
        self.habit = self.model.habit
        self._slot = asyncio.Lock()

    async def _respond(
        self, path: str, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            status, payload = 200, await self._taken(path, body)
        except Refused as error:
            status, payload = error.status, error.payload
        await send(writer, status, json.dumps(payload).encode())

    async def _taken(self, path: str, body: dict[str, Any]) -> Any:
        habit = self.habit
        if habit.error_inside and len(self.requests) == 1:
            return {"error": {"code": 502, "message": "the upstream is gone"}}
        unknown = set(body) - REQUIRED - (habit.knows if habit.knows is not None else set(body))
        if unknown:
            name = min(unknown)
            message = f"Unsupported parameter: '{name}' is not supported with this model."
            raise Refused(
                400, {"error": {"message": message, "type": "invalid_request_error", "param": name}}
            )
        if not habit.one_slot:
            return self._completed(path, body)
        if habit.one_slot == "refuse" and self._slot.locked():
            raise Refused(429, {"error": {"message": "one at a time", "type": "rate_limit_error"}})
        async with self._slot:
            await asyncio.sleep(self.took_s)
            self.on_delay()
            return self._completed(path, body)

    def _completed(self, path: str, body: dict[str, Any]) -> Any:
        assert isinstance(self.model, StandIn)
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or 1_000_000
        is_anthropic = path.split("?", maxsplit=1)[0] == "/v1/messages"
        system = body["system"] if is_anthropic else body["messages"][0]["content"]
        text = body["messages"][-1]["content"]
        answered = (anthropic if is_anthropic else openai)(self.model.complete(system, text, limit))
        size = (len(system) + len(text)) // 4
        read = int(size * self.habit.reads) if size > 2_000 else size
        answered["usage"]["input_tokens" if is_anthropic else "prompt_tokens"] = read
        return answered
