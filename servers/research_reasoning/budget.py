"""How many tokens a request may spend, and how they are shared out. All counts are estimated tokens."""

import math
from dataclasses import dataclass, replace
from typing import Self

from research_reasoning.replies.results import Depth, SummaryLength
from research_shared.errors import BudgetExceeded

OVERHEAD = 420
"""Instructions around the material of one prompt."""

SPARE = 0.1
"""Of a request's tokens, for attempts after a useless answer and for repairs."""

MIN_SHARE = 150
"""Less of a document than this says nothing about it."""

FINDING_TOKENS = 120
"""What a finding with its quotes takes in the combination."""

MAX_NOTES_TOKENS = 400

MIN_EVIDENCE_TOKENS = 400
"""An answer about a document needs this much however few findings it may give."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The operator's ceilings: input of one model call, input of one request."""

    call_tokens: int = 24_000
    request_tokens: int = 300_000
    overhead: int = OVERHEAD
    """What one prompt holds besides its material: the instructions, and the question where there is one."""

    @property
    def material(self) -> int:
        """What one prompt can hold besides its instructions."""
        return self.call_tokens - self.overhead

    @property
    def planned(self) -> int:
        """What prompts may take that are all asked at once: a last call and what is asked again come on top."""
        return int((self.request_tokens - self.call_tokens) * (1 - SPARE))

    def share(self, documents: int, wanted: int) -> int:
        """What each of so many documents may show, with a call's worth kept back for the combination.

        Raises:
            BudgetExceeded: it would be too little to say anything.
        """
        room = self.planned // max(documents, 1) - self.overhead
        share = min(wanted, self.material, room)
        if self.material < MIN_SHARE:
            raise BudgetExceeded(
                "the question leaves no room for a document", hint="Ask a shorter question.", limit=0
            )
        if share < MIN_SHARE:
            most = self.planned // (MIN_SHARE + self.overhead)
            raise BudgetExceeded(
                f"{documents} documents are too many for one request",
                hint=f"Ask about at most {most} documents at a time, or narrow the list with search_documents.",
                limit=most,
            )
        return share


@dataclass(frozen=True, slots=True)
class DepthPlan:
    """What a depth means: material shown and findings asked for per document, and limits on answers."""

    share: int
    findings: int
    evidence_tokens: int
    insights: int
    paragraphs: str
    combine_tokens: int

    def among(self, documents: int, material: int) -> Self:
        """The plan for each of so many documents: no more findings than twice what fits a combination of `material`."""
        fitting = math.ceil(2 * material / (FINDING_TOKENS * max(documents, 1)))
        findings = max(1, min(self.findings, fitting))
        tokens = max(MIN_EVIDENCE_TOKENS, self.evidence_tokens * findings // self.findings)
        return replace(self, findings=findings, evidence_tokens=min(tokens, self.evidence_tokens))

    @property
    def notes_tokens(self) -> int:
        """What is kept of prose that stands in place of findings."""
        return min(MAX_NOTES_TOKENS, self.findings * FINDING_TOKENS)


DEPTHS: dict[Depth, DepthPlan] = {
    "overview": DepthPlan(3_000, 3, 900, 5, "one or two paragraphs", 1_600),
    "detailed": DepthPlan(10_000, 6, 1_800, 10, "four to six paragraphs", 3_500),
}


@dataclass(frozen=True, slots=True)
class LengthPlan:
    """What a summary's length means."""

    paragraphs: int
    instruction: str
    max_tokens: int
    notes_tokens: int


LENGTHS: dict[SummaryLength, LengthPlan] = {
    "brief": LengthPlan(1, "exactly one paragraph of at most 120 words", 500, 300),
    "standard": LengthPlan(3, "exactly three paragraphs", 1_200, 600),
    "detailed": LengthPlan(5, "five or more paragraphs", 3_000, 1_000),
}
