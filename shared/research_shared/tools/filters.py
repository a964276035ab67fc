"""The arguments by which tools choose documents, read as generously as all arguments; `DocumentFilter.of` takes them.

They are in the schemas of several tools, which models read: few words, and no more than one example of a date.
"""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

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

DocumentType = Annotated[str, Field(description="pdf, slides, mail, …"), _COMMAS_BETWEEN]
ModifiedAfter = Annotated[str, Field(description="file's: 2024, 2024-05, 2024-05-31"), _COMMAS_BETWEEN]
ModifiedBefore = Annotated[str, Field(description="inclusive"), _COMMAS_BETWEEN]
DatedAfter = Annotated[str, Field(description="the document's own"), _COMMAS_BETWEEN]
DatedBefore = Annotated[str, Field(description="inclusive"), _COMMAS_BETWEEN]
Author = Annotated[str, Field(description="name or part"), _joining("; ")]
Tags = Annotated[str, Field(description="all of them"), _COMMAS_BETWEEN]
