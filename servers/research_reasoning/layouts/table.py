"""A table of documents by aspects, in which every entry has a quote that its document holds. Pure functions."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from research_reasoning.evidence.answers import checked_citations
from research_reasoning.evidence.claims import flags
from research_reasoning.evidence.combination import Answer, evidence_of
from research_reasoning.evidence.gathering import CheckedFinding, DocumentEvidence
from research_reasoning.inquiry import Inquiry
from research_reasoning.replies.layout_text import table_text
from research_reasoning.replies.results import Cell, ComparisonTable, TableRow
from research_reasoning.replies.untrusted import neutralised_line

MAX_VALUE_CHARS: Final = 420
QUESTION_AS_COLUMN: Final = "no aspects were given, and no model chose any: the only column is what each document says on the question; give aspects"
QUOTE_NOT_FOUND: Final = "another quote of it is not in the document"
_NO_ENTRY: Final = Cell(value=None, evidence=None)
_LEADING_NUMBER: Final = re.compile(
    r"[\s\[(]*(?P<word>aspect|column)?\s*#?(?P<number>\d{1,3})(?!\w|[.,]\d|-\w)(?P<mark>\s*[.:)\]-]\s*|\s*$)?",
    re.IGNORECASE,
)
_SAYS_NOTHING: Final = frozenset(
    {"n/a", "na", "none stated", "not addressed", "not available", "not given", "not mentioned", "not specified",
     "not stated", "unknown", "unspecified", "keine angabe", "nicht angegeben", "non précisé", "no indicado"}
)  # fmt: skip
"""What models write in an entry that they were told to leave out."""


def table_answer(
    inquiry: Inquiry, usable: Sequence[tuple[int, DocumentEvidence]], warnings: list[str]
) -> Answer:
    """Return the table of the findings. An entry without a quote that was found is left out and counted in `warnings`."""
    rows = []
    unsupported = doubtful = misplaced = further = 0
    for _, found in usable:
        entries = _by_aspect(found.findings, inquiry.aspects)
        misplaced += len(entries.pop(None, ()))
        cells = [_cell(found.path, entries.get(at, ())) for at, _ in enumerate(inquiry.aspects, 1)]
        unsupported += sum(cell.unsupported for cell in cells)
        further += sum(cell.further for cell in cells)
        doubtful += sum(bool(cell.chosen.flags) for cell in cells)
        rows.append(TableRow(document=found.path, cells=[cell.chosen for cell in cells]))
    stated = sum(cell.value is not None for row in rows for cell in row.cells)
    table = ComparisonTable(
        aspects=[neutralised_line(aspect) for aspect in inquiry.aspects],
        rows=rows,
        stated=stated,
        unsupported=unsupported,
    )
    if inquiry.aspects == (inquiry.question,):
        warnings.append(QUESTION_AS_COLUMN)
    if unsupported:
        warnings.append(
            f"entries left out as not stated, because none of their quotes could be found: {unsupported}"
        )
    if further:
        warnings.append(
            f"entries left out because their cell has another one of the same document and aspect: {further}; ask for it "
            "alone to see all"
        )
    if misplaced:
        warnings.append(f"entries left out because they name no aspect of the table: {misplaced}")
    if doubtful:
        warnings.append(
            "entries with a number or a negation otherwise than their quote, or with a quote that is not in the document: "
            f"{doubtful}; see the flags, and do not report them as fact"
        )
    numbers = {found.path: number for number, found in usable}
    open_ = [
        aspect for at, aspect in enumerate(table.aspects) if all(row.cells[at].value is None for row in rows)
    ]
    return Answer(
        table_text(table, numbers),
        (),
        answered=stated > 0,
        missing=tuple(open_),
        table=table,
    )


class _FilledCell(NamedTuple):
    """A cell, and how many entries were left out: without a quote that was found, and besides the chosen one."""

    chosen: Cell
    unsupported: int
    further: int


def _cell(path: str, entries: Sequence[CheckedFinding]) -> _FilledCell:
    """Return the cell of a document from its entries. One without a flag wins."""
    cells = [_cell_of(path, finding) for finding in entries if finding.verified]
    chosen = next((cell for cell in cells if not cell.flags), cells[0] if cells else _NO_ENTRY)
    said = {_plain_name(cell.value or "") for cell in cells}
    return _FilledCell(chosen, len(entries) - len(cells), max(0, len(said) - 1))


def _by_aspect(
    findings: Sequence[CheckedFinding], aspects: Sequence[str]
) -> dict[int | None, list[CheckedFinding]]:
    """Return what a document's findings state, by the number of their aspect; None is for those that name none of them."""
    entries: dict[int | None, list[CheckedFinding]] = {}
    for finding in findings:
        if finding.claim.strip(" .").casefold() not in _SAYS_NOTHING:
            entries.setdefault(aspect_number(finding.aspect, aspects), []).append(finding)
    return entries


def aspect_number(said: str, aspects: Sequence[str]) -> int | None:
    """Return the number of the aspect that a finding names: by its name, which more may follow, or by a number before any text.

    >>> [aspect_number(said, ["Method", "Cost"]) for said in ("method", "Cost (EUR)", "aspect 2", "2. Costs", "Methodical", "3")]
    [1, 2, 2, 2, None, None]
    """
    numbered = _LEADING_NUMBER.match(said)
    by_name = _named_aspect(said, aspects)
    if by_name is not None or numbered is None:
        return by_name
    by_name = _named_aspect(said[numbered.end() :], aspects)
    number = int(numbered["number"])
    # "2 years" is no name of the second column.
    tells = (numbered["word"] or numbered["mark"] is not None) and 1 <= number <= len(aspects)
    return by_name if by_name is not None or not tells else number


def _named_aspect(said: str, aspects: Sequence[str]) -> int | None:
    """Return the number of the aspect with whose name a text begins, of several the longest."""
    said = _plain_name(said)
    names = [_plain_name(aspect) for aspect in aspects]
    begun = [
        (len(name), -number)
        for number, name in enumerate(names, 1)
        if name and said.startswith(name) and not said[len(name) : len(name) + 1].isalnum()
    ]
    return -max(begun)[1] if begun else None


def _plain_name(text: str) -> str:
    return text.strip(" .:)[]\"'").casefold()


def _cell_of(path: str, finding: CheckedFinding) -> Cell:
    """Return the cell of an entry, with the first quote that holds all of it; if none does, with the first that was found."""
    told = [(quote, flags(finding.claim, [quote.text])) for quote in finding.quotes if quote.verified]
    quote, doubts = next((each for each in told if not each[1]), told[0])
    if len(told) < len(finding.quotes):
        doubts = [*doubts, QUOTE_NOT_FOUND]
    (evidence,) = evidence_of(path, CheckedFinding(finding.claim, (quote,)))
    value, _ = checked_citations(finding.claim[:MAX_VALUE_CHARS], set())
    return Cell(value=neutralised_line(value), evidence=evidence, flags=doubts)
