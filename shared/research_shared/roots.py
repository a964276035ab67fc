"""The operator's ceiling: the directories beneath which documents are, and the only door to a file.

Every path is resolved beneath a root that was opened for that one operation, and what is read is what was opened:
nothing is checked first and opened later. Links, hidden names and special files: see `docs/file-access.md`.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from research_shared import beneath
from research_shared.documents import DocumentInfo, Identity, media_type_of
from research_shared.errors import (
    ConfigurationError,
    DocumentNotFound,
    DocumentUnreadable,
    Overloaded,
    RootUnavailable,
)
from research_shared.names import MAX_PATH_BYTES, actual, shown

if TYPE_CHECKING:
    from research_shared.settings import Settings

_SYSTEM_DIRECTORIES = ("/", "/proc", "/sys", "/dev")
_BUSY = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_BROKEN = frozenset({errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN})


@dataclass(frozen=True, slots=True)
class Root:
    """A named directory. The name is public, the directory is not."""

    name: str
    directory: Path


@dataclass(frozen=True, slots=True)
class Scope:
    """Which part of the ceiling a request may see: directory prefixes, as public paths without a final slash.

    An empty prefix stands for everything; no prefix at all stands for nothing. Scopes only ever narrow.
    """

    prefixes: tuple[str, ...] = ("",)

    def admits(self, path: str) -> bool:
        """Whether a document path lies within the scope."""
        return any(prefix in {"", path} or path.startswith(prefix + "/") for prefix in self.prefixes)

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


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """A regular file, open for reading; whoever holds it closes `fd`."""

    info: DocumentInfo
    fd: int


@dataclass(frozen=True, slots=True)
class _Place:
    """A root as it was found at start: where it really is, and which directories in it are roots of their own."""

    root: Root
    configured: Path
    real: bytes
    prefix: str
    nested: tuple[tuple[bytes, ...], ...]


class RootsPolicy:
    """Opens and lists files beneath its roots, and nothing else.

    `openat2=False` keeps to the portable way of opening even where the kernel has the better one.

    Raises:
        ConfigurationError: a root is missing, not a readable directory, a system directory, or given twice.
    """

    def __init__(
        self, roots: Sequence[Root], *, include_hidden: bool = False, openat2: bool | None = None
    ) -> None:
        if not roots:
            raise ConfigurationError("no research folder is configured")
        self.roots = tuple(roots)
        self.include_hidden = include_hidden
        self._openat2 = beneath.has_openat2() if openat2 is None else openat2
        reals = [_real_directory(root) for root in self.roots]
        names = [root.name for root in self.roots]
        if len(set(reals)) < len(reals) or len(set(names)) < len(names):
            raise ConfigurationError("two research folders have the same name or are the same directory")
        self._places = tuple(
            _Place(
                root=root,
                configured=Path(os.path.abspath(root.directory)),  # noqa: PTH100  (resolve() follows links)
                real=real,
                prefix="" if len(self.roots) == 1 else root.name + "/",
                nested=tuple(
                    tuple(other[len(real) + 1 :].split(b"/"))
                    for other in reals
                    if other.startswith(real + b"/")
                ),
            )
            for root, real in zip(self.roots, reals, strict=True)
        )
        for place in self._places:
            try:
                os.close(self._open_root(place))
            except RootUnavailable as error:
                raise ConfigurationError(
                    f"the research folder {place.root.directory} cannot be read"
                ) from error

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """The ceiling that an operator has set."""
        return cls(settings.roots, include_hidden=settings.include_hidden)

    def available(self, root: Root) -> bool:
        """Whether a root is there and can be read at the moment."""
        try:
            os.close(self._open_root(next(place for place in self._places if place.root == root)))
        except RootUnavailable:
            return False
        return True

    def open(self, path: str) -> OpenDocument:
        """Open the document of this public path.

        Raises:
            DocumentNotFound: nothing readable is there within the current scope.
            DocumentUnreadable: it is there, but the server may not read it.
            RootUnavailable: its root is gone, or is not the directory it was at start.
            Overloaded: the process cannot open more files now.
        """
        place, parts = self._locate(path)
        media_type = media_type_of(path)
        if media_type is None or not current_scope().admits(path):
            raise _not_found()
        root_fd = self._open_root(place)
        try:
            fd = self._open_beneath(place, root_fd, parts, beneath.FILE)
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                os.close(fd)
                raise _not_found()
        except OSError as error:
            raise self._explained(error, place, root_fd, parts, path) from error
        finally:
            os.close(root_fd)
        return OpenDocument(DocumentInfo(path, place.root.name, media_type, identity_of(status)), fd)

    def stat(self, path: str) -> DocumentInfo:
        """What the document of this public path is now; raises what `open` raises."""
        document = self.open(path)
        os.close(document.fd)
        return document.info

    def walk(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[DocumentInfo]:
        """All documents within the current scope, in no particular order.

        Directories that cannot be read are passed over. `stopped` is asked before each directory; once it says yes,
        the listing ends early.

        Raises:
            RootUnavailable: a root is gone, or is not the directory it was at start.
        """
        scope = current_scope()
        for place in self._places:
            if not place.prefix or scope.leads_to(place.root.name):
                yield from self._walk_root(place, scope, stopped)

    def _walk_root(self, place: _Place, scope: Scope, stopped: Callable[[], bool]) -> Iterator[DocumentInfo]:
        root_fd = self._open_root(place)
        try:
            todo: list[tuple[bytes, ...]] = [()]
            while todo and not stopped():
                parts = todo.pop()
                for name, status in self._scan(place, root_fd, parts):
                    inner = (*parts, name)
                    public = place.prefix + shown(b"/".join(inner))
                    if stat.S_ISDIR(status.st_mode):
                        if scope.leads_to(public):
                            todo.append(inner)
                    elif (media_type := media_type_of(public)) is not None and scope.admits(public):
                        yield DocumentInfo(public, place.root.name, media_type, identity_of(status))
        finally:
            os.close(root_fd)

    def _scan(
        self, place: _Place, root_fd: int, parts: tuple[bytes, ...]
    ) -> Iterator[tuple[bytes, os.stat_result]]:
        """The directories and regular files of a directory; a link stands for the file that it leads to."""
        try:
            fd = self._open_beneath(place, root_fd, parts, beneath.DIRECTORY, links=False)
        except OSError:
            if not parts:
                raise _unavailable(place.root) from None
            return
        room = MAX_PATH_BYTES - sum(map(len, parts)) - len(parts)
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    if len(name) > room or not self._admits(place, (*parts, name)):
                        continue
                    status = self._status(place, root_fd, (*parts, name), entry)
                    if status is not None and stat.S_IFMT(status.st_mode) in {stat.S_IFDIR, stat.S_IFREG}:
                        yield name, status
        finally:
            os.close(fd)

    def _status(
        self, place: _Place, root_fd: int, parts: tuple[bytes, ...], entry: "os.DirEntry[str]"
    ) -> os.stat_result | None:
        try:
            if not entry.is_symlink():
                return entry.stat(follow_symlinks=False)
            if media_type_of(entry.name) is None:
                return None
            fd = self._open_beneath(place, root_fd, parts, beneath.FILE)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
        # What a linked directory holds is listed where it is, so that nothing appears twice and nothing loops.
        return status if stat.S_ISREG(status.st_mode) else None

    def _locate(self, path: str) -> tuple[_Place, tuple[bytes, ...]]:
        raw = actual(path)
        if raw is None:
            raise _not_found()
        parts = tuple(raw.split(b"/"))
        place: _Place | None = self._places[0]
        if len(self._places) > 1:
            place = next((p for p in self._places if p.root.name.encode() == parts[0]), None)
            parts = parts[1:]
        if place is None or not parts or any(part in {b"", b".", b".."} for part in parts):
            raise _not_found()
        if not all(self._admits(place, parts[: end + 1]) for end in range(len(parts))):
            raise _not_found()
        return place, parts

    def _admits(self, place: _Place, parts: Sequence[bytes]) -> bool:
        """Whether the last step of a resolved path is neither hidden nor a root of its own."""
        return (self.include_hidden or not parts[-1].startswith(b".")) and tuple(parts) not in place.nested

    def _open_root(self, place: _Place) -> int:
        """The root, for one operation. It must still be where it was at start, and be searchable."""
        fd = -1
        try:
            fd = beneath.open_absolute(place.real, beneath.DIRECTORY, openat2=self._openat2)
            status = os.stat(b".", dir_fd=fd)
            repointable = os.fsencode(place.configured) != place.real
            if repointable and not os.path.samestat(status, place.configured.stat()):
                raise FileNotFoundError
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            if error.errno in _BUSY:
                raise _overloaded() from error
            raise _unavailable(place.root) from error
        return fd

    def _open_beneath(
        self, place: _Place, root_fd: int, parts: tuple[bytes, ...], flags: int, *, links: bool = True
    ) -> int:
        if self._openat2:
            try:
                return beneath.open_unlinked(root_fd, parts, flags)
            except OSError as error:
                if error.errno != errno.ELOOP or not links:
                    raise
        scope = current_scope()

        def admits(resolved: Sequence[bytes]) -> bool:
            public = place.prefix + shown(b"/".join(resolved))
            return self._admits(place, resolved) and scope.leads_to(public)

        return beneath.open_walking(
            root_fd, parts, flags, admits, max_links=beneath.MAX_LINKS if links else 0
        )

    def _explained(
        self, error: OSError, place: _Place, root_fd: int, parts: tuple[bytes, ...], path: str
    ) -> Exception:
        if error.errno in _BUSY:
            return _overloaded()
        if error.errno in _BROKEN:
            return _unavailable(place.root)
        if error.errno in {errno.EACCES, errno.EPERM} and self._is_listed(place, root_fd, parts):
            return DocumentUnreadable(
                f"{path} gives no text: the server is not permitted to read it", reason="not permitted"
            )
        return _not_found()

    def _is_listed(self, place: _Place, root_fd: int, parts: tuple[bytes, ...]) -> bool:
        """Whether a file that cannot be opened is one that the listing shows anyway."""
        try:
            fd = self._open_beneath(place, root_fd, parts[:-1], beneath.PASSAGE)
        except OSError:
            return False
        try:
            return stat.S_ISREG(os.stat(parts[-1], dir_fd=fd, follow_symlinks=False).st_mode)
        except OSError:
            return False
        finally:
            os.close(fd)


def identity_of(status: os.stat_result) -> Identity:
    """The identity that a stat result stands for."""
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _real_directory(root: Root) -> bytes:
    if not root.name or "/" in root.name or actual(root.name) != root.name.encode("utf-8", "replace"):
        raise ConfigurationError(f"{root.name!r} cannot be the name of a research folder")
    try:
        real = os.path.realpath(os.fsencode(root.directory), strict=True)
        status = Path(os.fsdecode(real)).stat()
    except OSError as error:
        raise ConfigurationError(
            f"the research folder {root.directory} cannot be opened: {error.strerror}",
            hint="Create the directory, or set RESEARCH_ROOTS to the one that holds the documents.",
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigurationError(f"the research folder {root.directory} is not a directory")
    text = os.fsdecode(real)
    if any(_same_place(status, system) for system in _SYSTEM_DIRECTORIES) or text.startswith(
        ("/proc/", "/sys/", "/dev/fd")
    ):
        raise ConfigurationError(f"{root.directory} is a directory of the system, not a research folder")
    return real


def _same_place(status: os.stat_result, system: str) -> bool:
    try:
        return os.path.samestat(status, Path(system).stat())
    except OSError:
        return False


def _not_found() -> DocumentNotFound:
    return DocumentNotFound("no document has this path")


def _unavailable(root: Root) -> RootUnavailable:
    return RootUnavailable(f"the research folder {root.name!r} is not available")


def _overloaded() -> Overloaded:
    return Overloaded("the server has too many files open")
