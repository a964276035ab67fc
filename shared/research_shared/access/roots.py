"""The research folders of the operator, and the only way to open a file in them.

Every path is resolved beneath a root that is opened for that one operation. Checks are made on the open file, so nothing
can change between a check and a read. Links, hidden names and special files: see `docs/file-access.md`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Self

from research_shared.access import beneath
from research_shared.access.changes import Changes
from research_shared.access.listing import Listing
from research_shared.access.opener import OpenDocument, Opener, identity_of
from research_shared.access.scope import EVERYTHING, Scope, current_scope, narrowed_scope
from research_shared.documents import DocumentInfo
from research_shared.errors import Overloaded, RootUnavailable
from research_shared.faults import Faults
from research_shared.root import Root

if TYPE_CHECKING:
    from research_shared.settings import Settings

__all__ = [
    "EVERYTHING",
    "OpenDocument",
    "Root",
    "RootsPolicy",
    "Scope",
    "current_scope",
    "identity_of",
    "narrowed_scope",
]


class RootsPolicy:
    """Opens and lists files beneath its roots, and no others.

    `openat2=False` uses the portable way of opening even if the kernel has `openat2`. Folders that are gone, fail or have
    lost their documents are reported to `faults`.

    >>> from pathlib import Path
    >>> policy = RootsPolicy([Root("research", Path("research"))])
    >>> [info.path for info in policy.walk()]
    ['tides.md']
    >>> with os.fdopen(policy.open("tides.md").fd) as file:
    ...     print(file.readline(), end="")
    # Tides

    A request may see less, never more:

    >>> with narrowed_scope(Scope(("papers",))):
    ...     [info.path for info in policy.walk()]
    []

    Raises:
        ConfigurationError: a root is missing, not a readable directory, a system directory, or given twice.
    """

    def __init__(
        self,
        roots: Sequence[Root],
        *,
        include_hidden: bool = False,
        openat2: bool | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.roots = tuple(roots)
        self.include_hidden = include_hidden
        self.faults = faults or Faults()
        self._opener = Opener(
            self.roots,
            include_hidden=include_hidden,
            openat2=beneath.has_openat2() if openat2 is None else openat2,
            faults=self.faults,
        )
        self._listing = Listing(self._opener)
        self._changes = Changes(self._opener)

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return the policy of the operator's settings."""
        return cls(settings.roots, include_hidden=settings.include_hidden)

    def available(self, root: Root) -> bool:
        """Return whether a root can be read at the moment."""
        try:
            os.close(
                self._opener.open_root(next(each for each in self._opener.resolved if each.root == root))
            )
        except RootUnavailable:
            return False
        return True

    def expect_documents(self, roots: Iterable[str]) -> None:
        """Take note that the roots of these names held documents when an earlier process looked."""
        self._listing.expect_documents(roots)

    def overloaded(self, error: OSError) -> Overloaded:
        """Return the error of a process that can open nothing more, and report the fault."""
        return self._opener.overloaded(error)

    def open(self, path: str) -> OpenDocument:
        """Open the document with this public path.

        Raises:
            DocumentNotFound: nothing readable is there within the current scope.
            DocumentUnreadable: it is there, but the server may not read it.
            UnsupportedType: it is there, and of a type that is not read.
            RootUnavailable: its root is gone, or is not the directory it was at start.
            Overloaded: the process cannot open more files now.
        """
        return self._opener.open(path)

    def stat(self, path: str) -> DocumentInfo:
        """Return the current metadata of the document with this public path. Raises what `open` raises."""
        return self._opener.stat(path)

    def changed(self, documents: Iterable[DocumentInfo]) -> set[str]:
        """Return the public paths of the documents that have changed, or are missing within the current scope.

        Roots and directories are opened once each, and documents not at all, so permission to read them is not checked.
        A new device number alone is no change.

        Raises:
            RootUnavailable: a root is gone, or is not the directory it was at start.
            Overloaded: the process cannot open more files now.
        """
        return self._changes.changed(documents)

    def walk(
        self, stopped: Callable[[], bool] = lambda: False, unread: Callable[[str], None] | None = None
    ) -> Iterator[DocumentInfo]:
        """Yield all documents within the current scope, in no particular order.

        Directories that cannot be read are skipped. `stopped` is called before each directory; when it returns True,
        the listing ends early. `unread` is called with the public path of each file of a type that is not read.

        Raises:
            RootUnavailable: a root is gone, or is not the directory it was at start.
        """
        return self._listing.walk(stopped, unread)

    def documents_after(
        self, path: str, limit: int, stopped: Callable[[], bool] = lambda: False
    ) -> list[DocumentInfo]:
        """Return the first `limit` documents after a path within the current scope, sorted by path.

        Directories are opened in that order, only those that can contain such a document, and only until there are
        enough of them, so a part of a large folder costs much less than all of it. Otherwise like `walk`.

        Raises:
            RootUnavailable: a root is gone, or is not the directory it was at start.
        """
        return self._listing.documents_after(path, limit, stopped)
