"""What the tools give: the models whose JSON schemas the server publishes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from research_reasoning.models.protocol import Route

SummaryLength = Literal["brief", "standard", "detailed"]
Depth = Literal["overview", "detailed"]
AnswerFormat = Literal["prose", "table", "timeline"]
ExportFormat = Literal["markdown", "bibtex", "csl-json"]
SourceStatus = Literal["used", "skipped", "duplicate"]


def _is_absent(value: object) -> bool:
    return value is None


def _is_empty(value: str | list[str]) -> bool:
    return not value


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Coverage(_Result):
    """How much of a document the model was shown. Lines are those that read_document shows."""

    lines_shown: int
    lines_total: int
    pages_shown: int | None = Field(description="at least in part; null: no pages")
    pages_total: int | None
    ranges: list[tuple[int, int]] = Field(description="first and last line of what was shown")
    complete: bool
    clipped_lines: int = Field(description="lines so long that only their beginning was shown")


class Usage(_Result):
    """What the call cost. Tokens are the provider's own counts where it reports them, estimates otherwise.

    `rounds` is how often the client was asked; 0 on routes without rounds.
    """

    model_calls: int
    attempts: int
    rounds: int
    input_tokens: int
    output_tokens: int


_Usage = Annotated[
    Usage,
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "integer"}}, mode="serialization"),
]


class Summary(_Result):
    """The result of summarize_document. `token_estimate` is of the summary; `model` is `extractive` when none wrote it."""

    document_path: str
    summary: str
    word_count: int
    token_estimate: int
    model: str
    route: Route
    summary_length: SummaryLength
    coverage: Coverage
    warnings: list[str]
    usage: _Usage


class Evidence(_Result):
    """A quote as its document has it and where it is; `verified` says that the server found it there word for word."""

    document: str
    page: int | None
    lines: tuple[int, int] | None = Field(description="null: not found")
    quote: str
    verified: bool
    ocr: bool = Field(
        default=False, exclude_if=lambda ocr: not ocr, description="read by OCR: letters may be wrong"
    )


class Insight(_Result):
    """A claim with what it rests on; verified when there is evidence, all of it was found, and nothing is flagged."""

    claim: str
    evidence: list[Evidence]
    verified: bool
    flags: list[str] = Field(description="numbers and negations of the claim that its quotes do not hold")


class Source(_Result):
    """One requested document and what became of it. In-text citations [1] count these from 1."""

    path: str
    status: SourceStatus
    reason: str | None = Field(
        description="why it was skipped, what it was chosen for, or which document it is a copy or version of"
    )
    coverage: Coverage | None


class Cell(_Result):
    """What a document says on one aspect, with the quote that holds it; both null: not stated."""

    value: str | None
    evidence: Evidence | None
    flags: list[str] = Field(
        default=[], exclude_if=_is_empty, description="as of an insight: what the quote does not hold"
    )


class TableRow(_Result):
    """One document of a table; `cells` are in the order of the aspects."""

    document: str
    cells: list[Cell]


class ComparisonTable(_Result):
    """Documents by aspects. Each cell rests on a quote that was found in its document."""

    aspects: list[str]
    rows: list[TableRow]
    stated: int = Field(description="cells with an entry")
    unsupported: int = Field(description="entries left out because no quote of theirs was found")


class DatedEvent(_Result):
    """What happened when, as a document states it. `iso` is a year, month or day, or the months of a quarter."""

    date: str = Field(description="as it is stated")
    iso: str
    claim: str
    evidence: list[Evidence]
    verified: bool
    flags: list[str]


class Timeline(_Result):
    """Dated events, the earliest first. `undated` counts what was left out because it gives no date that can be read."""

    events: list[DatedEvent]
    undated: int


class Export(_Result):
    """The answer, or its sources, as the text of a file."""

    format: ExportFormat
    content: str


class FolderSearch(_Result):
    """How evidence was chosen when no documents were named. The model was shown at most `token_budget` tokens of them."""

    documents_considered: int
    documents_read: int
    queries: list[str] = Field(description="what was searched for; the first is the question")
    token_budget: int
    passages_reused: int = Field(
        default=0,
        exclude_if=lambda number: not number,
        description="passages with evidence of the answer that the question follows",
    )


_OptionalFolderSearch = Annotated[
    FolderSearch | None,
    Field(
        description="of a call without document_paths: documents_considered, documents_read, queries, token_budget"
    ),
    WithJsonSchema({"type": ["object", "null"]}, mode="serialization"),
]


_OptionalTable = Annotated[
    ComparisonTable | None, Field(exclude_if=_is_absent, description="with format table")
]
_OptionalTimeline = Annotated[
    Timeline | None, Field(exclude_if=_is_absent, description="with format timeline")
]
_OptionalExport = Annotated[Export | None, Field(exclude_if=_is_absent, description="with export")]


class Synthesis(_Result):
    """The result of synthesize_research. Of what was not combined (`partial`) the findings per document are given."""

    research_question: str
    synthesis: str
    key_insights: list[Insight]
    contradictions: list[Insight] = Field(description="what findings contradict each other on")
    answered: bool
    not_answered: list[str] = Field(default=[], description="what of the question stays open")
    selection: _OptionalFolderSearch = None
    table: _OptionalTable = None
    timeline: _OptionalTimeline = None
    export: _OptionalExport = None
    follow_up: str = Field(
        default="",
        exclude_if=_is_empty,
        description="pass it to the next question to reuse the evidence of this one; valid for a day",
    )
    sources_used: int
    sources_skipped: int
    sources: list[Source]
    partial: bool
    unverified_quotes: int
    depth: Depth
    model: str
    route: Route
    warnings: list[str]
    usage: _Usage

    def quotes(self) -> list[Evidence]:
        """Return the quotes that the answer rests on, in the order of their weight."""
        found = [item for insight in self.key_insights for item in insight.evidence]
        found += [item for insight in self.contradictions for item in insight.evidence]
        if self.table is not None:
            found += [cell.evidence for row in self.table.rows for cell in row.cells if cell.evidence]
        if self.timeline is not None:
            found += [item for event in self.timeline.events for item in event.evidence]
        return found
