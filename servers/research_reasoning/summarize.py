"""`summarize_document`: one call for a short document, map and reduce over the parts of a long one."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from research_reasoning import prompts
from research_reasoning.budget import LENGTHS, MIN_DOCUMENT_TOKENS, OVERHEAD, LengthPlan
from research_reasoning.call import Call, completed
from research_reasoning.evidence.coverage import coverage_of, is_blank
from research_reasoning.evidence.selection import Shown, clip
from research_reasoning.models.protocol import (
    Body,
    Completion,
    Cost,
    Extract,
    Prompt,
    PromptOutcome,
    input_room,
    key_of,
)
from research_reasoning.replies import code_spans
from research_reasoning.replies.code_spans import Block
from research_reasoning.replies.results import Coverage, Summary, SummaryLength
from research_reasoning.replies.untrusted import neutralised, quoted
from research_shared.documents import DocumentText
from research_shared.errors import DocumentUnreadable, ModelError, ModelFailed
from research_shared.text.sizes import counted, one_or_many
from research_shared.tools.names import INCOMPLETE

STEPS = 3
_LOADED, _PREPARED = 1, 2
_PAIR = 2
_TITLE_LINES = 5
_MAX_TITLE = 150

MAX_SMALLER = 2
"""How often a document is split anew because its parts are too long for the model."""

SUMMARY_ROUNDS = 2
"""Rounds reserved for merging notes and for the summary."""


async def summarize(call: Call, path: str, length: SummaryLength) -> Summary:
    """Return the summary of one document.

    Raises:
        DocumentNotFound, DocumentUnreadable: there is nothing to summarize.
        ModelError: the model failed in all attempts.
    """
    plan = LENGTHS[length]
    name = quoted(path)
    await call.client.info(f"reading {name}", once=True)
    text = await call.read(path)
    await call.progress.to(_LOADED, f"read {name}: {counted(text.total_lines, 'line')}")
    for note in text.notes:
        await call.client.warning(f"{name}: {note}", once=True)
    for smaller in itertools.count():
        shown = await _split(call, text, plan)
        await call.progress.to(_PREPARED, f"prepared {len(shown)} part{'s' * (len(shown) != 1)}")
        summarizer = _Summarizer(call, text, length, plan)
        try:
            summary = await summarizer.run(shown)
            break
        except ModelFailed as error:
            if smaller == MAX_SMALLER or not _takes_less(call, error, plan):
                raise
            await call.client.warning(f"{name} is asked about in smaller parts: {error.message}")
    covered = _covered(text, [part for number, part in enumerate(shown, 1) if number not in summarizer.lost])
    paragraphs, problem = shaped(summary, plan)
    warnings = [*text.notes, *_left_out(_covered(text, shown), shown, summarizer), *call.model_warnings()]
    warnings += [problem] if problem else []
    for warning in warnings[len(text.notes) :]:
        await call.client.warning(f"{name}: {warning}", once=True)
    await call.progress.to(STEPS, "summarized")
    return Summary(
        document_path=path,
        summary=paragraphs,
        word_count=len(paragraphs.split()),
        token_estimate=call.estimate(paragraphs),
        model=call.model_name,
        route=call.model.route,
        summary_length=length,
        coverage=covered,
        warnings=warnings,
        usage=call.usage(),
    )


async def _split(call: Call, text: DocumentText, plan: LengthPlan) -> list[Shown]:
    """Return the parts of the document that fit the budget.

    Raises:
        DocumentUnreadable: the document holds no text.
    """
    budget = call.budget

    def overhead_for(count: int) -> int:
        """Tokens that `count` parts cost besides their text: instructions, and merging their notes."""
        notes = count * plan.notes_tokens
        return count * OVERHEAD + (2 * notes + count * OVERHEAD if notes > budget.content_tokens else 0)

    shown = await asyncio.to_thread(
        call.prepared.split,
        text,
        budget.content_tokens,
        budget.planned,
        overhead_for,
        (plan, OVERHEAD),
    )
    if not shown or is_blank(text):
        raise DocumentUnreadable(f"{text.path} holds no text", reason="no text")
    return shown


def _takes_less(call: Call, error: ModelFailed, plan: LengthPlan) -> bool:
    """Lower the tokens of one call to what the model takes. Return False if that is not the matter, or leaves too little."""
    if error.details.get("reason") != "context_length":
        return False
    refused = min(call.budget.call_tokens, error.details["prompt_tokens"])
    limit = error.details.get("context_tokens")
    fitting = input_room(limit, plan.max_tokens) if limit else refused // 2
    # The estimate is too low if it says that what was refused fits.
    fitting = min(fitting, refused * 2 // 3)
    if fitting < OVERHEAD + MIN_DOCUMENT_TOKENS:
        return False
    call.budget = replace(call.budget, call_tokens=fitting)
    return True


def _covered(text: DocumentText, shown: Sequence[Shown]) -> Coverage:
    return coverage_of(text, [span for part in shown for span in part.ranges], sum(p.clipped for p in shown))


def _left_out(planned: Coverage, shown: Sequence[Shown], summarizer: "_Summarizer") -> list[str]:
    """Return warnings about content that the summary leaves out."""
    warnings = []
    if not planned.complete:
        warnings.append(
            f"{INCOMPLETE}: {planned.lines_shown} of {counted(planned.lines_total, 'line')} {one_or_many(planned.lines_shown, 'was', 'were')} used; the rest did not fit"
        )
    for number, why in summarizer.lost.items():
        ranges = shown[number - 1].ranges
        warnings.append(f"{INCOMPLETE}: lines {ranges[0][0]}-{ranges[-1][1]} were left out: {why}")
    if summarizer.clipped:
        warnings.append(
            f"{INCOMPLETE}: notes on parts of the document were too long to be merged whole; "
            "their ends were left out"
        )
    return warnings


class _Summarizer:
    def __init__(self, call: Call, text: DocumentText, length: SummaryLength, plan: LengthPlan) -> None:
        self._call = call
        self._text = text
        self._plan = plan
        self._label = quoted(text.path)
        self.clipped = False
        self.lost: dict[int, str] = {}
        """Reasons of the parts without notes, by part number."""
        budget = call.budget
        self._identity = (
            prompts.PROMPTS_VERSION,
            text.path,
            text.digest,
            length,
            budget.call_tokens,
            budget.request_tokens,
            call.boundary,
        )

    async def run(self, shown: Sequence[Shown]) -> str:
        """Return the model's summary, unchecked."""
        if len(shown) == 1:
            prompt = self._whole(shown[0])
            await self._call.announce(([Cost.of(prompt)], 0))
            return completed((await self._call.ask([prompt]))[0]).text
        notes = await self._mapped(shown)
        level = 0
        while len(notes) > 1 and sum(map(self._call.estimate, notes)) > self._call.budget.content_tokens:
            level += 1
            notes = await self._merged(notes, level)
        prompt = self._last(notes)
        return completed((await self._call.ask([prompt]))[0]).text

    async def _mapped(self, shown: Sequence[Shown]) -> list[str]:
        key = key_of("map", *self._identity)
        asked = [self._part(part, number, len(shown)) for number, part in enumerate(shown, 1)]
        last = Cost(len(asked) * self._plan.notes_tokens + OVERHEAD, self._plan.max_tokens)
        await self._call.announce(([Cost.of(prompt) for prompt in asked], SUMMARY_ROUNDS), ([last], 0))
        notes = await self._step(key, asked, 0.0, 0.8)
        self.lost = {number: why for number, (_, why) in enumerate(notes, 1) if why}
        return [note for note, why in notes if not why]

    async def _merged(self, notes: Sequence[str], level: int) -> list[str]:
        groups = grouped(notes, self._call.budget.content_tokens, self._call)
        self.clipped = self.clipped or [note for group in groups for note in group] != list(notes)
        key = key_of("merge", level, *self._identity)
        asked = [self._merge(group, level, number) for number, group in enumerate(groups, 1)]
        try:
            merged = await self._step(key, asked, 0.8, 0.9)
        except ModelError:
            merged = [("", "")] * len(groups)
        # Notes that could not be merged are used unmerged.
        return [note or "\n\n".join(group) for (note, _), group in zip(merged, groups, strict=True)]

    async def _step(
        self, key: str, asked: Sequence[Prompt], begin: float, end: float
    ) -> list[tuple[str, str]]:
        """Return (answer, reason) for each prompt, one of them empty. The ledger keeps the list in place of the answers.

        Raises:
            ModelError: no prompt was answered.
        """
        call = self._call
        kept = call.ledger.get_result(key)
        if kept is not None:
            return [(note, why) for note, why in kept]
        known = 0

        async def tell(_index: int, _outcome: PromptOutcome) -> None:
            nonlocal known
            known += 1
            reached = _PREPARED + begin + (end - begin) * known / len(asked)
            await call.progress.to(reached, f"part {known} of {len(asked)} of {self._label}")

        outcomes = await call.ask(asked, reserve=SUMMARY_ROUNDS, tell=tell)
        if all(isinstance(outcome, ModelError) for outcome in outcomes):
            completed(outcomes[0])
        notes = [
            (outcome.text, "") if isinstance(outcome, Completion) else ("", outcome.message)
            for outcome in outcomes
        ]
        call.ledger.set_result(key, notes, replaces=[prompt.key for prompt in asked])
        return notes

    def _extract_of(self, text: str, *, titled: bool = False) -> Callable[[], Awaitable[Extract]]:
        async def extract() -> Extract:
            title = summary_title(self._text) if titled else ""
            return Extract("summary", tuple(text.split("\n")), amount=self._plan.paragraphs, title=title)

        return extract

    def _whole(self, shown: Shown) -> Prompt:
        async def build() -> Body:
            return prompts.summary(
                path=self._text.path, content=shown.text, plan=self._plan, boundary=self._call.boundary
            )

        return Prompt(
            key_of("summary", *self._identity),
            f"the summary of {self._label}",
            self._plan.max_tokens,
            build,
            self._extract_of(shown.text, titled=True),
            shown.tokens + OVERHEAD,
        )

    def _part(self, shown: Shown, number: int, count: int) -> Prompt:
        async def build() -> Body:
            return prompts.part(
                path=self._text.path,
                number=number,
                count=count,
                content=shown.text,
                plan=self._plan,
                boundary=self._call.boundary,
            )

        return Prompt(
            key_of("part", number, count, *self._identity),
            f"part {number} of {count} of {self._label}",
            self._plan.notes_tokens,
            build,
            self._extract_of(shown.text),
            shown.tokens + OVERHEAD,
            brief=True,
        )

    def _merge(self, notes: Sequence[str], level: int, number: int) -> Prompt:
        joined = "\n\n".join(notes)

        async def build() -> Body:
            return prompts.merge(
                path=self._text.path, notes=joined, plan=self._plan, boundary=self._call.boundary
            )

        return Prompt(
            key_of("merge", level, number, *self._identity),
            f"merged notes {number} of {self._label}",
            self._plan.notes_tokens,
            build,
            self._extract_of(joined),
            self._call.estimate(joined) + OVERHEAD,
        )

    def _last(self, notes: Sequence[str]) -> Prompt:
        whole = "\n\n".join(notes)
        joined = clip(whole, self._call.budget.content_tokens, self._call.estimate)
        self.clipped = self.clipped or joined != whole

        async def build() -> Body:
            return prompts.reduce(
                path=self._text.path, notes=joined, plan=self._plan, boundary=self._call.boundary
            )

        return Prompt(
            key_of("reduce", *self._identity),
            f"the summary of {self._label}",
            self._plan.max_tokens,
            build,
            self._extract_of(joined, titled=True),
            self._call.estimate(joined) + OVERHEAD,
        )


def summary_title(text: DocumentText) -> str:
    """Return the title of a document: what it declares, else its first line if that looks like one; empty without any."""
    if text.metadata.title:
        return text.metadata.title
    first = next((line.strip() for line in text.lines(1, _TITLE_LINES) if line.strip()), "")
    bare = first.lstrip("#").strip()
    short = 0 < len(bare) <= _MAX_TITLE and not bare.endswith((".", ",", ";", ":"))
    return bare if short and (first.startswith("#") or bare[:1].isupper()) else ""


def grouped(notes: Sequence[str], limit: int, call: Call) -> list[list[str]]:
    """Group consecutive notes to fit one prompt, in pairs at least, so that each level halves their number."""
    groups: list[list[str]] = [[]]
    used = 0
    for note in (clip(note, limit // _PAIR, call.estimate) for note in notes):
        size = call.estimate(note)
        if len(groups[-1]) >= _PAIR and used + size > limit:
            groups.append([])
            used = 0
        groups[-1].append(note)
        used += size
    return groups


def shaped(answer: str, plan: LengthPlan) -> tuple[str, str | None]:
    """Return an answer in the requested number of paragraphs, and a warning if it has too few.

    Surplus paragraphs are joined to the last one.
    """
    paragraphs = _paragraphs(neutralised(answer))
    wanted = plan.paragraphs
    open_ended = wanted >= LENGTHS["detailed"].paragraphs
    if len(paragraphs) > wanted and not open_ended:
        paragraphs = [
            *paragraphs[: wanted - 1],
            [piece for rest in paragraphs[wanted - 1 :] for piece in rest],
        ]
    text = "\n\n".join(map(_in_one, paragraphs))
    if len(paragraphs) < wanted:
        some = f"{len(paragraphs)} paragraph{'s' * (len(paragraphs) != 1)}"
        return text, f"the summary has {some} where {wanted} were asked for"
    return text, None


def _paragraphs(text: str) -> list[list[str | Block]]:
    """Return the paragraphs of a text as lines and code blocks. A block belongs to the paragraph before it."""
    paragraphs: list[list[str | Block]] = []
    ended = True
    for part in code_spans.parts(text):
        line = part if isinstance(part, Block) else " ".join("".join(piece.raw for piece in part).split())
        if not line:
            ended = True
            continue
        if not paragraphs or (ended and not isinstance(line, Block)):
            paragraphs.append([])
        paragraphs[-1].append(line)
        ended = False
    return paragraphs


def _in_one(paragraph: Sequence[str | Block]) -> str:
    """Return a paragraph on one line, except for its code blocks."""
    text = ""
    after_block = False
    for piece in paragraph:
        block = isinstance(piece, Block)
        gap = "\n" if block or after_block else " "
        text += (gap if text else "") + (piece.raw if isinstance(piece, Block) else piece)
        after_block = block
    return text
