"""File patterns: `*` within a component, `**` across, `?`, `[…]`, `{a,b}`; without a slash at any depth.

Patterns come from language models and are read leniently. Case, Unicode form, a leading `/` or `./` and the URI prefix of
documents are ignored. A pattern without wildcards that names a folder matches everything below it (`papers`, `papers/` and
`/papers` are `papers/**`).

A pattern is matched against public paths, never against the file system, so it cannot match what a listing does not show.
It is compiled to an automaton, so matching takes linear time. A backslash is an ordinary character, because public paths
contain it; `[*]` matches a star. A path also matches itself, whatever it contains.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from research_shared.document_urls import without_document_uri
from research_shared.errors import InvalidPattern
from research_shared.formats import media_type_of

MAX_FILE_PATTERN_LENGTH = 1_000
MAX_PROGRAM_BYTES = 8 * 1024 * 1024
_CLASS_SPECIAL = frozenset("\\[]^-")
_WILDCARDS = frozenset("*?[{")


def compile_pattern(
    pattern: str, *, case_sensitive: bool = False, anchored: bool = False
) -> Callable[[str], bool]:
    """Compile a file pattern to a test of document paths, which takes time linear in their length.

    An `anchored` pattern begins at the top, also without a slash.

    Raises:
        InvalidPattern: the pattern is too long or malformed.
    """
    import re2

    if len(pattern) > MAX_FILE_PATTERN_LENGTH:
        raise InvalidPattern(f"the file pattern has more than {MAX_FILE_PATTERN_LENGTH} characters")
    text = plain_pattern(pattern)
    if text in {"**", "**/*"} or (text == "*" and not anchored):
        return lambda _path: True
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    options.case_sensitive = case_sensitive
    options.max_mem = MAX_PROGRAM_BYTES
    anchored = anchored or "/" in text
    prefix = "" if anchored else "(?:.*/)?"
    below = "" if text.endswith("/**") or not _WILDCARDS.isdisjoint(text) else "(?:/.*)?"
    try:
        compiled = re2.compile(f"{prefix}(?:{_Translation(text).expression()}){below}", options)
    except (re2.error, UnicodeEncodeError) as error:
        raise InvalidPattern("the file pattern cannot be compiled") from error
    suffix = "/" + text

    def matches(path: str) -> bool:
        path = _composed(path)
        if compiled.fullmatch(path) is not None:
            return True
        return path == text or (not anchored and path.endswith(suffix))

    return matches


@dataclass(frozen=True, slots=True)
class PathChoice:
    """Which paths are meant: those that match one of the `patterns`, and of these `among` alone if that is given.

    The paths of `among` are compared as they are, whatever they contain.
    """

    patterns: tuple[str, ...] = ("*",)
    among: frozenset[str] | None = None

    @property
    def key(self) -> str:
        """Return a text that tells this choice from every other one."""
        among = () if self.among is None else ("", *sorted(self.among))
        return "\0".join((*self.patterns, *among))

    def compiled(self) -> Callable[[str], bool]:
        """Return the test of a path.

        Raises:
            InvalidPattern: a pattern is too long or malformed.
        """
        return _path_test(self)


@lru_cache(maxsize=32)
def _path_test(paths: PathChoice) -> Callable[[str], bool]:
    tests = [compile_pattern(pattern) for pattern in paths.patterns]
    among, only = paths.among, tests[0] if len(tests) == 1 else None

    def matches(path: str) -> bool:
        if among is not None and path not in among:
            return False
        return only(path) if only is not None else any(test(path) for test in tests)

    return matches if among is not None or only is None else only


EVERY_PATH: Final = PathChoice()


def plain_pattern(pattern: str) -> str:
    """Return the pattern without surrounding blanks, URI prefix and leading slashes.

    A final slash becomes `/**` after a wildcard and is dropped otherwise.

    >>> plain_pattern("/papers/*"), plain_pattern("./papers/"), plain_pattern("/")
    ('papers/*', 'papers', '*')
    """
    text = _composed(without_document_uri(pattern.strip()))
    while text.startswith(("/", "./")):
        text = text.partition("/")[2]
    if text.endswith("/"):
        text = text.rstrip("/")
        text = text if _WILDCARDS.isdisjoint(text) else text + "/**"
    return text or "*"


def folder_named_by(pattern: str) -> str | None:
    """Return the folder that a pattern without wildcards names, or None if it may name a document.

    >>> folder_named_by("papers/"), folder_named_by("tor.pdf"), folder_named_by("*.pdf")
    ('papers', None, None)
    """
    text = plain_pattern(pattern)
    return text if _WILDCARDS.isdisjoint(text) and media_type_of(text) is None else None


def folders_of(pattern: str) -> str | None:
    """Return the pattern of the folders in which a pattern matches everything, however deep; None without any.

    >>> folders_of("hr/**"), folders_of("**/hr/"), folders_of("hr/*"), folders_of("**")
    ('hr', '**/hr', None, '**')
    """
    text = plain_pattern(pattern)
    if _WILDCARDS.isdisjoint(text) or text == "**":
        return text
    return text.removesuffix("/**") if text.endswith("/**") else None


def literal_folder(pattern: str) -> str:
    """Return the folder that everything lies in, or is, that an anchored pattern matches; empty for the top.

    >>> literal_folder("clients/acme/*.pdf"), literal_folder("clients/a*/**"), literal_folder("clients")
    ('clients/acme', 'clients', 'clients')
    """
    text = plain_pattern(pattern)
    end = next((at for at, character in enumerate(text) if character in _WILDCARDS), len(text) + 1)
    return text if end > len(text) else text[:end].rpartition("/")[0]


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


class _Translation:
    """Translates a pattern to a regular expression."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._closing = _closing_braces(pattern)
        self._open: list[int] = []

    def expression(self) -> str:
        """Return the expression that a whole path must match."""
        out: list[str] = []
        while self._at < len(self._pattern):
            piece = self._next()
            # `**/**/**/` is the same as `**/`.
            if not (piece in {_ACROSS, _ANY} and out and out[-1] == piece):
                out.append(piece)
        return "".join(out)

    def _next(self) -> str:
        pattern, at = self._pattern, self._at
        self._at += 1
        character = pattern[at]
        if character == "*":
            return self._stars(at)
        if character == "?":
            return "[^/]"
        if character == "[" and (end := _class_end(pattern, at)) is not None:
            self._at = end + 1
            return _character_class(pattern[at + 1 : end])
        return self._alternatives(character, at)

    def _stars(self, at: int) -> str:
        if self._pattern.startswith("**/", at) and (at == 0 or self._pattern[at - 1] in "/{,"):
            self._at = at + 3
            return _ACROSS
        while self._pattern.startswith("*", self._at):
            self._at += 1
        return _ANY if self._at - at > 1 else "[^/]*"

    def _alternatives(self, character: str, at: int) -> str:
        import re2

        if character == "{" and at in self._closing:
            self._open.append(self._closing[at])
            return "(?:"
        if self._open and at == self._open[-1]:
            self._open.pop()
            return ")"
        return "|" if character == "," and self._open else str(re2.escape(character))


_ACROSS = "(?:.*/)?"
_ANY = ".*"
_NOTHING = r"[^\x00-\x{10FFFF}]"


def _closing_braces(pattern: str) -> dict[int, int]:
    """Map each opening brace to its closing brace. A brace without a partner is an ordinary character."""
    pairs: dict[int, int] = {}
    stack: list[int] = []
    at = 0
    while at < len(pattern):
        if pattern[at] == "[" and (end := _class_end(pattern, at)) is not None:
            at = end
        elif pattern[at] == "{":
            stack.append(at)
        elif pattern[at] == "}" and stack:
            pairs[stack.pop()] = at
        at += 1
    return pairs


def _class_end(pattern: str, start: int) -> int | None:
    """Return the index of the bracket that closes a class. One directly after `[` or `[!` belongs to the class."""
    first = start + 1
    if pattern[first : first + 1] in {"!", "^"}:
        first += 1
    end = pattern.find("]", first + 1)
    return None if end == -1 else end


def _character_class(content: str) -> str:
    negated = content[:1] in {"!", "^"}
    out: list[str] = ["/"] if negated else []
    at = 1 if negated else 0
    while at < len(content):
        low = high = content[at]
        if content[at + 1 : at + 2] == "-" and at + 2 < len(content):
            high = content[at + 2]
            at += 2
        at += 1
        if negated:
            out += _range(low, high)
        else:
            # A class never matches a separator, even when a range goes across it.
            out += [*_range(low, min(high, ".")), *_range(max(low, "0"), high)]
    if negated:
        return f"[^{''.join(out)}]"
    return f"[{''.join(out)}]" if out else _NOTHING


def _range(low: str, high: str) -> list[str]:
    """Return the range as a list of one, or an empty list if it ends before it starts."""
    return [f"{_in_class(low)}-{_in_class(high)}"] if low <= high else []


def _in_class(character: str) -> str:
    return "\\" + character if character in _CLASS_SPECIAL else character
