"""What each kind of server calls its parameters, and where it is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal
from urllib.parse import urlsplit

WireFormat = Literal["anthropic", "openai"]
KeyHeader = Literal["authorization", "x-api-key", "api-key"]
LimitParameter = Literal["max_tokens", "max_completion_tokens"]
EffortParameter = Literal["output_config", "reasoning_effort"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one kind of server is spoken to.

    `limit` is its name for the limit of output tokens. `effort` is the parameter of how much the model thinks, if it
    surely understands one. `schema_helps` says whether its structured outputs are known to make answers better.
    `first_calls` is how many calls it is sent at once before it has answered any: a server on a person's machine
    answers one or a few at a time.
    """

    name: str
    wire_format: WireFormat
    url: str | None
    hosts: tuple[str, ...] = ()
    """Names of its hosts, without a port. A leading dot stands for any name that ends so."""
    key_header: KeyHeader = "authorization"
    limit: LimitParameter = "max_tokens"
    effort: EffortParameter | None = None
    schema_helps: bool = False
    first_calls: int | None = None


_LOCAL_CALLS: Final = 2

DIALECTS: Final[Mapping[str, Dialect]] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            name="anthropic",
            wire_format="anthropic",
            url="https://api.anthropic.com",
            hosts=("api.anthropic.com",),
            key_header="x-api-key",
            effort="output_config",
            schema_helps=True,
        ),
        Dialect(
            name="openai",
            wire_format="openai",
            url="https://api.openai.com/v1",
            hosts=("api.openai.com", ".api.openai.com"),
            limit="max_completion_tokens",
            effort="reasoning_effort",
            schema_helps=True,
        ),
        Dialect(
            name="azure",
            wire_format="openai",
            url=None,
            hosts=(
                ".openai.azure.com",
                ".openai.azure.us",
                ".services.ai.azure.com",
                ".cognitiveservices.azure.com",
            ),
            key_header="api-key",
            limit="max_completion_tokens",
            effort="reasoning_effort",
            schema_helps=True,
        ),
        Dialect(
            name="gemini",
            wire_format="openai",
            url="https://generativelanguage.googleapis.com/v1beta/openai",
            hosts=("generativelanguage.googleapis.com",),
            effort="reasoning_effort",
        ),
        Dialect(
            name="mistral",
            wire_format="openai",
            url="https://api.mistral.ai/v1",
            hosts=("api.mistral.ai",),
        ),
        Dialect(
            name="openrouter",
            wire_format="openai",
            url="https://openrouter.ai/api/v1",
            hosts=("openrouter.ai", ".openrouter.ai"),
            effort="reasoning_effort",
        ),
        Dialect(name="vllm", wire_format="openai", url="http://localhost:8000/v1"),
        Dialect(name="litellm", wire_format="openai", url="http://localhost:4000/v1"),
        Dialect(
            name="llamacpp", wire_format="openai", url="http://localhost:8080/v1", first_calls=_LOCAL_CALLS
        ),
        Dialect(
            name="lmstudio", wire_format="openai", url="http://localhost:1234/v1", first_calls=_LOCAL_CALLS
        ),
        Dialect(
            name="ollama", wire_format="openai", url="http://localhost:11434/v1", first_calls=_LOCAL_CALLS
        ),
    )
}


def dialect_of(name: str, url: str | None) -> Dialect:
    """Return the dialect of a server.

    Args:
        name: one of `DIALECTS`. `anthropic` and `openai` are also the wire formats that other servers speak: with an
            address, the host decides which server it is, and an unknown one is sent only what all of them understand.
        url: the address that the operator set, if any.
    """
    dialect = DIALECTS[name]
    if url is None or name not in {"anthropic", "openai"}:
        return dialect
    host = (urlsplit(url).hostname or "").rstrip(".")
    for known in DIALECTS.values():
        if known.wire_format == dialect.wire_format and _is_one_of(host, known.hosts):
            return known
    return replace(dialect, name=f"{name}-compatible", limit="max_tokens", effort=None, schema_helps=False)


def _is_one_of(host: str, hosts: tuple[str, ...]) -> bool:
    return any(host.endswith(known) if known.startswith(".") else host == known for known in hosts)


def endpoint(dialect: Dialect, url: str | None) -> str:
    """Return the address that completions are posted to.

    The operator's address may be the base URL that the server's own SDK takes, with or without `/v1`, or the whole
    address of the endpoint. Its query (`?api-version=…`) is kept.

    Raises:
        ValueError: there is no address.
    """
    base = url or dialect.url
    if base is None:
        raise ValueError(f"{dialect.name} has no usual address")
    parts = urlsplit(base)
    path = parts.path.rstrip("/")
    if dialect.wire_format == "anthropic":
        path = path.removesuffix("/v1/messages").removesuffix("/v1") + "/v1/messages"
    else:
        path = path.removesuffix("/chat/completions")
        path = (path or ("/openai/v1" if dialect.name == "azure" else "/v1")) + "/chat/completions"
    return parts._replace(path=path, fragment="").geturl()
