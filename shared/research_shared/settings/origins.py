"""Where the values of settings come from, so that a message names what the operator wrote."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from research_shared.settings.names import PREFIX, variable_of
from research_shared.settings.secret_files import FILE_SUFFIX

DEFAULT: Final = "default"
ENVIRONMENT: Final = "environment"
_NAMED_VARIABLE = re.compile(rf"\b{PREFIX}[A-Z0-9_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the value of one setting comes from.

    `place` is shown to people; `name` is what the operator wrote: an option, a variable, or a key of the TOML `file`.
    """

    place: str
    name: str
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins of the settings that somebody gave, by setting. The others have their defaults."""

    given: Mapping[str, Origin] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        environ: Mapping[str, str],
        *,
        settings: Collection[str],
        file: Path | None,
        stored: Collection[str],
        in_files: Collection[str],
        overrides: Collection[str],
        options: Mapping[str, str],
    ) -> "Origins":
        """Return the origins of `settings`. The order is that in which one value wins over another when they are loaded.

        Args:
            environ: Variables.
            settings: Names of all settings.
            file: The TOML file of settings, if there is one.
            stored: Names of the settings in it.
            in_files: Names of the secrets whose files are named by variables.
            overrides: Names of the settings that the caller gives.
            options: For each of those that an option of the command line gives, that option.
        """
        given: dict[str, Origin] = {name: Origin(place=str(file), name=name, file=file) for name in stored}
        for name in settings:
            variable = variable_of(name)
            if name in overrides:
                place = "command line" if name in options else "arguments"
                given[name] = Origin(place=place, name=options.get(name, variable))
            elif environ.get(variable):
                given[name] = Origin(place=ENVIRONMENT, name=variable)
            elif name in in_files:
                variable += FILE_SUFFIX
                given[name] = Origin(place=environ[variable], name=variable)
        return cls(given)

    def place_of(self, name: str) -> str:
        """Return where the value of a setting comes from, `default` if nobody gave one."""
        return self.given[name].place if name in self.given else DEFAULT

    def as_written(self, message: str) -> str:
        """Return a message with what the operator wrote, in place of the variables by which it names settings.

        >>> option = Origin(place="command line", name="--index")
        >>> Origins({"index_dir": option}).as_written("RESEARCH_INDEX_DIR=/x lies inside the research folder notes")
        '--index=/x lies inside the research folder notes'
        """
        files: dict[Path, None] = {}

        def written(match: re.Match[str]) -> str:
            origin = self.given.get(match[0].removeprefix(PREFIX).lower())
            if origin is None:
                return match[0]
            if origin.file is not None:
                files[origin.file] = None
            return origin.name

        named = _NAMED_VARIABLE.sub(written, message)
        return "".join(f"{file}: " for file in files) + named
