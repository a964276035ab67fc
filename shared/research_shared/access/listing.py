"""Lists the documents beneath the roots: all of them, or those after a path."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from research_shared.access import beneath
from research_shared.access.names import MAX_PATH_BYTES, shown
from research_shared.access.opener import Opener, identity_of, unavailable
from research_shared.access.resolved import ResolvedRoot
from research_shared.access.scope import EVERYTHING, Scope, current_scope
from research_shared.documents import DocumentInfo, Identity
from research_shared.faults import OUT_OF_FILES, ROOT_EMPTIED, ROOT_EMPTY, ROOT_FAILING
from research_shared.formats import media_type_of


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
            while todo and not stopped():
                parts = todo.pop()
                base = resolved.prefix + "".join(shown(part) + "/" for part in parts)
                with self._scanned(resolved, root_fd, parts) as entries:
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
            if not todo:
                self._note_content(
                    resolved.root.name, documents, whole=scope == EVERYTHING, empty=not entries_seen
                )
        finally:
            os.close(root_fd)

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
        with self._scanned(resolved, root_fd, parts) as entries:
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
        return inside

    @contextmanager
    def _scanned(
        self, resolved: ResolvedRoot, root_fd: int, parts: tuple[bytes, ...]
    ) -> Iterator[Iterator[tuple["os.DirEntry[str]", bytes]]]:
        """Yield the admissible entries of a directory with their names. They are valid until the block ends."""
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
                yield self._named(resolved, parts, entries)
        finally:
            os.close(fd)

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


def _holds_later(directory: str, path: str) -> bool:
    """Return whether `directory` (with its final slash) can hold a path after another one."""
    return directory > path or path.startswith(directory)
