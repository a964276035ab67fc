"""Completion of document paths."""

from collections.abc import Awaitable, Callable

from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from research_shared.reading.library import Library

PATH_TEMPLATE = "research://documents/{path*}"
MAX_VALUES = 100
"""The limit of the protocol on the values of one completion."""

PathCompletion = Callable[
    [PromptReference | ResourceTemplateReference, CompletionArgument, CompletionContext | None],
    Awaitable[Completion | None],
]


def path_completion(library: Library) -> PathCompletion:
    """Build a completion handler for the `path` of the document template.

    Paths that begin with the typed text come first, then paths that contain it, each group sorted. Case is ignored.
    """

    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        _context: CompletionContext | None,
    ) -> Completion | None:
        if (
            not isinstance(ref, ResourceTemplateReference)
            or ref.uri != PATH_TEMPLATE
            or argument.name != "path"
        ):
            return None
        typed = argument.value.casefold()
        paths = [info.path for info in await library.documents()]
        starts = [path for path in paths if path.casefold().startswith(typed)]
        contains = [
            path for path in paths if typed in path.casefold() and not path.casefold().startswith(typed)
        ]
        found = starts + contains
        return Completion(values=found[:MAX_VALUES], total=len(found), has_more=len(found) > MAX_VALUES)

    return complete
