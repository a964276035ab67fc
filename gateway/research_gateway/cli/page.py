"""What `ask --html` writes: the page of an answer, with the lines around its quotes."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from research_reasoning.apps import Lines, page, wanted_lines

__all__ = ["context_of", "page"]


async def context_of(result: Mapping[str, Any], call: Callable[..., Awaitable[Mapping[str, Any]]]) -> Lines:
    """Return the lines around the quotes of a synthesis. `call` calls a tool and returns its structured result."""
    context: dict[tuple[str, int], str] = {}
    for path, spans in wanted_lines(result).items():
        for first, last in spans:
            if all((path, number) in context for number in range(first, last + 1)):
                continue
            read = await call(
                "read_document", document_path=path, start_line=first, max_lines=last - first + 1
            )
            context.update(((path, line["number"]), line["text"]) for line in read["lines"])
    return context
