"""What a server's error response says: its reason, and whether the request can be changed so that it is taken."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from research_shared.text.visible import visible

MAX_REASON: Final = 200
"""Characters of a server's reason that an error shows."""

_MAX_READ: Final = 4_000
"""Characters of a server's reason that are looked at."""

QUOTA_CODES: Final = frozenset(
    {"insufficient_quota", "billing_error", "billing_hard_limit_reached", "credit_balance_too_low"}
)

_REFUSED_KEY_STATUSES: Final = frozenset({401, 403})
_REFUSED_KEY: Final = re.compile(
    r"no_db_connection|invalid_api_key|(?:api|authentication) key (?:is )?(?:not valid|invalid)"
)
"""Of a key that is refused with another status: LiteLLM without a database, and Gemini."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error response. `code` and `parameter` are empty where the server names none; `sizes` are its token counts."""

    status: int
    message: str
    code: str = ""
    parameter: str = ""
    sizes: tuple[int | None, int | None] = (None, None)
    """The context's limit and the size of the prompt, where the server gives them as fields."""

    @property
    def searched(self) -> str:
        """Code and message in small letters."""
        return f"{self.code} {self.message}".lower()


def refusal_of(status: int, payload: object, text: str = "") -> Refusal:
    """Return what an error response says, in any of the shapes that servers give it.

    Args:
        status: the HTTP status.
        payload: the decoded body, or None.
        text: the body as text, for a server that does not answer in JSON.
    """
    error = _error_in(payload)
    if error is None:
        plain = "" if text.lstrip().startswith("<") else text
        return Refusal(status=status, message=plain[:_MAX_READ])
    if isinstance(error, str):
        return Refusal(status=status, message=error[:_MAX_READ])
    code = error.get("code")
    named = code if isinstance(code, str) and not code.isdigit() else error.get("type") or error.get("status")
    parameter = error.get("param")
    return Refusal(
        status=status,
        message=_message(error)[:_MAX_READ],
        code=named if isinstance(named, str) else "",
        parameter=parameter if isinstance(parameter, str) else "",
        sizes=(_size_named(error.get("n_ctx")), _size_named(error.get("n_prompt_tokens"))),
    )


def error_status(payload: object) -> int | None:
    """Return the status of an error that a server sent with status 200 (OpenRouter), or None if there is no error.

    The error stands in place of the answer, or in its first choice. Without a code of its own it is 502.
    """
    if not isinstance(payload, Mapping):
        return None
    error = payload.get("error") or _choice_error(payload)
    if not error:
        return None
    code = error.get("code") if isinstance(error, Mapping) else None
    lowest, highest = 400, 599
    if isinstance(code, int | str) and str(code).isdecimal() and lowest <= int(code) <= highest:
        return int(code)
    # LM Studio answers so at a path that it does not serve.
    return 404 if isinstance(error, str) and "endpoint" in error.lower() else 502


def _choice_error(payload: Mapping[str, Any]) -> Any:
    choices = payload.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first.get("error") if isinstance(first, Mapping) else None


def _error_in(payload: object) -> Mapping[str, Any] | str | None:
    if isinstance(payload, list) and payload:  # Gemini
        payload = payload[0]
    if not isinstance(payload, Mapping):
        return payload if isinstance(payload, str) else None
    error = payload.get("error") or _choice_error(payload)
    if isinstance(error, Mapping | str):
        return error
    return payload


def _message(error: Mapping[str, Any]) -> str:
    found: list[str] = []
    for name in ("message", "detail", "error", "errors", "metadata"):
        found += _texts(error.get(name))
    return " ".join(found)


def _texts(value: object) -> list[str]:
    """Return the texts of a message, of a list of complaints (FastAPI, Pydantic), or of what a router passed on."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Sequence):
        return [text for item in value[:5] for text in _texts(item)]
    if isinstance(value, Mapping):
        place = value.get("loc")
        where = ".".join(map(str, place[1:])) + ":" if isinstance(place, list) else ""
        return [where, *(t for name in ("msg", "message", "raw") for t in _texts(value.get(name)))]
    return []


def _size_named(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def refuses_key(refusal: Refusal) -> bool:
    """Return whether the server does not accept the key, or what it is used for."""
    return refusal.status in _REFUSED_KEY_STATUSES or bool(_REFUSED_KEY.search(refusal.searched))


# ---- prompts that are too long

_TOO_LONG: Final = re.compile(
    r"""context[_ -]?(?:length|window|size|limit)
      | exceed_context | request[ _]too[ _]large
      | (?:prompt|input|inputs|messages?)\b .{0,40}? \btoo\ (?:long|large|many\ tokens)
      | too\ (?:long|large)\ for\ (?:the\ )?(?:requested\ )?model
      | input\ token\ count .{0,40}? exceeds
      | (?:tokens|inputs|input\ length|prompt) .{0,60}? (?:exceeds?|greater\ than|more\ than) .{0,60}? (?:context|maximum|limit\ of)
      | `inputs`.{0,60}?must\ (?:be|have)
      | reduce\ the\ length\ of
      | exceeds\ the\ (?:model's\ )?(?:maximum\ )?(?:context|token\ limit)
      | tokens\ per\ minute .{0,40}? requested
    """,
    re.VERBOSE | re.DOTALL,
)
_N: Final = r"([0-9][0-9,]{0,11})"
_LIMITS: Final = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        rf"\+ {_N} > (?P<n>[0-9]+)",
        rf"{_N} tokens? > (?P<n>[0-9,]+) maximum",
        r"(?:maximum number of tokens allowed|max(?:imum)? (?:input )?tokens(?: of| is)?)[ (:]{1,3}(?P<n>[0-9,]+)",
        r"with (?P<n>[0-9,]+) maximum context",
        r"must be <= (?P<n>[0-9,]+)",
        r"must have less than (?P<n>[0-9,]+) tokens",
        r"maximum context length (?:is|of)(?: only)? (?P<n>[0-9,]+)",
        r"available context size \((?P<n>[0-9,]+)",
        r"context (?:length|window|size|limit)[^0-9]{0,40}(?P<n>[0-9][0-9,]*)",
        r"limit (?P<n>[0-9,]+), requested",
    )
)
_SENT: Final = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"(?P<n>[0-9]+) \+ [0-9]+ > [0-9]+",
        r"(?P<n>[0-9,]+) tokens? > [0-9]",
        r"(?P<n>[0-9,]+) (?:in|of) (?:the |your )?(?:messages|text input|prompt|input)",
        r"(?P<n>[0-9,]+) input tokens",
        r"(?:input token count|request) \(?(?P<n>[0-9,]+)",
        r"(?:prompt|messages|input) (?:contains?|has|have|resulted in) (?:at least )?(?P<n>[0-9,]+)",
        r"given: (?P<n>[0-9,]+)",
        r"keep the first (?P<n>[0-9,]+) tokens",
        r"requested (?P<n>[0-9,]+)",
    )
)


def too_long(refusal: Refusal) -> tuple[int | None, int | None] | None:
    """Return the context's tokens and the prompt's, as far as the server says, or None if that is not its complaint."""
    text = refusal.searched
    if not _TOO_LONG.search(text):
        return None
    limit, sent = refusal.sizes
    return limit or _first(_LIMITS, text), sent or _first(_SENT, text)


def _first(patterns: Iterable[re.Pattern[str]], text: str) -> int | None:
    for pattern in patterns:
        if found := pattern.search(text):
            return int(found["n"].replace(",", "")) or None
    return None


_CAPS: Final = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"max_(?:completion_)?tokens: [0-9]+ > (?P<n>[0-9,]+)",
        r"at most (?P<n>[0-9,]+) (?:completion|output)? ?tokens",
        r"(?:max_(?:completion_)?tokens|max output tokens)\b.{0,120}?(?:less than or equal to|<=|must be at most|up to) `?(?P<n>[0-9,]+)",
        r"max_tokens\b.{0,80}?range (?:of max_tokens )?(?:of |is )?\[?[0-9]+,? ?(?:to |, )?(?P<n>[0-9]+)\]?",
        r"(?:maximum|max) (?:allowed )?(?:number of )?(?:output|completion) tokens[^0-9]{0,40}(?P<n>[0-9][0-9,]*)",
    )
)


def output_cap(refusal: Refusal) -> int | None:
    """Return the most output tokens that the server gives, if it complains about having been asked for more."""
    return _first(_CAPS, refusal.searched)


# ---- parameters that a server does not take

_ALIASES: Final[Mapping[str, str]] = {
    "output_config": r"output_config|effort|thinking",
    "reasoning_effort": r"reasoning_effort|reasoning[ .]effort|effort|thinking|reasoning",
    "schema": r"response_format|output_config|output_format|json_schema|structured[ _]outputs?|grammar|schema",
}
_NOT_TAKEN: Final = re.compile(
    r"unsupported|not\ supported|not\ support|unrecogni[sz]ed|unknown|unexpected|extra|not\ permitted|not\ allowed"
    r"|deprecated|use\ '?max|invalid\ (?:parameter|argument|field)",
    re.VERBOSE,
)
_LIMIT_NAMES: Final = frozenset({"max_tokens", "max_completion_tokens"})


def refused_parameters(refusal: Refusal, sent: Iterable[str]) -> frozenset[str]:
    """Return which of the parameters that were sent the server names in its complaint.

    Args:
        refusal: the response.
        sent: names of top-level fields, and `schema` for the answer's JSON schema, whatever field carried it.
    """
    sent = frozenset(sent)
    parameter = refusal.parameter.lower()
    text = refusal.searched
    exact = {name for name in sent if parameter and _names(name, parameter.split(".")[0])}
    if exact:
        return frozenset(exact)
    return frozenset(
        name for name in sent if _names(name, text) and (name not in _LIMIT_NAMES or _NOT_TAKEN.search(text))
    )


def _names(name: str, text: str) -> bool:
    pattern = _ALIASES.get(name, re.escape(name.lower()))
    return re.search(rf"(?<![a-z0-9_])(?:{pattern})(?![a-z0-9_])", text) is not None


# ---- reasons that are shown

_ADDRESS: Final = re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s'\"<>)\]]+", re.IGNORECASE)
_KEY_LIKE: Final = re.compile(r"\b(?:(?:sk|pk|rk|gsk|xai)[-_]|Bearer )[A-Za-z0-9*._-]{6,}|\bAIza[\w-]{10,}")
_HTML_MARKUP: Final = re.compile(r"[<>\[\]`|]")


def shown_reason(refusal: Refusal, secrets: Iterable[str] = ()) -> str:
    """Return a server's reason as one short line without addresses, keys and markup. It may be empty: it is untrusted."""
    text = refusal.message
    for secret in secrets:
        text = text.replace(secret, "(hidden)") if secret else text
    text = _KEY_LIKE.sub("(hidden)", _ADDRESS.sub("(address)", text))
    text = " ".join(_HTML_MARKUP.sub(" ", visible(text)).split())
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"
