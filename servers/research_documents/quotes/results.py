"""What is asked and answered about quotes."""

import json
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from research_documents.results import Result, Warnings
from research_shared.text.quotes import MAX_QUOTE
from research_shared.tools.arguments import READ_TEXT, or_default

MAX_CHECKED_QUOTES = 50
"""Quotes that one call checks."""
MAX_READ_CHARS = 20 * MAX_QUOTE
"""Characters of one quote that are taken; those over `MAX_QUOTE` are refused one by one."""


class QuoteToCheck(BaseModel):
    """A quote of anybody's text."""

    model_config = ConfigDict(extra="ignore")

    quote: Annotated[
        str,
        Field(
            max_length=MAX_READ_CHARS,
            validation_alias=AliasChoices("quote", "text"),
            description="word for word; ... for words left out",
        ),
        READ_TEXT,
    ]
    document_path: Annotated[
        str,
        Field(
            max_length=4096,
            validation_alias=AliasChoices("document_path", "document", "path"),
            description="by default the folder is searched",
        ),
        or_default(""),
    ] = ""


def _read_quotes(value: Any) -> Any:
    """Return a list of quotes from a list, one quote, or the JSON text of either. A plain text is a quote."""
    if isinstance(value, str):
        text = value.strip()
        try:
            value = json.loads(text) if text[:1] in {"[", "{"} else value
        except (ValueError, RecursionError):
            value = text
    items = list(value) if isinstance(value, list | tuple) else [value]
    return [{"quote": item} if isinstance(item, str) else item for item in items]


QuotesToCheck = Annotated[
    list[QuoteToCheck],
    Field(min_length=1, description=f"at most {MAX_CHECKED_QUOTES} in one call"),
    BeforeValidator(_read_quotes),
]


def _is_none(value: object) -> bool:
    return value is None


class WordDifference(Result):
    """Words of the quote, and what the document has in their place."""

    quoted: str
    document: str


class NearestText(Result):
    """Where a document comes nearest to a quote that it does not hold."""

    document: str
    page: Annotated[int | None, Field(exclude_if=_is_none)] = None
    lines: tuple[int, int]
    text: str
    differences: tuple[WordDifference, ...]


class CheckedQuote(Result):
    """One quote and what became of it."""

    quote: str
    verified: bool = Field(description="word for word")
    document: Annotated[str | None, Field(exclude_if=_is_none)] = None
    page: Annotated[int | None, Field(exclude_if=_is_none)] = None
    lines: Annotated[tuple[int, int] | None, Field(exclude_if=_is_none, description="first, last")] = None
    text: Annotated[str | None, Field(exclude_if=_is_none, description="what the document says there")] = None
    version: Annotated[
        str | None,
        Field(exclude_if=_is_none, description="if superseded"),
    ] = None
    reason: Annotated[str | None, Field(exclude_if=_is_none, description="why not")] = None
    nearest: Annotated[NearestText | None, Field(exclude_if=_is_none)] = None


class VerifiedQuotes(Result):
    """The quotes in the order in which they were given."""

    quotes: tuple[CheckedQuote, ...]
    verified: int
    not_verified: int
    warnings: Warnings = ()
