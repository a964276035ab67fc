"""`synthesize_research`: evidence from each document, then one answer over all, with verified quotes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import anyio

from research_reasoning.budget import DEPTHS, MIN_BYTES_PER_TOKEN, OVERHEAD, DepthPlan
from research_reasoning.call import Call
from research_reasoning.evidence.combination import Answer
from research_reasoning.evidence.coverage import is_blank
from research_reasoning.evidence.duplicates import duplicates_in, version_notes_on
from research_reasoning.evidence.gathering import DocumentEvidence, EvidenceTask, gather
from research_reasoning.inquiry import MAX_TABLE_ROWS, Inquiry
from research_reasoning.layouts import compose
from research_reasoning.layouts.aspects import chosen_aspects
from research_reasoning.models.protocol import Cost
from research_reasoning.replies.fitting import fitted
from research_reasoning.replies.results import Depth, FolderSearch, Source, Synthesis
from research_reasoning.replies.untrusted import quoted
from research_reasoning.requested import Requested
from research_shared.documents import DocumentText
from research_shared.errors import (
    DocumentNotFound,
    InvalidArguments,
    NoReadableDocuments,
    ResearchError,
    RootUnavailable,
)
from research_shared.telemetry import record
from research_shared.text.sizes import counted, one_or_many
from research_shared.tools.names import INCOMPLETE

_SHOWN_TOKENS = "shown tokens"
"""Key of what is shown of each document, among the results of a call."""

MAX_NOTES = 10
"""Notes on texts that the warnings list; the rest is counted."""

MAX_CONCURRENT_READS = 8
"""Documents read concurrently. The library limits its processes itself."""


async def synthesize(call: Call, wanted: Sequence[Requested], inquiry: Inquiry, depth: Depth) -> Synthesis:
    """Return an answer to the question from the documents, in the form that is asked for.

    Raises:
        InvalidArguments: too many documents for a table.
        NoReadableDocuments: no document could be read.
        RootUnavailable: no document could be read because the research folder is missing.
        BudgetExceeded: too many documents for one request.
        ModelError: the model failed for all documents, in all attempts.
    """
    paths = [entry.path for entry in wanted]
    check_table_size(inquiry, len(paths))
    said = call.estimate(inquiry.asked_text) + max(map(call.estimate, paths))
    call.budget = replace(call.budget, overhead=OVERHEAD + said)
    least = call.budget.per_document_tokens(len(paths), DEPTHS[depth].per_document_tokens)
    texts = await _read(call, wanted)
    inquiry = await chosen_aspects(
        call, inquiry, [path for path, text in texts.items() if isinstance(text, DocumentText)]
    )
    plan = inquiry.plan(depth, len(paths), call.budget.content_tokens)
    same = duplicates_in(texts)
    readable = [text for path, text in texts.items() if isinstance(text, DocumentText) and path not in same]
    per_document_tokens = _shown_tokens(call, readable, plan, least)
    tasks = [EvidenceTask(call, text, inquiry, plan, per_document_tokens) for text in readable]
    steps = [([Cost.of(task.prompt()) for task in tasks], inquiry.later_rounds)]
    if inquiry.format == "prose":
        content_tokens = min(call.budget.content_tokens, len(tasks) * plan.evidence_tokens)
        steps.append(([Cost(content_tokens + call.budget.overhead, plan.combine_tokens)], 0))
    await call.announce(*steps)
    gathered = {found.path: found for found in await gather(call, tasks, len(paths) - len(tasks))}
    numbered = [(number, path, gathered.get(path)) for number, path in enumerate(paths, 1)]
    usable = [(number, found) for number, _, found in numbered if found is not None and found.failure is None]
    warnings: list[str] = text_notes(texts, [found.path for _, found in usable])
    whole = len(usable) == len(paths) - len(same) and all(
        found.covered is not None and found.covered.complete for _, found in usable
    )
    answer = await compose(call, inquiry, plan, usable, warnings, whole=whole)
    versions = await version_notes_on(call, paths)
    sources = [
        _source_of(
            path,
            texts[path],
            found,
            same=same.get(path),
            version=str(versions[path]) if path in versions else None,
        )
        for _, path, found in numbered
    ]
    unverified = unverified_in(found for _, found in usable)
    prose = sum(bool(found.notes) for _, found in usable)
    await _tell_limits(call, sources, unverified, prose, warnings)
    result = synthesis_of(
        call,
        answer,
        question=inquiry.question,
        depth=depth,
        sources=sources,
        unverified=unverified,
        warnings=warnings,
    )
    await call.progress.to(call.progress.total, "synthesized")
    return result


def unverified_in(evidence: Iterable[DocumentEvidence]) -> int:
    """Return the number of quotes that could not be found in their documents."""
    return sum(not quote.verified for each in evidence for f in each.findings for quote in f.quotes)


def synthesis_of(
    call: Call,
    answer: Answer,
    *,
    question: str,
    depth: Depth,
    sources: list[Source],
    unverified: int,
    warnings: list[str],
    missing: Iterable[str] = (),
    selection: FolderSearch | None = None,
) -> Synthesis:
    """Return the result of a call from its answer, as long as a reply may be, and record its numbers.

    `missing` are parts of the question that are not answered, besides those that the answer names itself. `selection` is
    how the documents were chosen, when they were not named.
    """
    used = sum(source.status == "used" for source in sources)
    skipped = sum(source.status == "skipped" for source in sources)
    record(sources_used=used, sources_skipped=skipped, partial=answer.partial)
    result = Synthesis(
        research_question=question,
        synthesis=answer.text,
        key_insights=list(answer.insights),
        contradictions=list(answer.contradictions),
        answered=answer.answered,
        not_answered=[*answer.missing, *missing],
        selection=selection,
        table=answer.table,
        timeline=answer.timeline,
        sources_used=used,
        sources_skipped=skipped,
        sources=sources,
        partial=answer.partial,
        unverified_quotes=unverified,
        depth=depth,
        model=call.model_name,
        route=call.model.route,
        warnings=warnings,
        usage=call.usage(),
    )
    return fitted(result, call.estimate)


def check_table_size(inquiry: Inquiry, documents: int) -> None:
    """Refuse a table with more rows than a reply holds.

    Raises:
        InvalidArguments: there are too many.
    """
    if inquiry.format == "table" and documents > MAX_TABLE_ROWS:
        raise InvalidArguments(
            f"a table has at most {MAX_TABLE_ROWS} rows, and document_paths names {counted(documents, 'document')}",
            hint="Ask about fewer documents at a time, or leave document_paths out: then the documents that fit best are compared.",
        )


def _shown_tokens(call: Call, texts: Sequence[DocumentText], plan: DepthPlan, least: int) -> int:
    """Return how many tokens of each document to show. The same in every round, also if a document changes meanwhile."""
    kept: int | None = call.ledger.get_result(_SHOWN_TOKENS)
    if kept is None:
        sizes = [len(text.data) // MIN_BYTES_PER_TOKEN for text in texts]
        kept = call.budget.spare_tokens(sizes, least, plan.together_tokens)
        call.ledger.set_result(_SHOWN_TOKENS, kept, replaces=[])
    return kept


async def _read(call: Call, wanted: Sequence[Requested]) -> dict[str, DocumentText | ResearchError]:
    """Return the text of each document, or the error. A skipped document is a finished step of progress."""
    found: dict[str, DocumentText | ResearchError] = {}
    limiter = anyio.CapacityLimiter(MAX_CONCURRENT_READS)

    async def one(entry: Requested) -> None:
        path = entry.path
        if entry.missing is not None:
            found[path] = DocumentNotFound(entry.missing)
            return
        async with limiter:
            await call.client.info(f"reading {quoted(path)}", once=True)
            try:
                text = await call.read(path)
            except ResearchError as error:
                found[path] = error
            else:
                found[path] = NoReadableDocuments("the document holds no text") if is_blank(text) else text

    async with anyio.create_task_group() as group:
        for entry in wanted:
            group.start_soon(one, entry)
    texts = {entry.path: found[entry.path] for entry in wanted}
    for path, text in texts.items():
        if isinstance(text, DocumentText):
            for note in text.notes:
                await call.client.warning(f"{quoted(path)}: {note}", once=True)
    failed = {path: text for path, text in texts.items() if isinstance(text, ResearchError)}
    for done, (path, why) in enumerate(failed.items(), 1):
        await call.client.warning(f"skipping {quoted(path)}: {why.message}", once=True)
        await call.progress.to(done, f"skipped {quoted(path)}")
    gone = [why for why in failed.values() if isinstance(why, RootUnavailable)]
    if len(gone) == len(texts):
        raise gone[0]
    if len(failed) == len(texts):
        path, why = next(iter(failed.items()))
        raise NoReadableDocuments(
            f"none of the requested documents could be read; {quoted(path)}: {why.message}",
            requested=len(texts),
        )
    return texts


def text_notes(texts: Mapping[str, DocumentText | ResearchError], used: Sequence[str]) -> list[str]:
    """Return notes about gaps in the texts of the used documents."""
    notes = [
        f"{quoted(path)}: {note}"
        for path in used
        if isinstance(text := texts[path], DocumentText)
        for note in text.notes
    ]
    more = len(notes) - MAX_NOTES
    return [
        *notes[:MAX_NOTES],
        *([f"{counted(more, 'more note')} on the texts of documents"] if more > 0 else []),
    ]


def _source_of(
    path: str,
    text: DocumentText | ResearchError,
    found: DocumentEvidence | None,
    *,
    same: str | None,
    version: str | None,
) -> Source:
    """Return a source. `same` is the document that has the same content, `version` says of which one this is a version."""
    if isinstance(text, ResearchError):
        return Source(path=path, status="skipped", reason=text.message, coverage=None)
    if same is not None:
        return Source(path=path, status="duplicate", reason=f"same content as {same}", coverage=None)
    if found is None or found.failure is not None:
        return Source(path=path, status="skipped", reason=found.failure if found else None, coverage=None)
    return Source(path=path, status="used", reason=version, coverage=found.covered)


def _relations(sources: Sequence[Source]) -> list[str]:
    """Return a warning on sources that count once with another, and one on those of which there are other versions."""
    said = (
        (
            "duplicate",
            "has the content of another one and counts once",
            "have the content of others and count once",
        ),
        ("used", "has another version in the folder", "have other versions in the folder"),
    )
    warnings = []
    for status, one, many in said:
        told = [
            f"{quoted(source.path)} ({source.reason})"
            for source in sources
            if source.status == status and source.reason
        ]
        if told:
            more = f"; and {len(told) - MAX_NOTES} more" if len(told) > MAX_NOTES else ""
            count = counted(len(told), f"document {one}", f"documents {many}")
            warnings.append(f"{count}: {'; '.join(told[:MAX_NOTES])}{more}")
    return warnings


async def _tell_limits(
    call: Call, sources: Sequence[Source], unverified: int, prose: int, warnings: list[str]
) -> None:
    """Warn about documents and quotes that the answer does not rest on."""
    parts = [s for s in sources if s.coverage is not None and not s.coverage.complete]
    if parts:
        warnings.append(
            f"{len(parts)} of {counted(len(sources), 'document')} "
            f"{one_or_many(len(parts), 'was used in part; see its coverage', 'were used in part; see their coverage')}"
        )
    skipped = sum(source.status == "skipped" for source in sources)
    if skipped:
        warnings.append(
            f"{INCOMPLETE}: {skipped} of {counted(len(sources), 'document')} "
            f"{one_or_many(skipped, 'was skipped; see its reason', 'were skipped; see their reasons')}"
        )
    warnings += _relations(sources)
    if prose:
        warnings.append(
            f"{prose} of {counted(len(sources), 'document')} gave prose in place of the JSON asked for; it is kept without evidence"
        )
    warnings += call.model_warnings()
    if unverified:
        warnings.append(
            f"{counted(unverified, 'quote')} could not be found in the documents and "
            f"{'are' if unverified != 1 else 'is'} marked unverified"
        )
    for warning in warnings:
        await call.client.warning(warning, once=True)
