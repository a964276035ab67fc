"""`synthesize_research` without named documents: looks for evidence in the whole folder, then answers from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio

from research_reasoning.budget import DEPTHS, OVERHEAD
from research_reasoning.call import Call
from research_reasoning.evidence.combination import Answer, Combination
from research_reasoning.evidence.coverage import is_blank
from research_reasoning.evidence.duplicates import version_notes_on, without_superseded
from research_reasoning.evidence.gathering import COMBINATION_ROUNDS, DocumentEvidence
from research_reasoning.folder.choice import (
    SOURCE_TOKENS,
    Chosen,
    candidates_of,
    choose,
    open_words,
    shown_of,
)
from research_reasoning.folder.gathering import PassagesTask, ShownDocument
from research_reasoning.folder.queries import LATER_ROUNDS, QUERIES_COST, written_queries
from research_reasoning.models.protocol import Cost
from research_reasoning.replies.results import Depth, FolderSearch, Source, Synthesis
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
from research_shared.errors import NoReadableDocuments, ResearchError
from research_shared.reading.passage_search import FoundPassages, PassageSearch
from research_shared.reading.versions import VersionNote
from research_shared.telemetry import record
from research_shared.tools.names import INCOMPLETE

FOLDER_TOKENS_OVERVIEW: Final = 10_000
"""Tokens of the prompt that holds the chosen passages."""
MAX_READ_DOCUMENTS: Final = {"overview": 20, "detailed": 10}
"""Documents that are read for one question."""
FOUND_PASSAGES: Final = 40
"""Passages that are looked for with each query."""
PASSAGE_FINDINGS: Final = 12
PASSAGES_OUTPUT_TOKENS: Final = 2_600
_CHOICE_KEY: Final = "choice"
NOTHING_IN_FOLDER: Final = (
    "No passage of the documents that were searched shares the words of the question or of the queries."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """What was looked for and chosen, kept for all rounds of a call."""

    queries: list[str]
    chosen: list[Chosen]
    considered: int
    warnings: list[str]

    def packed(self) -> dict[str, Any]:
        return {
            "queries": self.queries,
            "chosen": [[each.path, each.ranges, each.words] for each in self.chosen],
            "considered": self.considered,
            "warnings": self.warnings,
        }

    @classmethod
    def unpacked(cls, kept: dict[str, Any]) -> "_Choice":
        chosen = [
            Chosen(path=path, ranges=tuple((first, last) for first, last in ranges), words=tuple(words))
            for path, ranges, words in kept["chosen"]
        ]
        return cls(
            queries=kept["queries"],
            chosen=chosen,
            considered=kept["considered"],
            warnings=kept["warnings"],
        )


async def ask_folder(
    call: Call, search: PassageSearch, where: WholeFolder, question: str, depth: Depth
) -> Synthesis:
    """Return an answer to the question from the passages of the folder that fit it best.

    `where` limits the folder. With `depth` "overview" one prompt holds passages of all chosen documents; with "detailed"
    the documents that were chosen are read like named ones.

    Raises:
        NoReadableDocuments: the folder holds no document that gives text.
        RootUnavailable: the research folder is gone.
        ModelError: the model failed in all attempts.
    """
    call.budget = replace(call.budget, overhead=OVERHEAD + call.estimate(question))
    budget = max(1, min(FOLDER_TOKENS_OVERVIEW - call.budget.overhead, call.budget.content_tokens))
    plan = DEPTHS[depth]
    if depth == "overview":
        await call.announce(
            ([QUERIES_COST], LATER_ROUNDS),
            ([Cost(budget + call.budget.overhead, PASSAGES_OUTPUT_TOKENS)], COMBINATION_ROUNDS),
            ([Cost(PASSAGES_OUTPUT_TOKENS + call.budget.overhead, plan.combine_tokens)], 0),
        )
    choice = await _choice_of_call(call, search, where, question, depth, budget)
    record(documents=[each.path for each in choice.chosen])
    if depth == "detailed" and choice.chosen:
        return await _in_detail(call, choice, question)
    call.progress.total = len(choice.chosen) + 1
    documents, failed = await _read_chosen(call, choice)
    texts = {each.text.path: each.text for each in documents}
    warnings = [*choice.warnings, *text_notes(texts, list(texts))]
    evidence: list[DocumentEvidence] = []
    answer = Answer(NOTHING_IN_FOLDER, (), answered=False)
    if documents:
        task = PassagesTask(
            call, question, documents, findings=PASSAGE_FINDINGS, max_tokens=PASSAGES_OUTPUT_TOKENS
        )
        evidence = await task.gather()
        usable = [(each.number, found) for each, found in zip(documents, evidence, strict=True)]
        answer = await Combination(call, question, plan, usable, warnings, whole=False).run()
    versions = await version_notes_on(call, [each.path for each in choice.chosen])
    sources = _chosen_sources(choice.chosen, {found.path: found for found in evidence}, failed, versions)
    unverified = unverified_in(evidence)
    warnings += call.model_warnings()
    if failed:
        warnings.append(
            f"{INCOMPLETE}: {len(failed)} of {len(sources)} chosen documents were skipped; see their reasons"
        )
    if unverified:
        warnings.append(f"quotes that could not be found in the documents, marked unverified: {unverified}")
    warnings.sort(key=lambda warning: not warning.startswith(INCOMPLETE))
    for warning in warnings:
        await call.client.warning(warning, once=True)
    missing: list[str] = []
    if call.model.route == "extractive" and documents:
        missing = open_words(question, [each.shown.text for each in documents])
    result = synthesis_of(
        call,
        answer,
        question=question,
        depth=depth,
        sources=sources,
        unverified=unverified,
        warnings=warnings,
        missing=missing,
        selection=_selection(choice, len(documents), budget),
    )
    await call.progress.to(call.progress.total, "answered")
    return result


async def _choice_of_call(
    call: Call, search: PassageSearch, where: WholeFolder, question: str, depth: Depth, budget: int
) -> _Choice:
    """Return what was chosen in an earlier round, or look for it and choose."""
    kept = call.ledger.get_result(_CHOICE_KEY)
    if kept is not None:
        return _Choice.unpacked(kept)
    queries = await written_queries(call, question, where)
    found = await search.find(queries, patterns=where.patterns, wanted=where.wanted, limit=FOUND_PASSAGES)
    if not found.considered:
        raise NoReadableDocuments(_why_nothing(found))
    paths = list(dict.fromkeys(passage.path for some in found.by_query for passage in some))
    found = without_superseded(found, await version_notes_on(call, paths))
    passages = candidates_of(found, documents=MAX_READ_DOCUMENTS[depth])
    texts: dict[str, DocumentText] = {}
    for path in dict.fromkeys(passage.path for passage in passages):
        try:
            texts[path] = await call.read(path)
        except ResearchError as error:
            # It was readable when it was found: what it says is not considered.
            found = replace(found, warnings=(*found.warnings, f"{quoted(path)} is left out: {error.message}"))
    chosen = await anyio.to_thread.run_sync(
        lambda: choose(passages, texts, queries, budget=budget, estimate=call.base_estimate)
    )
    choice = _Choice(
        queries=queries, chosen=chosen, considered=found.considered, warnings=list(found.warnings)
    )
    call.ledger.set_result(_CHOICE_KEY, choice.packed(), replaces=["queries"])
    await call.client.info(
        f"passages of {len(chosen)} of {found.considered} documents chosen with {len(queries)} "
        f"quer{'ies' if len(queries) != 1 else 'y'}",
        once=True,
    )
    return choice


def _why_nothing(found: FoundPassages) -> str:
    reasons = "; ".join(found.warnings)
    return f"no document could be searched{': ' if reasons else ''}{reasons}"


async def _read_chosen(call: Call, choice: _Choice) -> tuple[list[ShownDocument], dict[str, str]]:
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
    on = f" on {', '.join(chosen.words)}" if chosen.words else ""
    count = len(chosen.ranges)
    return f"chosen for {count} passage{'s' * (count != 1)}{on}" + (f"; {version}" if version else "")


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


def _selection(choice: _Choice, read: int, budget: int) -> FolderSearch:
    return FolderSearch(
        documents_considered=choice.considered,
        documents_read=read,
        queries=choice.queries,
        token_budget=budget,
    )


async def _in_detail(call: Call, choice: _Choice, question: str) -> Synthesis:
    """Return the synthesis of the chosen documents, as if they had been named."""
    call.progress.total = len(choice.chosen)
    wanted = [Requested(each.path) for each in choice.chosen]
    result = await synthesize(call, wanted, question, "detailed")
    chosen = {each.path: each for each in choice.chosen}
    sources = [
        source.model_copy(update={"reason": _reason(chosen[source.path], source.reason)})
        if source.status == "used"
        else source
        for source in result.sources
    ]
    return result.model_copy(
        update={
            "sources": sources,
            "selection": _selection(choice, result.sources_used, DEPTHS["detailed"].together_tokens),
            "warnings": sorted(
                [*choice.warnings, *result.warnings], key=lambda warning: not warning.startswith(INCOMPLETE)
            ),
        }
    )
