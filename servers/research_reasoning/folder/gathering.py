"""Evidence from passages of several documents in one call of a model, with verified quotes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from research_reasoning import prompts
from research_reasoning.budget import MIN_DOCUMENT_TOKENS
from research_reasoning.call import Call, completed
from research_reasoning.evidence import Shown, answers, coverage_of
from research_reasoning.evidence.gathering import (
    UNREADABLE,
    CheckedFinding,
    DocumentEvidence,
    checked_finding,
    checked_quote,
    repair_prompt,
)
from research_reasoning.evidence.selection import clip
from research_reasoning.inquiry import Inquiry
from research_reasoning.models.protocol import Body, Completion, Extract, Prompt, key_of
from research_shared.documents import DocumentText
from research_shared.errors import ModelFailed

MAX_SENTENCE_LINES = 8
"""Lines before and after a range that are looked at for the beginning and the end of a sentence."""
_CUT_BEGINNING = "…"
"""What a range begins with whose first sentence begins too far before it: no sentence begins so."""
PASSAGES_LABEL = "the evidence in the chosen passages"


@dataclass(frozen=True, slots=True)
class ShownDocument:
    """A chosen document: its number among the sources, its text, and what the model is shown of it."""

    number: int
    text: DocumentText
    shown: Shown


class PassagesTask:
    """The evidence prompt over the chosen passages, and its result."""

    def __init__(
        self,
        call: Call,
        inquiry: Inquiry,
        documents: Sequence[ShownDocument],
        *,
        findings: int,
        max_tokens: int,
    ) -> None:
        self._call = call
        self._inquiry = inquiry
        self._documents = documents
        self._findings = findings
        self._max_tokens = max_tokens
        self._share = 1.0
        """Part of the passages that is shown: less than all after a model refused the prompt as too long."""
        self._read = lru_cache(maxsize=1)(partial(answers.findings, most=findings))
        shown = [(each.number, each.text.path, each.text.digest, each.shown.ranges) for each in documents]
        self.key = key_of(prompts.PROMPTS_VERSION, "passages", inquiry, findings, shown, call.boundary)

    def prompt(self) -> Prompt:
        """Return the evidence prompt."""

        async def build() -> Body:
            return prompts.passages_evidence(
                sources=[(each.number, each.text.path, self._content(each)) for each in self._documents],
                inquiry=self._inquiry,
                findings=self._findings,
                boundary=self._call.boundary,
            )

        async def extract() -> Extract:
            lines = tuple(
                (each.number, tuple(whole_sentences(each.text, each.shown.ranges)))
                for each in self._documents
            )
            return Extract(
                "passages",
                (),
                self._inquiry.question,
                self._findings,
                sources=lines,
                format=self._inquiry.format,
                aspects=self._inquiry.aspects,
            )

        size = sum(each.shown.tokens for each in self._documents)
        return Prompt(
            self.key,
            PASSAGES_LABEL,
            self._max_tokens,
            build,
            extract,
            round(size * self._share) + self._call.budget.overhead,
            self._repair,
            usable=lambda answer: bool(self._read(answer)),
            smaller=self._smaller,
        )

    def _content(self, document: ShownDocument) -> str:
        if self._share >= 1:
            return document.shown.text
        return clip(document.shown.text, round(document.shown.tokens * self._share), self._call.estimate)

    def _smaller(self, tokens: int) -> Prompt | None:
        """Return the prompt that shows the beginning of what was chosen of each document."""
        left = tokens - self._call.budget.overhead
        whole = sum(each.shown.tokens for each in self._documents)
        if left < MIN_DOCUMENT_TOKENS or left >= whole * self._share:
            return None
        self._share = left / whole
        return self.prompt()

    def _repair(self, answer: str) -> Prompt | None:
        if self._read(answer) is not None:
            return None
        return repair_prompt(
            self._call,
            self.key,
            PASSAGES_LABEL,
            answer,
            prompts.evidence_shape(self._inquiry, passages=True),
            self._max_tokens,
        )

    async def gather(self) -> list[DocumentEvidence]:
        """Return the evidence of each document, the same in every round.

        Raises:
            ModelError: the model gave no answer, or none that can be read.
        """
        call, key = self._call, f"evidence:{self.key}"
        kept = call.ledger.get_result(key)
        if kept is None:
            (outcome,) = await call.ask([self.prompt()], reserve=self._inquiry.later_rounds)
            found = self._read(completed(outcome).text) if isinstance(outcome, Completion) else None
            if found is None:
                completed(outcome)
                raise ModelFailed(f"{UNREADABLE}: {PASSAGES_LABEL}")
            evidence = await asyncio.to_thread(self._checked, found)
            # Nobody knows of which document a finding is that is left out: the first one stands for all.
            left_out = answers.findings_left_out(completed(outcome).text, self._findings)
            evidence[0] = replace(evidence[0], left_out=left_out)
            kept = [each.packed() for each in evidence]
            call.ledger.set_result(key, kept, replaces=[self.key, key_of("repair", self.key)])
        return [DocumentEvidence.unpacked(each) for each in kept]

    def _checked(self, found: Sequence[answers.RawFinding]) -> list[DocumentEvidence]:
        """Return the findings by document: the one that holds the quotes, else the one that the model names."""
        by_number: dict[int, list[CheckedFinding]] = {each.number: [] for each in self._documents}
        documents = {each.number: each for each in self._documents}
        for finding in found:
            number, checked = self._placed(finding, documents)
            by_number[number].append(checked)
        evidence = []
        for each in self._documents:
            covered = coverage_of(each.text, each.shown.ranges, each.shown.clipped)
            if self._share < 1:
                covered = covered.model_copy(update={"complete": False})
            evidence.append(DocumentEvidence(each.text.path, tuple(by_number[each.number]), covered=covered))
        return evidence

    def _placed(
        self, finding: answers.RawFinding, documents: Mapping[int, ShownDocument]
    ) -> tuple[int, CheckedFinding]:
        named = documents.get(finding.source or 0)
        order = [named] if named is not None else []
        order += [each for each in self._documents if each is not named]
        tried: list[tuple[int, CheckedFinding]] = []
        for each in order:
            finder = self._call.prepared.quotes(each.text)
            quotes = tuple(checked_quote(finder, each.text, quote) for quote in finding.quotes)
            checked = checked_finding(finding, quotes)
            if quotes and all(quote.verified for quote in quotes):
                return each.number, checked
            tried.append((each.number, checked))
        return max(tried, key=lambda each: sum(quote.verified for quote in each[1].quotes))


def whole_sentences(text: DocumentText, ranges: Sequence[tuple[int, int]]) -> list[str]:
    """Return the lines of ranges with those around them that their first and last sentences need, ranges a blank apart."""
    lines: list[str] = []
    for begin, end in ranges:
        first, last = begin, min(end, text.total_lines)
        while first > max(1, begin - MAX_SENTENCE_LINES) and _goes_on(text, first - 1):
            first -= 1
        while last < min(text.total_lines, end + MAX_SENTENCE_LINES) and _goes_on(text, last):
            last += 1
        if first == max(1, begin - MAX_SENTENCE_LINES) and first > 1 and _goes_on(text, first - 1):
            lines.append(_CUT_BEGINNING)
        lines += [*text.lines(first, last), ""]
    return lines


def _goes_on(text: DocumentText, line: int) -> bool:
    """Return whether the sentence at the end of a line goes on in the next one."""
    here, following = text.line(line).rstrip(), text.line(line + 1)
    return bool(here and following.strip()) and not here.endswith((".", "!", "?", ":", "\u3002"))
