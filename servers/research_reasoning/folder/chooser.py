"""Looks for passages of the folder that fit a question, and chooses which of them are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio

from research_reasoning.call import Call
from research_reasoning.evidence.duplicates import version_notes_on, without_superseded
from research_reasoning.folder.choice import (
    SOURCE_TOKENS,
    Chosen,
    candidates_of,
    choose,
    shown_of,
    with_reused,
    with_surroundings,
)
from research_reasoning.folder.left_out import LeftOut, left_out_of, warnings_on
from research_reasoning.folder.queries import written_queries
from research_reasoning.follow_up import CarriedEvidence
from research_reasoning.inquiry import Inquiry
from research_reasoning.layouts.aspects import AspectsTask
from research_reasoning.replies.results import Depth
from research_reasoning.replies.untrusted import quoted
from research_reasoning.requested import Requested, WholeFolder
from research_shared.documents import DocumentText
from research_shared.errors import NoReadableDocuments, ResearchError
from research_shared.reading.passage_search import FoundPassages, PassageSearch
from research_shared.text.sizes import counted
from research_shared.tools.names import INCOMPLETE

MAX_READ_DOCUMENTS: Final = {"overview": 20, "detailed": 10}
"""Documents that are read for one question."""
FOUND_PASSAGES: Final = 40
"""Passages that are looked for with each query."""
MAX_COMPARED_DOCUMENTS: Final = 8
"""Rows of a table for which one prompt holds the passages of all documents."""
REUSED_SHARE: Final = 0.5
"""Share of the budget that the evidence of an earlier answer takes at most; the rest is for new passages."""
MAX_NAMED_MISSING: Final = 3
"""Documents that are not there and that an error names."""
_CHOICE_KEY: Final = "choice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was looked for and chosen, kept for all rounds of a call."""

    queries: list[str]
    chosen: list[Chosen]
    considered: int
    warnings: list[str]
    left_out: list[LeftOut]

    def packed(self) -> dict[str, Any]:
        """Return it as JSON, which a ledger keeps."""
        return {
            "queries": self.queries,
            "chosen": [[each.path, each.ranges, each.words, each.reused] for each in self.chosen],
            "considered": self.considered,
            "warnings": self.warnings,
            "left_out": [list(each) for each in self.left_out],
        }

    @classmethod
    def unpacked(cls, kept: dict[str, Any]) -> "Choice":
        """Return the choice that `packed` gave."""
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


class Chooser:
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

    async def choice(self, inquiry: Inquiry) -> tuple[Choice, Inquiry]:
        """Return what was chosen in an earlier round, or look for it and choose, and the inquiry with its columns.

        Raises:
            NoReadableDocuments: nothing could be searched.
        """
        call = self._call
        kept = call.ledger.get_result(_CHOICE_KEY)
        if kept is not None:
            return Choice.unpacked(kept), AspectsTask(call, inquiry, ()).settle(None)
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
        choice = Choice(
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
