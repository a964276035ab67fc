"""Types of settings that are read from one string of the environment."""

import json
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from platformdirs import user_cache_path
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from research_shared.root import Root
from research_shared.settings.names import APPLICATION
from research_shared.settings.roots import absolute_directory, parse_roots

HTTP_URL = r"^https?://[^\s]+$"
"""Pattern of an address."""


def _check_host_and_port(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # it quotes the port, which may be a part of a password
        usable = False
    if not usable:
        raise ValueError("an address with a host, and with a port from 1 to 65535 if any")
    return url


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
            return absolute_directory(value)
    return value


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


HttpUrl = Annotated[str, Field(pattern=HTTP_URL), AfterValidator(_check_host_and_port)]
"""An address with a host, and with a port that is one."""
Roots = Annotated[tuple[Root, ...], NoDecode, BeforeValidator(parse_roots)]
IndexDir = Annotated[Path | None, BeforeValidator(parse_index_dir)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split_list)]
SecretHeaders = Annotated[dict[str, SecretStr], NoDecode, BeforeValidator(_json_object)]
JsonObject = Annotated[dict[str, Any], NoDecode, BeforeValidator(_json_object)]
