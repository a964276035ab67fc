"""`synthesize_research`: evidence from each document, then one answer over all of it, with quotes that were checked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio

from research_reasoning import answers, prompts
from research_reasoning.budget import DEPTHS, OVERHEAD, DepthPlan
from research_reasoning.call import Call, Cost
from research_reasoning.evidence import (
    CheckedFinding,
    DocumentEvidence,
    EvidenceTask,
    gather,
    repair_prompt,
)
from research_reasoning.models.protocol import Body, Extract, Prompt, key_of
from research_reasoning.results import Depth, Evidence, Insight, Source, Synthesis
from research_reasoning.untrusted import neutralised, quoted, visible
from research_shared.documents import DocumentText
from research_shared.errors import ModelError, ModelFailed, NoReadableDocuments, ResearchError
from research_shared.telemetry import record

READERS = 8
"""Documents read at once; the library has its own limit on processes."""

NAME_TOKENS = 6
"""What a source costs in the combination besides its name."""

NOTHING_FOUND = "None of the documents says anything about the question."


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    insights: tuple[Insight, ...]
    answered: bool
    partial: bool = False


async def synthesize(call: Call, paths: Sequence[str], question: str, depth: Depth) -> Synthesis:
    """An answer to the question from the documents.

    Raises:
        NoReadableDocuments: not one of them could be read.
        BudgetExceeded: too many documents for one request.
        ModelError: the model answered for none of them, after its retries.
    """
    plan = DEPTHS[depth]
    said = call.estimate(question) + max(map(call.estimate, paths))
    call.budget = replace(call.budget, overhead=OVERHEAD + said)
    share = call.budget.share(len(paths), plan.share)
    texts = await _read(call, paths)
    tasks = [
        EvidenceTask(call, text, question, plan, share)
        for text in texts.values()
        if isinstance(text, DocumentText)
    ]
    material = min(call.budget.material, len(tasks) * plan.evidence_tokens)
    combination = Cost(material + call.budget.overhead, plan.combine_tokens)
    await call.announce([[Cost.of(task.prompt()) for task in tasks], [combination]])
    gathered = {found.path: found for found in await gather(call, tasks, len(paths) - len(tasks))}
    numbered = [(number, path, gathered.get(path)) for number, path in enumerate(paths, 1)]
    usable = [(number, found) for number, _, found in numbered if found is not None and found.failure is None]
    if not usable:
        raise ModelFailed(
            f"the model answered for none of the {len(tasks)} documents: "
            + next(found.failure for found in gathered.values() if found.failure),
            documents=len(tasks),
        )
    warnings: list[str] = []
    answer = await _Combination(call, question, plan, usable, warnings).run()
    sources = [_source(path, texts[path], found) for _, path, found in numbered]
    unverified = sum(not quote.verified for _, found in usable for f in found.findings for quote in f.quotes)
    prose = sum(bool(found.notes) for _, found in usable)
    await _tell_limits(call, sources, unverified, prose, warnings)
    used = sum(source.status == "used" for source in sources)
    record(sources_used=used, sources_skipped=len(sources) - used, partial=answer.partial)
    return Synthesis(
        research_question=question,
        synthesis=answer.text,
        key_insights=list(answer.insights),
        answered=answer.answered,
        sources_used=used,
        sources_skipped=len(sources) - used,
        sources=sources,
        partial=answer.partial,
        unverified_quotes=unverified,
        depth=depth,
        model=call.model_name,
        route=call.model.route,
        warnings=warnings,
        usage=call.usage(),
    )


async def _read(call: Call, paths: Sequence[str]) -> dict[str, DocumentText | ResearchError]:
    """The texts of the documents, or why there is none. A skipped document is a step done."""
    found: dict[str, DocumentText | ResearchError] = {}
    limiter = anyio.CapacityLimiter(READERS)

    async def one(path: str) -> None:
        async with limiter:
            await call.client.info(f"reading {quoted(path)}", once=True)
            try:
                text = await call.read(path)
            except ResearchError as error:
                found[path] = error
            else:
                empty = not visible(text.text).strip()
                found[path] = NoReadableDocuments("the document holds no text") if empty else text

    async with anyio.create_task_group() as group:
        for path in paths:
            group.start_soon(one, path)
    texts = {path: found[path] for path in paths}
    for path, text in texts.items():
        if isinstance(text, DocumentText):
            for note in text.notes:
                await call.client.warning(f"{quoted(path)}: {note}", once=True)
    failed = {path: text for path, text in texts.items() if isinstance(text, ResearchError)}
    for done, (path, why) in enumerate(failed.items(), 1):
        await call.client.warning(f"skipping {quoted(path)}: {why.message}", once=True, code=why.code)
        await call.progress.to(done, f"skipped {quoted(path)}")
    if len(failed) == len(texts):
        raise NoReadableDocuments("none of the requested documents could be read", requested=len(texts))
    return texts


def _source(path: str, text: DocumentText | ResearchError, found: DocumentEvidence | None) -> Source:
    if isinstance(text, ResearchError):
        return Source(path=path, status="skipped", reason=text.message, coverage=None)
    if found is None or found.failure is not None:
        return Source(path=path, status="skipped", reason=found.failure if found else None, coverage=None)
    return Source(path=path, status="used", reason=None, coverage=found.covered)


async def _tell_limits(
    call: Call, sources: Sequence[Source], unverified: int, prose: int, warnings: list[str]
) -> None:
    """Say what the answer does not rest on."""
    parts = [s for s in sources if s.coverage is not None and not s.coverage.complete]
    if parts:
        warnings.append(
            f"{len(parts)} of {len(sources)} documents were shown to the model in part; see their coverage"
        )
    skipped = sum(source.status == "skipped" for source in sources)
    if skipped:
        warnings.append(f"{skipped} of {len(sources)} documents were skipped; see their reasons")
    if prose:
        warnings.append(
            f"{prose} of {len(sources)} documents gave prose in place of the JSON asked for; it is kept without evidence"
        )
    warnings += call.cut_warnings()
    if unverified:
        warnings.append(
            f"{unverified} quote{'s' * (unverified != 1)} could not be found in the documents and "
            f"{'are' if unverified != 1 else 'is'} marked unverified"
        )
    for warning in warnings:
        await call.client.warning(warning, once=True)


class _Combination:
    """One answer from the evidence of all documents."""

    def __init__(
        self,
        call: Call,
        question: str,
        plan: DepthPlan,
        usable: Sequence[tuple[int, DocumentEvidence]],
        warnings: list[str],
    ) -> None:
        self._call = call
        self._question = question
        self._plan = plan
        self._usable = usable
        self._warnings = warnings
        self._names = sum(call.estimate(found.path) + NAME_TOKENS for _, found in usable)
        self._citable = {number for number, _ in usable}
        self._by_mark: dict[str, tuple[str, CheckedFinding]] = {
            f"{number}.{index}": (found.path, finding)
            for number, found in usable
            for index, finding in enumerate(found.findings, 1)
        }

    async def run(self) -> _Answer:
        """The answer; without the model's help when it fails or there is nothing to combine."""
        if not self._by_mark and not any(found.notes for _, found in self._usable):
            return _Answer(NOTHING_FOUND, (), answered=False)
        listed = self._listed()
        if not listed:
            self._warnings.append("no finding fits the combination, findings per document follow")
            return self._uncombined()
        prompt = self._prompt(listed)
        (outcome,) = await self._call.ask([prompt], reserve=1)
        if isinstance(outcome, ModelError):
            self._warnings.append(f"the combination failed, findings per document follow: {outcome.message}")
            return self._uncombined()
        combined = answers.combined(outcome.text, self._plan.insights)
        if combined is None:
            combined = await self._repaired(prompt.key, outcome.text)
        if combined is None:
            self._warnings.append("the model did not keep to the format; its prose is kept without insights")
            return _Answer(self._cleaned(outcome.text), (), answered=True)
        insights = tuple(self._insight(claim, marks) for claim, marks in combined.insights)
        return _Answer(self._cleaned(combined.synthesis), insights, answered=combined.answered)

    def _prompt(self, listed: str) -> Prompt:
        async def build() -> Body:
            return prompts.combine(
                question=self._question,
                sources=[(number, found.path) for number, found in self._usable],
                findings=listed,
                plan=self._plan,
                boundary=self._call.boundary,
            )

        async def extract() -> Extract:
            claims = tuple((mark, finding.claim) for mark, (_, finding) in self._by_mark.items())
            return Extract("combine", (), self._question, self._plan.insights, claims)

        return Prompt(
            key_of(prompts.VERSION, "combine", self._question, self._plan, listed, self._call.boundary),
            "the combination",
            self._plan.combine_tokens,
            build,
            extract,
            self._call.estimate(listed) + self._names + self._call.budget.overhead,
        )

    def _listed(self) -> str:
        """The findings of all documents as far as they fit, each document's first before any document's second."""
        call = self._call
        room = call.budget.material - self._names
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
                f"{len(entries) - len(kept)} of {len(entries)} findings did not fit the combination"
            )
        return "\n".join(text for _, _, text in sorted(kept, key=lambda entry: (entry[1], entry[0])))

    async def _repaired(self, key: str, answer: str) -> answers.Combined | None:
        prompt = repair_prompt(
            self._call, key, "the combination", answer, prompts.COMBINE_SHAPE, self._plan.combine_tokens
        )
        (outcome,) = await self._call.ask([prompt])
        return (
            None if isinstance(outcome, ModelError) else answers.combined(outcome.text, self._plan.insights)
        )

    def _cleaned(self, text: str) -> str:
        checked, wrong = answers.checked_citations(text, self._citable)
        if wrong:
            self._warnings.append(
                f"citations of sources that are not there were removed: {sorted(set(wrong))}"
            )
        # Afterwards: what stood around a citation that is gone could make an address.
        return neutralised(checked)

    def _insight(self, claim: str, marks: Sequence[str]) -> Insight:
        known = [mark for mark in dict.fromkeys(marks) if mark in self._by_mark]
        if len(known) < len(set(marks)):
            self._warnings.append(
                "an insight rested on a finding that does not exist; that reference was removed"
            )
        evidence = [item for mark in known for item in _evidence(*self._by_mark[mark])]
        verified = bool(evidence) and all(item.verified for item in evidence)
        return Insight(claim=self._cleaned(claim), evidence=evidence, verified=verified)

    def _uncombined(self) -> _Answer:
        """The findings as they are, document by document."""
        blocks = []
        insights = []
        for number, found in self._usable:
            claims = [f"- {finding.claim} [{number}]" for finding in found.findings]
            blocks.append(
                "\n".join([f"{quoted(found.path)}:", *claims, *([found.notes] if found.notes else [])])
            )
            insights += [
                self._insight(f.claim, [f"{number}.{i}"]) for i, f in enumerate(found.findings[:1], 1)
            ]
        text = self._cleaned("\n\n".join(blocks))
        return _Answer(text, tuple(insights[: self._plan.insights]), answered=bool(insights), partial=True)


def _entry(mark: str, finding: CheckedFinding) -> str:
    quotes = " / ".join(f'"{" ".join(quote.text.split())}"' for quote in finding.quotes if quote.verified)
    shown = f" Quote: {quotes}" if quotes else " (no quote of it was found in the document)"
    return f"{mark} {finding.claim}{shown}"


def _evidence(path: str, finding: CheckedFinding) -> list[Evidence]:
    return [
        Evidence(
            document=path,
            page=quote.page,
            lines=None
            if quote.start_line is None
            else (quote.start_line, quote.end_line or quote.start_line),
            # what stands in the document is given as it stands there, what was made up is not trusted
            quote=visible(" ".join(quote.text.split()))
            if quote.verified
            else neutralised(" ".join(quote.text.split())),
            verified=quote.verified,
        )
        for quote in finding.quotes
    ]
