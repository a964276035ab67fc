"""Access to documents: roots, race-free opening, public names, file patterns and the scope of a request."""

from typing import TYPE_CHECKING

from research_shared.exports import lazy_exports

if TYPE_CHECKING:
    from research_shared.access.globs import compile_pattern
    from research_shared.access.roots import OpenDocument, RootsPolicy
    from research_shared.access.scope import EVERYTHING, Scope, current_scope, narrowed_scope

__all__ = [
    "EVERYTHING",
    "OpenDocument",
    "RootsPolicy",
    "Scope",
    "compile_pattern",
    "current_scope",
    "narrowed_scope",
]

_HOMES = {
    "EVERYTHING": "scope",
    "OpenDocument": "roots",
    "RootsPolicy": "roots",
    "Scope": "scope",
    "compile_pattern": "globs",
    "current_scope": "scope",
    "narrowed_scope": "scope",
}
__getattr__ = lazy_exports(__name__, _HOMES)
