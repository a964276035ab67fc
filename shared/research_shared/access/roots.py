"""The research folders of the operator, and the only way to open a file in them.

Every path is resolved beneath a root that was opened for that one operation, and what is read is what was opened:
nothing is checked first and opened later. Links, hidden names and special files: see `docs/file-access.md`.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from research_shared.access import beneath
from research_shared.access.names import MAX_PATH_BYTES, actual, shown
from research_shared.access.resolved import ResolvedRoot, resolve_roots
from research_shared.access.scope import EVERYTHING, Scope, current_scope, narrowed_scope
from research_shared.documents import DocumentInfo, Identity
from research_shared.errors import (
    ConfigurationError,
    DocumentNotFound,
    DocumentUnreadable,
    Overloaded,
    RootUnavailable,
)
from research_shared.formats import media_type_of
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

_NO_NAMES = frozenset({b"", b".", b".."})
_BUSY = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_BROKEN = frozenset({errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN})


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """A regular file, open for reading. The caller closes `fd`."""

    info: DocumentInfo
    fd: int


class RootsPolicy:
    """Opens and lists files beneath its roots, and no others.

    `openat2=False` keeps to the portable way of opening even where the kernel has the better one.

    Raises:
        ConfigurationError: a root is missing, not a readable directory, a system directory, or given twice.
    """

    def __init__(
        self, roots: Sequence[Root], *, include_hidden: bool = False, openat2: bool | None = None
    ) -> None:
        self._resolved = resolve_roots(roots)
        self.roots = tuple(roots)
        self.include_hidden = include_hidden
        self._openat2 = beneath.has_openat2() if openat2 is None else openat2
        for resolved in self._resolved:
            try:
                os.close(self._open_root(resolved))
            except RootUnavailable as error:
                raise ConfigurationError(
                    f"the research folder {resolved.root.directory} cannot be read"
                ) from error

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return the policy of the operator's settings."""
        return cls(settings.roots, include_hidden=settings.include_hidden)

    def available(self, root: Root) -> bool:
        """Return whether a root can be read at the moment."""
        try:
            os.close(self._open_root(next(resolved for resolved in self._resolved if resolved.root == root)))
        except RootUnavailable:
            return False
        return True

    def open(self, path: str) -> OpenDocument:
        """Open the document with this public path.

        Raises:
            DocumentNotFound: nothing readable is there within the current scope.
            DocumentUnreadable: it is there, but the server may not read it.
            RootUnavailable: its root is gone, or is not the directory it was at start.
            Overloaded: the process cannot open more files now.
        """
        resolved, parts = self._locate(path)
        media_type = media_type_of(path)
        if media_type is None or not current_scope().admits(path):
            raise _not_found()
        root_fd = self._open_root(resolved)
        try:
            fd = self._open_beneath(resolved, root_fd, parts, beneath.FILE)
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                os.close(fd)
                raise _not_found()
        except OSError as error:
            raise self._explained(error, resolved, root_fd, parts, path) from error
        finally:
            os.close(root_fd)
        return OpenDocument(DocumentInfo(path, resolved.root.name, media_type, identity_of(status)), fd)

    def stat(self, path: str) -> DocumentInfo:
        """Return the current metadata of the document with this public path. Raises what `open` raises."""
        document = self.open(path)
        os.close(document.fd)
        return document.info

    def changed(self, documents: Iterable[DocumentInfo]) -> set[str]:
        """Return the public paths of the documents that have changed, or are missing within the current scope.

        For many at once: a root and a directory are opened one time each, and a document not at all, so that whether
        it may be read is not asked. Another device is no change.

        Raises:
            RootUnavailable: a root is gone, or is not the directory it was at start.
            Overloaded: the process cannot open more files now.
        """
        folders: dict[str, list[DocumentInfo]] = {}
        for info in documents:
            folders.setdefault(info.path.rpartition("/")[0], []).append(info)
        changed: set[str] = set()
        with ExitStack() as opened:
            roots: dict[str, int] = {}
            for inside in folders.values():
                try:
                    resolved, (*parts, _) = self._locate(inside[0].path)
                except DocumentNotFound:
                    changed.update(info.path for info in inside)
                    continue
                if resolved.root.name not in roots:
                    roots[resolved.root.name] = self._open_root(resolved)
                    opened.callback(os.close, roots[resolved.root.name])
                changed.update(self._changed_in(resolved, roots[resolved.root.name], tuple(parts), inside))
        return changed

    def _changed_in(
        self,
        resolved: ResolvedRoot,
        root_fd: int,
        parts: tuple[bytes, ...],
        inside: Sequence[DocumentInfo],
    ) -> list[str]:
        """Return the changed documents of one directory."""
        try:
            fd = self._open_beneath(resolved, root_fd, parts, beneath.PASSAGE, links=False)
        except OSError as error:
            self._raise_unless_passed_over(error, resolved)
            return self._changed_alone(inside)
        admits = current_scope().admits
        base = inside[0].path.rfind("/") + 1
        changed: list[str] = []
        linked: list[DocumentInfo] = []
        try:
            for info in inside:
                path = info.path
                name = actual(path[base:])
                hidden = name is not None and name.startswith(b".") and not self.include_hidden
                if not name or hidden or media_type_of(path) is None or not admits(path):
                    changed.append(path)
                    continue
                try:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except OSError as error:
                    self._raise_unless_passed_over(error, resolved)
                    changed.append(path)
                    continue
                if stat.S_ISLNK(status.st_mode):
                    linked.append(info)
                elif not (stat.S_ISREG(status.st_mode) and info.identity.is_of(status)):
                    changed.append(path)
        finally:
            os.close(fd)
        return changed + self._changed_alone(linked)

    def _changed_alone(self, documents: Iterable[DocumentInfo]) -> list[str]:
        """Return the changed documents behind links, checked one by one."""
        changed = []
        for info in documents:
            try:
                same = self.stat(info.path).identity.same_file(info.identity)
            except (DocumentNotFound, DocumentUnreadable):
                same = False
            if not same:
                changed.append(info.path)
        return changed

    def walk(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[DocumentInfo]:
        """Yield all documents within the current scope, in no particular order.

        Directories that cannot be read are passed over. `stopped` is asked before each directory; once it says yes,
        the listing ends early.

        Raises:
            RootUnavailable: a root is gone, or is not the directory it was at start.
        """
        scope = current_scope()
        for resolved in self._resolved:
            if not resolved.prefix or scope.leads_to(resolved.root.name):
                yield from self._walk_root(resolved, scope, stopped)

    def _walk_root(
        self, resolved: ResolvedRoot, scope: Scope, stopped: Callable[[], bool]
    ) -> Iterator[DocumentInfo]:
        root_fd = self._open_root(resolved)
        try:
            todo: list[tuple[bytes, ...]] = [()]
            while todo and not stopped():
                parts = todo.pop()
                base = resolved.prefix + "".join(shown(part) + "/" for part in parts)
                with self._scanned(resolved, root_fd, parts) as entries:
                    for entry, name in entries:
                        public = base + shown(name)
                        if entry.is_dir(follow_symlinks=False):
                            if scope.leads_to(public):
                                todo.append((*parts, name))
                        elif (media_type := media_type_of(public)) is not None and scope.admits(public):
                            status = self._status(resolved, root_fd, (*parts, name), entry)
                            if status is not None:
                                yield DocumentInfo(
                                    public, resolved.root.name, media_type, identity_of(status)
                                )
        finally:
            os.close(root_fd)

    def documents_after(
        self, path: str, limit: int, stopped: Callable[[], bool] = lambda: False
    ) -> list[DocumentInfo]:
        """Return the first `limit` documents after a path within the current scope, sorted by path.

        Directories are opened in that order, only those that can hold such a document and only until there are enough
        of them: a part of a large folder costs much less than all of it. Otherwise as `walk`.

        Raises:
            RootUnavailable: a root is gone, or is not the directory it was at start.
        """
        scope = current_scope()
        found: list[DocumentInfo] = []
        for resolved in sorted(self._resolved, key=lambda resolved: resolved.prefix):
            if len(found) >= limit or not _holds_later(resolved.prefix, path):
                continue
            if resolved.prefix and not scope.leads_to(resolved.root.name):
                continue
            root_fd = self._open_root(resolved)
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
                status = self._status(resolved, root_fd, (*parts, name), entry)
                media_type = media_type_of(public)
                if status is None or media_type is None:
                    continue
                inside.append(DocumentInfo(public, resolved.root.name, media_type, identity_of(status)))
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
            fd = self._open_beneath(resolved, root_fd, parts, beneath.DIRECTORY, links=False)
        except OSError as error:
            self._raise_unless_passed_over(error, resolved)
            if not parts:
                raise _unavailable(resolved.root) from None
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
            if len(name) <= room and self._admits(resolved, (*parts, name)):
                yield entry, name

    def _status(
        self, resolved: ResolvedRoot, root_fd: int, parts: tuple[bytes, ...], entry: "os.DirEntry[str]"
    ) -> os.stat_result | None:
        """Return the status of a regular file, links followed, or None for anything else."""
        try:
            if entry.is_symlink():
                fd = self._open_beneath(resolved, root_fd, parts, beneath.FILE)
                try:
                    status = os.fstat(fd)
                finally:
                    os.close(fd)
            else:
                status = entry.stat(follow_symlinks=False)
        except OSError as error:
            self._raise_unless_passed_over(error, resolved)
            return None
        # What a linked directory holds is listed where it is, so that nothing appears twice and nothing loops.
        return status if stat.S_ISREG(status.st_mode) else None

    def _raise_unless_passed_over(self, error: OSError, resolved: ResolvedRoot) -> None:
        """Raise temporary failures. A listing skips entries that cannot be read for another reason."""
        if error.errno in _BUSY:
            raise _overloaded() from error
        if error.errno in _BROKEN:
            raise _unavailable(resolved.root) from error

    def _locate(self, path: str) -> tuple[ResolvedRoot, tuple[bytes, ...]]:
        raw = actual(path)
        if raw is None:
            raise _not_found()
        parts = tuple(raw.split(b"/"))
        resolved: ResolvedRoot | None = self._resolved[0]
        if len(self._resolved) > 1:
            resolved = next((p for p in self._resolved if p.root.name.encode() == parts[0]), None)
            parts = parts[1:]
        if resolved is None or not parts or not _NO_NAMES.isdisjoint(parts):
            raise _not_found()
        if not all(self._admits(resolved, parts[: end + 1]) for end in range(len(parts))):
            raise _not_found()
        return resolved, parts

    def _admits(self, resolved: ResolvedRoot, parts: Sequence[bytes]) -> bool:
        """Return whether the last part of a resolved path is neither hidden nor a nested root."""
        return (self.include_hidden or parts[-1][:1] != b".") and (
            not resolved.nested or tuple(parts) not in resolved.nested
        )

    def _open_root(self, resolved: ResolvedRoot) -> int:
        """Open the root for one operation. It must be the directory of the start, and searchable."""
        fd = -1
        try:
            fd = beneath.open_absolute(resolved.real, beneath.DIRECTORY, openat2=self._openat2)
            status = os.stat(b".", dir_fd=fd)
            repointable = os.fsencode(resolved.configured) != resolved.real
            if repointable and not os.path.samestat(status, resolved.configured.stat()):
                raise FileNotFoundError
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            if error.errno in _BUSY:
                raise _overloaded() from error
            raise _unavailable(resolved.root) from error
        return fd

    def _open_beneath(
        self,
        resolved: ResolvedRoot,
        root_fd: int,
        parts: tuple[bytes, ...],
        flags: int,
        *,
        links: bool = True,
    ) -> int:
        if self._openat2:
            try:
                return beneath.open_unlinked(root_fd, parts, flags)
            except OSError as error:
                if error.errno != errno.ELOOP or not links:
                    raise
        scope = current_scope()

        def admits(parts_opened: Sequence[bytes]) -> bool:
            public = resolved.prefix + shown(b"/".join(parts_opened))
            return self._admits(resolved, parts_opened) and scope.leads_to(public)

        return beneath.open_walking(
            root_fd, parts, flags, admits, max_links=beneath.MAX_LINKS if links else 0
        )

    def _explained(
        self, error: OSError, resolved: ResolvedRoot, root_fd: int, parts: tuple[bytes, ...], path: str
    ) -> Exception:
        if error.errno in _BUSY:
            return _overloaded()
        if error.errno in _BROKEN:
            return _unavailable(resolved.root)
        if error.errno in {errno.EACCES, errno.EPERM} and self._is_listed(resolved, root_fd, parts):
            return DocumentUnreadable(
                f"{path} gives no text: the server is not permitted to read it", reason="not permitted"
            )
        return _not_found()

    def _is_listed(self, resolved: ResolvedRoot, root_fd: int, parts: tuple[bytes, ...]) -> bool:
        """Return whether the listing shows a file that cannot be opened."""
        try:
            fd = self._open_beneath(resolved, root_fd, parts[:-1], beneath.PASSAGE)
        except OSError:
            return False
        try:
            return stat.S_ISREG(os.stat(parts[-1], dir_fd=fd, follow_symlinks=False).st_mode)
        except OSError:
            return False
        finally:
            os.close(fd)


def _holds_later(directory: str, path: str) -> bool:
    """Return whether `directory` (with its final slash) can hold a path after another one."""
    return directory > path or path.startswith(directory)


def identity_of(status: os.stat_result) -> Identity:
    """Return the identity of a file from its stat result."""
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _not_found() -> DocumentNotFound:
    return DocumentNotFound("no document has this path")


def _unavailable(root: Root) -> RootUnavailable:
    return RootUnavailable(f"the research folder {root.name!r} is not available")


def _overloaded() -> Overloaded:
    return Overloaded("the server has too many files open")
