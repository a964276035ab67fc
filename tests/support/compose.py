"""compose.yaml as Docker Compose reads it, as far as this file uses it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose.yaml"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<kind>:-|-|:\?)?(?P<text>[^}]*)\}")


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A directory or file of the machine, or a named volume, and where a container has it."""

    source: str
    target: str
    read_only: bool


def read_compose(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the file with the variables of an environment.

    Raises:
        KeyError: a variable that must be set is not.
    """
    parsed: dict[str, Any] = _interpolated(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")), environ)
    return parsed


def _interpolated(value: Any, environ: Mapping[str, str]) -> Any:
    match value:
        case str():
            return _VARIABLE.sub(lambda found: _value_of(found, environ), value)
        case list():
            return [_interpolated(each, environ) for each in value]
        case dict():
            return {key: _interpolated(each, environ) for key, each in value.items()}
    return value


def _value_of(found: re.Match[str], environ: Mapping[str, str]) -> str:
    value, kind = environ.get(found["name"]), found["kind"]
    if value or (value is not None and kind == "-"):
        return value
    if kind in {"-", ":-"}:
        return found["text"]
    raise KeyError(found["name"])


def environment_of(service: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a service: those of its files, in which a name alone is passed on, and its own."""
    found: dict[str, str] = {}
    for file in service.get("env_file", ()):
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
            name, given, value = line.partition("=")
            if line and not line.startswith("#"):
                passed_on = {name: value} if given else {name: environ[name]} if name in environ else {}
                found |= passed_on
    own: dict[str, str] = service.get("environment", {})
    return found | own


def volumes_of(service: Mapping[str, Any]) -> list[Volume]:
    """Return what a service mounts, its secrets included."""
    found = []
    for each in service.get("volumes", ()):
        source, target, *mode = each.split(":")
        found.append(Volume(source=source, target=target, read_only=mode == ["ro"]))
    return found


def secret_path(name: str) -> str:
    """Where a container has a secret."""
    return f"/run/secrets/{name}"
