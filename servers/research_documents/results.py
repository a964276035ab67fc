"""The shapes that the documents tools answer with."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


def _absent(value: object) -> bool:
    return value is None or value == ()


class Result(BaseModel):
    """Base of all results: frozen, and without the optional fields that have nothing to say."""

    model_config = ConfigDict(frozen=True)


class Document(Result):
    """One document of the listing."""

    path: str = Field(description="the path that every other tool takes, exactly as it stands here")
    filename: str
    size_bytes: int
    media_type: str
    modified: datetime = Field(description="time of the last change, UTC")


class DocumentList(Result):
    """One page of the listing, sorted by path."""

    documents: tuple[Document, ...]
    count: int = Field(description="documents on this page")
    total: int = Field(description="documents that match, over all pages")
    next_cursor: str | None = Field(default=None, description="pass it as cursor to get the next page")


class Match(Result):
    """One place where the query was found."""

    document: str
    line_number: int = Field(description="1-based, as read_document counts")
    matched_text: str = Field(
        description="the line; a very long one is cut around the match and marked with …"
    )
    page: Annotated[
        int | None, Field(exclude_if=_absent, description="1-based, for documents with pages")
    ] = None
    score: Annotated[float | None, Field(exclude_if=_absent, description="relevance, keyword mode only")] = (
        None
    )
    before: Annotated[tuple[str, ...], Field(exclude_if=_absent, description="context lines before")] = ()
    after: Annotated[tuple[str, ...], Field(exclude_if=_absent, description="context lines after")] = ()


class Unreadable(Result):
    """A document that could not be searched."""

    path: str
    reason: str


class Indexing(Result):
    """How far the index is; matches in documents that are not done yet are missing."""

    done: int
    total: int


class SearchResult(Result):
    """What a search found: best first in keyword mode, by path and line in regex mode."""

    matches: tuple[Match, ...]
    total_documents: int = Field(description="documents that were searched")
    truncated: bool = Field(description="whether there is more than is shown")
    unreadable: tuple[Unreadable, ...] = ()
    warnings: Annotated[tuple[str, ...], Field(exclude_if=_absent)] = ()
    next_cursor: Annotated[
        str | None, Field(exclude_if=_absent, description="pass it as cursor to get more")
    ] = None
    indexing: Annotated[Indexing | None, Field(exclude_if=_absent)] = None


class NumberedLine(Result):
    """One line of a document."""

    number: int
    text: str
    page: Annotated[int | None, Field(exclude_if=_absent)] = None


class DocumentExcerpt(Result):
    """A stretch of a document."""

    document_path: str
    media_type: str
    lines: tuple[NumberedLine, ...]
    total_lines: int
    pages: int | None = Field(default=None, description="pages of the document, null when it has none")
    next_start_line: int | None = Field(
        default=None, description="start_line of the next stretch, null at the end"
    )
    notes: Annotated[
        tuple[str, ...],
        Field(exclude_if=_absent, description="what was repaired in the text, or is missing from it"),
    ] = ()
