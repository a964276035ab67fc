"""What is asked of the documents: the question, the form of the answer, and what was asked before."""

from dataclasses import dataclass, replace
from typing import Final

from research_reasoning.budget import DEPTHS, DepthPlan
from research_reasoning.replies.results import AnswerFormat, Depth

MAX_ASPECTS: Final = 8
"""Columns of a table."""
MAX_ASPECT_CHARS: Final = 80
MAX_TABLE_ROWS: Final = 20
"""Documents of one table: a reply holds no more."""
CELL_TOKENS: Final = 130
"""Output tokens of one entry of a table with its quote."""
EVENTS: Final = 2
"""Dated events asked for, to one finding of an answer in prose."""
_COMBINATION_ROUNDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """One question. `aspects` are the columns of a table; `earlier` are the questions that this one follows, the first first."""

    question: str
    format: AnswerFormat = "prose"
    aspects: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()

    @property
    def search_text(self) -> str:
        """What passages are ranked for: the question and the aspects."""
        return " ".join([self.question, *self.aspects])

    @property
    def asked_text(self) -> str:
        """All that a prompt says of the inquiry."""
        return " ".join([self.search_text, *self.earlier])

    @property
    def later_rounds(self) -> int:
        """Rounds that the evidence leaves to the combination and its repair; tables and timelines need no combination."""
        return _COMBINATION_ROUNDS if self.format == "prose" else 0

    def plan(self, depth: Depth, documents: int, content_tokens: int) -> DepthPlan:
        """Return what is asked of each of so many documents, when a combination holds `content_tokens`."""
        plan = DEPTHS[depth]
        if self.format == "table":
            columns = len(self.aspects)
            return replace(
                plan,
                findings=columns,
                evidence_tokens=max(plan.evidence_tokens, CELL_TOKENS * columns),
            )
        if self.format == "timeline":
            return replace(
                plan, findings=EVENTS * plan.findings, evidence_tokens=EVENTS * plan.evidence_tokens
            )
        return plan.for_document_count(documents, content_tokens)
