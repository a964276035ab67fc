"""All settings. Only the command line reads them from `RESEARCH_*` environment variables."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.settings.field_types import parse_index_dir
    from research_shared.settings.file import read_settings_file, settings_file
    from research_shared.settings.names import APPLICATION, OTHER_VARIABLES, PREFIX, refuse_unknown_variables
    from research_shared.settings.roots import parse_roots
    from research_shared.settings.secret_files import FILE_SUFFIX, secret_settings
    from research_shared.settings.sections.authentication import OPENID_SCOPES
    from research_shared.settings.sections.reasoning import ProviderName, key_variable
    from research_shared.settings.settings import Settings

__all__ = [
    "APPLICATION",
    "FILE_SUFFIX",
    "OPENID_SCOPES",
    "OTHER_VARIABLES",
    "PREFIX",
    "ProviderName",
    "Settings",
    "key_variable",
    "parse_index_dir",
    "parse_roots",
    "read_settings_file",
    "refuse_unknown_variables",
    "secret_settings",
    "settings_file",
]

_HOMES = {
    "APPLICATION": "names",
    "FILE_SUFFIX": "secret_files",
    "OPENID_SCOPES": "sections.authentication",
    "OTHER_VARIABLES": "names",
    "PREFIX": "names",
    "ProviderName": "sections.reasoning",
    "Settings": "settings",
    "key_variable": "sections.reasoning",
    "parse_index_dir": "field_types",
    "parse_roots": "roots",
    "read_settings_file": "file",
    "refuse_unknown_variables": "names",
    "secret_settings": "secret_files",
    "settings_file": "file",
}
__getattr__ = lazy_exports(__name__, _HOMES)
