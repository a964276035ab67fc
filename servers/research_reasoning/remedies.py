"""Hints for errors of models: which setting to change when none is available or one did not answer."""

from collections.abc import Mapping
from typing import Final, Literal

from research_shared.settings import Settings

STILL_WORKS = "Searching and reading documents still works."


def model_hint(settings: Settings, *, has_provider: bool, provider_refused: bool = False) -> str:
    """Return the hint of `model_unavailable`. It names only settings that are not set, or set to another value.

    `provider_refused` is true if a provider rejected this server's requests.
    """
    if provider_refused:
        return (
            "Tell the operator what the message says about the provider; changing the call does not help. "
            + STILL_WORKS
        )
    ways = []
    if settings.model_route in {"auto", "client"}:
        ways.append("use a client that answers sampling requests")
    if has_provider:  # it is RESEARCH_MODEL_ROUTE=client that keeps it from answering
        ways.append(
            "have the operator set RESEARCH_MODEL_ROUTE=auto, so that the configured provider answers"
        )
    else:
        ways.append(f"have the operator set {_listed(_not_set(settings))}")
        ways.append(
            "have the operator set RESEARCH_MODEL_ROUTE=extractive, for sentences chosen without a model"
        )
    sentence = "; or ".join(ways)
    return f"{sentence[0].upper()}{sentence[1:]}. {STILL_WORKS}"


def _not_set(settings: Settings) -> list[str]:
    names = ["RESEARCH_PROVIDER"]
    if settings.provider_model is None:
        names.append("RESEARCH_PROVIDER_MODEL")
    if settings.provider_key is None:
        names.append("RESEARCH_PROVIDER_KEY")
    if settings.model_route == "client":
        names.append("RESEARCH_MODEL_ROUTE=auto")
    return names


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


ProviderCause = Literal["address", "model", "key", "request", "time", "tls", "connection"]

_PROVIDER_HINTS: Final[Mapping[ProviderCause, str]] = {
    "address": (
        "Have the operator check RESEARCH_PROVIDER_URL: it is the base URL of the provider, such as "
        "https://host/v1 for servers that are compatible with OpenAI."
    ),
    "model": "Have the operator check RESEARCH_PROVIDER_MODEL: the provider does not serve a model of that name.",
    "key": "Have the operator check RESEARCH_PROVIDER_KEY and what it may be used for.",
    "request": (
        "Calling again does not help. Have the operator look at what the provider says, and at RESEARCH_PROVIDER_MODEL, "
        "RESEARCH_PROVIDER_BODY and RESEARCH_REASONING_EFFORT."
    ),
    "time": (
        "Call again later, with fewer documents. Have the operator raise RESEARCH_MODEL_TIMEOUT_S, or lower "
        "RESEARCH_MODEL_CONCURRENCY, if the model is slow."
    ),
    "tls": (
        "Have the operator check RESEARCH_PROVIDER_URL (http or https) and the provider's certificate; SSL_CERT_FILE "
        "names the authorities that are trusted."
    ),
    "connection": "Call again later. Have the operator check that the provider runs at RESEARCH_PROVIDER_URL.",
}

_REASON_HINTS: Final[Mapping[str, str]] = {
    "truncated": (
        "The model used up its output tokens, probably for thinking. Have the operator raise RESEARCH_THINKING_TOKENS "
        "and RESEARCH_MAX_OUTPUT_TOKENS, load the model with a context that holds them beside the prompt, or choose a "
        "model that thinks less (RESEARCH_REASONING_EFFORT). With your own model, let it answer at greater length."
    ),
    "context_length": (
        "Ask about fewer or shorter documents. Have the operator load the model with a longer context, or lower "
        "RESEARCH_MODEL_CALL_TOKENS."
    ),
}


def provider_hint(cause: ProviderCause) -> str:
    """The hint of a provider's failure."""
    return f"{_PROVIDER_HINTS[cause]} {STILL_WORKS}"


def reason_hint(reason: str) -> str | None:
    """The hint of a model's failure for this reason, if there is a better one than to call again later."""
    hint = _REASON_HINTS.get(reason)
    return f"{hint} {STILL_WORKS}" if hint else None
