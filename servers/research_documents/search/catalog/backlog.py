"""Documents that the index does not show yet, or not in their present version."""

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import chain
from typing import Literal, NamedTuple

PendingKind = Literal["new", "changed", "uncounted"]
"""Never indexed; indexed in an older version; gone or without text, so that no search can miss it."""


class PendingPath(NamedTuple):
    """A path whose present version is not in the index.

    `first` is the id at which this was found. A read result with an id of at least `latest` covers it. `since` is a time
    of the monotonic clock, in seconds.
    """

    first: int
    latest: int
    since: float
    kind: PendingKind


class Backlog:
    """Paths that must be read (`unread`), and paths that were read and become visible with the next commit (`unseen`).

    `listed` says whether the folder was listed completely; before that, what is missing is unknown. `missing` holds the
    paths of both that are not uncounted. Used by the tasks of one event loop only.
    """

    def __init__(self) -> None:
        self.listed = False
        self.unread: dict[str, PendingPath] = {}
        self.unseen: dict[str, PendingPath] = {}
        self.missing: set[str] = set()

    def clear(self) -> None:
        """Reset to the state before the first listing."""
        self.listed = False
        self.unread, self.unseen, self.missing = {}, {}, set()

    def found(self, number: int, listing: Mapping[str, PendingPath]) -> None:
        """Replace `unread` with what the listing `number` found, but keep paths that were touched after it."""
        before, self.unread = self.unread, dict(listing)
        for path, waiting in before.items():
            if waiting.latest > number:
                self.unread[path] = waiting
            elif (found := listing.get(path)) is not None:
                self.unread[path] = PendingPath(waiting.first, found.latest, waiting.since, found.kind)
        self.missing = {path for path, waiting in self.all() if waiting.kind != "uncounted"}
        self.listed = True

    def touched(self, paths: Iterable[str], number: int, now: float, known: Container[str]) -> None:
        """Add paths that were reported as changed."""
        for path in paths:
            waiting = PendingPath(number, number, now, "changed" if path in known else "new")
            if (before := self.unread.get(path)) is not None:
                waiting = waiting._replace(first=before.first, since=before.since, kind=before.kind)
            self.unread[path] = waiting
            self._update_missing(path)

    def read(self, path: str, number: int, *, has_text: bool) -> None:
        """Mark the read `number` of a path as in the catalog; the next commit makes it visible."""
        waiting = self.unread.get(path)
        if waiting is None or number < waiting.latest:
            return
        del self.unread[path]
        if (before := self.unseen.get(path)) is not None:
            waiting = waiting._replace(first=before.first, since=before.since)
        self.unseen[path] = waiting if has_text else waiting._replace(kind="uncounted")
        self._update_missing(path)

    def committed(self) -> None:
        """Mark everything that was read as visible."""
        seen, self.unseen = self.unseen, {}
        for path in seen:
            self._update_missing(path)

    def _update_missing(self, path: str) -> None:
        """Bring `missing` up to date for a path."""
        waiting = (self.unread.get(path), self.unseen.get(path))
        if any(each is not None and each.kind != "uncounted" for each in waiting):
            self.missing.add(path)
        else:
            self.missing.discard(path)

    def all(self) -> Iterator[tuple[str, PendingPath]]:
        """Iterate over all pending paths; a path can occur twice."""
        return chain(self.unread.items(), self.unseen.items())

    def lacks(self) -> bool:
        """Return whether there may be documents that were never indexed."""
        return not self.listed or any(waiting.kind == "new" for _, waiting in self.all())

    def oldest_id(self) -> float:
        """Return the id at which the oldest pending path was found, or infinity."""
        return min((waiting.first for _, waiting in self.all()), default=float("inf"))
