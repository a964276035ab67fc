"""The arguments by which tools choose documents, read as generously as all arguments.

They are in the schemas of several tools, which models read: few words, and no more than one example of a date.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Annotated, Any, Final, TypeVar

from pydantic import BeforeValidator, Field

from research_shared.reading.filters import DocumentFilter

Reply = TypeVar("Reply")

MAX_FILTER_CHARS: Final = 1_000


def _joining(joint: str) -> BeforeValidator:
    """Return a validator that reads null as an empty text, a number as text, and a list as its items with `joint` between."""

    def validate(value: Any) -> Any:
        if value is None:
            return ""
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            value = joint.join(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and len(value) > MAX_FILTER_CHARS:
            raise ValueError(f"at most {MAX_FILTER_CHARS} characters")
        return value

    return BeforeValidator(validate)


_COMMAS_BETWEEN: Final = _joining(", ")

FILTER_ARGUMENTS: Final[Mapping[str, Any]] = {
    "type": Annotated[str, Field(description="pdf, slides, mail, …"), _COMMAS_BETWEEN],
    "modified_after": Annotated[str, Field(description="file's: 2024, 2024-05, 2024-05-31"), _COMMAS_BETWEEN],
    "modified_before": Annotated[str, Field(description="inclusive"), _COMMAS_BETWEEN],
    "dated_after": Annotated[str, Field(description="the document's own"), _COMMAS_BETWEEN],
    "dated_before": Annotated[str, Field(description="inclusive"), _COMMAS_BETWEEN],
    "author": Annotated[str, Field(description="name or part"), _joining("; ")],
    "tags": Annotated[str, Field(description="all of them"), _COMMAS_BETWEEN],
}
"""Name and type of each argument of `DocumentFilter.of`. All of them are optional."""


def takes_filter(tool: Callable[..., Awaitable[Reply]]) -> Callable[..., Awaitable[Reply]]:
    """Return a tool that takes the arguments of a filter in place of its last keyword argument, `wanted`.

    >>> @takes_filter
    ... async def count(limit: int = 10, *, wanted: DocumentFilter) -> int: ...
    >>> list(inspect.signature(count).parameters)[:3]
    ['limit', 'type', 'modified_after']

    The returned tool raises InvalidArguments when a date is none.
    """
    signature = inspect.signature(tool)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=annotation)
        for name, annotation in FILTER_ARGUMENTS.items()
    ]
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "wanted"]

    @wraps(tool)
    async def with_filter(*positional: Any, **named: Any) -> Reply:
        given = {name: named.pop(name) for name in FILTER_ARGUMENTS if name in named}
        return await tool(*positional, wanted=DocumentFilter.of(**given), **named)

    # What FastMCP makes the tool's schema of.
    shown = signature.replace(parameters=[*own, *added])
    with_filter.__signature__ = shown  # type: ignore[attr-defined]
    with_filter.__annotations__ = {each.name: each.annotation for each in shown.parameters.values()}
    return with_filter
