"""Completion of paths and folders in the arguments of prompts and resource templates."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from research_shared.reading.library import Library

MAX_VALUES: Final = 100
"""The limit of the protocol on the values of one completion."""

Reference = PromptReference | ResourceTemplateReference
CompletionHandler = Callable[
    [Reference, CompletionArgument, CompletionContext | None], Awaitable[Completion | None]
]
Complete = Callable[[Library, str], Awaitable[Completion]]
"""Completes a typed text from what a library holds within the scope of the request."""


def completion_of(typed: str, values: Iterable[str]) -> Completion:
    """Return the values that fit a typed text: those that begin with it first, then those that contain it. Case is ignored.

    >>> completion_of("t", ["notes/a.md", "tides.md"]).values
    ['tides.md', 'notes/a.md']
    """
    wanted = typed.casefold()
    fitting = [value for value in values if wanted in value.casefold()]
    found = sorted(fitting, key=lambda value: not value.casefold().startswith(wanted))
    return Completion(values=found[:MAX_VALUES], total=len(found), has_more=len(found) > MAX_VALUES)


async def complete_path(library: Library, typed: str) -> Completion:
    """Complete the path of a document."""
    return completion_of(typed, [info.path for info in await library.documents()])


async def complete_paths(library: Library, typed: str) -> Completion:
    """Complete the last of several paths, which commas separate."""
    before, comma, last = typed.rpartition(",")
    completed = await complete_path(library, last.strip())
    if not comma:
        return completed
    given = {path.strip() for path in before.split(",")}
    values = [f"{before.rstrip()}, {path}" for path in completed.values if path not in given]
    return completed.model_copy(update={"values": values})


async def complete_folder(library: Library, typed: str) -> Completion:
    """Complete the path of a folder that holds documents, itself or in folders of its own."""
    folders: set[str] = set()
    for info in await library.documents():
        parent = info.path.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    return completion_of(typed, sorted(folders))


def prompt_completion(library: Library, arguments: Mapping[tuple[str, str], Complete]) -> CompletionHandler:
    """Build a handler that completes arguments of prompts: `arguments` has how, by prompt and argument."""

    async def complete(
        ref: Reference, argument: CompletionArgument, _context: CompletionContext | None
    ) -> Completion | None:
        if not isinstance(ref, PromptReference):
            return None
        how = arguments.get((ref.name, argument.name))
        return None if how is None else await how(library, argument.value)

    return complete


def first_completion_of(*handlers: CompletionHandler) -> CompletionHandler:
    """Return a handler that tries `handlers` in order until one returns a completion."""

    async def complete(
        ref: Reference, argument: CompletionArgument, context: CompletionContext | None
    ) -> Completion | None:
        for handler in handlers:
            if (completion := await handler(ref, argument, context)) is not None:
                return completion
        return None

    return complete
