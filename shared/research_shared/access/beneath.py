"""Open files beneath a directory without races: nothing can be swapped for a link that leads out of it.

`open_unlinked` lets the kernel resolve a path beneath a directory and refuse every link on it (`openat2`, Linux 5.6 and
later). `open_walking` opens a path one component at a time, never lets the kernel follow a link, and follows relative
links itself as long as they stay beneath the directory. Systems without `openat2` use `open_walking` alone.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

Admits = Callable[[Sequence[bytes]], bool]
"""Whether a path beneath the root, with every link resolved, may be opened or passed through."""
Stores = Callable[[int, bytes], bool]
"""Whether an open directory stores a name that it finds in this spelling."""
Passes = Callable[[int], bool]
"""Whether an open directory may be passed through."""

FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Flags that open for reading without blocking, so that a FIFO or a device cannot stall the server."""
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC
PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC

MAX_LINKS = 40
"""Maximum number of links on one path, as in the Linux kernel (`MAXSYMLINKS`)."""
MAX_STEPS = 4_096
"""Maximum number of components of a path after its links are resolved. Bounds the work for crafted links."""

_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_ATTEMPTS = 16


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _syscall() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    function.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
    return function


_HOW_BYTES = ctypes.sizeof(_OpenHow)


@cache
def _how(flags: int, resolve: int) -> Any:
    """Return a pointer to the arguments of `openat2`, cached because the kernel only reads them."""
    return ctypes.byref(_OpenHow(flags, 0, resolve))


def _openat2(directory: int, path: bytes, flags: int, resolve: int) -> int:
    how = _how(flags, resolve)
    for _ in range(_ATTEMPTS):
        fd = _syscall()(_SYS_OPENAT2, directory, path, how, _HOW_BYTES)
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        # EAGAIN: a directory above was renamed meanwhile; the kernel wants the call repeated.
        if number not in {errno.EAGAIN, errno.EINTR}:
            break
    raise OSError(number, os.strerror(number))


@cache
def has_openat2() -> bool:
    """Return whether this kernel has `openat2` and permits it. Some container profiles do not."""
    if sys.platform != "linux":
        return False
    try:
        os.close(_openat2(-100, b".", PASSAGE, _RESOLVE_BENEATH))  # -100 is AT_FDCWD
    except OSError:
        return False
    return True


def open_unlinked(root_fd: int, parts: Sequence[bytes], flags: int) -> int:
    """Open a path beneath `root_fd` that has no link on it, in one system call. `parts` are its components.

    Raises:
        OSError: `ELOOP` if there is a link, otherwise the kernel's error.
    """
    return _openat2(
        root_fd,
        b"/".join(parts) or b".",
        flags | os.O_CLOEXEC,
        _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS,
    )


def open_walking(
    root_fd: int,
    parts: Sequence[bytes],
    flags: int,
    admits: Admits,
    *,
    max_links: int = MAX_LINKS,
    stores: Stores = lambda _directory, _name: True,
    passes: Passes = lambda _directory: True,
) -> int:
    """Open a path beneath `root_fd` one component at a time, following relative links that stay beneath it.

    `admits` is called for each step of the resolved path, so that a link cannot lead to a path that may not be named;
    `stores` for each name that was found, in its open directory; `passes` for each directory that was opened.

    Raises:
        OSError: `EXDEV` for a link that leaves the root or is absolute, `ELOOP` for too many links, `ENOENT` for a path
            that is not admitted, otherwise the kernel's error.
    """
    held = [os.dup(root_fd)]
    names: list[bytes] = []
    todo = list(reversed(parts))
    links = 0
    try:
        while todo:
            part = todo.pop()
            if part in {b"", b"."}:
                continue
            if part == b"..":
                if not names:
                    raise _failure(errno.EXDEV)
                os.close(held.pop())
                names.pop()
                continue
            if not admits((*names, part)):
                raise _failure(errno.ENOENT)
            child = _open_component(held[-1], part, flags if not todo else PASSAGE, stores)
            if isinstance(child, bytes):
                links += 1
                if links > max_links or len(todo) > MAX_STEPS:
                    raise _failure(errno.ELOOP)
                if child.startswith(b"/"):
                    raise _failure(errno.EXDEV)
                todo.extend(reversed(child.split(b"/")))
                continue
            held.append(child)
            names.append(part)
            if not passes(child):
                raise _failure(errno.ENOENT)
            if not todo:
                return held.pop()
        return os.open(b".", flags | os.O_CLOEXEC, dir_fd=held[-1])
    finally:
        for fd in held:
            os.close(fd)


def _open_component(directory: int, name: bytes, flags: int, stores: Stores) -> int | bytes:
    """Return a descriptor of the entry, or the target if the entry is a link. It must be stored in this spelling."""
    found: int | bytes
    try:
        found = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError as refused:
        # For a link, Linux reports ELOOP, or ENOTDIR with O_DIRECTORY; BSD reports EMLINK or ENOTDIR.
        if refused.errno not in {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}:
            raise
        try:
            found = os.readlink(name, dir_fd=directory)
        except OSError:
            raise refused from None
    try:
        if not stores(directory, name):
            raise _failure(errno.ENOENT)
    except OSError:
        if isinstance(found, int):
            os.close(found)
        raise
    return found


def open_absolute(directory: bytes, flags: int, *, openat2: bool) -> int:
    """Open an absolute path that has no link on it.

    Raises:
        OSError: `ELOOP` or `ENOTDIR` if there is a link, otherwise the kernel's error.
    """
    if openat2:
        return _openat2(-100, directory, flags | os.O_CLOEXEC, _RESOLVE_NO_SYMLINKS)
    root = os.open(b"/", PASSAGE)
    try:
        return open_walking(root, directory.split(b"/"), flags, lambda _parts: True, max_links=0)
    finally:
        os.close(root)


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))
