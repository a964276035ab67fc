"""Results as compact Markdown for the models that read them: what a person would be told, what is missing first.

Pure functions. Everything that a document or a model may have worded is neutralised, and on one line where a line of
ours goes on after it.
"""

import re
from collections.abc import Sequence
from typing import Final

from research_reasoning.replies.layout_text import locator_text
from research_reasoning.replies.results import Evidence, FolderSearch, Insight, Source, Summary, Synthesis
from research_reasoning.replies.untrusted import neutralised_line
from research_shared.text.sizes import counted
from research_shared.text.tokens import Estimator, estimate_tokens
from research_shared.text.visible import visible
from research_shared.tools.names import INCOMPLETE

MAX_TEXT_TOKENS: Final = 20_000
"""Estimated tokens of a text; models are cut off, or cut it off, at 25,000."""
MAX_EVIDENCE: Final = 4
"""Quotes that are shown of one insight; all of them are in the structured result."""
MAX_SHOWN_QUOTE_CHARS: Final = 400
MAX_PATH_CHARS: Final = 200
MAX_REASONS: Final = 30
"""Skipped documents whose reasons are shown."""


NOT_ANSWERED: Final = (
    "NOT ANSWERED: the documents do not answer the question, or the model did not in a form that can be checked. "
    "Search for others."
)
NOT_COMBINED: Final = "NOT ANSWERED as one: what each document says follows, and was not compared."


def summary_text(result: Summary) -> str:
    """The summary, with what it does not rest on before it."""
    return "\n\n".join(
        [
            *_warnings(result.warnings),
            result.summary,
            f"Summary of {_path(result.document_path)}. {_model(result.model, result.route)}",
        ]
    )


def synthesis_text(result: Synthesis, *, estimate: Estimator = estimate_tokens) -> str:
    """The answer, the insights with their evidence, and the sources that the citations count."""
    numbers = {source.path: number for number, source in enumerate(result.sources, 1)}
    blocks = _warnings(result.warnings)
    if not result.answered:
        blocks.append(_not_answered(result))
    blocks.append(result.synthesis)
    blocks += _insights("Key insights:", result.key_insights, numbers)
    if result.not_answered:
        blocks.append(f"Not answered: {neutralised_line('; '.join(result.not_answered))}.")
    blocks += _insights("Contradictions between the documents:", result.contradictions, numbers)
    tail = _model(result.model, result.route)
    if result.selection is not None:
        tail = f"{_folder_search_text(result.selection)} {tail}"
    ends = [tail, *_export(result), *_follow_up(result)]
    room = MAX_TEXT_TOKENS - estimate("\n\n".join([*blocks, *ends]))
    return "\n\n".join([*blocks, _sources(result, room, estimate), *ends])


def _export(result: Synthesis) -> list[str]:
    """The exported file, in a block of code that nothing in it closes."""
    if result.export is None:
        return []
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", result.export.content)), default=0))
    return [f"Export ({result.export.format}):", f"{fence}\n{result.export.content}{fence}"]


def _follow_up(result: Synthesis) -> list[str]:
    return [f"To ask on from this evidence, pass follow_up: {result.follow_up}"] if result.follow_up else []


def _folder_search_text(selection: FolderSearch) -> str:
    """What was searched and read of the folder."""
    queries = "; ".join(selection.queries[1:])
    also = f" Also searched for: {neutralised_line(queries)}." if queries else ""
    return f"Searched {counted(selection.documents_considered, 'document')}, read passages of {selection.documents_read}.{also}"


def _warnings(warnings: Sequence[str]) -> list[str]:
    """What is incomplete, then the rest."""
    first = [neutralised_line(text) for text in warnings if text.startswith(INCOMPLETE)]
    rest = [f"Note: {neutralised_line(text)}" for text in warnings if not text.startswith(INCOMPLETE)]
    return ["\n".join([*first, *rest])] if warnings else []


def _not_answered(result: Synthesis) -> str:
    return NOT_COMBINED if result.partial and result.key_insights else NOT_ANSWERED


def _insights(title: str, insights: Sequence[Insight], numbers: dict[str, int]) -> list[str]:
    lines = [
        line for number, insight in enumerate(insights, 1) for line in _insight(number, insight, numbers)
    ]
    return ["\n".join([title, *lines])] if lines else []


def _insight(number: int, insight: Insight, numbers: dict[str, int]) -> list[str]:
    verdict = "verified" if insight.verified else "NOT VERIFIED, do not report as fact"
    verdict += f": {neutralised_line('; '.join(insight.flags))}" if insight.flags else ""
    lines = [f"{number}. {neutralised_line(insight.claim)} ({verdict})"]
    lines += [
        f"   - {_evidence_text(item, numbers, insight.claim)}" for item in insight.evidence[:MAX_EVIDENCE]
    ]
    more = len(insight.evidence) - MAX_EVIDENCE
    return [*lines, f"   - and {counted(more, 'more quote')}"] if more > 0 else lines


def _evidence_text(item: Evidence, numbers: dict[str, int], claim: str) -> str:
    """Where a quote is and what it says, unless the claim says the same."""
    quote = (
        item.quote
        if len(item.quote) <= MAX_SHOWN_QUOTE_CHARS
        else item.quote[: MAX_SHOWN_QUOTE_CHARS - 1] + "…"
    )
    place = f"[{numbers[item.document]}] {locator_text(item)}"
    return (
        place
        if neutralised_line(item.quote) == neutralised_line(claim)
        else f'{place}: "{neutralised_line(quote)}"'
    )


def _sources(result: Synthesis, room: int, estimate: Estimator) -> str:
    """The sources by number, as many as there is room for; the structured result has all of them."""
    skipped = f", {result.sources_skipped} skipped" if result.sources_skipped else ""
    if same := sum(source.status == "duplicate" for source in result.sources):
        skipped = f", {same} with the same content{skipped}"
    lines = [f"Sources ({result.sources_used} used{skipped}):"]
    reasons = 0
    for number, source in enumerate(result.sources, 1):
        reasons += source.status == "skipped"
        line = _source_text(number, source, reason=reasons <= MAX_REASONS)
        room -= estimate(line) + 1
        if room < 0:
            lines.append(f"- and {len(result.sources) - number + 1} more")
            break
        lines.append(line)
    return "\n".join(lines)


def _source_text(number: int, source: Source, *, reason: bool) -> str:
    line = f"- [{number}] {_path(source.path)}"
    if source.status == "skipped":
        return (
            f"{line} skipped: {neutralised_line(source.reason)}"
            if reason and source.reason
            else f"{line} skipped"
        )
    if source.reason is not None:
        line += f" ({neutralised_line(source.reason)})"
    return f"{line} in part" if source.coverage is not None and not source.coverage.complete else line


def _model(model: str, route: str) -> str:
    return "No model was used." if route == "extractive" else f"Model: {neutralised_line(model)} ({route})."


def _path(path: str) -> str:
    """A path as code, in which nothing but back quotes has a meaning."""
    path = " ".join(visible(path).split())
    path = path if len(path) <= MAX_PATH_CHARS else path[:MAX_PATH_CHARS] + "…"
    return neutralised_line(path if "`" in path else f"`{path}`")
