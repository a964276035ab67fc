"""Token budgets of a request and how they are divided. All counts are estimated tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from research_reasoning.replies.results import Depth, SummaryLength
from research_shared.errors import BudgetExceeded
from research_shared.text.sizes import counted

OVERHEAD = 700
"""Tokens of the instructions in one prompt, at most."""

RETRY_FRACTION = 0.1
"""Fraction of a request's tokens reserved for further attempts and for repairs."""

MIN_DOCUMENT_TOKENS = 150
"""Smallest useful excerpt of a document."""

MIN_BYTES_PER_TOKEN = 3
"""Bytes of text that make a token at least, for estimates before a text is looked at."""

FINDING_TOKENS = 120
"""Size of a finding with its quotes in the combination prompt."""

MAX_NOTES_TOKENS = 400

MIN_EVIDENCE_TOKENS = 400
"""Minimum output limit of an evidence prompt, however few findings it asks for."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Input limits set by the operator: of one model call and of one request."""

    call_tokens: int = 24_000
    request_tokens: int = 300_000
    overhead: int = OVERHEAD
    """Tokens of a prompt besides its content: the instructions, and the question if there is one."""

    @property
    def content_tokens(self) -> int:
        """Tokens of content that fit one prompt."""
        return self.call_tokens - self.overhead

    @property
    def planned(self) -> int:
        """Tokens for the prompts of the first step. The rest is reserved for the final call and for retries."""
        return int((self.request_tokens - self.call_tokens) * (1 - RETRY_FRACTION))

    def per_document_tokens(self, documents: int, wanted: int) -> int:
        """Return how many tokens of each document to show; one call's input stays reserved for the combination.

        Args:
            documents: number of documents in the request.
            wanted: upper limit per document.

        Raises:
            BudgetExceeded: less than `MIN_DOCUMENT_TOKENS` remain per document.
        """
        room = self.planned // max(documents, 1) - self.overhead
        tokens = min(wanted, self.content_tokens, room)
        if self.content_tokens < MIN_DOCUMENT_TOKENS:
            raise BudgetExceeded(
                "the question leaves no room for a document", hint="Ask a shorter question.", limit=0
            )
        if tokens < MIN_DOCUMENT_TOKENS:
            most = self.planned // (MIN_DOCUMENT_TOKENS + self.overhead)
            raise BudgetExceeded(
                f"{counted(documents, 'document is', 'documents are')} too many for one request",
                hint=f"Ask about at most {counted(most, 'document')} at a time, or narrow the list with search_documents.",
                limit=most,
            )
        return tokens

    def spare_tokens(self, sizes: Sequence[int], least: int, together: int) -> int:
        """Return how many tokens of each document to show, at least `least`, when few or small ones leave room.

        Args:
            sizes: upper estimates of the documents' tokens.
            least: what is shown of each document in any case, from `per_document_tokens`.
            together: what is to be shown of all documents. `least` of each may be more.
        """
        room = min(max(together, least * len(sizes)), self.planned - len(sizes) * self.overhead)
        return max(least, min(self.content_tokens, _level(sizes, room)))


def _level(sizes: Sequence[int], room: int) -> int:
    """Return the largest limit under which documents of these sizes together take no more than `room`."""
    for number, size in enumerate(ordered := sorted(sizes)):
        left = len(ordered) - number
        if size * left > room:
            return room // left
        room -= size
    return room + max(sizes, default=0)


@dataclass(frozen=True, slots=True)
class DepthPlan:
    """What a depth means: content shown and findings asked for per document, and output limits in tokens.

    `per_document_tokens` is shown of each of many documents; of few, `together_tokens` are shown of all together, as far
    as the limit of a call allows.
    """

    per_document_tokens: int
    together_tokens: int
    findings: int
    evidence_tokens: int
    insights: int
    paragraphs: str
    combine_tokens: int

    def for_document_count(self, documents: int, content_tokens: int) -> Self:
        """Return the plan with no more findings per document than twice what fits a combination of `content_tokens`."""
        fitting = math.ceil(2 * content_tokens / (FINDING_TOKENS * max(documents, 1)))
        findings = max(1, min(self.findings, fitting))
        tokens = max(MIN_EVIDENCE_TOKENS, self.evidence_tokens * findings // self.findings)
        return replace(self, findings=findings, evidence_tokens=min(tokens, self.evidence_tokens))

    @property
    def notes_tokens(self) -> int:
        """Limit on prose that is kept in place of findings."""
        return min(MAX_NOTES_TOKENS, self.findings * FINDING_TOKENS)


DEPTHS: dict[Depth, DepthPlan] = {
    "overview": DepthPlan(
        per_document_tokens=3_000,
        together_tokens=15_000,
        findings=3,
        evidence_tokens=900,
        insights=5,
        paragraphs="one or two paragraphs",
        combine_tokens=1_600,
    ),
    "detailed": DepthPlan(
        per_document_tokens=10_000,
        together_tokens=60_000,
        findings=6,
        evidence_tokens=1_800,
        insights=10,
        paragraphs="four to six paragraphs",
        combine_tokens=3_500,
    ),
}


@dataclass(frozen=True, slots=True)
class LengthPlan:
    """What a summary length means: paragraphs, the instruction for the model, and output limits in tokens."""

    paragraphs: int
    instruction: str
    max_tokens: int
    notes_tokens: int


LENGTHS: dict[SummaryLength, LengthPlan] = {
    "brief": LengthPlan(1, "exactly one paragraph of at most 120 words", 500, 300),
    "standard": LengthPlan(3, "exactly three paragraphs", 1_200, 600),
    "detailed": LengthPlan(5, "five or more paragraphs", 3_000, 1_000),
}
