"""`synthesize_research` without named documents: an answer from the passages that are chosen over the whole folder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import anyio

from research_reasoning.budget import DEPTHS, OVERHEAD
from research_reasoning.call import Call
from research_reasoning.evidence.combination import Answer
from research_reasoning.evidence.coverage import is_blank
from research_reasoning.evidence.duplicates import version_notes_on
from research_reasoning.evidence.gathering import DocumentEvidence
from research_reasoning.folder.choice import (
    SOURCE_TOKENS,
    Chosen,
    open_words,
    shown_of,
)
from research_reasoning.folder.chooser import Choice, Chooser
from research_reasoning.folder.gathering import PassagesTask, ShownDocument
from research_reasoning.folder.queries import QUERIES_COST, rounds_after_queries
from research_reasoning.follow_up import CarriedEvidence
from research_reasoning.inquiry import CELL_TOKENS, Inquiry
from research_reasoning.layouts import compose
from research_reasoning.layouts.aspects import ASPECTS_TOKENS
from research_reasoning.models.protocol import Cost
from research_reasoning.replies.fitting import fitted
from research_reasoning.replies.results import AnswerFormat, Depth, FolderSearch, Source, Synthesis
from research_reasoning.replies.untrusted import quoted
from research_reasoning.requested import Requested, WholeFolder
from research_reasoning.synthesize import (
    MAX_CONCURRENT_READS,
    synthesis_of,
    synthesize,
    text_notes,
    unverified_in,
)
from research_shared.documents import DocumentText
from research_shared.errors import ResearchError
from research_shared.reading.passage_search import PassageSearch
from research_shared.reading.versions import VersionNote
from research_shared.telemetry import record
from research_shared.text.sizes import counted, one_or_many
from research_shared.tools.names import INCOMPLETE

FOLDER_TOKENS_OVERVIEW: Final = 10_000
"""Tokens of the prompt that holds the chosen passages."""
PASSAGE_FINDINGS: Final = 12
PASSAGE_EVENTS: Final = 20
PASSAGES_OUTPUT_TOKENS: Final = 2_600
EVENTS_OUTPUT_TOKENS: Final = 3_600
MAX_TABLE_OUTPUT_TOKENS: Final = 7_000
_MOST_OUTPUT: Final[Mapping[AnswerFormat, int]] = {
    "prose": PASSAGES_OUTPUT_TOKENS,
    "table": MAX_TABLE_OUTPUT_TOKENS,
    "timeline": EVENTS_OUTPUT_TOKENS,
}
"""Tokens of the evidence at most."""
NOTHING_IN_FOLDER: Final = (
    "No passage of the documents that were searched shares the words of the question or of the queries."
)


async def ask_folder(
    call: Call,
    search: PassageSearch,
    where: WholeFolder,
    inquiry: Inquiry,
    depth: Depth,
    *,
    carried: CarriedEvidence | None = None,
) -> Synthesis:
    """Return an answer to the question from the passages of the folder that fit it best.

    `where` limits the folder. `carried` is the evidence of the answer that the question follows. With `depth` "overview" one prompt holds passages of all chosen documents; with "detailed"
    the documents that were chosen are read like named ones.

    Raises:
        NoReadableDocuments: the folder holds no document that gives text.
        RootUnavailable: the research folder is gone.
        ModelError: the model failed in all attempts.
    """
    call.budget = replace(call.budget, overhead=OVERHEAD + call.estimate(inquiry.asked_text))
    budget = max(1, min(FOLDER_TOKENS_OVERVIEW - call.budget.overhead, call.budget.content_tokens))
    plan = DEPTHS[depth]
    if depth == "overview":
        first = [QUERIES_COST]
        if inquiry.format == "table" and not inquiry.aspects:
            first.append(Cost(QUERIES_COST.input_tokens, ASPECTS_TOKENS))
        evidence_cost = Cost(budget + call.budget.overhead, _MOST_OUTPUT[inquiry.format])
        steps = [(first, rounds_after_queries(inquiry)), ([evidence_cost], inquiry.later_rounds)]
        if inquiry.format == "prose":
            steps.append(([Cost(PASSAGES_OUTPUT_TOKENS + call.budget.overhead, plan.combine_tokens)], 0))
        await call.announce(*steps)
    chooser = Chooser(call, search, where, carried, budget=budget, depth=depth)
    choice, inquiry = await chooser.choice(inquiry)
    record(documents=[each.path for each in choice.chosen])
    if depth == "detailed" and choice.chosen:
        return await _in_detail(call, choice, inquiry)
    call.progress.total = len(choice.chosen) + 1
    documents, failed = await _read_chosen(call, choice)
    texts = {each.text.path: each.text for each in documents}
    warnings = [*choice.warnings, *text_notes(texts, list(texts))]
    evidence: list[DocumentEvidence] = []
    answer = Answer(NOTHING_IN_FOLDER, (), answered=False)
    if documents:
        findings, max_tokens = _passage_findings(inquiry, len(documents))
        task = PassagesTask(call, inquiry, documents, findings=findings, max_tokens=max_tokens)
        evidence = await task.gather()
        usable = [(each.number, found) for each, found in zip(documents, evidence, strict=True)]
        answer = await compose(call, inquiry, plan, usable, warnings, whole=False)
    versions = await version_notes_on(call, [each.path for each in choice.chosen])
    sources = _chosen_sources(choice.chosen, {found.path: found for found in evidence}, failed, versions)
    sources += [each.source for each in choice.left_out]
    unverified = unverified_in(evidence)
    warnings += call.model_warnings()
    if failed:
        warnings.append(
            f"{INCOMPLETE}: {len(failed)} of {counted(len(choice.chosen), 'chosen document')} "
            f"{one_or_many(len(failed), 'was skipped; see its reason', 'were skipped; see their reasons')}"
        )
    if unverified:
        warnings.append(f"quotes that could not be found in the documents, marked unverified: {unverified}")
    warnings.sort(key=lambda warning: not warning.startswith(INCOMPLETE))
    for warning in warnings:
        await call.client.warning(warning, once=True)
    missing: list[str] = []
    if call.model.route == "extractive" and documents:
        missing = open_words(inquiry.question, [each.shown.text for each in documents])
    result = synthesis_of(
        call,
        answer,
        question=inquiry.question,
        depth=depth,
        sources=sources,
        unverified=unverified,
        warnings=warnings,
        missing=missing,
        selection=_selection(choice, len(documents), budget),
    )
    await call.progress.to(call.progress.total, "answered")
    return result


def _passage_findings(inquiry: Inquiry, documents: int) -> tuple[int, int]:
    """Return how many findings of so many documents are asked for in one prompt, and the tokens of its answer."""
    if inquiry.format == "table":
        cells = documents * len(inquiry.aspects)
        return cells, min(MAX_TABLE_OUTPUT_TOKENS, max(PASSAGES_OUTPUT_TOKENS, CELL_TOKENS * cells))
    if inquiry.format == "timeline":
        return PASSAGE_EVENTS, EVENTS_OUTPUT_TOKENS
    return PASSAGE_FINDINGS, PASSAGES_OUTPUT_TOKENS


async def _read_chosen(call: Call, choice: Choice) -> tuple[list[ShownDocument], dict[str, str]]:
    """Return the chosen documents with what is shown of them, and the reasons of those that cannot be read any more."""
    failed: dict[str, str] = {}
    texts: dict[str, DocumentText] = {}
    limiter = anyio.CapacityLimiter(MAX_CONCURRENT_READS)

    async def one(path: str) -> None:
        async with limiter:
            try:
                text = await call.read(path)
            except ResearchError as error:
                failed[path] = error.message
            else:
                if is_blank(text):
                    failed[path] = "the document holds no text"
                else:
                    texts[path] = text
            await call.progress.to(len(texts) + len(failed), f"read {quoted(path)}")

    async with anyio.create_task_group() as group:
        for each in choice.chosen:
            group.start_soon(one, each.path)
    documents = []
    for path, text in sorted(texts.items()):
        for note in text.notes:
            await call.client.warning(f"{quoted(path)}: {note}", once=True)
    for number, each in enumerate(choice.chosen, 1):
        if each.path in texts:
            shown = shown_of(texts[each.path], each.ranges, call.base_estimate)
            shown = replace(shown, tokens=shown.tokens + SOURCE_TOKENS)
            documents.append(ShownDocument(number, texts[each.path], shown))
    return documents, failed


def _reason(chosen: Chosen, version: VersionNote | str | None = None) -> str:
    """Return why a document was read, and what it is to others."""
    count = len(chosen.ranges)
    if chosen.reused:
        why = "holds evidence of the last answer"
        why += f"; also chosen on {', '.join(chosen.words)}" if chosen.words else ""
    else:
        why = f"chosen for {count} passage{'s' * (count != 1)}"
        why += f" on {', '.join(chosen.words)}" if chosen.words else ""
    return why + (f"; {version}" if version else "")


def _chosen_sources(
    chosen: Sequence[Chosen],
    evidence: dict[str, DocumentEvidence],
    failed: dict[str, str],
    versions: Mapping[str, VersionNote],
) -> list[Source]:
    sources = []
    for each in chosen:
        found = evidence.get(each.path)
        if found is None:
            sources.append(
                Source(path=each.path, status="skipped", reason=failed.get(each.path), coverage=None)
            )
        else:
            sources.append(
                Source(
                    path=each.path,
                    status="used",
                    reason=_reason(each, versions.get(each.path)),
                    coverage=found.covered,
                )
            )
    return sources


def _selection(choice: Choice, read: int, budget: int) -> FolderSearch:
    return FolderSearch(
        documents_considered=choice.considered,
        documents_read=read,
        queries=choice.queries,
        token_budget=budget,
        passages_reused=sum(each.reused for each in choice.chosen),
    )


async def _in_detail(call: Call, choice: Choice, inquiry: Inquiry) -> Synthesis:
    """Return the synthesis of the chosen documents, as if they had been named."""
    call.progress.total = len(choice.chosen)
    wanted = [Requested(each.path) for each in choice.chosen]
    result = await synthesize(call, wanted, inquiry, "detailed")
    chosen = {each.path: each for each in choice.chosen}
    sources = [
        source.model_copy(update={"reason": _reason(chosen[source.path], source.reason)})
        if source.status == "used"
        else source
        for source in result.sources
    ]
    left_out = [each.source for each in choice.left_out]
    whole = result.model_copy(
        update={
            "sources": [*sources, *left_out],
            "sources_skipped": result.sources_skipped
            + sum(source.status == "skipped" for source in left_out),
            "selection": _selection(choice, result.sources_used, DEPTHS["detailed"].together_tokens),
            "warnings": sorted(
                [*choice.warnings, *result.warnings], key=lambda warning: not warning.startswith(INCOMPLETE)
            ),
        }
    )
    return fitted(whole, call.estimate) if left_out else whole
