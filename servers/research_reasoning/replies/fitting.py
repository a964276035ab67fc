"""Results that are no longer than a model's context takes: what is least missed goes first, and is said to be gone."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from research_reasoning.replies.layout_text import table_text
from research_reasoning.replies.results import Cell, Evidence, Insight, Synthesis
from research_shared.text.tokens import Estimator
from research_shared.tools.names import INCOMPLETE

MAX_RESULT_TOKENS: Final = 20_000
"""Estimated tokens of a structured result."""

MAX_LAYOUT_QUOTE_CHARS: Final = 100
MAX_LAYOUT_ENTRY_CHARS: Final = 120

Shorten = Callable[[Synthesis], Synthesis]


def fitted(result: Synthesis, estimate: Estimator, *, limit: int = MAX_RESULT_TOKENS) -> Synthesis:
    """The result, or a shorter one with a warning that names what is left out of it."""
    shorter = result
    left_out: list[str] = []
    for what, shorten in _steps():
        if estimate(shorter.model_dump_json()) <= limit:
            break
        shorter = shorten(shorter)
        left_out.append(what)
    if not left_out:
        return result
    warning = f"{INCOMPLETE}: the reply would be too long; left out are {', '.join(left_out)}"
    return shorter.model_copy(update={"warnings": [*shorter.warnings, warning]})


def _steps() -> Iterator[tuple[str, Shorten]]:
    yield "the line ranges of coverage", _without_ranges
    yield "the coverage", _without_coverage
    yield "all but four quotes of each insight", lambda result: _with_evidence(result, 4)
    yield "all but one quote of each insight", lambda result: _with_evidence(result, 1)
    yield "quotes beyond 200 characters", _with_short_quotes
    yield "quotes of a table or a timeline beyond 100 characters", _with_short_layouts
    yield "entries of a table beyond 120 characters", _with_short_entries
    yield "the reasons of skipped documents beyond 60 characters", _with_short_reasons


def _without_ranges(result: Synthesis) -> Synthesis:
    sources = [
        source.model_copy(update={"coverage": source.coverage.model_copy(update={"ranges": []})})
        if source.coverage is not None
        else source
        for source in result.sources
    ]
    return result.model_copy(update={"sources": sources})


def _without_coverage(result: Synthesis) -> Synthesis:
    sources = [source.model_copy(update={"coverage": None}) for source in result.sources]
    return result.model_copy(update={"sources": sources})


def _with_evidence(result: Synthesis, most: int) -> Synthesis:
    return _with_changed_evidence(result, lambda evidence: evidence[:most])


def _with_short_quotes(result: Synthesis) -> Synthesis:
    return _with_changed_evidence(
        result,
        lambda evidence: [item.model_copy(update={"quote": _cut(item.quote, 200)}) for item in evidence],
    )


def _with_changed_evidence(
    result: Synthesis, change: Callable[[list[Evidence]], list[Evidence]]
) -> Synthesis:
    """Return the result with the evidence of its insights and contradictions changed."""

    def changed(found: Sequence[Insight]) -> list[Insight]:
        return [insight.model_copy(update={"evidence": change(insight.evidence)}) for insight in found]

    return result.model_copy(
        update={
            "key_insights": changed(result.key_insights),
            "contradictions": changed(result.contradictions),
        }
    )


def _with_short_layouts(result: Synthesis) -> Synthesis:
    """Return the result with short quotes in its table or timeline; the text of a table gives their places alone."""
    changes: dict[str, object] = {}
    if (table := result.table) is not None:
        numbers = {source.path: number for number, source in enumerate(result.sources, 1)}
        rows = [
            row.model_copy(update={"cells": [_with_short_quote(cell) for cell in row.cells]})
            for row in table.rows
        ]
        shorter = table.model_copy(update={"rows": rows})
        changes = {"table": shorter, "synthesis": table_text(shorter, numbers, quotes=False)}
    if (timeline := result.timeline) is not None:
        events = [
            event.model_copy(update={"evidence": [_shortened(item) for item in event.evidence[:1]]})
            for event in timeline.events
        ]
        changes["timeline"] = timeline.model_copy(update={"events": events})
    return result.model_copy(update=changes)


def _with_short_entries(result: Synthesis) -> Synthesis:
    if (table := result.table) is None:
        return result
    rows = [
        row.model_copy(
            update={
                "cells": [
                    cell
                    if cell.value is None
                    else cell.model_copy(update={"value": _cut(cell.value, MAX_LAYOUT_ENTRY_CHARS)})
                    for cell in row.cells
                ]
            }
        )
        for row in table.rows
    ]
    numbers = {source.path: number for number, source in enumerate(result.sources, 1)}
    shorter = table.model_copy(update={"rows": rows})
    return result.model_copy(
        update={"table": shorter, "synthesis": table_text(shorter, numbers, quotes=False)}
    )


def _with_short_quote(cell: Cell) -> Cell:
    if cell.evidence is None:
        return cell
    return cell.model_copy(update={"evidence": _shortened(cell.evidence)})


def _shortened(item: Evidence) -> Evidence:
    return item.model_copy(update={"quote": _cut(item.quote, MAX_LAYOUT_QUOTE_CHARS)})


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _with_short_reasons(result: Synthesis) -> Synthesis:
    sources = [
        source.model_copy(update={"reason": _cut(source.reason, 60)}) if source.reason is not None else source
        for source in result.sources
    ]
    return result.model_copy(update={"sources": sources})
