"""File patterns: `*` within a component, `**` across, `?`, `[…]`, `{a,b}`; without a slash at any depth."""

from collections.abc import Callable

from research_shared.errors import InvalidPattern

MAX_PATTERN_LENGTH = 1_000


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A test of document paths, linear in their length.

    Raises:
        InvalidPattern: the pattern is too long or malformed.
    """
    import re2

    if len(pattern) > MAX_PATTERN_LENGTH:
        raise InvalidPattern(f"the file pattern has more than {MAX_PATTERN_LENGTH} characters")
    if pattern in {"*", "**"}:
        return lambda _path: True
    anchored = "/" in pattern
    out: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 3
        elif pattern.startswith("**", at):
            out.append(".*")
            at += 2
        elif pattern[at] == "*":
            out.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            out.append("[^/]")
            at += 1
        else:
            out.append(re2.escape(pattern[at]))
            at += 1
    prefix = "" if anchored else "(?:.*/)?"
    compiled = re2.compile(prefix + "".join(out))
    return lambda path: compiled.fullmatch(path) is not None
