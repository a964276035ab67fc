"""The two wire formats of providers: Anthropic Messages and OpenAI chat completions."""

from collections.abc import Mapping
from typing import Any, Literal

from research_reasoning.models.protocol import AttemptFailed, Body, RawAnswer

WireFormat = Literal["anthropic", "openai"]

ANTHROPIC_VERSION = "2023-06-01"
DEFAULT_URL: dict[WireFormat, str] = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
}
"""Base URLs as the providers' own SDKs take them."""


def endpoint(wire_format: WireFormat, base_url: str | None) -> str:
    """The URL that completions are posted to."""
    base = (base_url or DEFAULT_URL[wire_format]).rstrip("/")
    return f"{base}/v1/messages" if wire_format == "anthropic" else f"{base}/chat/completions"


def headers(wire_format: WireFormat, key: str | None) -> dict[str, str]:
    """The headers of a request, its key included."""
    common = {"accept": "application/json"}
    if wire_format == "anthropic":
        return common | {"anthropic-version": ANTHROPIC_VERSION} | ({"x-api-key": key} if key else {})
    return common | ({"authorization": f"Bearer {key}"} if key else {})


THINKING_TOKENS = 4_000
"""Room that OpenAI's reasoning models take out of `max_completion_tokens` before they write a word."""


def request(
    wire_format: WireFormat, model: str, body: Body, max_tokens: int, base_url: str | None = None
) -> dict[str, Any]:
    """The JSON body of a request. No tools are offered."""
    user = {"role": "user", "content": body.text}
    if wire_format == "anthropic":
        return {"model": model, "max_tokens": max_tokens, "system": body.system, "messages": [user]}
    system = {"role": "system", "content": body.system}
    # OpenAI has replaced `max_tokens`, which is what compatible servers know.
    compatible = base_url is not None and "api.openai.com" not in base_url
    limit = (
        {"max_tokens": max_tokens} if compatible else {"max_completion_tokens": max_tokens + THINKING_TOKENS}
    )
    return {"model": model, **limit, "messages": [system, user]}


def response(wire_format: WireFormat, payload: object) -> RawAnswer:
    """What a provider answered.

    Raises:
        AttemptFailed: the JSON does not have the provider's shape.
    """
    try:
        if not isinstance(payload, Mapping):
            raise TypeError  # noqa: TRY301
        return _anthropic(payload) if wire_format == "anthropic" else _openai(payload)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise AttemptFailed("wrong_shape", "the provider's answer is malformed", retry=True) from error


def _anthropic(payload: Mapping[str, Any]) -> RawAnswer:
    blocks = [block for block in payload["content"] if block["type"] not in {"thinking", "redacted_thinking"}]
    usage = payload.get("usage") or {}
    return RawAnswer(
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        str(payload["model"]),
        _name(payload.get("stop_reason")),
        tuple(str(block["type"]) for block in blocks),
        _count(usage.get("input_tokens")),
        _count(usage.get("output_tokens")),
    )


def _openai(payload: Mapping[str, Any]) -> RawAnswer:
    choice = payload["choices"][0]
    message = choice["message"]
    text = message.get("content")
    if text is not None and not isinstance(text, str):
        text = "".join(part["text"] for part in text if part["type"] == "text")
    usage = payload.get("usage") or {}
    refused = message.get("refusal") and not text
    return RawAnswer(
        text or "",
        str(payload["model"]),
        "refusal" if refused else _name(choice.get("finish_reason")),
        ("tool_use",) if message.get("tool_calls") else ("text",),
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
    )


def _name(value: object) -> str | None:
    return None if value is None else str(value)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


QUOTA_CODES = {"insufficient_quota", "billing_error", "billing_hard_limit_reached", "credit_balance_too_low"}


def error_code(payload: object) -> str | None:
    """The code or type that an error response names."""
    error = payload.get("error") if isinstance(payload, Mapping) else None
    if not isinstance(error, Mapping):
        return None
    code = error.get("code") or error.get("type")
    return str(code) if code else None
