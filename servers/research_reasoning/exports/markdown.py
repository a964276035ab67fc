"""An answer as a Markdown document with footnotes: in its text for the sources, at each insight for its quotes."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from research_reasoning.evidence.answers import with_citations
from research_reasoning.exports.references import Linker, SourceReference
from research_reasoning.replies.code_spans import in_prose
from research_reasoning.replies.layout_text import NOT_STATED, escaped_mark, locator_text, table_row
from research_reasoning.replies.results import Cell, DatedEvent, Evidence, Insight, Synthesis
from research_shared.text.visible import visible
from research_shared.tools.names import INCOMPLETE

UNVERIFIED: Final = " **(not verified)**"
_MARKDOWN_MARKS: Final = re.compile(
    r"([\\`*_\[\]<>|~&@#!$])|(?<=[A-Za-z])(:)(?=//)|(?<=www)(\.)", re.IGNORECASE
)

_NOTE_MARK: Final = re.compile(r"(?<!\\)(?P<marks>\\*+)\[\^")
_ESCAPED_CITATION: Final = re.compile(r"(?<!\\)((?:\\\\)*+)\\(?=\[\d{1,3}[\],])")


def plain_text(text: str) -> str:
    r"""Return a text on one line in which nothing is markup, in every renderer.

    >>> print(plain_text("a *b* [c](https://x.example)"))
    a \*b\* \[c\](https\://x.example)
    """
    return _MARKDOWN_MARKS.sub(lambda mark: "\\" + mark[0], " ".join(visible(text).split()))


def markdown(
    result: Synthesis, references: Sequence[SourceReference], link: Linker, *, quote_chars: int = 1_500
) -> str:
    """Return the answer with its insights, open points and sources. A footnote follows each citation and each insight.

    Of longer quotes the first `quote_chars` characters are given.
    """
    return _Document(result, references, link, quote_chars).text()


def _markdown_link(text: str, address: str) -> str:
    return f"[{text}](<{address.replace('<', '%3C').replace('>', '%3E')}>)"


def _without_notes(text: str) -> str:
    """Return Markdown of a model in which nothing is the mark of a footnote."""
    return in_prose(text, lambda prose: _NOTE_MARK.sub(lambda mark: escaped_mark(mark["marks"], "[^"), prose))


def _before_mark(text: str) -> str:
    """Return Markdown of a model on one line behind which the mark of a footnote is one, too: no backslash escapes it."""
    backslashes = len(text) - len(text.rstrip("\\"))
    return text + "\\" * (backslashes % 2)


class _Document:
    """Numbers the footnotes as they are needed: `[^1]` is the first of the sources, `[^1-2]` the second quote of it."""

    def __init__(
        self, result: Synthesis, references: Sequence[SourceReference], link: Linker, quote_chars: int
    ) -> None:
        self._result = result
        self._most = quote_chars
        self._by_number = {each.number: each for each in references}
        self._by_path = {each.path: each for each in references}
        self._link = link
        self._cited: dict[int, None] = {}
        self._quotes: dict[tuple[str, str, tuple[int, int] | None], str] = {}
        self._notes: list[str] = []

    def text(self) -> str:
        result = self._result
        blocks = [f"# {plain_text(result.research_question)}"]
        if result.warnings:
            first = sorted(result.warnings, key=lambda warning: not warning.startswith(INCOMPLETE))
            blocks.append("\n".join(f"> {plain_text(warning)}  " for warning in first))
        blocks.append(self._answer())
        blocks += self._insights("Key insights", result.key_insights)
        blocks += self._insights("Contradictions", result.contradictions)
        if result.not_answered:
            blocks += [
                "## Not answered",
                "\n".join(f"- {plain_text(each)}" for each in result.not_answered),
            ]
        route = result.route
        by = "without a model" if route == "extractive" else f"by {plain_text(result.model)} ({route})"
        blocks += [
            "## Sources",
            "\n".join(f"- \\[{number}\\] {self._named(each)}" for number, each in self._by_number.items()),
            f"Answered {by}; quotes were looked up in the documents.",
        ]
        notes = [f"[^{number}]: {self._named(self._by_number[number])}" for number in self._cited]
        return "\n\n".join([*blocks, *notes, *self._notes]) + "\n"

    def _answer(self) -> str:
        """Return the answer in its form, with footnotes in place of its citations and quotes."""
        if (table := self._result.table) is not None:
            rows = [table_row(["Document", *table.aspects]), table_row(["---"] * (len(table.aspects) + 1))]
            for row in table.rows:
                number = self._by_path[row.document].number
                name = plain_text(self._by_path[row.document].title) + (self._cite([number]) or "")
                rows.append(table_row([name, *map(self._cell, row.cells)]))
            return "\n".join(rows)
        if (timeline := self._result.timeline) is not None and timeline.events:
            return "\n".join(map(self._event, timeline.events))
        return self._cited_text(self._result.synthesis)

    def _cell(self, cell: Cell) -> str:
        if cell.value is None or cell.evidence is None:
            return NOT_STATED
        return f"{_before_mark(_without_notes(cell.value))}{UNVERIFIED if cell.flags else ''}{self._quote_mark(cell.evidence)}"

    def _event(self, event: DatedEvent) -> str:
        stated = "" if event.date == event.iso else f" ({_without_notes(event.date)})"
        marks = "".join(map(self._quote_mark, event.evidence))
        doubt = "" if event.verified else UNVERIFIED
        return f"- **{event.iso}**{stated}: {_before_mark(_without_notes(event.claim))}{doubt}{marks}"

    def _cited_text(self, text: str) -> str:
        text = in_prose(text, lambda prose: _ESCAPED_CITATION.sub(r"\1", prose))
        return with_citations(_without_notes(text), self._cite)

    def _cite(self, numbers: Sequence[int]) -> str | None:
        known = [number for number in numbers if number in self._by_number]
        if not known:
            return None
        self._cited |= dict.fromkeys(known)
        return "".join(f"[^{number}]" for number in known)

    def _insights(self, title: str, insights: Sequence[Insight]) -> Iterator[str]:
        if not insights:
            return
        yield f"## {title}"
        lines = []
        for insight in insights:
            doubt = "" if insight.verified else UNVERIFIED
            marks = "".join(map(self._quote_mark, insight.evidence))
            lines.append(f"- {_before_mark(self._cited_text(insight.claim))}{doubt}{marks}")
        yield "\n".join(lines)

    def _quote_mark(self, item: Evidence) -> str:
        """Return the mark of the footnote with a quote; the same quote has one footnote."""
        source = self._by_path.get(item.document)
        if source is None:
            return ""
        key = (item.document, item.quote, item.lines)
        if key not in self._quotes:
            count = sum(path == item.document for path, *_ in self._quotes) + 1
            self._quotes[key] = f"[^{source.number}-{count}]"
            where = f"{plain_text(item.document)}, {locator_text(item)}"
            address = self._link(item.document, item.page)
            where = where if address is None or item.lines is None else _markdown_link(where, address)
            quote = item.quote if len(item.quote) <= self._most else item.quote[: self._most - 1] + "…"
            self._notes.append(f"{self._quotes[key]}: “{plain_text(quote)}” {where}")
        return self._quotes[key]

    def _named(self, source: SourceReference) -> str:
        """Return a source as bibliographies name it: authors, title, date, path, with its link."""
        said = source.metadata
        title = f"*{plain_text(source.title)}*"
        path = plain_text(source.path)
        parts = [
            "; ".join(map(plain_text, said.authors)),
            title,
            said.date,
            path if source.url is None else _markdown_link(path, source.url),
        ]
        return ". ".join(part for part in parts if part)
