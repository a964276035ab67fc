"""The part of the research folders that a request may see."""

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from research_shared.access.globs import compile_pattern, folders_of, literal_folder
from research_shared.documents import DocumentInfo
from research_shared.errors import InvalidPattern


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What patterns of document paths allow, less what others deny.

    `allow` takes names as they are written, `deny` in any case, so that a slip shows too little rather than too much. Both
    ignore the Unicode form, and begin at the top of the research folder.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def admits(self, path: str) -> bool:
        """Return whether a document path is within the view.

        >>> View(allow=("papers/**",), deny=("**/draft*",)).admits("papers/a.md")
        True
        """
        return any(allows(path) for allows in _compiled(self.allow, True)) and not self._denies(path)

    def leads_to(self, directory: str) -> bool:
        """Return whether a path beneath a directory can be within the view. False only if none can."""
        folders = (folders for pattern in self.deny if (folders := folders_of(pattern)) is not None)
        if self._denies(directory, also=tuple(folders)):
            return False
        composed = unicodedata.normalize("NFC", directory)
        return any(_may_meet(literal_folder(pattern), composed) for pattern in self.allow)

    def _denies(self, path: str, also: tuple[str, ...] = ()) -> bool:
        """Return whether a path, or a directory above it, is denied: what is denied is denied with all that is in it."""
        parts = path.split("/")
        above = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
        return any(denies(each) for denies in _compiled((*self.deny, *also), False) for each in above)


def _may_meet(folder: str, directory: str) -> bool:
    """Return whether one of two directories is the other or lies beneath it."""
    return (
        folder in {"", directory} or folder.startswith(directory + "/") or directory.startswith(folder + "/")
    )


@lru_cache(maxsize=1_024)
def _compiled(patterns: tuple[str, ...], case_sensitive: bool) -> tuple[Callable[[str], bool], ...]:
    return tuple(
        compile_pattern(pattern, case_sensitive=case_sensitive, anchored=True) for pattern in patterns
    )


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of the ceiling that a request may see.

    `prefixes` are directories or documents as public paths without a final slash. The empty prefix admits everything, an
    empty tuple nothing. A path must be within each of the `views` too. Combining scopes only narrows them.
    """

    prefixes: tuple[str, ...] = ("",)
    views: tuple[View, ...] = ()

    def admits(self, path: str) -> bool:
        """Return whether a document path is within the scope."""
        return _holds(self.prefixes, path) and all(view.admits(path) for view in self.views)

    def shows(self, info: DocumentInfo) -> bool:
        """Return whether a document is within the scope: its path, and for a link the file that it leads to."""
        return self.admits(info.path) and (not info.target or self.admits(info.target))

    def leads_to(self, directory: str) -> bool:
        """Return whether a path beneath this directory can be within the scope. False only if none can."""
        within = any(_may_meet(prefix, directory) for prefix in self.prefixes)
        return within and all(view.leads_to(directory) for view in self.views)

    def narrowed(self, other: "Scope") -> "Scope":
        """Return the intersection of two scopes."""
        kept = {p for p in self.prefixes if _holds(other.prefixes, p)}
        kept |= {p for p in other.prefixes if _holds(self.prefixes, p)}
        views = dict.fromkeys((*self.views, *other.views))
        return Scope(tuple(sorted(kept)), tuple(sorted(views, key=lambda view: (view.allow, view.deny))))

    def to_json(self) -> Any:
        """Return the scope as JSON has it: the list of prefixes, or an object with the views as well."""
        if not self.views:
            return list(self.prefixes)
        views = [{"allow": list(view.allow), "deny": list(view.deny)} for view in self.views]
        return {"prefixes": list(self.prefixes), "views": views}

    @classmethod
    def from_json(cls, value: Any) -> "Scope":
        """Return the scope that `to_json` wrote. Anything else admits nothing."""
        if isinstance(value, list):
            value = {"prefixes": value, "views": []}
        match value:
            case {"prefixes": list(prefixes), "views": list(views)} if _all_text(prefixes):
                read = [_view_of(view) for view in views]
                known = [view for view in read if view is not None]
                if len(known) == len(read):
                    return cls(tuple(sorted(prefixes)), tuple(known))
        return cls(())


def _view_of(value: Any) -> View | None:
    match value:
        case {"allow": list(allow), "deny": list(deny)} if _all_text(allow) and _all_text(deny):
            try:
                _compiled(tuple(allow), True)
                _compiled(tuple(deny), False)
            except InvalidPattern:
                return None
            return View(allow=tuple(allow), deny=tuple(deny))
    return None


def _all_text(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _holds(prefixes: tuple[str, ...], path: str) -> bool:
    """Return whether a path is one of these directories and documents, or beneath one."""
    return prefixes == ("",) or any(
        prefix in {"", path} or path.startswith(prefix + "/") for prefix in prefixes
    )


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
