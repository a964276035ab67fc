r"""File names as text: reversible, printable, one text per name.

A file name is bytes. Its public form is its UTF-8 text. Bytes that are not UTF-8, control and format characters are
escaped as `\xHH`, a backslash as `\\`. Nothing else is encoded or decoded: no percent-encoding, no `~`, no variables, no
Unicode normalisation.
"""

import re
import unicodedata

MAX_PATH_BYTES = 4_095
"""Maximum length of a path on Linux. A longer one cannot be opened, so it is neither listed nor looked up."""

_MAX_PUBLIC = 4 * MAX_PATH_BYTES  # every byte escaped
_ESCAPE = re.compile(rb"\\(\\|x[0-9a-f]{2})")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp"})


def shown(raw: bytes) -> str:
    r"""Return the public form of a file name or path.

    >>> shown(b"caf\xe9\n.md")
    'caf\\xe9\\x0a.md'
    """
    name = raw.decode("utf-8", "surrogateescape")
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(map(_shown_character, name))


def _shown_character(character: str) -> str:
    if character == "\\":
        return "\\\\"
    surrogate = "\ud800" <= character <= "\udfff"
    if surrogate or unicodedata.category(character) in _HIDDEN_CATEGORIES:
        return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
    return character


def actual(public: str) -> bytes | None:
    """Return the bytes of the name or path with this public form, or None if `shown` never returns this text.

    Only the canonical form is accepted, so a document has exactly one public path, and an escape cannot stand for a
    separator, a dot or a NUL.
    """
    if len(public) > _MAX_PUBLIC:
        return None
    if "\\" not in public and public.isprintable():  # the common case: nothing is escaped
        raw = public.encode("utf-8")
        return raw if len(raw) <= MAX_PATH_BYTES else None
    try:
        raw = public.encode("utf-8")
    except UnicodeEncodeError:
        return None
    if b"\\" in raw:
        raw = _ESCAPE.sub(_unescaped, raw)
    if b"\0" in raw or len(raw) > MAX_PATH_BYTES or shown(raw) != public:
        return None
    return raw


def _unescaped(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    return escape if escape == b"\\" else bytes.fromhex(escape[1:].decode("ascii"))
