"""The part of the research folders that a request may see."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of the ceiling that a request may see.

    `prefixes` are directories or documents as public paths without a final slash. The empty prefix admits everything, an
    empty tuple nothing. Combining scopes only narrows them.
    """

    prefixes: tuple[str, ...] = ("",)

    def admits(self, path: str) -> bool:
        """Return whether a document path is within the scope."""
        return self.prefixes == ("",) or any(
            prefix in {"", path} or path.startswith(prefix + "/") for prefix in self.prefixes
        )

    def leads_to(self, directory: str) -> bool:
        """Return whether a path beneath this directory can be within the scope."""
        return self.admits(directory) or any(p.startswith(directory + "/") for p in self.prefixes)

    def narrowed(self, other: "Scope") -> "Scope":
        """Return the intersection of two scopes."""
        kept = {p for p in self.prefixes if other.admits(p)} | {p for p in other.prefixes if self.admits(p)}
        return Scope(tuple(sorted(kept)))


EVERYTHING = Scope()
_scope: ContextVar[Scope] = ContextVar("research_scope", default=EVERYTHING)


def current_scope() -> Scope:
    """Return the scope of the current request."""
    return _scope.get()


@contextmanager
def narrowed_scope(scope: Scope) -> Iterator[Scope]:
    """Narrow the current scope to its intersection with `scope` while the block runs, and return that."""
    effective = current_scope().narrowed(scope)
    token = _scope.set(effective)
    try:
        yield effective
    finally:
        _scope.reset(token)
