"""The answer of a synthesis: combined by a model from the evidence, or the findings themselves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from research_reasoning import prompts
from research_reasoning.budget import DepthPlan
from research_reasoning.call import Call
from research_reasoning.evidence import answers
from research_reasoning.evidence.claims import flags
from research_reasoning.evidence.gathering import CheckedFinding, DocumentEvidence, repair_prompt
from research_reasoning.inquiry import Inquiry
from research_reasoning.models.protocol import Body, Completion, Extract, Prompt, key_of
from research_reasoning.replies.results import ComparisonTable, Evidence, Insight, Timeline
from research_reasoning.replies.untrusted import neutralised, neutralised_line, quoted
from research_shared.text.sizes import counted
from research_shared.text.visible import visible
from research_shared.tools.names import INCOMPLETE

NAME_TOKENS = 6
"""Tokens of a source in the combination besides its name."""

MAX_UNCOMBINED_TOKENS = 6_000
"""Limit on findings that are shown uncombined."""

LABEL = "the combination"
NOTHING_FOUND = "None of the documents says anything about the question."
NOTHING_FOUND_IN_PART = "Nothing that was read says anything about the question. Not everything was read: see the warnings and sources."


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer over all documents. `partial` is true if the model did not combine their findings into insights."""

    text: str
    insights: tuple[Insight, ...]
    answered: bool
    partial: bool = False
    contradictions: tuple[Insight, ...] = ()
    missing: tuple[str, ...] = ()
    """What of the question stays open."""
    table: ComparisonTable | None = None
    timeline: Timeline | None = None


class Combination:
    """Combines the evidence of all documents into one answer. `whole` says that it is evidence of all of their text."""

    def __init__(
        self,
        call: Call,
        inquiry: Inquiry,
        plan: DepthPlan,
        usable: Sequence[tuple[int, DocumentEvidence]],
        warnings: list[str],
        *,
        whole: bool,
    ) -> None:
        self._call = call
        self._whole = whole
        self._inquiry = inquiry
        self._plan = plan
        self._usable = usable
        self._warnings = warnings
        self._read = lru_cache(maxsize=1)(partial(answers.combined, most=plan.insights))
        self._prose: str | None = None
        self._flagged = 0
        self._names = sum(call.estimate(found.path) + NAME_TOKENS for _, found in usable)
        self._citable = {number for number, _ in usable}
        self._by_mark: dict[str, tuple[str, CheckedFinding]] = {
            f"{number}.{index}": (found.path, finding)
            for number, found in usable
            for index, finding in enumerate(found.findings, 1)
        }

    async def run(self) -> Answer:
        """Return the answer, without the model if it fails or nothing can be combined."""
        answer = await self._answer()
        if self._flagged:
            some = counted(self._flagged, "insight states", "insights state")
            self._warnings.append(
                f"{some} a number or a negation otherwise than the quotes; see the flags, and do not report it as fact"
            )
        return answer

    async def _answer(self) -> Answer:
        if not self._by_mark and not any(found.notes for _, found in self._usable):
            return Answer(NOTHING_FOUND if self._whole else NOTHING_FOUND_IN_PART, (), answered=False)
        listed = self._listed(self._call.budget.content_tokens)
        if not listed:
            self._warnings.append(
                f"{INCOMPLETE}: no finding fits the combination, findings per document follow"
            )
            return self._uncombined()
        (outcome,) = await self._call.ask([self._prompt(listed)])
        if isinstance(outcome, Completion):
            combined = self._read(outcome.text)
        elif self._prose is not None:
            combined = None
        else:
            self._warnings.append(
                f"{INCOMPLETE}: the combination failed, findings per document follow: {outcome.message}"
            )
            refused = outcome.details.get("reason") == "refused"
            return replace(self._uncombined(), answered=False) if refused else self._uncombined()
        if combined is None:
            return self._unformatted()
        if combined.left_out:
            self._warnings.append(
                f"insights of the model left out, which could not be read or were more than asked for: {combined.left_out}"
            )
        insights = tuple(self._insight(claim, marks) for claim, marks in combined.insights)
        contradictions = tuple(self._insight(claim, marks) for claim, marks in combined.contradictions)
        return Answer(
            self._cleaned(combined.synthesis),
            insights,
            answered=combined.answered,
            contradictions=contradictions,
            missing=tuple(self._cleaned(text, neutralised_line) for text in combined.missing),
        )

    def _unformatted(self) -> Answer:
        """Return the prose of an answer that is not the JSON that was asked for, or the findings if it has none."""
        said = answers.prose(self._prose or "")
        if not said:
            self._warnings.append(
                f"{INCOMPLETE}: the combination was not in the format that was asked for, "
                "findings per document follow"
            )
            return replace(self._uncombined(), answered=False)
        self._warnings.append(
            f"{INCOMPLETE}: the model did not keep to the format; its prose is kept without insights"
        )
        return Answer(self._cleaned(said), (), answered=False)

    def _prompt(self, listed: str) -> Prompt:
        async def build() -> Body:
            return prompts.combine(
                inquiry=self._inquiry,
                sources=[(number, found.path) for number, found in self._usable],
                findings=listed,
                plan=self._plan,
                boundary=self._call.boundary,
            )

        async def extract() -> Extract:
            claims = tuple((mark, finding.claim) for mark, (_, finding) in self._by_mark.items())
            return Extract("combine", (), self._inquiry.question, self._plan.insights, claims)

        key = key_of(
            prompts.PROMPTS_VERSION, "combine", self._inquiry, self._plan, listed, self._call.boundary
        )

        def repair(answer: str) -> Prompt | None:
            if self._read(answer) is not None:
                return None
            self._prose = answer
            return repair_prompt(
                self._call, key, LABEL, answer, prompts.COMBINE_SHAPE, self._plan.combine_tokens
            )

        def smaller(tokens: int) -> Prompt | None:
            fewer = self._listed(tokens - self._call.budget.overhead)
            return replace(self._prompt(fewer), key=key) if fewer else None

        return Prompt(
            key,
            LABEL,
            self._plan.combine_tokens,
            build,
            extract,
            self._call.estimate(listed) + self._names + self._call.budget.overhead,
            repair,
            smaller=smaller,
        )

    def _listed(self, tokens: int) -> str:
        """Return the findings that fit, the first of each document before the second of any."""
        call = self._call
        room = tokens - self._names
        entries: list[tuple[int, int, str]] = []
        for number, found in self._usable:
            if found.notes:
                entries.append((0, number, f"[{number}] notes without evidence: {found.notes}"))
            entries += [
                (index, number, _entry(f"{number}.{index}", finding))
                for index, finding in enumerate(found.findings, 1)
            ]
        kept: list[tuple[int, int, str]] = []
        for entry in sorted(entries):
            room -= call.estimate(entry[2]) + 1
            if room < 0:
                break
            kept.append(entry)
        if len(kept) < len(entries):
            self._warnings.append(
                f"{INCOMPLETE}: {len(entries) - len(kept)} of {counted(len(entries), 'finding')} did not fit the combination"
            )
        return "\n".join(text for _, _, text in sorted(kept, key=lambda entry: (entry[1], entry[0])))

    def _cleaned(self, text: str, neutralise: Callable[[str], str] = neutralised) -> str:
        checked, wrong = answers.checked_citations(text, self._citable)
        if wrong:
            self._warnings.append(
                f"citations of sources that are not there were removed: {sorted(set(wrong))}"
            )
        # Last, because the text around a removed citation could form an address.
        return neutralise(checked)

    def _insight(self, claim: str, marks: Sequence[str]) -> Insight:
        known = [mark for mark in dict.fromkeys(marks) if mark in self._by_mark]
        if len(known) < len(set(marks)):
            self._warnings.append(
                "an insight rested on a finding that does not exist; that reference was removed"
            )
        evidence = [item for mark in known for item in evidence_of(*self._by_mark[mark])]
        told = flags(claim, [text for mark in known for text in self._by_mark[mark][1].verified])
        self._flagged += bool(told)
        return Insight(
            claim=self._cleaned(claim, neutralised_line),
            evidence=evidence,
            verified=bool(evidence) and all(item.verified for item in evidence) and not told,
            flags=told,
        )

    def _blocks(self) -> list[str]:
        """Return the findings by document: all, or the first of each, of as many documents as a reply holds."""
        sizes = {most: sum(map(self._call.estimate, self._documents(most))) for most in (None, 1)}
        blocks = self._documents(None if sizes[None] <= MAX_UNCOMBINED_TOKENS else 1)
        room = MAX_UNCOMBINED_TOKENS
        kept: list[str] = []
        for block in blocks:
            room -= self._call.estimate(block)
            if room < 0:
                break
            kept.append(block)
        if sizes[None] > MAX_UNCOMBINED_TOKENS:
            self._warnings.append(
                f"{INCOMPLETE}: only the first finding of each of {len(kept)} of {counted(len(blocks), 'document')} is shown"
            )
        return kept

    def _documents(self, most: int | None) -> list[str]:
        return [_block(number, found, most) for number, found in self._usable]

    def _uncombined(self) -> Answer:
        """Return the findings themselves, by document."""
        insights = [
            self._insight(found.findings[0].claim, [f"{number}.1"])
            for number, found in self._usable
            if found.findings
        ]
        text = self._cleaned("\n\n".join(self._blocks()))
        return Answer(text, tuple(insights[: self._plan.insights]), answered=bool(insights), partial=True)


def _block(number: int, found: DocumentEvidence, most: int | None) -> str:
    """Return the findings of a document, at most `most` of them."""
    claims = [f"- {finding.claim} [{number}]" for finding in found.findings[:most]]
    return "\n".join([f"{quoted(found.path)}:", *claims, *([found.notes] if found.notes else [])])


def _entry(mark: str, finding: CheckedFinding) -> str:
    quotes = " / ".join(f'"{" ".join(quote.text.split())}"' for quote in finding.quotes if quote.verified)
    shown = f" Quote: {quotes}" if quotes else " (no quote of it was found in the document)"
    told = flags(finding.claim, finding.verified)
    doubts = f" (Doubtful: {'; '.join(told)})" if told else ""
    return f"{mark} {finding.claim}{shown}{doubts}"


def evidence_of(path: str, finding: CheckedFinding) -> list[Evidence]:
    """Return the quotes of a finding as evidence."""
    return [
        Evidence(
            document=path,
            page=quote.page,
            lines=None
            if quote.start_line is None
            else (quote.start_line, quote.end_line or quote.start_line),
            # a verified quote is returned as in the document; an unverified one is untrusted text of the model
            quote=visible(" ".join(quote.text.split())) if quote.verified else neutralised_line(quote.text),
            verified=quote.verified,
            ocr=quote.ocr,
        )
        for quote in finding.quotes
    ]
