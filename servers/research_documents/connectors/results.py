"""Results of `search` and `fetch`, in the shapes that OpenAI's connectors have."""

from typing import Annotated

from pydantic import Field

from research_documents.results import Result


class ConnectorResult(Result):
    """One result of `search`."""

    id: str = Field(description="pass it to fetch")
    title: str
    url: str


class ConnectorResults(Result):
    """What `search` found, best first."""

    results: tuple[ConnectorResult, ...]
    warnings: Annotated[
        tuple[str, ...],
        Field(exclude_if=lambda value: value == (), description="why results may be missing"),
    ] = ()


class FetchMetadata(Result):
    """Where a fetched text comes from."""

    path: str
    media_type: str
    modified: str = Field(description="time of the last change, UTC")
    pages: int | None = Field(description="pages of the document, null when it has none")
    page: int | None = Field(description="the page that this is, or that it begins on")
    total_lines: int = Field(description="lines of the document")
    lines: str | None = Field(description="first and last line of this text, null when it has none")
    truncated: bool = Field(description="whether the text goes on; then next_id gives the rest")
    next_id: str | None
    notes: tuple[str, ...] = Field(description="what was repaired in the text, or is missing from it")


class FetchedDocument(Result):
    """The text behind an id."""

    id: str
    title: str
    text: str
    url: str
    metadata: FetchMetadata
