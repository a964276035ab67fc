"""Whether a directory stores a name in exactly this spelling.

Many file systems look names up without case or in another Unicode form (APFS, NTFS, exFAT, CIFS, ext4 with casefold, folders
that WSL and Docker Desktop share). A name that can be opened there is no identity: `INNER/plan.md` opens `inner/plan.md`.
The spelling that the directory stores is one, so a path counts only if all its names are stored like that.

Listing a directory for each name would be slow. An exact file system is recognised without it: the same name in the other
case, and in the other Unicode form, is not there.
"""

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from itertools import chain

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_UPPER_CASE, _LOWER_CASE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz"
_SWAPPED = bytes.maketrans(_UPPER_CASE + _LOWER_CASE, _LOWER_CASE + _UPPER_CASE)
_INVISIBLE = "\N{ZERO WIDTH JOINER}".encode()
_ASCII_SINGLETONS = {"K": "\u212a", ";": "\u037e", "`": "\u1fef"}
_WITH_SINGLETONS = (range(0x0340, 0x3000), range(0xF900, 0xFB50), range(0x2F800, 0x2FA20))
"""Where characters are that are another single character in the canonical Unicode forms (the kelvin sign is the letter K)."""


def is_stored(name: bytes, *, found: Callable[[bytes], bool], stored: Callable[[], Iterable[bytes]]) -> bool:
    """Return whether a directory that finds `name` stores it in this spelling.

    `stored` lists the names of the directory; it is called only if another spelling is found too, or if none is known.

    >>> directory = {b"Plan.md": 1}
    >>> is_stored(b"Plan.md", found=directory.__contains__, stored=lambda: directory)
    True
    >>> is_stored(b"PLAN.MD", found=lambda name: name.lower() == b"plan.md", stored=lambda: directory)
    False
    """
    others = other_spellings(name)
    if others and not any(map(found, others)):
        return True
    return name in stored()


@lru_cache(maxsize=4_096)
def other_spellings(name: bytes) -> tuple[bytes, ...]:
    r"""Return spellings of a name that only a lenient file system finds: in the other case, in the other Unicode form.

    A name without letters has an invisible character more, which some ignore. The list is empty where only a listing can
    tell: Windows makes short names with a tilde, and ignores dots and blanks at the end.

    >>> other_spellings(b"Plan.md"), other_spellings("né".encode()), other_spellings(b"2024"), other_spellings(b"1~1")
    ((b'pLAN.MD',), (b'N\xc3\xa9', b'ne\xcc\x81'), (b'2024\xe2\x80\x8d',), ())
    """
    text = name.decode("utf-8", "surrogateescape")
    # Tables of file systems differ for rare letters. All of them know those of ASCII.
    other_case = name.translate(_SWAPPED)
    if other_case == name:
        other_case = text.swapcase().encode("utf-8", "surrogateescape")
    if other_case == name:
        if b"~" in name or name.endswith((b".", b" ")):
            return ()
        other_case = name + _INVISIBLE
    other_form = _other_form(text)
    return (
        (other_case,) if other_form is None else (other_case, other_form.encode("utf-8", "surrogateescape"))
    )


def _other_form(text: str) -> str | None:
    """Return a text that is canonically equivalent and not the same, or None without one."""
    if not text.isascii():
        for other in (unicodedata.normalize("NFD", text), unicodedata.normalize("NFC", text)):
            if other != text:
                return other
    singletons = _ASCII_SINGLETONS if text.isascii() else _singletons()
    character = next(filter(singletons.__contains__, text), None)
    return None if character is None else text.replace(character, singletons[character])


@cache
def _singletons() -> dict[str, str]:
    """Return one character for each that it becomes in every canonical Unicode form."""
    found: dict[str, str] = {}
    for number in chain(*_WITH_SINGLETONS):
        normal = unicodedata.normalize("NFC", chr(number))
        if normal != chr(number) and len(normal) == 1:
            found[normal] = chr(number)
    return found


def stores(directory: int, name: bytes, parts: Sequence[bytes] = ()) -> bool:
    """Return whether an open directory, or the one at `parts` beneath it, stores a name that it finds in this spelling.

    Raises:
        OSError: only a listing can tell, and the directory cannot be listed.
    """
    base = b"".join(part + b"/" for part in parts)

    def found(other: bytes) -> bool:
        try:
            os.stat(base + other, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # a listing decides
        return True

    def stored() -> set[bytes]:
        fd = os.open(base or b".", _DIRECTORY, dir_fd=directory)
        try:
            return _names_in(fd)
        finally:
            os.close(fd)

    return is_stored(name, found=found, stored=stored)


def stored_path(path: bytes) -> bytes:
    """Return an absolute path in the spelling that its directories store. Directories that cannot be read are believed.

    >>> stored_path(b"/")
    b'/'
    """
    done = b""
    for name in filter(None, path.split(b"/")):
        done += b"/" + _stored_spelling(done + b"/", name)
    return done or b"/"


def _stored_spelling(directory: bytes, name: bytes) -> bytes:
    def stored() -> set[bytes]:
        try:
            return _names_in(directory)
        except OSError:
            return {name}

    if is_stored(name, found=lambda other: os.path.lexists(directory + other), stored=stored):
        return name
    meant = [other for other in stored() if _compared(other) == _compared(name)]
    return meant[0] if len(meant) == 1 else name


def _names_in(directory: int | bytes) -> set[bytes]:
    with os.scandir(directory) as entries:
        return {os.fsencode(entry.name) for entry in entries}


def _compared(name: bytes) -> str:
    text = unicodedata.normalize("NFD", name.decode("utf-8", "surrogateescape"))
    return unicodedata.normalize("NFD", text.casefold())
