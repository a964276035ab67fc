"""Reads the JSON that models write: what is well formed in it is kept, a fault costs only what it is in.

Written here because the libraries for it guess: json-repair, partial-json-parser, and Pydantic with `allow_partial`
return the half of a string or of an object in an answer that was cut as if it were whole, and the first takes time in the
square of a row of braces. This reader never makes up the end of a value, says which objects are not whole, and reads each
character once.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

MAX_DEPTH: Final = 12
"""Levels of nesting. An answer has six."""

MAX_FAULTS: Final = 1_000
"""Faults after which the rest of a text is not read."""

_LONGEST_NUMBER: Final = 20


class Broken(dict[str, Any]):
    """An object that was cut or is malformed: its members before the fault."""


class Unknown(str):
    """A bare word in place of a value, such as `true or false` or `...`."""

    __slots__ = ()


class _Fault(Exception):
    """The text is not JSON from here on."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


_Put = Callable[[Any], None]

_SPACE: Final = re.compile(r"\s*")
_CONTAINER_START: Final = re.compile(r"\{(?=\s*[\"'}A-Za-z_])|\[")
_STRING_PARTS: Final = {
    '"': re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL),
    "'": re.compile(r"(?:[^'\\]|\\.)*+", re.DOTALL),
}
_VALUE_END: Final = re.compile(r"\s*(?:[,:}\]]|\Z)")
_OBJECT_KEY: Final = re.compile(r"[A-Za-z_]\w{0,60}")
_BARE_WORDS: Final = re.compile(r"[\w+.…-](?:[\w+.…|/-]|[ \t](?=[\w|/]))*+")
_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?")
_JSON_ESCAPE: Final = re.compile(r'\\(?:(?P<known>["\\/bfnrt]|u[0-9a-fA-F]{4})|(?P<other>.))', re.DOTALL)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_WORDS: Final[dict[str, Any]] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "None": None, "NULL": None,
}  # fmt: skip
_decode: Final = json.JSONDecoder(strict=False).decode


def values(text: str) -> Iterator[Any]:
    """Yield the objects and arrays in a text, outermost ones, in order.

    Read besides JSON: code fences and words around the values, trailing commas, line breaks within strings, paired
    quotation marks within strings that are not escaped, names without quotes, strings in single quotes, and Python's
    `True`, `False` and `None`. An object that is not whole is `Broken`; after a fault, reading goes on behind it.
    """
    at = faults = 0
    while faults < MAX_FAULTS and (opening := _CONTAINER_START.search(text, at)) is not None:
        root: list[Any] = [None]
        try:
            at = _value(text, opening.start(), _putter(root, 0), 0)
        except _Fault as fault:
            at = max(fault.at, opening.end())
            faults += 1
        yield root[0]


def _putter(container: Any, key: Any) -> _Put:
    """Return what sets one member. Containers are put at once, so that a fault leaves them where they belong."""

    def put(value: Any) -> None:
        container[key] = value

    return put


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _value(text: str, at: int, put: _Put, depth: int) -> int:
    char = text[at : at + 1]
    if char and char in "{[":
        if depth == MAX_DEPTH:
            raise _Fault(at)
        return (_object if char == "{" else _array)(text, at, put, depth)
    if char and char in "\"'":
        value, at = _string(text, at)
        put(value)
        return at
    bare = _BARE_WORDS.match(text, at)
    if bare is None:
        raise _Fault(at)
    put(_bare(bare[0]))
    return bare.end()


def _bare(word: str) -> Any:
    if word in _WORDS:
        return _WORDS[word]
    if len(word) <= _LONGEST_NUMBER and _JSON_NUMBER.fullmatch(word):
        return json.loads(word)
    return Unknown(word)


def _object(text: str, at: int, put: _Put, depth: int) -> int:
    found = Broken()
    put(found)
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        if text[at : at + 1] in {'"', "'"}:
            key, at = _string(text, at)
        elif (name := _OBJECT_KEY.match(text, at)) is not None:
            key, at = name[0], name.end()
        else:
            raise _Fault(at)
        at = _expect(text, at, ":")
        at = _separated(text, _value(text, at, _putter(found, key), depth + 1), "}")
    put(dict(found))
    return at + 1


def _array(text: str, at: int, put: _Put, depth: int) -> int:
    found: list[Any] = []
    put(found)
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        found.append(None)
        try:
            at = _value(text, at, _putter(found, len(found) - 1), depth + 1)
        except _Fault:
            if found[-1] is None:
                found.pop()
            raise
        at = _separated(text, at, "]")
    return at + 1


def _expect(text: str, at: int, char: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != char:
        raise _Fault(at)
    return _skip(text, at + 1)


def _separated(text: str, at: int, end: str) -> int:
    """Return where the next member begins or the container ends. A comma before the end is one too many."""
    at = _skip(text, at)
    if text[at : at + 1] == ",":
        return _skip(text, at + 1)
    if text[at : at + 1] != end:
        raise _Fault(at)
    return at


def _string(text: str, begin: int) -> tuple[str, int]:
    """Return a string and where it ends. It ends at a mark that something of JSON follows, not at a pair of marks within."""
    mark = text[begin]
    part = _STRING_PARTS[mark]
    inner: list[int] = []
    at = begin + 1
    while True:
        run = part.match(text, at)
        at = at if run is None else run.end()
        if text[at : at + 1] != mark:
            raise _Fault(len(text))
        if len(inner) % 2 == 0 and _VALUE_END.match(text, at + 1):
            return _decoded(text, begin, at, inner), at + 1
        if not _is_within(text, begin, at, opened=len(inner) % 2 == 1):
            raise _Fault(at)
        inner += [at] * (1 if mark == '"' else 2)
        at += 1


def _is_within(text: str, begin: int, at: int, *, opened: bool) -> bool:
    """Whether a mark that does not end its string stands there as one of a pair, or as an apostrophe."""
    before, after = text[at - 1], text[at + 1 : at + 2]
    if text[at] == "'":
        return before.isalnum() and after.isalnum()
    if opened:
        return not before.isspace()
    return bool(after.strip()) and (at == begin + 1 or before.isspace() or before in "(\u2014\u2013")


def _decoded(text: str, begin: int, end: int, inner: list[int]) -> str:
    pieces: list[str] = []
    at = begin + 1
    for mark in dict.fromkeys(inner):
        pieces += [text[at:mark], "\\" + text[mark]]
        at = mark + 1
    raw = "".join([*pieces, text[at:end]])

    def escape(match: re.Match[str]) -> str:
        if match["known"] is not None:
            return match[0]
        return match["other"] if match["other"] in "'\n" else "\\\\" + match["other"]

    raw = _JSON_ESCAPE.sub(escape, raw) if "\\" in raw else raw
    if text[begin] == "'":
        raw = re.sub(r'(?<!\\)((?:\\\\)*)"', r'\1\\"', raw)
    return _SURROGATE.sub("\ufffd", str(_decode(f'"{raw}"')))
