"""Secrets in files, as container platforms mount them: `RESEARCH_PROVIDER_KEY_FILE` instead of `RESEARCH_PROVIDER_KEY`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo

from research_shared.base_errors import ConfigurationError
from research_shared.settings.names import variable_of

FILE_SUFFIX: Final = "_FILE"
"""What is added to the variable of a secret for the one that names its file."""


def secret_settings(fields: Mapping[str, FieldInfo]) -> list[str]:
    """Return the names of the settings that are secrets."""
    return [name for name, field in fields.items() if "Secret" in str(field.annotation)]


def read_secret_files(environ: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    """Return the contents of the files that an environment names for secrets, by setting, without surrounding white space.

    Raises:
        ConfigurationError: a file cannot be read or is empty, or the secret is given as well.
    """
    found = {}
    for name in secrets:
        variable = variable_of(name)
        if not (named := environ.get(variable + FILE_SUFFIX)):
            continue
        if environ.get(variable):
            raise ConfigurationError(f"only one of {variable} and {variable}{FILE_SUFFIX} can be set")
        try:
            secret = Path(named).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigurationError(f"{variable}{FILE_SUFFIX}={named}: {reason}") from error
        if not secret:
            raise ConfigurationError(f"{variable}{FILE_SUFFIX}={named}: it is empty")
        found[name] = secret
    return found
