"""The TOML file of settings."""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from research_shared.base_errors import ConfigurationError
from research_shared.settings.names import APPLICATION, PREFIX, no_such_setting
from research_shared.settings.roots import name_and_directory, root_of


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
            raise ConfigurationError(f"{file}: {no_such_setting(name, known)}")
    try:
        if isinstance(listed := content.get("roots"), list | dict):
            each = (
                listed.items()
                if isinstance(listed, dict)
                else (name_and_directory(str(text)) for text in listed)
            )
            content["roots"] = tuple(root_of(name=name, directory=str(directory)) for name, directory in each)
    except ValueError as error:
        raise ConfigurationError(f"{file}: roots: {error}") from error
    return content
