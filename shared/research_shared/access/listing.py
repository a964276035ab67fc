"""Lists the documents beneath the roots: all of them, or those after a path."""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from research_shared.access import beneath
from research_shared.access.names import MAX_PATH_BYTES, shown
from research_shared.access.opener import Opener, identity_of, unavailable
from research_shared.access.resolved import ResolvedRoot
from research_shared.access.scope import EVERYTHING, Scope, current_scope
from research_shared.documents import DocumentInfo, Identity
from research_shared.faults import DIRECTORY_FAILING, OUT_OF_FILES, ROOT_EMPTIED, ROOT_EMPTY, ROOT_FAILING
from research_shared.formats import media_type_of

_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR})


class Listing:
    """Walks the directories beneath the roots of an opener."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._held_documents: set[str] = set()
        """Names of the roots in which there was a document."""

    def expect_documents(self, roots: Iterable[str]) -> None:
        """See `RootsPolicy.expect_documents`."""
        self._held_documents.update(roots)

    def walk(
        self, stopped: Callable[[], bool], unread: Callable[[str], None] | None
    ) -> Iterator[DocumentInfo]:
        """See `RootsPolicy.walk`."""
        scope = current_scope()
        for resolved in self._opener.resolved:
            if not resolved.prefix or scope.leads_to(resolved.root.name):
                yield from self._walk_root(resolved, scope, stopped, unread)

    def _walk_root(
        self,
        resolved: ResolvedRoot,
        scope: Scope,
        stopped: Callable[[], bool],
        unread: Callable[[str], None] | None,
    ) -> Iterator[DocumentInfo]:
        root_fd = self._opener.open_root(resolved)
        try:
            todo: list[tuple[bytes, ...]] = [()]
            documents = entries_seen = 0
            unlisted: list[OSError] = []
            while todo and not stopped():
                parts = todo.pop()
                base = resolved.prefix + "".join(shown(part) + "/" for part in parts)
                with self._scanned(resolved, root_fd, parts, unlisted.append) as entries:
                    for entry, name in entries:
                        entries_seen += 1
                        public = base + shown(name)
                        if entry.is_dir(follow_symlinks=False):
                            if scope.leads_to(public):
                                todo.append((*parts, name))
                        elif not scope.admits(public):
                            continue
                        elif (media_type := media_type_of(public)) is None:
                            if unread is not None and entry.is_file(follow_symlinks=False):
                                unread(public)
                        else:
                            identity, target = self._identity(resolved, root_fd, (*parts, name), entry)
                            if identity is not None:
                                documents += 1
                                yield DocumentInfo(
                                    path=public,
                                    root=resolved.root.name,
                                    media_type=media_type,
                                    identity=identity,
                                    target=target,
                                )
            self._note_unlisted(resolved.root.name, unlisted, whole=scope == EVERYTHING and not todo)
            if not todo:
                self._note_content(
                    resolved.root.name, documents, whole=scope == EVERYTHING, empty=not entries_seen
                )
        finally:
            os.close(root_fd)

    def _note_unlisted(self, root: str, failures: Sequence[OSError], *, whole: bool) -> None:
        """Report the directories that could not be listed to their end. `whole`: no directory was left out."""
        if failures:
            error = f"{failures[0].strerror} (in {len(failures)} of its directories)"
            self._opener.faults.begin(DIRECTORY_FAILING, root, error=error)
        elif whole:
            self._opener.faults.end(DIRECTORY_FAILING, root)

    def _note_content(self, root: str, documents: int, *, whole: bool, empty: bool) -> None:
        """Compare what a root holds with what it held. `whole`: nothing was left out; `empty`: no entry was found."""
        faults = self._opener.faults
        faults.end(OUT_OF_FILES)
        if whole:
            faults.end(ROOT_FAILING, root)
        if documents:
            self._held_documents.add(root)
            faults.end(ROOT_EMPTIED, root)
            faults.end(ROOT_EMPTY, root)
        elif whole and root in self._held_documents:
            faults.begin(ROOT_EMPTIED, root)
        elif whole and empty:
            faults.begin(ROOT_EMPTY, root)
        elif not empty:
            faults.end(ROOT_EMPTY, root)

    def documents_after(self, path: str, limit: int, stopped: Callable[[], bool]) -> list[DocumentInfo]:
        """See `RootsPolicy.documents_after`."""
        scope = current_scope()
        found: list[DocumentInfo] = []
        for resolved in sorted(self._opener.resolved, key=lambda resolved: resolved.prefix):
            if len(found) >= limit or not _holds_later(resolved.prefix, path):
                continue
            if resolved.prefix and not scope.leads_to(resolved.root.name):
                continue
            root_fd = self._opener.open_root(resolved)
            try:
                todo: list[DocumentInfo | tuple[bytes, ...]] = [()]
                while todo and len(found) < limit and not stopped():
                    match todo.pop():
                        case DocumentInfo() as info:
                            found.append(info)
                        case parts:
                            inside = self._inside_after(resolved, root_fd, parts, path, limit - len(found))
                            todo += reversed(inside)
            finally:
                os.close(root_fd)
        return found

    def _inside_after(
        self, resolved: ResolvedRoot, root_fd: int, parts: tuple[bytes, ...], path: str, limit: int
    ) -> list[DocumentInfo | tuple[bytes, ...]]:
        """Return the entries of a directory after a path, in order: at most `limit` documents, and directories."""
        scope = current_scope()
        base = resolved.prefix + "".join(shown(part) + "/" for part in parts)
        inside: list[DocumentInfo | tuple[bytes, ...]] = []
        unlisted: list[OSError] = []
        with self._scanned(resolved, root_fd, parts, unlisted.append) as entries:
            later: list[tuple[str, bytes, os.DirEntry[str]]] = []
            for entry, name in entries:
                public = base + shown(name)
                if entry.is_dir(follow_symlinks=False):
                    # with the slash, because that is how the paths beneath it compare
                    if _holds_later(public + "/", path) and scope.leads_to(public):
                        later.append((public + "/", name, entry))
                elif public > path and media_type_of(public) is not None and scope.admits(public):
                    later.append((public, name, entry))
            documents = 0
            for public, name, entry in sorted(later, key=lambda found: found[0]):
                if public.endswith("/"):
                    inside.append((*parts, name))
                    continue
                identity, target = self._identity(resolved, root_fd, (*parts, name), entry)
                media_type = media_type_of(public)
                if identity is None or media_type is None:
                    continue
                inside.append(
                    DocumentInfo(
                        path=public,
                        root=resolved.root.name,
                        media_type=media_type,
                        identity=identity,
                        target=target,
                    )
                )
                documents += 1
                if documents == limit:
                    break
        self._note_unlisted(resolved.root.name, unlisted, whole=False)
        return inside

    @contextmanager
    def _scanned(
        self,
        resolved: ResolvedRoot,
        root_fd: int,
        parts: tuple[bytes, ...],
        failed: Callable[[OSError], None],
    ) -> Iterator[Iterator[tuple["os.DirEntry[str]", bytes]]]:
        """Yield the admissible entries of a directory with their names. They are valid until the block ends.

        When the file system fails in the middle, the entries end and `failed` receives the error.
        """
        try:
            fd = self._opener.open_beneath(
                resolved, root_fd, parts, beneath.DIRECTORY, links=False, listed=True
            )
        except OSError as error:
            self._opener.raise_unless_skipped(error, resolved)
            if not parts:
                raise unavailable(resolved.root) from None
            yield iter(())
            return
        try:
            with os.scandir(fd) as entries:
                found = _typed(entries, lambda error: self._unlisted(error, resolved, root_fd, parts, failed))
                yield self._named(resolved, parts, found)
        finally:
            os.close(fd)

    def _unlisted(
        self,
        error: OSError,
        resolved: ResolvedRoot,
        root_fd: int,
        parts: tuple[bytes, ...],
        failed: Callable[[OSError], None],
    ) -> None:
        """Skip the rest of a directory that fails while it is listed, unless all of the root or of the process does."""
        if error.errno in _VANISHED:
            return
        if not parts or not self._opener.is_of_file_alone(error, root_fd):
            self._opener.raise_unless_skipped(error, resolved)
        failed(error)

    def _named(
        self, resolved: ResolvedRoot, parts: tuple[bytes, ...], entries: Iterable["os.DirEntry[str]"]
    ) -> Iterator[tuple["os.DirEntry[str]", bytes]]:
        room = MAX_PATH_BYTES - sum(map(len, parts)) - len(parts)
        for entry in entries:
            name = os.fsencode(entry.name)
            if len(name) <= room and self._opener.admits(resolved, (*parts, name)):
                yield entry, name

    def _identity(
        self, resolved: ResolvedRoot, root_fd: int, parts: tuple[bytes, ...], entry: "os.DirEntry[str]"
    ) -> tuple[Identity | None, str]:
        """Return the identity of a regular file, links followed, or None for anything else; and the path that a link leads to."""
        target = ""
        try:
            if entry.is_symlink():
                fd, target = self._opener.open_target(resolved, root_fd, parts, beneath.FILE)
                try:
                    status = os.fstat(fd)
                finally:
                    os.close(fd)
            else:
                status = entry.stat(follow_symlinks=False)
        except OSError as error:
            if self._opener.is_of_file_alone(error, root_fd):
                # Listed, so that whoever reads it is told that it is there and cannot be read.
                return Identity(0, entry.inode(), 0, 0, 0), ""
            self._opener.raise_unless_skipped(error, resolved)
            return None, ""
        # What a linked directory holds is listed where it is, so that nothing appears twice and nothing loops.
        return (identity_of(status), target) if stat.S_ISREG(status.st_mode) else (None, "")


def _typed(
    entries: Iterator["os.DirEntry[str]"], failed: Callable[[OSError], None]
) -> Iterator["os.DirEntry[str]"]:
    """Yield entries whose type is known, until there are none. An error is passed to `failed`, and ends them if it returns."""
    try:
        for entry in entries:
            entry.is_dir(follow_symlinks=False)  # remembered; some file systems have to be asked
            yield entry
    except OSError as error:
        failed(error)


def _holds_later(directory: str, path: str) -> bool:
    """Return whether `directory` (with its final slash) can hold a path after another one."""
    return directory > path or path.startswith(directory)
