"""The shapes that the documents tools answer with."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from research_shared.formats import Metadata
from research_shared.reading.versions import VersionNote

MAX_GIVEN_NAMES: Final = 10
"""Authors, and tags, of one document that are given."""


def _absent(value: object) -> bool:
    return value is None or value is False or value == ()


class Result(BaseModel):
    """Base of all results: frozen, and without the optional fields that have nothing to say."""

    model_config = ConfigDict(frozen=True)


Warnings = Annotated[
    tuple[str, ...],
    Field(
        exclude_if=_absent,
        description="what the answer lacks; tell the user",
    ),
]


def _unknown(value: object) -> bool:
    return not value


class DocumentFacts(Result):
    """What is known of one document: what it says about itself, and whether it is a copy or an older version."""

    path: str = Field(description="what the other tools take")
    title: Annotated[str, Field(exclude_if=_unknown)] = ""
    authors: Annotated[tuple[str, ...], Field(exclude_if=_unknown)] = ()
    date: Annotated[str, Field(exclude_if=_unknown, description="its own")] = ""
    language: Annotated[str, Field(exclude_if=_unknown)] = ""
    pages: Annotated[int, Field(exclude_if=_unknown)] = 0
    tags: Annotated[tuple[str, ...], Field(exclude_if=_unknown)] = ()
    same_content_as: Annotated[str, Field(exclude_if=_unknown)] = ""
    version_of: Annotated[str, Field(exclude_if=_unknown)] = ""
    version: Annotated[str, Field(exclude_if=_unknown)] = ""

    @classmethod
    def facts_of(
        cls, metadata: Metadata, *, pages: int | None, note: VersionNote | None, brief: bool = False
    ) -> dict[str, Any]:
        """Return the optional fields: all of them, or with `brief` only what the document is to others."""
        said: dict[str, Any] = {}
        if note is not None:
            said = {
                "same_content_as": note.same_content_as,
                "version_of": note.version_of,
                "version": note.kind or "",
            }
        if brief:
            return said
        return said | {
            "title": metadata.title,
            "authors": metadata.authors[:MAX_GIVEN_NAMES],
            "date": metadata.date,
            "language": metadata.language,
            "pages": pages or 0,
            "tags": metadata.tags[:MAX_GIVEN_NAMES],
        }


class Document(DocumentFacts):
    """One document of the listing."""

    filename: str
    size_bytes: int
    media_type: str
    modified: datetime = Field(description="last change, UTC")


class DocumentList(Result):
    """One page of the listing, sorted by path."""

    documents: tuple[Document, ...]
    count: int = Field(description="on this page")
    total: int = Field(description="over all pages")
    next_cursor: str | None = Field(default=None, description="cursor of the next page")
    warnings: Warnings = ()


class Match(Result):
    """One place where the query was found."""

    document: str
    line_number: int = Field(description="1-based, of matched_text")
    matched_text: str
    page: Annotated[int | None, Field(exclude_if=_absent)] = None
    score: Annotated[
        float | None,
        Field(exclude_if=_absent, description="higher is better, comparable within one answer only"),
    ] = None
    before: Annotated[tuple[str, ...], Field(exclude_if=_absent, description="lines before")] = ()
    after: Annotated[tuple[str, ...], Field(exclude_if=_absent, description="lines after")] = ()
    ocr: Annotated[bool, Field(exclude_if=_absent, description="read by OCR: letters may be wrong")] = False


class UnreadableDocument(Result):
    """A document that could not be searched, or only in part; `reason` then names the pages."""

    path: str
    reason: str


class Indexing(Result):
    """How far the index is."""

    done: int
    total: int = Field(description="as far as the folder is listed")


class Embedded(Result):
    """How many passages hybrid mode ranked by meaning. `stopped`: no more for now, for a reason that a warning names."""

    done: int
    total: int
    stopped: Annotated[bool, Field(exclude_if=_absent)] = False


class SearchResult(Result):
    """What a search found: best first in keyword and hybrid mode, by path and line in regex mode."""

    matches: tuple[Match, ...]
    total_documents: int = Field(description="documents searched")
    truncated: bool = Field(description="there may be more")
    documents: Annotated[
        tuple[DocumentFacts, ...],
        Field(exclude_if=_absent),
        WithJsonSchema(
            {
                "type": "array",
                "items": {"type": "object"},
                "description": "those of the matches, as in a listing",
            },
            mode="serialization",
        ),
    ] = ()
    unreadable: tuple[UnreadableDocument, ...] = Field(
        default=(), description="not searched, or only in part"
    )
    warnings: Warnings = ()
    next_cursor: Annotated[str | None, Field(exclude_if=_absent, description="cursor of the next page")] = (
        None
    )
    embedded: Annotated[
        Embedded | None,
        Field(exclude_if=_absent),
        WithJsonSchema({"type": "object", "description": "passages ranked by meaning"}, mode="serialization"),
    ] = None
    indexing: Annotated[
        Indexing | None,
        Field(exclude_if=_absent, description="repeat in a few seconds"),
    ] = None


class NumberedLine(Result):
    """One line of a document."""

    number: int
    text: str
    page: Annotated[int | None, Field(exclude_if=_absent)] = None
    ocr: Annotated[bool, Field(exclude_if=_absent, description="read by OCR: letters may be wrong")] = False


class DocumentExcerpt(Result):
    """A stretch of a document."""

    document_path: str
    media_type: str
    lines: tuple[NumberedLine, ...]
    total_lines: int
    pages: int | None = Field(default=None, description="null: no pages")
    next_start_line: int | None = Field(default=None, description="where to go on; null: the end")
    notes: Annotated[
        tuple[str, ...],
        Field(
            exclude_if=_absent, description="what the text lacks, what was repaired, how an argument was read"
        ),
    ] = ()
