"""Which part of the research folders a request may see."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """Which part of the ceiling a request may see: directory prefixes, as public paths without a final slash.

    An empty prefix stands for everything; no prefix at all stands for nothing. Scopes only ever narrow.
    """

    prefixes: tuple[str, ...] = ("",)

    def admits(self, path: str) -> bool:
        """Whether a document path lies within the scope."""
        return self.prefixes == ("",) or any(
            prefix in {"", path} or path.startswith(prefix + "/") for prefix in self.prefixes
        )

    def leads_to(self, directory: str) -> bool:
        """Whether something beneath this directory can lie within the scope."""
        return self.admits(directory) or any(p.startswith(directory + "/") for p in self.prefixes)

    def narrowed(self, other: "Scope") -> "Scope":
        """The intersection of two scopes."""
        kept = {p for p in self.prefixes if other.admits(p)} | {p for p in other.prefixes if self.admits(p)}
        return Scope(tuple(sorted(kept)))


EVERYTHING = Scope()
_scope: ContextVar[Scope] = ContextVar("research_scope", default=EVERYTHING)


def current_scope() -> Scope:
    """The scope of the request that is being served."""
    return _scope.get()


@contextmanager
def narrowed_scope(scope: Scope) -> Iterator[Scope]:
    """Serve the enclosed work within `scope`, on top of whatever narrows it already."""
    effective = current_scope().narrowed(scope)
    token = _scope.set(effective)
    try:
        yield effective
    finally:
        _scope.reset(token)
