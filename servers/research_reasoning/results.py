"""What the tools give: the models whose JSON schemas the server publishes."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from research_reasoning.models.protocol import Route

SummaryLength = Literal["brief", "standard", "detailed"]
Depth = Literal["overview", "detailed"]
SourceStatus = Literal["used", "skipped"]


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Coverage(_Result):
    """How much of a document the model was shown. Lines are those that read_document shows."""

    lines_shown: int = Field(
        description="Non-blank stretches counted in lines, including blank lines within them"
    )
    lines_total: int
    pages_shown: int | None = Field(
        description="Pages of which at least a part was shown; null without pages"
    )
    pages_total: int | None
    ranges: list[tuple[int, int]] = Field(description="First and last line of each stretch that was shown")
    complete: bool = Field(description="Whether every line with text was shown in full")
    clipped_lines: int = Field(description="Lines so long that only their beginning was shown")


class Usage(_Result):
    """What the call cost. Tokens are the provider's own counts where it reports them, estimates otherwise."""

    model_calls: int
    attempts: int
    rounds: int = Field(description="Rounds in which the client was asked; 0 on routes without rounds")
    input_tokens: int
    output_tokens: int


class Summary(_Result):
    """The result of summarize_document."""

    document_path: str
    summary: str
    word_count: int
    token_estimate: int = Field(description="Estimated tokens of the summary")
    model: str = Field(description="Which model wrote it; `extractive` when no model did")
    route: Route
    summary_length: SummaryLength
    coverage: Coverage
    warnings: list[str]
    usage: Usage


class Evidence(_Result):
    """A quote and where it is."""

    document: str
    page: int | None = Field(description="1-based; null without pages or when the quote was not found")
    lines: tuple[int, int] | None = Field(
        description="First and last line; null when the quote was not found"
    )
    quote: str
    verified: bool = Field(description="Whether the server found exactly this quote in the document")


class Insight(_Result):
    """A claim with what it rests on."""

    claim: str
    evidence: list[Evidence]
    verified: bool = Field(description="Whether there is evidence and all of it was found in the documents")


class Source(_Result):
    """One requested document and what became of it. In-text citations [1] count these from 1."""

    path: str
    status: SourceStatus
    reason: str | None = Field(description="Why a source was skipped")
    coverage: Coverage | None


class Synthesis(_Result):
    """The result of synthesize_research."""

    research_question: str
    synthesis: str
    key_insights: list[Insight]
    answered: bool = Field(description="Whether the documents answer the question")
    sources_used: int
    sources_skipped: int
    sources: list[Source]
    partial: bool = Field(
        description="Whether the combination failed and only findings per document are given"
    )
    unverified_quotes: int
    depth: Depth
    model: str = Field(description="Which model answered; `extractive` when no model did")
    route: Route
    warnings: list[str]
    usage: Usage
