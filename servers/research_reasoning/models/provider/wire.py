"""The two wire formats of providers: Anthropic Messages and OpenAI chat completions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from research_reasoning.models.protocol import AttemptFailed, Body, RawAnswer
from research_reasoning.models.provider.dialects import Dialect, LimitParameter

ANTHROPIC_VERSION = "2023-06-01"

Effort = Literal["auto", "off", "none", "minimal", "low", "medium", "high"]
Switch = Literal["auto", "on", "off"]

SCHEMA = "schema"
"""Name of the answer's JSON schema among the parameters of a request, whatever field carries it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the operator decides about requests. See the settings of the same names."""

    limit: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto"
    effort: Effort = "auto"
    structured: Switch = "auto"
    extra: Mapping[str, Any] = field(default_factory=dict)


def headers(dialect: Dialect, key: str | None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers of a request, its key included. Those of the operator win."""
    sent = {"accept": "application/json"}
    if dialect.wire_format == "anthropic":
        sent["anthropic-version"] = ANTHROPIC_VERSION
    if key:
        sent[dialect.key_header] = f"Bearer {key}" if dialect.key_header == "authorization" else key
    return sent | {name.lower(): value for name, value in (extra or {}).items()}


@dataclass(frozen=True, slots=True)
class Request:
    """The JSON body of a request, and the names of the parameters in it that a server may not know."""

    body: dict[str, Any]
    optional: frozenset[str]


def request(
    dialect: Dialect,
    model: str,
    body: Body,
    max_tokens: int,
    *,
    options: Options | None = None,
    refused: frozenset[str] = frozenset(),
) -> Request:
    """Build a request. No tools are offered, and no temperature is sent: models that think refuse it.

    `refused` are the parameters that the server does not take; the limit of output tokens is sent under its other name.
    """
    options = options or Options()
    wanted: dict[str, dict[str, Any]] = {}
    if (effort := _effort(dialect, options, body)) is not None:
        wanted[effort[0]] = effort[1]
    if body.schema is not None and _wants_schema(dialect, options):
        wanted[SCHEMA] = _wire_schema(dialect, body.schema)
    wanted |= {name: {name: value} for name, value in options.extra.items()}
    limit = _limit(dialect, options, refused)
    sent: dict[str, Any] = {"model": model} | ({limit: max_tokens} if limit else {})
    user = {"role": "user", "content": body.text}
    if dialect.wire_format == "anthropic":
        sent |= {"system": body.system, "messages": [user]}
    else:
        sent["messages"] = [{"role": "system", "content": body.system}, user]
    kept = {name: fields for name, fields in wanted.items() if name not in refused}
    for fields in kept.values():
        for name, value in fields.items():
            both = isinstance(value, Mapping) and isinstance(sent.get(name), dict)
            sent[name] = sent[name] | value if both else value
    optional = set(kept) | ({limit} if limit and dialect.wire_format == "openai" else set())
    return Request(sent, frozenset(optional))


def _limit(dialect: Dialect, options: Options, refused: frozenset[str]) -> LimitParameter | None:
    if dialect.wire_format == "anthropic":
        return "max_tokens"
    first: LimitParameter = dialect.limit if options.limit == "auto" else options.limit
    other: LimitParameter = "max_tokens" if first == "max_completion_tokens" else "max_completion_tokens"
    return next((name for name in (first, other) if name not in refused), None)


def _effort(dialect: Dialect, options: Options, body: Body) -> tuple[str, dict[str, Any]] | None:
    """Return the parameter of how much the model thinks, and what it sends."""
    if options.effort == "off":
        return None
    if options.effort == "auto":
        if dialect.effort is None or not body.brief:
            return None
        level = "low"
    else:
        level = options.effort
    if dialect.wire_format == "openai":
        return "reasoning_effort", {"reasoning_effort": level}
    lowest = {"none": "low", "minimal": "low"}
    return "output_config", {"output_config": {"effort": lowest.get(level, level)}}


def _wants_schema(dialect: Dialect, options: Options) -> bool:
    return dialect.schema_helps if options.structured == "auto" else options.structured == "on"


def _wire_schema(dialect: Dialect, schema: Mapping[str, Any]) -> dict[str, Any]:
    if dialect.wire_format == "anthropic":
        return {"output_config": {"format": {"type": "json_schema", "schema": dict(schema)}}}
    described = {"name": "answer", "strict": True, "schema": dict(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": described}}


def response(dialect: Dialect, payload: object) -> RawAnswer:
    """What a provider answered.

    Raises:
        AttemptFailed: the JSON does not have the provider's shape.
    """
    try:
        if not isinstance(payload, Mapping):
            raise TypeError  # noqa: TRY301
        return _anthropic(payload) if dialect.wire_format == "anthropic" else _openai(payload)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise AttemptFailed("wrong_shape", "the provider's answer is malformed", retry=True) from error


def _anthropic(payload: Mapping[str, Any]) -> RawAnswer:
    blocks = [block for block in payload["content"] if block["type"] not in {"thinking", "redacted_thinking"}]
    usage = payload.get("usage") or {}
    # What was read from a cache or written to one is counted apart.
    parts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    counts = [count for part in parts if (count := _count(usage.get(part))) is not None]
    return RawAnswer(
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        str(payload["model"]),
        _name(payload.get("stop_reason")),
        tuple(str(block["type"]) for block in blocks),
        sum(counts) if counts else None,
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
        str(payload.get("model") or ""),
        "refusal" if refused else _name(choice.get("finish_reason")),
        ("tool_use",) if message.get("tool_calls") else ("text",),
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
    )


def _name(value: object) -> str | None:
    return None if value is None else str(value)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
