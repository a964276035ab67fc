"""What the servers and the gateway share. Start with `Settings`, `Library` and `RootsPolicy`."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.access.roots import RootsPolicy
    from research_shared.access.scope import Scope
    from research_shared.base_errors import ConfigurationError, ResearchError
    from research_shared.reading.library import Library
    from research_shared.retry import RetryPolicy
    from research_shared.root import Root
    from research_shared.settings import Settings

__all__ = [
    "ConfigurationError",
    "Library",
    "ResearchError",
    "RetryPolicy",
    "Root",
    "RootsPolicy",
    "Scope",
    "Settings",
]

_HOMES = {
    "ConfigurationError": "base_errors",
    "Library": "reading.library",
    "ResearchError": "base_errors",
    "RetryPolicy": "retry",
    "Root": "root",
    "RootsPolicy": "access.roots",
    "Scope": "access.scope",
    "Settings": "settings",
}
__getattr__ = lazy_exports(__name__, _HOMES)
