"""The operator's ceiling: the directories beneath which documents are, and the only door to a file."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from research_shared.documents import DocumentInfo, Identity, media_type_of
from research_shared.errors import ConfigurationError, DocumentNotFound, RootUnavailable


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


class RootsPolicy:
    """Opens and lists files beneath its roots, and nothing else."""

    def __init__(self, roots: Sequence[Root], *, include_hidden: bool = False) -> None:
        if not roots:
            raise ConfigurationError("no research folder is configured")
        self.roots = tuple(roots)
        self.include_hidden = include_hidden

    def _split(self, path: str) -> tuple[Root, list[str]]:
        parts = path.split("/")
        if any(part in {"", ".", ".."} or "\0" in part for part in parts):
            raise DocumentNotFound("no document has this path")
        if len(self.roots) == 1:
            return self.roots[0], parts
        for root in self.roots:
            if parts[0] == root.name and len(parts) > 1:
                return root, parts[1:]
        raise DocumentNotFound("no document has this path")

    def open(self, path: str) -> OpenDocument:
        """Open the document of this public path.

        Raises:
            DocumentNotFound: nothing readable is there within the current scope.
            RootUnavailable: its root is gone.
        """
        root, parts = self._split(path)
        media_type = media_type_of(path)
        if media_type is None or not current_scope().admits(path):
            raise DocumentNotFound("no document has this path")
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            fd = os.open(root.directory, flags | os.O_DIRECTORY)
        except OSError as error:
            raise RootUnavailable(f"the research folder {root.name!r} is not available") from error
        try:
            for index, part in enumerate(parts):
                extra = os.O_NOFOLLOW | (os.O_DIRECTORY if index < len(parts) - 1 else 0)
                child = os.open(part, flags | extra, dir_fd=fd)
                os.close(fd)
                fd = child
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError  # noqa: TRY301
        except (OSError, ValueError) as error:
            os.close(fd)
            raise DocumentNotFound("no document has this path") from error
        return OpenDocument(DocumentInfo(path, root.name, media_type, identity_of(status)), fd)

    def walk(self) -> Iterator[DocumentInfo]:
        """All documents within the current scope, in no particular order."""
        for root in self.roots:
            prefix = "" if len(self.roots) == 1 else root.name + "/"
            for base, dirs, files in os.walk(root.directory):
                if not self.include_hidden:
                    dirs[:] = [d for d in dirs if not d.startswith(".")]
                for name in files:
                    full = Path(base, name)
                    path = prefix + full.relative_to(root.directory).as_posix()
                    media_type = media_type_of(path)
                    hidden = name.startswith(".") and not self.include_hidden
                    if media_type is None or hidden or not current_scope().admits(path) or full.is_symlink():
                        continue
                    yield DocumentInfo(path, root.name, media_type, identity_of(full.stat()))


def identity_of(status: os.stat_result) -> Identity:
    """The identity that a stat result stands for."""
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
