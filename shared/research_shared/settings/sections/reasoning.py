"""Settings of the language model."""

import re
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from research_shared.settings.field_types import HttpUrl, JsonObject, SecretHeaders, Secrets
from research_shared.settings.names import variable_of
from research_shared.settings.sections.section import Section

ProviderName = Literal[
    "anthropic",
    "openai",
    "azure",
    "gemini",
    "mistral",
    "openrouter",
    "vllm",
    "llamacpp",
    "lmstudio",
    "ollama",
    "litellm",
]
"""The servers whose addresses and parameters are known. Any other one is `openai` or `anthropic` with an address."""

_KEY_VARIABLES = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
}


def key_variable(provider: str | None) -> str | None:
    """Return the variable that a provider's own tools take its key from, if one is known."""
    return _KEY_VARIABLES.get(provider or "")


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class ReasoningSettings(Section):
    """Whose model is used, how, and how much of it."""

    model_route: Literal["auto", "client", "provider", "extractive"] = Field(
        default="auto", description="whose model is used; `auto` takes the client's, else the provider's"
    )
    provider: ProviderName | None = Field(
        default=None,
        description="server of the provider; `openai` also for servers that are compatible with it",
    )
    provider_url: HttpUrl | None = Field(
        default=None,
        description="base URL of the provider; the usual one of its kind when not set",
    )
    provider_model: str | None = Field(default=None, min_length=1, description="name of the provider's model")
    provider_key: SecretStr | None = Field(default=None, description="key of the provider")
    provider_headers: SecretHeaders = Field(
        default_factory=dict, description="JSON object of headers that are sent to the provider as well"
    )
    provider_body: JsonObject = Field(
        default_factory=dict,
        description="JSON object that is merged into the body of each request to the provider",
    )
    provider_limit: Literal["auto", "max_tokens", "max_completion_tokens"] = Field(
        default="auto",
        description="parameter that limits the provider's output; `auto` takes the one that the server knows",
    )
    reasoning_effort: Literal["auto", "off", "none", "minimal", "low", "medium", "high"] = Field(
        default="auto",
        description="how much the provider's model thinks; `auto` asks for little about single documents, where the "
        "server is known to understand it, and `off` asks for nothing",
    )
    structured_output: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="whether the provider is given the JSON schema of its answer; `auto` where that is known to help",
    )
    thinking_tokens: int = Field(
        default=8_000, ge=0, description="output tokens left for thinking, besides those of the answer"
    )
    max_output_tokens: int = Field(
        default=32_000,
        ge=500,
        description="output tokens of one model call at most, thinking included, but never fewer than its answer needs",
    )
    retry_attempts: int = Field(default=3, ge=1, le=10, description="attempts for one model call")
    retry_base_s: float = Field(default=1.0, ge=0, le=60, description="first back-off")
    retry_deadline_s: float = Field(
        default=1200.0,
        gt=0,
        description="limit over all attempts of one model call and the waits between them; waiting for a slot is free",
    )
    model_concurrency: int = Field(
        default=32,
        ge=1,
        le=256,
        description="model calls in flight at once at most; a server that answers late or not at all gets fewer",
    )
    model_timeout_s: float = Field(
        default=600.0,
        gt=0,
        description="time limit for one attempt at a provider, from when it has answered what was asked before",
    )
    model_call_tokens: int = Field(
        default=24_000, ge=2_000, description="estimated input tokens of one model call at most"
    )
    model_request_tokens: int = Field(
        default=300_000,
        ge=4_000,
        description="estimated input tokens over all model calls of a request at most",
    )
    state_keys: Secrets = Field(
        default=(),
        description="keys of at least 32 characters, first one seals: lets any replica take any round",
    )

    @field_validator("state_keys")
    @classmethod
    def _strong(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value().encode()) < 32 for key in keys):  # noqa: PLR2004  (the seal's own minimum)
            raise ValueError("each key needs at least 32 bytes")
        return keys

    @field_validator("provider_key", mode="before")
    @classmethod
    def _one_header(cls, key: object) -> object:
        if not isinstance(key, str):
            return key
        if not (key.strip().isascii() and key.strip().isprintable()):
            raise ValueError("printable ASCII characters, as an HTTP header takes them")
        return key.strip() or None

    @field_validator("provider_headers")
    @classmethod
    def _sendable(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            secret = value.get_secret_value()
            if not _HEADER_NAME.fullmatch(name) or not (
                secret.isascii() and (secret.isprintable() or not secret)
            ):
                raise ValueError("names and values of printable ASCII characters, as HTTP headers take them")
        return headers

    @model_validator(mode="after")
    def _complete_provider(self) -> Self:
        if self.model_route == "provider" and self.provider is None:
            raise ValueError("RESEARCH_MODEL_ROUTE=provider needs RESEARCH_PROVIDER")
        if self.provider is None:
            for name in ("provider_key", "provider_url", "provider_model"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{variable_of(name)} needs RESEARCH_PROVIDER, which says whose it is")
        if self.provider is not None and self.provider_model is None:
            raise ValueError("RESEARCH_PROVIDER needs RESEARCH_PROVIDER_MODEL")
        if self.provider == "azure" and self.provider_url is None:
            raise ValueError("RESEARCH_PROVIDER=azure needs RESEARCH_PROVIDER_URL")
        return self
