"""Open documents: every path is resolved beneath a root that is opened for that one operation.

Checks are made on the open file, so nothing can change between a check and a read.
"""

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from research_shared.access import beneath
from research_shared.access.names import actual, shown
from research_shared.access.resolved import ResolvedRoot, resolve_roots
from research_shared.access.scope import current_scope
from research_shared.access.stored_names import stored_path, stores
from research_shared.access.unread import kind_of_file, remedy
from research_shared.documents import DocumentInfo, Identity
from research_shared.errors import (
    ConfigurationError,
    DocumentNotFound,
    DocumentUnreadable,
    Overloaded,
    RootUnavailable,
    UnsupportedType,
)
from research_shared.faults import OUT_OF_FILES, ROOT_FAILING, ROOT_UNAVAILABLE, Faults
from research_shared.formats import media_type_of
from research_shared.root import Root

_NO_NAMES = frozenset({b"", b".", b".."})
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_BROKEN = frozenset({errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN})


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """A regular file, open for reading. The caller closes `fd`."""

    info: DocumentInfo
    fd: int


class Opener:
    """Opens roots, directories and documents beneath them, and nothing else. Raises what `RootsPolicy` raises.

    Roots that cannot be opened, file systems that fail and a lack of descriptors are reported to `faults`.
    """

    def __init__(self, roots: Sequence[Root], *, include_hidden: bool, openat2: bool, faults: Faults) -> None:
        self.resolved = resolve_roots(roots)
        self.faults = faults
        self.include_hidden = include_hidden
        self._openat2 = openat2
        for resolved in self.resolved:
            try:
                os.close(self._open_directory(resolved))
            except OSError as error:
                raise ConfigurationError(
                    f"the research folder {resolved.root.directory} cannot be read"
                ) from error

    def open(self, path: str) -> OpenDocument:
        """Open the document with this public path."""
        resolved, parts = self.locate(path)
        media_type = media_type_of(path)
        if not current_scope().admits(path):
            raise _not_found()
        root_fd = self.open_root(resolved)
        try:
            fd, target = self.open_target(resolved, root_fd, parts, beneath.FILE)
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                os.close(fd)
                raise _not_found()
            if media_type is None:
                os.close(fd)
                raise _unsupported(path)
        except OSError as error:
            raise self._explained(error, resolved, root_fd, parts, path) from error
        finally:
            os.close(root_fd)
        self.faults.end(OUT_OF_FILES)
        return OpenDocument(
            DocumentInfo(
                path=path,
                root=resolved.root.name,
                media_type=media_type,
                identity=identity_of(status),
                target=target,
            ),
            fd,
        )

    def stat(self, path: str) -> DocumentInfo:
        """Return the current metadata of the document with this public path."""
        document = self.open(path)
        os.close(document.fd)
        return document.info

    def locate(self, path: str) -> tuple[ResolvedRoot, tuple[bytes, ...]]:
        """Return the root of a public path and the names that lead from there to the document."""
        raw = actual(path)
        if raw is None:
            raise _not_found()
        parts = tuple(raw.split(b"/"))
        resolved: ResolvedRoot | None = self.resolved[0]
        if len(self.resolved) > 1:
            resolved = next((p for p in self.resolved if p.root.name.encode() == parts[0]), None)
            parts = parts[1:]
        if resolved is None or not parts or not _NO_NAMES.isdisjoint(parts):
            raise _not_found()
        if not all(self.admits(resolved, parts[: end + 1]) for end in range(len(parts))):
            raise _not_found()
        return resolved, parts

    def admits(self, resolved: ResolvedRoot, parts: Sequence[bytes]) -> bool:
        """Return whether the last part of a resolved path is neither hidden nor a nested root."""
        return (self.include_hidden or parts[-1][:1] != b".") and tuple(parts) not in resolved.nested

    def open_root(self, resolved: ResolvedRoot) -> int:
        """Open the root for one operation. It must be the directory of the start, and searchable."""
        try:
            fd = self._open_directory(resolved)
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                raise self.overloaded(error) from error
            self.faults.begin(ROOT_UNAVAILABLE, resolved.root.name, error=error.strerror or "not the same")
            raise unavailable(resolved.root) from error
        self.faults.end(ROOT_UNAVAILABLE, resolved.root.name)
        return fd

    def _open_directory(self, resolved: ResolvedRoot) -> int:
        fd = beneath.open_absolute(resolved.real, beneath.DIRECTORY, openat2=self._openat2)
        try:
            os.stat(b".", dir_fd=fd)
            if not self._leads_to(resolved):
                raise FileNotFoundError
        except OSError:
            os.close(fd)
            raise
        return fd

    def _leads_to(self, resolved: ResolvedRoot) -> bool:
        """Return whether the configured path still leads to the directory of the start."""
        configured = os.fsencode(resolved.configured)
        return configured == resolved.real or stored_path(os.path.realpath(configured)) == resolved.real

    def open_beneath(
        self,
        resolved: ResolvedRoot,
        root_fd: int,
        parts: tuple[bytes, ...],
        flags: int,
        *,
        links: bool = True,
        listed: bool = False,
    ) -> int:
        """Open what is at `parts` beneath an open root. Links are followed as far as they stay beneath it."""
        fd, _ = self.open_target(resolved, root_fd, parts, flags, links=links, listed=listed)
        return fd

    def open_target(
        self,
        resolved: ResolvedRoot,
        root_fd: int,
        parts: tuple[bytes, ...],
        flags: int,
        *,
        links: bool = True,
        listed: bool = False,
    ) -> tuple[int, str]:
        """Open what is at `parts` like `open_beneath`; return it with the public path that links on the way lead to, if any.

        Names count only in the spelling that their directory stores. `listed` says that a listing gave them.
        """
        # What cannot be told by its name has to be compared with each directory on the way.
        nested = list(filter(None, map(_status_of, resolved.nested_directories)))
        if self._openat2 and not nested:
            try:
                fd = beneath.open_unlinked(root_fd, parts, flags)
            except OSError as error:
                if error.errno != errno.ELOOP or not links:
                    raise
            else:
                if listed or all(stores(root_fd, parts[at], parts[:at]) for at in range(len(parts))):
                    return fd, ""
                os.close(fd)
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        scope = current_scope()
        reached = ""

        def admits(parts_opened: Sequence[bytes]) -> bool:
            nonlocal reached
            reached = resolved.prefix + shown(b"/".join(parts_opened))
            return self.admits(resolved, parts_opened) and scope.leads_to(reached)

        def passes(directory: int) -> bool:
            status = os.fstat(directory)
            return not any(os.path.samestat(status, other) for other in nested)

        fd = beneath.open_walking(
            root_fd,
            parts,
            flags,
            admits,
            max_links=beneath.MAX_LINKS if links else 0,
            stores=stores,
            passes=passes,
        )
        # A link shows what it leads to, so that has to be within the scope itself.
        if stat.S_ISREG(os.fstat(fd).st_mode) and not scope.admits(reached):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        own = resolved.prefix + shown(b"/".join(parts))
        return fd, "" if reached == own else reached

    def raise_unless_skipped(self, error: OSError, resolved: ResolvedRoot) -> None:
        """Raise temporary failures. A listing skips entries that cannot be read for another reason."""
        if error.errno in OUT_OF_RESOURCES:
            raise self.overloaded(error) from error
        if error.errno in _BROKEN:
            raise self._failing(error, resolved.root) from error

    def is_of_file_alone(self, error: OSError, root_fd: int) -> bool:
        """Return whether the file system fails to give one file, while the root can be looked at."""
        if error.errno not in _BROKEN:
            return False
        try:
            os.stat(b".", dir_fd=root_fd)
        except OSError:
            return False
        return True

    def overloaded(self, error: OSError) -> Overloaded:
        """Return the error of a process that can open nothing more, and report the fault."""
        self.faults.begin(OUT_OF_FILES, error=error.strerror)
        return Overloaded("the server has too many files open")

    def _failing(self, error: OSError, root: Root) -> RootUnavailable:
        self.faults.begin(ROOT_FAILING, root.name, error=error.strerror)
        return unavailable(root)

    def _explained(
        self, error: OSError, resolved: ResolvedRoot, root_fd: int, parts: tuple[bytes, ...], path: str
    ) -> Exception:
        if error.errno in OUT_OF_RESOURCES:
            return self.overloaded(error)
        if self.is_of_file_alone(error, root_fd):
            return DocumentUnreadable(
                f"{path} gives no text: the file system fails to give it", reason="not available"
            )
        if error.errno in _BROKEN:
            return self._failing(error, resolved.root)
        if error.errno in {errno.EACCES, errno.EPERM} and self._is_listed(resolved, root_fd, parts):
            return DocumentUnreadable(
                f"{path} gives no text: the server is not permitted to read it", reason="not permitted"
            )
        return _not_found()

    def _is_listed(self, resolved: ResolvedRoot, root_fd: int, parts: tuple[bytes, ...]) -> bool:
        """Return whether the listing shows a file that cannot be opened."""
        try:
            fd = self.open_beneath(resolved, root_fd, parts[:-1], beneath.PASSAGE)
        except OSError:
            return False
        try:
            return stat.S_ISREG(os.stat(parts[-1], dir_fd=fd, follow_symlinks=False).st_mode)
        except OSError:
            return False
        finally:
            os.close(fd)


def _status_of(directory: bytes) -> os.stat_result | None:
    try:
        return Path(os.fsdecode(directory)).stat()
    except OSError:
        return None


def identity_of(status: os.stat_result) -> Identity:
    """Return the identity of a file from its stat result."""
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _not_found() -> DocumentNotFound:
    return DocumentNotFound("no document has this path")


def _unsupported(path: str) -> UnsupportedType:
    kind = kind_of_file(path)
    return UnsupportedType(
        f"{path} is there, but files {kind if ' ' in kind else f'of type {kind}'} are not read",
        hint=f"{remedy(path)} Other documents can be read.",
    )


def unavailable(root: Root) -> RootUnavailable:
    """Return the error of a root that is gone."""
    return RootUnavailable(f"the research folder {root.name!r} is not available")
