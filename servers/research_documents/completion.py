"""Completion of document paths in the resource template, and of the arguments of the prompts."""

from typing import Final

from mcp_types import Completion, CompletionArgument, CompletionContext, ResourceTemplateReference

from research_shared.reading.library import Library
from research_shared.tools.completions import (
    CompletionHandler,
    Reference,
    complete_folder,
    complete_path,
    first_completion_of,
    prompt_completion,
)

PATH_TEMPLATE: Final = "research://documents/{path*}"


def documents_completion(library: Library) -> CompletionHandler:
    """Build the completion handler of the documents server: the `path` of the template, the `folder` of `find_evidence`."""

    async def complete(
        ref: Reference, argument: CompletionArgument, _context: CompletionContext | None
    ) -> Completion | None:
        if not isinstance(ref, ResourceTemplateReference):
            return None
        if ref.uri != PATH_TEMPLATE or argument.name != "path":
            return None
        return await complete_path(library, argument.value)

    return first_completion_of(
        complete, prompt_completion(library, {("find_evidence", "folder"): complete_folder})
    )
