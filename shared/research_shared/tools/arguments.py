"""Read tool arguments leniently, as language models send them.

For an optional argument, null and an empty string mean its default. Numbers may be text or beyond their bounds, lists may
be JSON text, and paths may begin with `./`, be the server's own URI, a bare file name or in another case. The Pydantic
validators here do not change the JSON schema of the plain type::

    limit: Annotated[int, Field(description="documents on one page"), or_default(200)] = 200
    paths: Annotated[list[str], Field(min_length=1), READ_LIST]

A validator cannot add a note to the reply, so tools call two functions themselves: `clamped` limits a number to its bounds
and adds a note, and `resolve_path` finds the document that a path means.
"""

import asyncio
import heapq
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final

from pydantic import BeforeValidator

from research_shared.document_urls import without_document_uri
from research_shared.errors import DocumentNotFound, DocumentUnreadable
from research_shared.text.sizes import counted

if TYPE_CHECKING:
    from research_shared.reading.library import Library

__all__ = [
    "READ_LIST",
    "READ_TEXT",
    "Choose",
    "clamped",
    "matching_paths",
    "nearest_paths",
    "nothing_matches",
    "or_default",
    "plain_path",
    "resolve_path",
]

MAX_NEAREST: Final = 3
"""Maximum number of paths that an error names."""
_MAX_FOLDERS: Final = 5
_COMPARED: Final = 500
"""Number of paths compared by character: those that share the most words."""
_MAX_COMPARED: Final = 200
"""Number of characters of a path that are compared."""
_NEAR: Final = 0.6
"""Minimum similarity, from 0 to 1, of a path that an error names."""
_WORD: Final = re.compile(r"[^\W_]+")
_WHOLE_NUMBER: Final = re.compile(r"\s*[+-]?[0-9]{1,100}(\.0*)?\s*")
_QUOTES: Final = "`'\""
_STAR_OR_QUESTION_MARK: Final = frozenset("*?")


# Values


def or_default(default: int | str, *, choice: bool = False) -> BeforeValidator:
    """Return a validator that reads null and blank text as `default`.

    If the default is a number, text is read as a whole number. With `choice`, text is lower-cased: the argument is one of a
    few lower-case words.
    """
    read: Callable[[Any], Any] = _number_argument if isinstance(default, int) else _text_argument

    def validate(value: Any) -> Any:
        if value is None or (isinstance(value, str) and not value.strip()):
            return default
        return value.strip().lower() if choice and isinstance(value, str) else read(value)

    return BeforeValidator(validate)


def _number_argument(value: Any) -> Any:
    """Return text or a float as a whole number. Other values are returned unchanged, for Pydantic to reject."""
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value.strip().partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _text_argument(value: Any) -> Any:
    """Return a number as text, and a list of one as its item. Other values are returned unchanged, for Pydantic to reject."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _list_argument(value: Any) -> Any:
    """Parse a list that is JSON text. Other text becomes a list of one; blank text and null an empty list."""
    if value is None:
        return []
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            items = json.loads(value)
        except (ValueError, RecursionError):
            items = None
        if isinstance(items, list):
            return items
    return [value] if value.strip() else []


READ_TEXT: Final = BeforeValidator(_text_argument)
"""Validator of a required text that may be a number or a list of one."""
READ_LIST: Final = BeforeValidator(_list_argument)
"""Validator of a list that may be JSON text or its only item; null is an empty one."""


def clamped(value: int, name: str, *, least: int, most: int | None = None, notes: list[str]) -> int:
    """Return `value` limited to `least` and `most`. If that changes it, append a sentence about it to `notes`."""
    within = max(value, least) if most is None else min(max(value, least), most)
    if within != value:
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        notes.append(f"{name} is {bounds}: {within} is used instead of {_short(value)}")
    return within


def _short(value: int) -> str:
    text = str(value)
    return text if len(text) <= 20 else text[:20] + "…"  # noqa: PLR2004  (long enough to recognise it)


# Paths

_MAX_GIVEN: Final = 16_384
"""Characters. A path has at most 4,095 bytes, percent-encoded three times that. Longer arguments are rejected."""
_HINT: Final = "Call list_research_documents to see the available paths, then use one exactly as listed."


def plain_path(given: str) -> str:
    """Return a path without surrounding quotes, URI prefix, and `.` and empty components.

    >>> plain_path("`./papers//tor.pdf`")
    'papers/tor.pdf'
    >>> plain_path("research://documents/papers/tor%20paper.pdf")
    'papers/tor paper.pdf'
    """
    text = without_document_uri(given.strip().strip(_QUOTES).strip())
    return "/".join(part for part in text.split("/") if part not in {"", "."})


Choose = Callable[[Sequence[str]], Awaitable[str | None]]
"""Return which of several paths is meant; None if nobody says so."""


async def resolve_path(library: "Library", given: str, *, choose: Choose | None = None) -> str:
    """Return the path of the document that `given` means, within the current scope.

    An exact path wins. Otherwise `given` may have `./`, `/` or quotes around it, be the document's URI, differ in case or
    Unicode form, or lack the folders before the file name, as long as it matches a single document, or `choose` says which.

    Raises:
        DocumentNotFound: no document matches, or several do. The hint names the nearest paths within the scope.
        UnsupportedType: it is the name of a file of a type that is not read.
        RootUnavailable: a research folder is not available.
    """
    if len(given) > _MAX_GIVEN:
        raise DocumentNotFound("no document has this path", hint=_HINT)
    for path in dict.fromkeys((given, plain_path(given))):
        try:
            await library.stat(path)
        except DocumentUnreadable:
            return path
        except DocumentNotFound:
            continue
        return path
    infos, unread = await library.survey()
    paths = [info.path for info in infos]
    meant = await asyncio.to_thread(matching_paths, given, paths)
    if len(meant) == 1:
        return meant[0]
    if meant:
        if choose is not None and (chosen := await choose(meant)) is not None:
            return chosen
        named = ", ".join(meant[:MAX_NEAREST]) + (", …" if len(meant) > MAX_NEAREST else "")
        raise DocumentNotFound(
            f"{counted(len(meant), 'document has', 'documents have')} this name, and none has this path",
            hint=f"Use the whole path of one of them: {named}",
        )
    if len(of_other_types := await asyncio.to_thread(matching_paths, given, unread)) == 1:
        await library.stat(of_other_types[0])  # says why it is not read
    raise await asyncio.to_thread(_no_such_path, given, paths)


def matching_paths(given: str, paths: Sequence[str]) -> list[str]:
    """Return the paths that equal `given` in any case and Unicode form, otherwise those that end in it."""
    wanted = _key(plain_path(given))
    if not wanted:
        return []
    for name in dict.fromkeys((wanted, wanted.replace("\\", "/"))):
        keys = [(_key(path), path) for path in paths]
        if same := [path for key, path in keys if key == name]:
            return same
        if ends := [path for key, path in keys if key.endswith("/" + name)]:
            return ends
    return []


def _key(path: str) -> str:
    """Return the path in the form used for comparison: case-folded, in one Unicode form."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _no_such_path(given: str, paths: Sequence[str]) -> DocumentNotFound:
    hint = _HINT
    if near := nearest_paths(given, paths):
        hint = f"The nearest paths are: {', '.join(near)}. {hint}"
    if not _STAR_OR_QUESTION_MARK.isdisjoint(given):
        hint = f"This argument takes no pattern; file_pattern of list_research_documents does. {hint}"
    return DocumentNotFound("no document has this path", hint=hint)


def nearest_paths(given: str, paths: Iterable[str], *, at_most: int = MAX_NEAREST) -> list[str]:
    """Return the `at_most` paths that are most similar to `given`, as a whole or by file name; the most similar first."""
    wanted = _key(plain_path(given))[:_MAX_COMPARED]
    name = _file_stem(wanted)
    if not name:
        return []
    whole, of_name = SequenceMatcher(autojunk=False), SequenceMatcher(autojunk=False)
    whole.set_seq2(_without_suffix(wanted))
    of_name.set_seq2(name)
    near: list[tuple[float, str]] = []
    for path in _likely(wanted, list(paths)):
        key = _key(path)[:_MAX_COMPARED]
        likeness = max(
            _similarity(whole, _without_suffix(key)),
            _similarity(of_name, _file_stem(key)),
            _kinship(name, key),
        )
        if likeness >= _NEAR:
            near.append((-likeness, path))
    return [path for _, path in heapq.nsmallest(at_most, near)]


def _without_suffix(path: str) -> str:
    """Return the path without its suffix, because most documents share a few suffixes."""
    stem, dot, _ = path.rpartition(".")
    return stem if dot and "/" not in path[len(stem) :] else path


def _file_stem(path: str) -> str:
    return _without_suffix(path.rpartition("/")[2])


def _similarity(matcher: "SequenceMatcher[str]", text: str) -> float:
    matcher.set_seq1(text)
    if matcher.real_quick_ratio() < _NEAR or matcher.quick_ratio() < _NEAR:
        return 0.0
    return matcher.ratio()


def _kinship(name: str, path: str) -> float:
    """Return the share of the words of `name` that are in `path`: `tor.pdf` is in `tor-the-onion-router.pdf`."""
    words = set(_WORD.findall(name))
    held = words.intersection(_WORD.findall(path))
    return 0.95 * len(held) / len(words) if words else 0.0


def _likely(wanted: str, paths: Sequence[str]) -> Sequence[str]:
    """Return the paths to compare by character: all of a few, of many those that share most words or the beginning."""
    if len(paths) <= _COMPARED:
        return paths
    words = set(_WORD.findall(wanted))
    beginning = wanted.rpartition("/")[2][:3]

    def shared(path: str) -> int:
        key = _key(path)
        return 2 * len(words.intersection(_WORD.findall(key))) + key.rpartition("/")[2].startswith(beginning)

    return heapq.nlargest(_COMPARED, paths, key=shared)


# File patterns


def nothing_matches(pattern: str, paths: Sequence[str]) -> str:
    """Return a sentence for a pattern that matches none of these paths, with what exists instead.

    >>> nothing_matches("*.docx", ["papers/a.pdf", "papers/b.pdf", "c.md"])
    "no document matches '*.docx'; 3 documents are there, in papers/ (2), and 1 in no folder"
    """
    shown = pattern if len(pattern) <= 100 else pattern[:100] + "…"  # noqa: PLR2004  (long enough to recognise it)
    if not paths:
        return f"no document matches '{shown}'; there are no documents at all"
    folders = Counter(path.partition("/")[0] + "/" for path in paths if "/" in path)
    loose = len(paths) - folders.total()
    largest = sorted(folders.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{folder} ({count})" for folder, count in largest[:_MAX_FOLDERS])
    if len(largest) > _MAX_FOLDERS:
        named += f" and {counted(len(largest) - _MAX_FOLDERS, 'more folder')}"
    parts = [f"in {named}"] if named else []
    if loose:
        parts.append(f"{'and ' if named else ''}{loose} in no folder")
    count = counted(len(paths), "document is", "documents are")
    sentence = f"no document matches '{shown}'; {count} there, {', '.join(parts)}"
    near = [] if not _STAR_OR_QUESTION_MARK.isdisjoint(pattern) else nearest_paths(pattern, paths)
    return f"{sentence}; nearest: {', '.join(near)}" if near else sentence
