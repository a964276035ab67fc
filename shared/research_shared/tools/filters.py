"""The arguments by which tools choose documents, read as generously as all arguments; `DocumentFilter.of` takes them."""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

MAX_FILTER_CHARS: Final = 1_000


def _joining(joint: str) -> BeforeValidator:
    """Return a validator that reads null as an empty text, and a list as its items with `joint` between them."""

    def validate(value: Any) -> Any:
        if value is None:
            return ""
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return joint.join(value)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    return BeforeValidator(validate)


_COMMAS: Final = _joining(", ")

DocumentType = Annotated[
    str,
    Field(
        max_length=MAX_FILTER_CHARS,
        description="only pdf, docx, slides, sheets, mail, text/* …; several: pdf, docx",
    ),
    _COMMAS,
]
ModifiedAfter = Annotated[
    str,
    Field(max_length=MAX_FILTER_CHARS, description="file changed then or later: 2024, 2024-05, 2024-05-31"),
    _COMMAS,
]
ModifiedBefore = Annotated[
    str, Field(max_length=MAX_FILTER_CHARS, description="file changed then or earlier"), _COMMAS
]
DatedAfter = Annotated[
    str, Field(max_length=MAX_FILTER_CHARS, description="document's own date is then or later"), _COMMAS
]
DatedBefore = Annotated[
    str, Field(max_length=MAX_FILTER_CHARS, description="document's own date is then or earlier"), _COMMAS
]
Author = Annotated[
    str, Field(max_length=MAX_FILTER_CHARS, description="an author's name or a word of it"), _joining("; ")
]
Tags = Annotated[str, Field(max_length=MAX_FILTER_CHARS, description="has all of these tags"), _COMMAS]
