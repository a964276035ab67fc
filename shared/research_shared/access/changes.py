"""Find which of many documents have changed since they were listed."""

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from research_shared.access import beneath
from research_shared.access.names import actual
from research_shared.access.opener import Opener
from research_shared.access.resolved import ResolvedRoot
from research_shared.access.scope import current_scope
from research_shared.access.stored_names import stores
from research_shared.documents import DocumentInfo
from research_shared.errors import DocumentNotFound, DocumentUnreadable
from research_shared.formats import media_type_of


class Changes:
    """Compares documents with the current files beneath the roots, without opening each of them."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def changed(self, documents: Iterable[DocumentInfo]) -> set[str]:
        """See `RootsPolicy.changed`."""
        folders: dict[str, list[DocumentInfo]] = {}
        for info in documents:
            folders.setdefault(info.path.rpartition("/")[0], []).append(info)
        changed: set[str] = set()
        with ExitStack() as opened:
            roots: dict[str, int] = {}
            for inside in folders.values():
                try:
                    resolved, (*parts, _) = self._opener.locate(inside[0].path)
                except DocumentNotFound:
                    changed.update(info.path for info in inside)
                    continue
                if resolved.root.name not in roots:
                    roots[resolved.root.name] = self._opener.open_root(resolved)
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
            fd = self._opener.open_beneath(resolved, root_fd, parts, beneath.PASSAGE, links=False)
        except OSError:
            return self._changed_alone(inside)
        admits = current_scope().admits
        base = inside[0].path.rfind("/") + 1
        changed: list[str] = []
        linked: list[DocumentInfo] = []
        try:
            for info in inside:
                path = info.path
                name = actual(path[base:])
                hidden = name is not None and name.startswith(b".") and not self._opener.include_hidden
                if not name or hidden or media_type_of(path) is None or not admits(path):
                    changed.append(path)
                    continue
                try:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except OSError as error:
                    if not self._opener.is_of_file_alone(error, root_fd):
                        self._opener.raise_unless_skipped(error, resolved)
                    changed.append(path)
                    continue
                if stat.S_ISLNK(status.st_mode):
                    linked.append(info)
                elif not (stat.S_ISREG(status.st_mode) and info.identity.is_of(status) and stores(fd, name)):
                    changed.append(path)
        finally:
            os.close(fd)
        return changed + self._changed_alone(linked)

    def _changed_alone(self, documents: Iterable[DocumentInfo]) -> list[str]:
        """Return the changed documents behind links, checked one by one."""
        changed = []
        for info in documents:
            try:
                same = self._opener.stat(info.path).identity.same_file(info.identity)
            except (DocumentNotFound, DocumentUnreadable):
                same = False
            if not same:
                changed.append(info.path)
        return changed
