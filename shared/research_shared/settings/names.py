"""Names of the settings: as variables, as fields, and what is none of them."""

import difflib
from collections.abc import Collection, Iterable

from research_shared.base_errors import ConfigurationError

PREFIX = "RESEARCH_"
APPLICATION = "research-assistant-mcp"
"""Name of the directory in the user's cache and configuration directories."""
OTHER_VARIABLES = frozenset(
    {
        "RESEARCH_CONFIG",
        "RESEARCH_FOLDER",
        "RESEARCH_FRONT",
        "RESEARCH_IMAGE",
        "RESEARCH_SEARCH_JAVA_OPTS",
        "RESEARCH_SECRETS",
        "RESEARCH_SETTINGS",
    }
)
"""Variables that are no settings: the file of settings, and those of `compose.yaml`, which a shell may have for it."""
_TESTING = "RESEARCH_TEST_"


def variable_of(setting: str) -> str:
    """Return the environment variable of a setting.

    >>> variable_of("index_dir")
    'RESEARCH_INDEX_DIR'
    """
    return PREFIX + setting.upper()


def no_such_setting(name: str, known: Collection[str]) -> str:
    """Return a sentence which says that `name` is no setting, with the nearest one that is known.

    >>> no_such_setting("index_dri", ["index_dir", "roots"])
    'there is no setting index_dri; did you mean index_dir?'
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f"there is no setting {name}{f'; did you mean {near[0]}?' if near else ''}"


def refuse_unknown_variables(environ: Iterable[str], known: Collection[str]) -> None:
    """Check that each `RESEARCH_*` variable is a setting: a slip in its name would leave it without effect.

    Raises:
        ConfigurationError: one is not. The message names the nearest one that is.
    """
    variables = [variable_of(name) for name in known]
    for name in sorted(environ):
        unknown = name.startswith(PREFIX) and name not in OTHER_VARIABLES and not name.startswith(_TESTING)
        if unknown and name not in variables:
            raise ConfigurationError(no_such_setting(name, variables))
