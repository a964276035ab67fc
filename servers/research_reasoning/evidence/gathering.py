"""Gathers evidence: asks the model what each document says about the question, and verifies the quotes."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from typing import Any

from research_reasoning import prompts
from research_reasoning.budget import MIN_BYTES_PER_TOKEN, MIN_DOCUMENT_TOKENS, OVERHEAD, DepthPlan
from research_reasoning.call import Call
from research_reasoning.evidence import answers
from research_reasoning.evidence.coverage import coverage_of
from research_reasoning.evidence.selection import Shown, clip
from research_reasoning.inquiry import Inquiry
from research_reasoning.models.protocol import Body, Completion, Extract, Prompt, PromptOutcome, key_of
from research_reasoning.replies.results import Coverage
from research_reasoning.replies.untrusted import quoted
from research_shared.documents import DocumentText
from research_shared.errors import ModelError, ModelFailed, ModelUnavailable
from research_shared.text.quotes import QuoteFinder
from research_shared.text.sizes import counted

UNREADABLE = "the model's answer was not in the format that was asked for"


@dataclass(frozen=True, slots=True)
class Quote:
    """A quote with its place. `text` is the document's, or the model's if the quote was not found; then the place is None.

    `ocr` says that its page was read by OCR.
    """

    text: str
    start_line: int | None
    end_line: int | None
    page: int | None
    ocr: bool = False

    @property
    def verified(self) -> bool:
        """Whether the document contains the quote."""
        return self.start_line is not None


@dataclass(frozen=True, slots=True)
class CheckedFinding:
    """A finding with verified or rejected quotes. `aspect` and `date` are what an answer for a table or a timeline gives."""

    claim: str
    quotes: tuple[Quote, ...]
    aspect: str = ""
    date: str = ""

    @property
    def verified(self) -> list[str]:
        """The texts of its verified quotes."""
        return [quote.text for quote in self.quotes if quote.verified]


@dataclass(frozen=True, slots=True)
class DocumentEvidence:
    """Evidence from one document. `notes` is the prose of an answer that was not JSON; `failure` is the reason if there is none."""

    path: str
    findings: tuple[CheckedFinding, ...] = ()
    notes: str = ""
    covered: Coverage | None = None
    failure: str | None = None
    left_out: int = 0
    """Findings of the model's answer that could not be read, or were more than were asked for."""

    def packed(self) -> dict[str, Any]:
        """Return the evidence as JSON."""
        kept = asdict(self)
        kept["covered"] = self.covered.model_dump(mode="json") if self.covered else None
        return kept

    @classmethod
    def unpacked(cls, kept: dict[str, Any]) -> "DocumentEvidence":
        """Return the evidence from the output of `packed`."""
        found = tuple(
            CheckedFinding(
                item["claim"],
                tuple(Quote(**quote) for quote in item["quotes"]),
                item["aspect"],
                item["date"],
            )
            for item in kept["findings"]
        )
        covered = Coverage.model_validate(kept["covered"]) if kept["covered"] else None
        return cls(kept["path"], found, kept["notes"], covered, kept["failure"], kept.get("left_out", 0))


class EvidenceTask:
    """The evidence prompt of one document, and its result."""

    def __init__(
        self, call: Call, text: DocumentText, inquiry: Inquiry, plan: DepthPlan, per_document_tokens: int
    ) -> None:
        self.text = text
        self.label = f"the evidence in {quoted(text.path)}"
        self.inquiry = inquiry
        self.plan = plan
        self._call = call
        self._per_document_tokens = per_document_tokens
        self._selected: tuple[Shown, str] | None = None
        self._read = lru_cache(maxsize=1)(partial(answers.findings, most=plan.findings))
        self.prose: str | None = None
        """The model's first answer if it was not valid JSON."""
        self.key = key_of(
            prompts.PROMPTS_VERSION,
            "evidence",
            text.path,
            text.digest,
            inquiry,
            plan,
            per_document_tokens,
            call.boundary,
        )
        self.shown_key = f"shown:{self.key}"

    async def selected(self) -> tuple[Shown, str]:
        """Return what the model is shown, and the outline of the rest. The same in every round."""
        if self._selected is None:
            self._selected = await asyncio.to_thread(
                self._call.prepared.select,
                self.text,
                self.inquiry.search_text,
                int(self._per_document_tokens / self._call.correction),
            )
        return self._selected

    def prompt(self) -> Prompt:
        """Return the evidence prompt."""

        async def build() -> Body:
            shown, headings = await self.selected()
            covered = coverage_of(self.text, shown.ranges, shown.clipped)
            self._call.ledger.set_result(self.shown_key, covered.model_dump(mode="json"), replaces=[])
            return prompts.evidence(
                path=self.text.path,
                inquiry=self.inquiry,
                outline=headings,
                content=shown.text,
                whole=covered.complete,
                plan=self.plan,
                boundary=self._call.boundary,
            )

        size = min(self._per_document_tokens, len(self.text.data) // MIN_BYTES_PER_TOKEN)
        return Prompt(
            self.key,
            self.label,
            self.plan.evidence_tokens,
            build,
            self._extract,
            size + self._call.budget.overhead,
            self.repair,
            brief=True,
            usable=lambda answer: bool(self._read(answer)),
            smaller=self._smaller,
        )

    def _smaller(self, tokens: int) -> Prompt | None:
        """Return the prompt that shows less of the document, selected anew."""
        left = tokens - self._call.budget.overhead
        if left < MIN_DOCUMENT_TOKENS:
            return None
        self._per_document_tokens, self._selected = left, None
        return self.prompt()

    async def _extract(self) -> Extract:
        shown, _ = await self.selected()
        return Extract(
            "evidence",
            tuple(shown.text.split("\n")),
            self.inquiry.question,
            self.plan.findings,
            format=self.inquiry.format,
            aspects=self.inquiry.aspects,
        )

    def repair(self, answer: str) -> Prompt | None:
        """Return the prompt that asks to correct an answer, or None for a well-formed answer."""
        if self._read(answer) is not None:
            return None
        self.prose = answer
        return repair_prompt(
            self._call,
            self.key,
            self.label,
            answer,
            prompts.evidence_shape(self.inquiry),
            self.plan.evidence_tokens,
        )

    async def outcome(self, outcome: PromptOutcome) -> DocumentEvidence:
        """Return the evidence of the final outcome. Prose that could not be repaired is kept as notes, JSON is not."""
        if isinstance(outcome, Completion):
            found = self._read(outcome.text)
        elif self.prose is not None:
            found = None
        else:
            return DocumentEvidence(self.text.path, failure=outcome.message)
        if found is not None and isinstance(outcome, Completion):
            evidence = await self._checked(found)
            left_out = answers.findings_left_out(outcome.text, self.plan.findings)
            return replace(evidence, left_out=left_out)
        said = answers.prose(self.prose or "")
        if not said:
            return DocumentEvidence(self.text.path, failure=UNREADABLE)
        await self._call.client.warning(
            f"{quoted(self.text.path)}: the model did not keep to the format; its prose is kept without evidence",
            once=True,
        )
        notes = clip(answers.without_citations(said), self.plan.notes_tokens, self._call.estimate)
        return await self._checked((), notes)

    async def _checked(self, found: Sequence[answers.RawFinding], notes: str = "") -> DocumentEvidence:
        """Return the evidence, each quote searched for in the whole document."""
        checked = await asyncio.to_thread(self._check, found)
        return DocumentEvidence(self.text.path, checked, notes, await self._covered())

    async def _covered(self) -> Coverage:
        """Return the coverage recorded when the prompt was built, perhaps in an earlier round."""
        kept = self._call.ledger.get_result(self.shown_key)
        if kept is not None:
            return Coverage.model_validate(kept)
        shown, _ = await self.selected()
        return coverage_of(self.text, shown.ranges, shown.clipped)

    def _check(self, found: Sequence[answers.RawFinding]) -> tuple[CheckedFinding, ...]:
        finder = self._call.prepared.quotes(self.text)
        return tuple(
            checked_finding(
                finding, tuple(checked_quote(finder, self.text, quote) for quote in finding.quotes)
            )
            for finding in found
        )


def checked_finding(finding: answers.RawFinding, quotes: tuple[Quote, ...]) -> CheckedFinding:
    """Return a finding with its checked quotes."""
    return CheckedFinding(finding.claim, quotes, finding.aspect, finding.date)


def checked_quote(finder: QuoteFinder, text: DocumentText, quote: str) -> Quote:
    """Return a quote as the document has it, with its whole sentence if it leaves out the beginning or a negation."""
    place = finder.find(quote)
    if place is None:
        return Quote(quote, None, None, None)
    first, last = place.text_lines
    page = text.page_of(first)
    return Quote(place.text, first, last, page, text.is_ocr(page))


def repair_prompt(call: Call, key: str, label: str, answer: str, shape: str, max_tokens: int) -> Prompt:
    """Return the prompt that asks to turn an answer, clipped to twice its limit, into valid JSON."""
    answer = clip(answer, min(2 * max_tokens, call.budget.content_tokens), call.estimate)

    async def build() -> Body:
        return prompts.repair(answer=answer, shape=shape, boundary=call.boundary)

    async def nothing_to_extract() -> Extract:
        raise AssertionError("the extractive route writes valid JSON")

    return Prompt(
        key_of("repair", key),
        f"{label} in the right format",
        max_tokens,
        build,
        nothing_to_extract,
        call.estimate(answer) + OVERHEAD,
    )


async def gather(call: Call, tasks: Sequence[EvidenceTask], skipped: int) -> list[DocumentEvidence]:
    """Return the evidence of all documents, asked concurrently. A failed document carries its reason.

    Each finished document is a step of progress, after the `skipped` ones. The last step is left to the end of the call.

    Raises:
        ModelUnavailable: the model cannot be reached and answered nothing.
        ModelFailed: the model answered for none of the documents.
    """
    results: dict[str, DocumentEvidence] = {}
    for task in tasks:
        kept = call.ledger.get_result(f"evidence:{task.key}")
        if kept is not None:
            results[task.key] = DocumentEvidence.unpacked(kept)
    await _done(call, skipped + len(results), "evidence from earlier rounds")
    open_tasks = [task for task in tasks if task.key not in results]

    async def tell(index: int, outcome: PromptOutcome) -> None:
        # At once, so that a call of several rounds no longer carries the answer.
        task = open_tasks[index]
        found = results[task.key] = await task.outcome(outcome)
        if found.failure is None:
            used = [task.key, key_of("repair", task.key), task.shown_key]
            call.ledger.set_result(f"evidence:{task.key}", found.packed(), replaces=used)
        await _done(call, skipped + len(results), f"evidence from {quoted(task.text.path)}")

    later = tasks[0].inquiry.later_rounds if tasks else 0
    outcomes = await call.ask([task.prompt() for task in open_tasks], reserve=later, tell=tell)
    failures = [found.failure for found in results.values() if found.failure]
    if len(failures) == len(results):
        errors = [outcome for outcome in outcomes if isinstance(outcome, ModelError)]
        _raise_all_failed(errors, failures, len(tasks))
    return [results[task.key] for task in tasks]


def _raise_all_failed(errors: Sequence[ModelError], failures: Sequence[str], documents: int) -> None:
    """Raise the error of a call for which the model answered nothing. The first failure tells what to do.

    Answers that cannot be read are failures without an error.
    """
    for error in errors:
        if isinstance(error, ModelUnavailable):
            raise error
    if not errors:
        if failures:
            raise ModelFailed(
                f"the model answered for none of {counted(documents, 'document')}: {failures[0]}",
                documents=documents,
            )
        return
    first = errors[0]
    failed = ModelFailed(
        f"the model answered for none of {counted(documents, 'document')}: {first.message}",
        hint=first.hint,
        documents=documents,
    )
    failed.retryable = any(error.retryable for error in errors)
    raise failed from first


async def _done(call: Call, documents: int, message: str) -> None:
    # The combination follows, and its heartbeats need a value below the total.
    if documents < call.progress.total:
        await call.progress.to(documents, message)
