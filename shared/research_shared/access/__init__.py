"""Access to documents: roots, race-free opening, public names, file patterns and the scope of a request."""

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
