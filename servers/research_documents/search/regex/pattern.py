r"""Regular expressions in the dialect of ripgrep, compiled for RE2.

RE2's `\w`, `\d`, `\s` and `\b` know ASCII only, ripgrep's know Unicode. On text that is pure ASCII the two agree, so a
pattern is compiled once as given for such documents, and once translated for all others.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Final
from unicodedata import normalize

from research_documents.search.regex.dialect import (
    escaped,
    ignores_case,
    is_balanced,
    pieces_of,
    to_re2,
)

MAX_REGEX_CHARS: Final = 1_000
MAX_PROGRAM: Final = 20_000
MAX_UNICODE_PROGRAM: Final = 150_000
"""Program size in instructions. Unicode classes are large, but real text visits only a small part of them."""
_MAX_MEMORY: Final = 32 * 1024 * 1024

_UNSUPPORTED: Final = (
    (re.compile(r"\(\?<?[=!]"), "look-around"),
    (re.compile(r"\(\?>"), "an atomic group"),
    (re.compile(r"\\[1-9]|\\k[<{']|\(\?P="), "a back-reference"),
    (re.compile(r"\(\?[(|]"), "a conditional group"),
    (re.compile(r"\\C"), "a match of single bytes"),
)
_DOCUMENT_ANCHOR: Final = re.compile(r"\\[Az]")
_FLAGS: Final = re.compile(r"\(\?[^:P<]")

Find = Callable[[bytes, int, int], tuple[int, int] | None]
"""Returns (begin, end) of the next match in `data[begin:end]`, as offsets into `data`; None if there is none."""


class PatternRefused(ValueError):
    """The pattern cannot be used; the message names the construct."""


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """A compiled pattern that searches UTF-8 bytes. Like ripgrep, it matches within one line."""

    source: str
    ignore_case: bool
    warnings: tuple[str, ...]

    @cached_property
    def _plain(self) -> str:
        return "".join(escaped(piece) for piece, _ in pieces_of(self.source))

    @cached_property
    def _program(self) -> Any:
        """The program of the pattern with ASCII classes."""
        return _program(self._plain, self.ignore_case, MAX_PROGRAM)

    @property
    def size(self) -> int:
        """Return the size of the ASCII program in instructions."""
        return int(self._program.programsize)

    @cached_property
    def looks_around(self) -> bool:
        """Return whether the pattern may anchor to the start or end of a document, or sets flags that change anchors."""
        return _DOCUMENT_ANCHOR.search(self.source) is not None or _FLAGS.search(self.source) is not None

    @cached_property
    def find_ascii(self) -> Find:
        """Return the search for text that is pure ASCII."""
        return _finder(self._program)

    @cached_property
    def find(self) -> Find:
        """Return the search for any text."""
        return _finder(self._unicode or self._program)

    @property
    def knows_unicode(self) -> bool:
        """Return whether classes have their Unicode meaning in `find`. They do not if that program would be too large."""
        return self._unicode is not None

    @cached_property
    def _translated(self) -> str:
        return to_re2(self.source)

    @cached_property
    def _unicode(self) -> Any:
        if self._translated == self._plain:
            return self._program
        try:
            return _program(self._translated, self.ignore_case, MAX_UNICODE_PROGRAM)
        except PatternRefused:
            return None


def _program(pattern: str, ignore_case: bool, most: int) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.never_nl = True
    options.case_sensitive = not ignore_case
    options.max_mem = _MAX_MEMORY
    try:
        if not is_balanced(pattern):  # inside the group below, an unbalanced pattern could become valid
            re2.compile(pattern.encode("utf-8", "surrogatepass"), options)
        program = re2.compile(f"(?m)(?:{pattern})".encode("utf-8", "surrogatepass"), options)
    except re2.error as error:
        reason = error.args[0] if error.args else b"invalid"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise PatternRefused(f"the regular expression is not valid: {text}") from error
    if program.programsize > most:
        raise PatternRefused("the regular expression is too large; use smaller repetition counts")
    return program


def _finder(program: Any) -> Find:
    def find(data: bytes, begin: int, end: int) -> tuple[int, int] | None:
        match = program.search(data, begin, end)
        return match.span() if match is not None else None

    return find


@lru_cache(maxsize=32)
def compiled(source: str) -> Pattern:
    """Compile a pattern. Its Unicode form does not matter.

    Raises:
        PatternRefused: it is malformed, too long or too large, or uses what a linear-time engine cannot offer.
    """
    import re2

    source = normalize("NFC", source)
    if len(source) > MAX_REGEX_CHARS:
        raise PatternRefused(f"the regular expression has more than {MAX_REGEX_CHARS} characters")
    re2.purge()  # re2 would keep 128 programs of up to 32 MiB each, beside those that are cached here
    bare = "".join("" if inside else piece for piece, inside in pieces_of(source))
    for construct, name in _UNSUPPORTED:
        if construct.search(bare):
            raise PatternRefused(f"the regular expression uses {name}, which this engine does not support")
    warnings = (
        ("a regular expression is matched within one line, so \\n never matches",) if "\\n" in bare else ()
    )
    pattern = Pattern(source=source, ignore_case=ignores_case(source), warnings=warnings)
    if pattern.size and not pattern.knows_unicode:  # compiles both programs, so that a bad pattern fails here
        pattern = replace(
            pattern, warnings=(*warnings, "the pattern is large, so \\w, \\d, \\s and \\b know ASCII only")
        )
    return pattern
