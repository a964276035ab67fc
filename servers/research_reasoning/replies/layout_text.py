"""Tables and timelines as Markdown. Pure functions; everything that a document or a model worded is neutralised."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from research_reasoning.replies.results import Cell, ComparisonTable, DatedEvent, Evidence, Timeline
from research_reasoning.replies.untrusted import neutralised_line
from research_shared.text.visible import visible

NOT_STATED: Final = "not stated"
MAX_CELL_QUOTE_CHARS: Final = 160
MAX_CELL_PATH_CHARS: Final = 80
_BAR: Final = re.compile(r"(?<!\\)(?P<marks>\\*+)\|")


def locator_text(item: Evidence) -> str:
    """Return where a quote stands: page and lines, or that it is not in the document."""
    if item.lines is None:
        return "is not in the document"
    first, last = item.lines
    where = f"line {first}" if first == last else f"lines {first}-{last}"
    where = where if item.page is None else f"p. {item.page}, {where}"
    return f"{where} (read by OCR)" if item.ocr else where


def table_text(table: ComparisonTable, numbers: Mapping[str, int], *, quotes: bool = True) -> str:
    """Return a table in Markdown: a row for each document, led by the number of its source. Without `quotes` only their places."""
    lines = [
        table_row(["Document", *table.aspects]),
        table_row(["---"] * (len(table.aspects) + 1)),
    ]
    for row in table.rows:
        name = f"[{numbers[row.document]}] {_short_path(row.document)}"
        lines.append(table_row([name, *(_cell_text(cell, quotes=quotes) for cell in row.cells)]))
    return "\n".join(lines)


def timeline_text(timeline: Timeline, numbers: Mapping[str, int]) -> str:
    """Return a timeline in Markdown: one line for each event."""
    return "\n".join(f"- {_event_text(event, numbers)}" for event in timeline.events)


def table_row(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(map(in_table, cells))} |"


def in_table(text: str) -> str:
    r"""Return a text on one line in which no bar ends a cell. One that is escaped already stays as it is.

    >>> print(in_table(r"a | b \| c \\| d"))
    a \| b \| c \\\| d
    """
    return _BAR.sub(lambda bar: escaped_mark(bar["marks"], "|"), " ".join(text.split()))


def escaped_mark(backslashes: str, mark: str) -> str:
    """Return a mark of Markdown behind as many backslashes as it has, or one more if these escape only each other."""
    return backslashes + "\\" * (len(backslashes) % 2 == 0) + mark


def _cell_text(cell: Cell, *, quotes: bool) -> str:
    if cell.value is None or cell.evidence is None:
        return NOT_STATED
    doubt = f" (NOT VERIFIED: {neutralised_line('; '.join(cell.flags))})" if cell.flags else ""
    where = locator_text(cell.evidence)
    if not quotes or neutralised_line(cell.evidence.quote) == cell.value:
        return f"{cell.value}{doubt} ({where})"
    return f'{cell.value}{doubt} ({where}: "{_short_quote(cell.evidence)}")'


def _event_text(event: DatedEvent, numbers: Mapping[str, int]) -> str:
    verdict = "verified" if event.verified else "NOT VERIFIED, do not report as fact"
    verdict += f": {neutralised_line('; '.join(event.flags))}" if event.flags else ""
    stated = "" if event.date == event.iso else f" ({event.date})"
    said = f"{event.iso}{stated}: {event.claim} ({verdict})"
    for item in event.evidence:
        said += f" [{numbers[item.document]}] {locator_text(item)}"
        if neutralised_line(item.quote) != event.claim:
            said += f': "{_short_quote(item)}"'
    return said


def _short_quote(item: Evidence) -> str:
    cut = (
        item.quote
        if len(item.quote) <= MAX_CELL_QUOTE_CHARS
        else item.quote[: MAX_CELL_QUOTE_CHARS - 1] + "…"
    )
    return neutralised_line(cut)


def _short_path(path: str) -> str:
    path = " ".join(visible(path).split())
    path = path if len(path) <= MAX_CELL_PATH_CHARS else "…" + path[1 - MAX_CELL_PATH_CHARS :]
    return neutralised_line(path if "`" in path else f"`{path}`")
