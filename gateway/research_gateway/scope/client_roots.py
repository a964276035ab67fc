"""Intersects the research folders with a client's roots."""

import os
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote_to_bytes, urlsplit

from research_shared.access.names import shown
from research_shared.access.roots import Root, Scope
from research_shared.access.stored_names import stored_path

MAX_CLIENT_ROOTS = 256


def narrowed_by(roots: Sequence[Root], uris: Iterable[str]) -> Scope:
    """Return the intersection of the operator's roots and a client's roots, given as `file://` URIs.

    A client root that equals or contains a research folder gives the whole folder, one inside it gives that part, any
    other gives nothing. Directories are compared as written, and with symlinks resolved in the spelling that is stored.
    """
    prefixes: set[str] = set()
    for uri in list(uris)[:MAX_CLIENT_ROOTS]:
        for path in _directories(uri):
            for root in roots:
                prefixes.update(_prefixes(root, path, led=len(roots) > 1))
    covered = [prefix for prefix in prefixes if not Scope(tuple(prefixes - {prefix})).admits(prefix)]
    return Scope(tuple(sorted(covered)))


def _directories(uri: str) -> Iterator[bytes]:
    """Yield the absolute directories of a local `file://` URI: as written and with symlinks resolved."""
    try:
        parts = urlsplit(uri)
        path = unquote_to_bytes(parts.path)
    except ValueError:  # malformed, or a lone surrogate, which has no bytes
        return
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or parts.query or parts.fragment:
        return
    if not path.startswith(b"/") or b"\0" in path:
        return
    real = os.path.realpath(path)
    # The meaning of `..` depends on symlinks, so such a path is only compared resolved.
    if b".." not in path.split(b"/"):
        yield os.path.normpath(b"/" + path.lstrip(b"/"))
    yield stored_path(real)


def _prefixes(root: Root, path: bytes, *, led: bool) -> Iterator[str]:
    directory = os.fsencode(root.directory)
    for base in {os.path.normpath(directory), stored_path(os.path.realpath(directory))}:
        if base == path or _within(path, base):
            yield root.name if led else ""
        elif _within(base, path):
            inner = shown(path[len(base.rstrip(b"/")) + 1 :])
            yield f"{root.name}/{inner}" if led else inner


def _within(outer: bytes, inner: bytes) -> bool:
    return inner.startswith(outer.rstrip(b"/") + b"/")
