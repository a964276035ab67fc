"""Which documents of the folder the index does not show yet."""

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import chain
from typing import Literal, NamedTuple

Kind = Literal["new", "changed", "uncounted"]
"""Never indexed; indexed in an older version; nothing that a search could find: gone, or known to give no text."""


class Waiting(NamedTuple):
    """A path that the index does not show as it is.

    `first` is the id at which that was found. A reading whose own id is not below `latest` shows what was found.
    `since` is a time of the monotonic clock, in seconds.
    """

    first: int
    latest: int
    since: float
    kind: Kind


class Backlog:
    """The paths that are to be read (`unread`), and those that were read and become visible with a commit (`unseen`).

    `listed` says whether the folder was listed to its end: before that, nobody knows what is missing. Changed and read
    by the tasks of one event loop.
    """

    def __init__(self) -> None:
        self.listed = False
        self.unread: dict[str, Waiting] = {}
        self.unseen: dict[str, Waiting] = {}

    def clear(self) -> None:
        """Know nothing any more."""
        self.listed = False
        self.unread, self.unseen = {}, {}

    def found(self, number: int, news: Mapping[str, Waiting]) -> None:
        """Note what the listing `number` found: what else is unread is so no more, unless it was touched since."""
        before, self.unread = self.unread, dict(news)
        for path, waiting in before.items():
            if waiting.latest > number:
                self.unread[path] = waiting
            elif (found := news.get(path)) is not None:
                self.unread[path] = Waiting(waiting.first, found.latest, waiting.since, found.kind)
        self.listed = True

    def touched(self, paths: Iterable[str], number: int, now: float, known: Container[str]) -> None:
        """Note paths that somebody tells have changed."""
        for path in paths:
            waiting = Waiting(number, number, now, "changed" if path in known else "new")
            if (before := self.unread.get(path)) is not None:
                waiting = waiting._replace(first=before.first, since=before.since, kind=before.kind)
            self.unread[path] = waiting

    def read(self, path: str, number: int, *, has_text: bool) -> None:
        """Note that the reading `number` of a path is in the catalog, and in the index with the next commit."""
        waiting = self.unread.get(path)
        if waiting is None or number < waiting.latest:
            return
        del self.unread[path]
        if (before := self.unseen.get(path)) is not None:
            waiting = waiting._replace(first=before.first, since=before.since)
        self.unseen[path] = waiting if has_text else waiting._replace(kind="uncounted")

    def committed(self) -> None:
        """Note that everything that was read is visible."""
        self.unseen = {}

    def all(self) -> Iterator[tuple[str, Waiting]]:
        """Everything that waits; a path can be among it twice."""
        return chain(self.unread.items(), self.unseen.items())

    def lacks(self) -> bool:
        """Whether there may be documents that were never indexed."""
        return not self.listed or any(waiting.kind == "new" for _, waiting in self.all())

    def begins(self) -> float:
        """The id at which the oldest of it was found, or infinity."""
        return min((waiting.first for _, waiting in self.all()), default=float("inf"))
