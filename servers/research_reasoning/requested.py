"""Resolves the `document_paths` of a synthesis (paths in any spelling, folders, patterns) to one numbered list."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import anyio

from research_reasoning.models.state import Ledger
from research_shared.access.globs import EVERY_PATH, PathChoice, compile_pattern
from research_shared.documents import DocumentInfo
from research_shared.errors import DocumentNotFound, InvalidArguments, ResearchError, RootUnavailable
from research_shared.formats import Metadata
from research_shared.reading.filters import EVERY_DOCUMENT, DocumentFilter
from research_shared.reading.library import Library
from research_shared.text.sizes import counted
from research_shared.tools.arguments import matching_paths, nearest_paths, nothing_matches, plain_path

MAX_REQUESTED_DOCUMENTS = 500
MAX_READ_WHOLE = 20
"""Documents of patterns and folders that are all read; of more, evidence is chosen from all of them."""
MAX_SUGGESTED = 20
"""Entries without a document for which near paths are suggested; further ones are only reported as missing."""

_GLOB_CHARACTERS = frozenset("*?[{")
_KEY = "requested"
_FITTING = "fitting"
MAX_FILTERED_READS = 8
"""Documents that are read at the same time for a filter."""


@dataclass(frozen=True, slots=True)
class Requested:
    """One entry of the list: a document's path, or the given text and the reason why it names no document."""

    path: str
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class WholeFolder:
    """No documents are named, or only patterns over many: evidence is chosen from those that match one and are wanted."""

    paths: PathChoice = EVERY_PATH
    """The documents that evidence is chosen from."""
    wanted: DocumentFilter = EVERY_DOCUMENT
    named: tuple[Requested, ...] = ()
    """The entries of named documents: what becomes of each is said."""

    @classmethod
    def among(cls, entries: Sequence[Requested], wanted: DocumentFilter = EVERY_DOCUMENT) -> Self:
        """Return the part of the folder that holds named documents alone, for a question that is not about all of each."""
        paths = frozenset(entry.path for entry in entries if entry.missing is None)
        return cls(paths=PathChoice(among=paths), wanted=wanted, named=tuple(entries))


async def requested(
    library: Library, given: Sequence[str], ledger: Ledger, wanted: DocumentFilter = EVERY_DOCUMENT
) -> list[Requested] | WholeFolder:
    """Return the documents that the argument names, each once, in its order; those of a pattern sorted by path.

    An entry without a document stays in the list, with the nearest paths. The first round's list is kept for all rounds
    of a call, because citations refer to its numbers. Patterns and folders over more than `MAX_READ_WHOLE` documents,
    without any named document, are not a list but a part of the folder, with the filter.

    Raises:
        InvalidArguments: more than `MAX_REQUESTED_DOCUMENTS` are named.
        InvalidPattern: a pattern is malformed.
        RootUnavailable: a pattern is given, and a research folder is gone.
    """
    kept = ledger.get_result(_KEY)
    if not given:
        return WholeFolder(wanted=wanted)
    if kept is None:
        resolver = _RequestedResolver(library)
        named = await resolver.named(given)
        only_patterns = len(resolver.patterns) == len(given)
        if only_patterns and len(named) > MAX_READ_WHOLE:
            kept = {"patterns": resolver.patterns}
        else:
            _check_number(named)
            kept = [[entry.path, entry.missing] for entry in named]
        ledger.set_result(_KEY, kept, replaces=[])
    if isinstance(kept, dict):
        return WholeFolder(PathChoice(tuple(kept["patterns"])), wanted)
    return [Requested(path, missing) for path, missing in kept]


async def fitting(
    library: Library, entries: Sequence[Requested], wanted: DocumentFilter, ledger: Ledger
) -> list[Requested]:
    """Return the entries whose documents a filter admits, and those of which nobody can tell: reading them gives the reason.

    The first round's choice is kept for all rounds of a call.

    Raises:
        DocumentNotFound: there is none; the message names the nearest that there is.
    """
    if wanted.admits_everything:
        return list(entries)
    kept: list[int] | None = ledger.get_result(_FITTING)
    if kept is None:
        known = await _said_by_documents(library, [entry.path for entry in entries if entry.missing is None])
        kept = [
            number
            for number, entry in enumerate(entries)
            if (said := known.get(entry.path)) is None or wanted.admits(*said)
        ]
        if not kept:
            raise DocumentNotFound(
                f"none of {counted(len(entries), 'document')} fits the filters: {wanted.why_nothing(list(known.values()))}",
                hint="Change or leave out a filter; list_research_documents takes the same filters.",
            )
        ledger.set_result(_FITTING, kept, replaces=[])
    return [entries[number] for number in kept]


async def _said_by_documents(
    library: Library, paths: Sequence[str]
) -> dict[str, tuple[DocumentInfo, Metadata]]:
    """Return what readable documents are and say about themselves, by path."""
    found: dict[str, tuple[DocumentInfo, Metadata]] = {}
    limiter = anyio.CapacityLimiter(MAX_FILTERED_READS)

    async def one(path: str) -> None:
        async with limiter:
            with suppress(ResearchError):  # it is read again for its evidence, which gives the reason
                info = await library.stat(path)
                found[path] = info, (await library.read(path)).metadata

    async with anyio.create_task_group() as group:
        for path in paths:
            group.start_soon(one, path)
    return {path: found[path] for path in paths if path in found}


def _check_number(named: Sequence[Requested]) -> None:
    if len(named) > MAX_REQUESTED_DOCUMENTS:
        raise InvalidArguments(
            f"document_paths names {counted(len(named), 'document')}; one call takes {MAX_REQUESTED_DOCUMENTS}",
            hint="Leave document_paths out, or give patterns alone: then the evidence is chosen from all of them.",
        )


class _RequestedResolver:
    """Resolves one argument. The folders are listed once, if an entry is not the exact path of a document."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._listed: list[str] | None = None
        self._compared = 0
        self.patterns: list[str] = []
        """The entries that are patterns or folders, as patterns."""

    async def named(self, given: Sequence[str]) -> list[Requested]:
        entries: dict[str, Requested] = {}
        for item in given:
            for entry in await self._entries(item):
                entries.setdefault(entry.path, entry)
        return list(entries.values())

    async def _entries(self, item: str) -> list[Requested]:
        for path in dict.fromkeys((item, plain_path(item))):
            if await self._exists(path):
                return [Requested(path)]
        wild = not _GLOB_CHARACTERS.isdisjoint(item)
        try:
            paths = await self._paths()
        except RootUnavailable:
            if wild:
                raise
            return [Requested(item)]  # reading it raises the error
        meant = [] if wild else await asyncio.to_thread(matching_paths, item, paths)
        if len(meant) == 1:
            return [Requested(meant[0])]
        found = [] if meant else await asyncio.to_thread(_below, item, paths, wild)
        if found:
            plain = plain_path(item)
            self.patterns.append(plain if wild else f"{plain}/**")
            return [Requested(path) for path in found]
        return [Requested(item, await asyncio.to_thread(self._why, item, paths, meant, wild))]

    async def _exists(self, path: str) -> bool:
        try:
            await self._library.stat(path)
        except DocumentNotFound:
            return False
        except ResearchError:
            return True  # reading it raises the error
        return True

    async def _paths(self) -> list[str]:
        if self._listed is None:
            self._listed = [info.path for info in await self._library.documents()]
        return self._listed

    def _why(self, item: str, paths: Sequence[str], meant: Sequence[str], wild: bool) -> str:
        """Return why an entry names no document, with the nearest paths."""
        if meant:
            return f"{counted(len(meant), 'document has', 'documents have')} this name; give the whole path: {', '.join(meant[:3])}"
        self._compared += 1
        if self._compared > MAX_SUGGESTED:
            return "no document has this path"
        if wild:
            return nothing_matches(item, paths)
        near = nearest_paths(item, paths)
        return f"no document has this path{'; nearest: ' if near else ''}{', '.join(near)}"


def _below(item: str, paths: Sequence[str], wild: bool) -> list[str]:
    """Return the documents that a pattern matches, or those in a folder."""
    pattern = plain_path(item)
    if not pattern:
        return []
    matches = compile_pattern(pattern if wild else f"{pattern}/**")
    return sorted(path for path in paths if matches(path))
