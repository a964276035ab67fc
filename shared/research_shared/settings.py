"""All settings. Only the command line reads them from `RESEARCH_*` environment variables."""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from platformdirs import user_cache_path, user_config_path
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from research_shared.base_errors import ConfigurationError
from research_shared.document_urls import LinkTemplate
from research_shared.reading.limits import MIB
from research_shared.root import Root

PREFIX = "RESEARCH_"
APPLICATION = "research-assistant-mcp"
"""Name of the directory in the user's cache directory."""
_ROOT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HTTP_URL = r"^https?://[^\s]+$"
OTHER_VARIABLES = frozenset({"RESEARCH_CONFIG", "RESEARCH_FOLDER"})
"""Variables that are no settings: the file of settings, and the folder that `compose.yaml` mounts."""
_TESTING = "RESEARCH_TEST_"


def parse_roots(value: object) -> object:
    """Turn an `os.pathsep` list of directories, each optionally `name=/dir`, into `Root`s.

    A directory whose name holds the separator is given in a JSON list: `["/data/a:b"]`.

    >>> [root.name for root in parse_roots('/data/notes:old=/data/1999')], [root.name for root in parse_roots('["/data/a:b"]')]
    (['notes', 'old'], ['a-b'])
    """
    if not isinstance(value, str):
        return value
    roots: list[Root] = []
    for entry in (
        _json_list(value) if value.lstrip().startswith("[") else filter(None, value.split(os.pathsep))
    ):
        name, directory = _name_and_directory(entry)
        path = _absolute(directory)
        roots.append(Root(name or _default_name(path), path))
    return tuple(roots)


def _json_list(value: str) -> list[str]:
    try:
        listed = json.loads(value)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
        raise ValueError('a JSON list of directories, such as ["/data/a:b", "name=/data/c"]')
    return listed


def _default_name(directory: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", directory.name).strip("-.") or "root"


def _split_list(value: object) -> object:
    return tuple(filter(None, re.split(r"[,\s]+", value))) if isinstance(value, str) else value


def parse_index_dir(value: object) -> object:
    """Turn `auto` into a directory in the user's cache directory, and `none` into None."""
    match value:
        case "none":
            return None
        case "auto":
            directory = user_cache_path(APPLICATION, appauthor=False)
            if not directory.is_absolute():
                raise ValueError("a directory: there is no home directory for `auto`")
            return directory
        case "":
            raise ValueError("a directory, `auto` or `none`")
        case str():
            return _absolute(value)
    return value


def _absolute(directory: str) -> Path:
    try:
        return Path(os.path.abspath(Path(directory).expanduser()))  # noqa: PTH100  (resolve() would follow links)
    except RuntimeError as error:
        raise ValueError(f"{directory}: no such home directory") from error


Roots = Annotated[tuple[Root, ...], NoDecode, BeforeValidator(parse_roots)]


IndexDir = Annotated[Path | None, BeforeValidator(parse_index_dir)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_list)]


def _json_object(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise ValueError('a JSON object, such as {"name": "value"}')  # noqa: TRY004  (Pydantic reports ValueErrors)
    return decoded


SecretHeaders = Annotated[dict[str, SecretStr], NoDecode, BeforeValidator(_json_object)]
JsonObject = Annotated[dict[str, Any], NoDecode, BeforeValidator(_json_object)]

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


class Settings(BaseSettings):
    """The operator's settings. Field `x` is the variable `RESEARCH_X`; units are in names or descriptions."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    config: Path | None = Field(
        default=None,
        description="TOML file with settings that the environment does not give, named like these without RESEARCH_ and in "
        "lower case; `research.toml` in the user's configuration directory when not set",
    )
    roots: Roots = Field(
        default_factory=lambda: (Root("research", Path.home() / "research"),),
        description="research folders: an os.pathsep list of directories, each optionally name=/dir",
    )
    include_hidden: bool = Field(
        default=False, description="whether names with a leading dot are documents too"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="how much the server process logs to stderr"
    )

    # Reading
    max_file_bytes: int = Field(default=256 * MIB, ge=1024, description="a larger file is `too large`")
    max_pages: int = Field(default=5_000, ge=1, description="pages read of one document")
    max_text_bytes: int = Field(default=64 * MIB, ge=1024, description="text kept of one document")
    cache_bytes: int = Field(
        default=1024 * MIB, ge=MIB, description="text kept in memory, by the library and by the index each"
    )
    extract_workers: int = Field(default=2, ge=1, le=64, description="processes that read PDFs")
    extract_timeout_s: float = Field(default=60.0, gt=0, description="time limit for one document")
    page_timeout_s: float = Field(default=20.0, gt=0, description="time limit for one page")
    worker_memory_bytes: int = Field(
        default=1024 * MIB, ge=128 * MIB, description="address space of one worker"
    )
    ocr: Literal["off", "tesseract"] = Field(
        default="off",
        description="what reads pages without text, such as scanned ones: `tesseract` when it is on the machine",
    )
    ocr_languages: str = Field(
        default="eng",
        pattern=r"^[A-Za-z_]+(/[A-Za-z_]+)?(\+[A-Za-z_]+(/[A-Za-z_]+)?)*$",
        description="languages of those pages as Tesseract names them, such as `eng+deu`",
    )
    ocr_timeout_s: float = Field(
        default=1800.0, gt=0, description="time limit for recognising the text of one document"
    )
    ocr_page_timeout_s: float = Field(
        default=120.0, gt=0, description="time limit for recognising the text of one page"
    )

    # Searching
    index_dir: IndexDir = Field(
        default=None,
        description="directory that keeps text and index across restarts; `auto` is one in the user's cache directory",
    )
    index_wait_s: float = Field(
        default=20.0, ge=0, description="time that a search waits for documents which are not indexed yet"
    )
    search_deadline_s: float = Field(
        default=5.0, gt=0, description="time limit for one search, from when the waiting ends"
    )
    watch: bool = Field(default=True, description="whether file changes are watched for")
    rescan_interval_s: float = Field(
        default=30.0, gt=0, description="time between safety scans while watching"
    )

    # Connectors
    connector_tools: bool = Field(
        default=False,
        description="whether `search` and `fetch` are offered too, as ChatGPT and other connectors want them",
    )
    document_url: str | None = Field(
        default=None,
        description="where people open documents, such as `https://dms.example/{path}#page={page}`: the `url` of "
        "`search` and `fetch`; the `research://` URI when not set",
    )

    # Reasoning
    model_route: Literal["auto", "client", "provider", "extractive"] = Field(
        default="auto", description="whose model is used; `auto` takes the client's, else the provider's"
    )
    provider: ProviderName | None = Field(
        default=None,
        description="server of the provider; `openai` also for servers that are compatible with it",
    )
    provider_url: str | None = Field(
        default=None,
        pattern=_HTTP_URL,
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

    # Gateway
    audit_log: Path | None = Field(default=None, description="audit file; stderr when not set")
    audit_head: Path | None = Field(
        default=None, description="file that remembers how far the audit log has come; beside it when not set"
    )
    audit_key: SecretStr | None = Field(
        default=None, description="signs the checkpoints and the head of the audit log; at least 32 bytes"
    )
    audit_level: Literal["metadata", "arguments"] = Field(
        default="metadata",
        description="whether audit records hold the arguments of calls, or only their digest",
    )
    audit_on_failure: Literal["closed", "open"] = Field(
        default="closed", description="refuse or serve calls while the audit log cannot be written"
    )
    audit_fsync: Literal["always", "interval", "never"] = Field(
        default="interval", description="when audit records are forced to the disk"
    )
    audit_fsync_interval_s: float = Field(
        default=1.0, gt=0, description="time between syncs when audit_fsync is interval"
    )
    audit_timeout_s: float = Field(
        default=10.0, gt=0, description="an audit record that takes longer counts as not written"
    )
    audit_max_bytes: int = Field(default=64 * MIB, ge=4096, description="a larger audit file is rotated")
    audit_max_age_s: float = Field(default=7 * 86_400.0, gt=0, description="an older audit file is rotated")
    metrics: bool = Field(default=False, description="whether GET /metrics is served over HTTP")
    metrics_token: bool = Field(
        default=False, description="whether GET /metrics needs the credentials that calls need"
    )
    policy: Path | None = Field(
        default=None,
        description="TOML file that says who may see which folders and call which tools; everybody may when not set",
    )
    client_roots: Literal["ignore", "narrow"] = Field(
        default="ignore", description="whether the roots that a client declares narrow what it can see"
    )

    documents_url: str | None = Field(
        default=None,
        pattern=_HTTP_URL,
        description="a remote documents server instead of one in this process",
    )
    reasoning_url: str | None = Field(
        default=None,
        pattern=_HTTP_URL,
        description="a remote reasoning server instead of one in this process",
    )
    upstream_token: SecretStr | None = Field(
        default=None, description="bearer token for the two remote servers"
    )
    mcp_config: Path | None = Field(
        default=None, description="JSON file with `mcpServers` to put behind the gateway, namespaced by name"
    )
    mcp_pins: Path | None = Field(
        default=None,
        description="JSON file that remembers the tools of those servers as they were first seen; a changed tool is held "
        "back until `research-assistant upstreams accept`. When not set, until the gateway starts again",
    )
    client_concurrency: int = Field(default=256, ge=1, description="requests of one client in flight at once")
    total_concurrency: int = Field(default=1024, ge=1, description="requests in flight at once")
    client_rate: float = Field(
        default=0, ge=0, description="requests a second that one client may send on average; 0 for no limit"
    )
    client_burst: int = Field(default=100, ge=1, description="requests that one client may send at once")
    max_request_bytes: int = Field(default=MIB, ge=1024, description="arguments of one call at most")
    max_response_bytes: int = Field(default=MIB, ge=1024, description="answer of one call at most")
    tool_timeout_s: float = Field(
        default=120.0,
        gt=0,
        description="time that a tool may take without progress and without waiting for something that has a limit of its own",
    )
    tool_ceiling_s: float = Field(default=3600.0, gt=0, description="time that a tool may take in all")

    # Serving over HTTP
    auth_tokens: Secrets = Field(default=(), description="bearer tokens of at least 16 characters")
    auth_jwks_url: str | None = Field(
        default=None, pattern=_HTTP_URL, description="where the keys are that sign the JWTs to be accepted"
    )
    auth_public_key: Path | None = Field(
        default=None, description="PEM file with the key that signs the JWTs to be accepted"
    )
    auth_algorithm: str = Field(default="RS256", description="algorithm of those JWTs")
    auth_issuer: str | None = Field(default=None, description="issuer of those JWTs")
    auth_audience: str | None = Field(default=None, description="audience of those JWTs: this server")
    allow_unauthenticated: bool = Field(
        default=False, description="whether other machines may connect without authentication"
    )
    allowed_hosts: Names = Field(
        default=(),
        description="names by which clients may address the server, besides this machine's and its address; they are "
        "checked when set, and always without authentication",
    )
    allowed_origins: Names = Field(default=(), description="web origins whose pages may call the server")
    header_timeout_s: float = Field(
        default=10.0, gt=0, description="time for the headers of an HTTP request to arrive; then 408"
    )
    body_timeout_s: float = Field(
        default=30.0, gt=0, description="time for the body of an HTTP request to arrive; then 408"
    )
    max_body_bytes: int = Field(
        default=4 * MIB,
        ge=1024,
        le=4 * MIB,
        description="body of one HTTP request at most; a larger one gets 413",
    )
    max_held_bytes: int = Field(
        default=64 * MIB,
        ge=1024,
        description="bytes that unfinished HTTP requests hold in all at most; beyond that 503",
    )
    max_connections: int = Field(
        default=2_000, ge=1, description="HTTP connections at once at most; beyond that 503"
    )
    client_sessions: int = Field(
        default=1_000,
        ge=1,
        description="sessions of earlier protocol versions that one client may have open over HTTP; beyond that 429",
    )
    max_sessions: int = Field(
        default=10_000, ge=1, le=10_000, description="those sessions of all clients at most; beyond that 503"
    )
    session_idle_s: float = Field(
        default=1_800.0, gt=0, description="time after which a session without a request in flight ends"
    )
    drain_s: float = Field(
        default=20.0, ge=0, description="time for calls in flight to end when the server is asked to stop"
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("roots")
    @classmethod
    def _distinct(cls, roots: tuple[Root, ...]) -> tuple[Root, ...]:
        if not roots:
            raise ValueError("at least one directory")
        for at, root in enumerate(roots):
            for other in roots[:at]:
                if other.directory == root.directory:
                    raise ValueError(f"each directory once; {root.directory} is given twice")
                if other.name == root.name:
                    raise ValueError(
                        f"root names that differ; {other.directory} and {root.directory} are both called {root.name}: "
                        "name them as in name=/dir"
                    )
        return roots

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

    @field_validator("provider_url")
    @classmethod
    def _reachable(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)  # refuses unbalanced brackets
            if not parts.hostname or parts.port == 0:  # refuses ports that are no number below 65536
                raise ValueError("an address with a host, and with a port from 1 to 65535 if any")
        return url

    @field_validator("document_url")
    @classmethod
    def _template(cls, url: str | None) -> str | None:
        return url if url is None else LinkTemplate.parse(url).template

    @field_validator("audit_key")
    @classmethod
    def _strong_audit_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value().encode()) < 32:  # noqa: PLR2004  (as long as the hash)
            raise ValueError("at least 32 bytes")
        return key

    @field_validator("auth_tokens")
    @classmethod
    def _long(cls, tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(token.get_secret_value()) < 16 for token in tokens):  # noqa: PLR2004  (nothing to be guessed)
            raise ValueError("each token needs at least 16 characters")
        return tokens

    @model_validator(mode="after")
    def _one_way_to_authenticate(self) -> Self:
        jwt = (self.auth_jwks_url is not None) + (self.auth_public_key is not None)
        if jwt + bool(self.auth_tokens) > 1:
            raise ValueError(
                "only one of RESEARCH_AUTH_TOKENS, RESEARCH_AUTH_JWKS_URL and RESEARCH_AUTH_PUBLIC_KEY can be set"
            )
        if not jwt and (self.auth_issuer is not None or self.auth_audience is not None):
            given = "ISSUER" if self.auth_issuer is not None else "AUDIENCE"
            raise ValueError(
                f"RESEARCH_AUTH_{given} needs RESEARCH_AUTH_JWKS_URL or RESEARCH_AUTH_PUBLIC_KEY: without the keys of the "
                "issuer nobody is authenticated"
            )
        if jwt and (self.auth_issuer is None or self.auth_audience is None):
            raise ValueError("JWTs need RESEARCH_AUTH_ISSUER and RESEARCH_AUTH_AUDIENCE")
        return self

    @model_validator(mode="after")
    def _complete_provider(self) -> Self:
        if self.model_route == "provider" and self.provider is None:
            raise ValueError("RESEARCH_MODEL_ROUTE=provider needs RESEARCH_PROVIDER")
        if self.provider is None:
            for name in ("provider_key", "provider_url", "provider_model"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{PREFIX}{name.upper()} needs RESEARCH_PROVIDER, which says whose it is"
                    )
        if self.provider is not None and self.provider_model is None:
            raise ValueError("RESEARCH_PROVIDER needs RESEARCH_PROVIDER_MODEL")
        if self.provider == "azure" and self.provider_url is None:
            raise ValueError("RESEARCH_PROVIDER=azure needs RESEARCH_PROVIDER_URL")
        return self

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Read the settings of an environment, `os.environ` by default; `overrides` win over it, and it over a TOML file.

        Raises:
            ConfigurationError: a value is invalid, or a variable is none of ours. The message is one line with the variable, its
                value and what is allowed, without secrets.
        """
        refuse_unknown_variables(os.environ if environ is None else environ, cls.model_fields)
        file = settings_file(os.environ if environ is None else environ, usual=environ is None)
        stored = {} if file is None else read_settings_file(file, cls.model_fields)
        if environ is not None:
            raw = {k: v for k in cls.model_fields if (v := environ.get(PREFIX + k.upper()))}
            overrides = {**raw, **overrides}
        environ = os.environ if environ is None else environ
        given = {name for name in stored if environ.get(PREFIX + name.upper())}
        overrides = {name: value for name, value in stored.items() if name not in given} | overrides
        key = environ.get(PREFIX + "PROVIDER_KEY") or environ.get(
            key_variable(str(overrides.get("provider") or environ.get(PREFIX + "PROVIDER", ""))) or ""
        )
        if key:
            overrides.setdefault("provider_key", key)
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise ConfigurationError(_one_line(cls, error)) from None


def refuse_unknown_variables(environ: Iterable[str], known: Collection[str]) -> None:
    """Check that each `RESEARCH_*` variable is a setting: a slip in its name would leave it without effect.

    Raises:
        ConfigurationError: one is not. The message names the nearest one that is.
    """
    variables = [PREFIX + name.upper() for name in known]
    for name in sorted(environ):
        unknown = name.startswith(PREFIX) and name not in OTHER_VARIABLES and not name.startswith(_TESTING)
        if unknown and name not in variables:
            near = difflib.get_close_matches(name, variables, n=1)
            raise ConfigurationError(
                f"there is no setting {name}{f'; did you mean {near[0]}?' if near else ''}"
            )


def settings_file(environ: Mapping[str, str], *, usual: bool = True) -> Path | None:
    """Return the TOML file of settings that an environment names, or the one at the `usual` place if it is there.

    Raises:
        ConfigurationError: the named file does not exist.
    """
    if named := environ.get(PREFIX + "CONFIG"):
        file = Path(named).expanduser()
        if not file.is_file():
            raise ConfigurationError(f"{PREFIX}CONFIG={named}: there is no such file")
        return file
    file = user_config_path(APPLICATION, appauthor=False) / "research.toml"
    return file if usual and file.is_file() else None


def read_settings_file(file: Path, known: Collection[str]) -> dict[str, Any]:
    """Return the settings of a TOML file by name. `roots` is a list of `dir` and `name=dir`, or a table of names.

    Raises:
        ConfigurationError: it cannot be read, is no TOML, or names a setting that is not `known`.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{file}: {error}") from error
    for name in content:
        if name not in known or name == "config":
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigurationError(
                f"{file}: there is no setting {name}{f'; did you mean {near[0]}?' if near else ''}"
            )
    try:
        if isinstance(listed := content.get("roots"), list | dict):
            each = (
                listed.items()
                if isinstance(listed, dict)
                else (_name_and_directory(str(text)) for text in listed)
            )
            content["roots"] = tuple(
                Root(name or _default_name(_absolute(directory)), _absolute(str(directory)))
                for name, directory in each
            )
    except ValueError as error:
        raise ConfigurationError(f"{file}: roots: {error}") from error
    return content


def _name_and_directory(entry: str) -> tuple[str, str]:
    """Return the name and the directory of an entry such as `name=/dir`; the name is empty without one."""
    name, separator, directory = entry.partition("=")
    return (name, directory) if separator and _ROOT_NAME.fullmatch(name) else ("", entry)


def _one_line(settings: type[Settings], error: ValidationError) -> str:
    problem = error.errors()[0]
    if not problem["loc"]:
        return problem["msg"].removeprefix("Value error, ")
    name = str(problem["loc"][0])
    field = settings.model_fields[name]
    secret = "Secret" in str(field.annotation)
    # an address may hold a password
    shown = "(hidden)" if secret or "@" in str(problem["input"]) else repr(problem["input"])
    allowed = problem.get("ctx", {}).get("expected") or problem["msg"].removeprefix("Value error, ")
    return f"{PREFIX}{name.upper()}={shown}: allowed: {allowed}"
