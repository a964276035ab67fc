"""`synthesize_research` without named documents: looks for evidence in the whole folder, then answers from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio

from research_reasoning.budget import DEPTHS, OVERHEAD
from research_reasoning.call import Call
from research_reasoning.evidence.combination import Answer
from research_reasoning.evidence.coverage import is_blank
from research_reasoning.evidence.duplicates import version_notes_on, without_superseded
from research_reasoning.evidence.gathering import DocumentEvidence
from research_reasoning.folder.choice import (
    SOURCE_TOKENS,
    Chosen,
    candidates_of,
    choose,
    open_words,
    shown_of,
    with_reused,
    with_surroundings,
)
from research_reasoning.folder.gathering import PassagesTask, ShownDocument
from research_reasoning.folder.left_out import LeftOut, left_out_of, warnings_on
from research_reasoning.folder.queries import QUERIES_COST, rounds_after_queries, written_queries
from research_reasoning.follow_up import CarriedEvidence
from research_reasoning.inquiry import CELL_TOKENS, Inquiry
from research_reasoning.layouts import compose
from research_reasoning.layouts.aspects import ASPECTS_TOKENS, AspectsTask
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
from research_shared.errors import NoReadableDocuments, ResearchError
from research_shared.reading.passage_search import FoundPassages, PassageSearch
from research_shared.reading.versions import VersionNote
from research_shared.telemetry import record
from research_shared.text.sizes import counted, one_or_many
from research_shared.tools.names import INCOMPLETE

FOLDER_TOKENS_OVERVIEW: Final = 10_000
"""Tokens of the prompt that holds the chosen passages."""
MAX_READ_DOCUMENTS: Final = {"overview": 20, "detailed": 10}
"""Documents that are read for one question."""
FOUND_PASSAGES: Final = 40
"""Passages that are looked for with each query."""
MAX_COMPARED_DOCUMENTS: Final = 8
"""Rows of a table for which one prompt holds the passages of all documents."""
REUSED_SHARE: Final = 0.5
"""Share of the budget that the evidence of an earlier answer takes at most; the rest is for new passages."""
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
MAX_NAMED_MISSING: Final = 3
"""Documents that are not there and that an error names."""
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
    left_out: list[LeftOut]

    def packed(self) -> dict[str, Any]:
        return {
            "queries": self.queries,
            "chosen": [[each.path, each.ranges, each.words, each.reused] for each in self.chosen],
            "considered": self.considered,
            "warnings": self.warnings,
            "left_out": [list(each) for each in self.left_out],
        }

    @classmethod
    def unpacked(cls, kept: dict[str, Any]) -> "_Choice":
        chosen = [
            Chosen(
                path=path,
                ranges=tuple((first, last) for first, last in ranges),
                words=tuple(words),
                reused=reused,
            )
            for path, ranges, words, reused in kept["chosen"]
        ]
        return cls(
            queries=kept["queries"],
            chosen=chosen,
            considered=kept["considered"],
            warnings=kept["warnings"],
            left_out=[LeftOut(*each) for each in kept["left_out"]],
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
    chooser = _Chooser(call, search, where, carried, budget=budget, depth=depth)
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


class _Chooser:
    """Chooses what is shown of which documents."""

    def __init__(
        self,
        call: Call,
        search: PassageSearch,
        where: WholeFolder,
        carried: CarriedEvidence | None,
        *,
        budget: int,
        depth: Depth,
    ) -> None:
        self._call = call
        self._search = search
        self._where = where
        self._carried = carried
        self._budget = budget
        self._depth = depth
        self._texts: dict[str, DocumentText] = {}
        self._warnings: list[str] = []
        self._failed: dict[str, str] = {}
        """Why documents cannot be read."""

    async def choice(self, inquiry: Inquiry) -> tuple[_Choice, Inquiry]:
        """Return what was chosen in an earlier round, or look for it and choose, and the inquiry with its columns.

        Raises:
            NoReadableDocuments: nothing could be searched.
        """
        call = self._call
        kept = call.ledger.get_result(_CHOICE_KEY)
        if kept is not None:
            return _Choice.unpacked(kept), AspectsTask(call, inquiry, ()).settle(None)
        queries, inquiry = await written_queries(call, inquiry, self._where)
        found = await self._found(queries)
        reused, used = await self._reused()
        if not found.considered and not reused:
            raise NoReadableDocuments(_why_nothing(found, self._where.named))
        most = max(1, _most_documents(inquiry, self._depth) - len(reused))
        passages = candidates_of(found, documents=most)
        await self._read([passage.path for passage in passages])
        chosen = await anyio.to_thread.run_sync(
            lambda: choose(
                passages,
                self._texts,
                queries,
                budget=max(0, self._budget - used),
                estimate=call.base_estimate,
            )
        )
        shown = with_reused(chosen, reused)
        left_out = await left_out_of(
            call,
            self._where.named,
            shown={each.path: self._texts[each.path].digest for each in shown},
            failed=self._failed,
            compared={passage.path for passage in passages},
            fitting={passage.path for some in found.by_query for passage in some},
            most=most,
        )
        choice = _Choice(
            queries=queries,
            chosen=shown,
            considered=found.considered,
            warnings=[*found.warnings, *self._warnings, *warnings_on(left_out, len(self._where.named))],
            left_out=left_out,
        )
        call.ledger.set_result(_CHOICE_KEY, choice.packed(), replaces=["queries"])
        await call.client.info(
            f"passages of {len(choice.chosen)} of {counted(found.considered, 'document')} chosen with "
            f"{counted(len(queries), 'query', 'queries')}",
            once=True,
        )
        return choice, inquiry

    async def _found(self, queries: Sequence[str]) -> FoundPassages:
        where = self._where
        found = await self._search.find(queries, paths=where.paths, wanted=where.wanted, limit=FOUND_PASSAGES)
        if where.named:
            return found  # the caller chose the versions
        paths = [passage.path for some in found.by_query for passage in some]
        paths += [each.path for each in self._carried.documents] if self._carried is not None else []
        return without_superseded(found, await version_notes_on(self._call, list(dict.fromkeys(paths))))

    async def _read(self, paths: Sequence[str]) -> None:
        """Read documents. One that was readable when it was found and is not any more is not considered."""
        for path in dict.fromkeys(paths):
            try:
                self._texts[path] = await self._call.read(path)
            except ResearchError as error:
                self._failed[path] = error.message
                self._warnings.append(f"{quoted(path)} is left out: {error.message}")

    async def _reused(self) -> tuple[list[Chosen], int]:
        """Return what is shown again of the documents that the last answer rests on, and the tokens that it takes.

        A document that has changed since, is not there any more, or does not fit the filters, is left out and named.
        """
        reused: list[Chosen] = []
        used = 0
        most = int(self._budget * REUSED_SHARE)
        for each in self._carried.documents if self._carried is not None else ():
            await self._read([each.path])
            text = self._texts.get(each.path)
            if text is None:
                continue
            if not text.digest.startswith(each.digest):
                self._warnings.append(
                    f"{INCOMPLETE}: the evidence of the last answer from {quoted(each.path)} is left out, because the document "
                    "has changed since"
                )
                continue
            if not await self._wants(text):
                self._warnings.append(
                    f"the evidence of the last answer from {quoted(each.path)} is left out, because the document does not fit "
                    "the filters"
                )
                continue
            ranges = with_surroundings(text, each.ranges)
            cost = shown_of(text, ranges, self._call.base_estimate).tokens + SOURCE_TOKENS
            if used + cost > most:
                self._warnings.append(
                    f"the evidence of the last answer from {quoted(each.path)} does not fit the prompt and is left out"
                )
                continue
            used += cost
            reused.append(Chosen(path=each.path, ranges=ranges, reused=len(ranges)))
        return reused, used

    async def _wants(self, text: DocumentText) -> bool:
        """Return whether the filters of the call admit a document."""
        wanted = self._where.wanted
        if wanted.admits_everything:
            return True
        return wanted.admits(await self._call.library.stat(text.path), text.metadata)


def _most_documents(inquiry: Inquiry, depth: Depth) -> int:
    most = MAX_READ_DOCUMENTS[depth]
    return min(most, MAX_COMPARED_DOCUMENTS) if inquiry.format == "table" and depth == "overview" else most


def _why_nothing(found: FoundPassages, named: Sequence[Requested]) -> str:
    missing = [f"{quoted(entry.path)}: {entry.missing}" for entry in named if entry.missing]
    reasons = "; ".join([*found.warnings, *missing[:MAX_NAMED_MISSING]])
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


def _selection(choice: _Choice, read: int, budget: int) -> FolderSearch:
    return FolderSearch(
        documents_considered=choice.considered,
        documents_read=read,
        queries=choice.queries,
        token_budget=budget,
        passages_reused=sum(each.reused for each in choice.chosen),
    )


async def _in_detail(call: Call, choice: _Choice, inquiry: Inquiry) -> Synthesis:
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
