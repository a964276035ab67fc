"""A table of documents by aspects, in which every entry has a quote that its document holds. Pure functions."""

from collections.abc import Sequence
from typing import Final

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
    unsupported = doubtful = 0
    for _, found in usable:
        cells = [_cell(found, number, aspect) for number, aspect in enumerate(inquiry.aspects, 1)]
        unsupported += sum(dropped for _, dropped in cells)
        doubtful += sum(bool(cell.flags) for cell, _ in cells)
        rows.append(TableRow(document=found.path, cells=[cell for cell, _ in cells]))
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


def _cell(found: DocumentEvidence, number: int, aspect: str) -> tuple[Cell, bool]:
    """Return the cell of a document, and whether an entry for it was left out. One without a flag wins."""
    entries = [finding for finding in found.findings if _is_on(finding, number, aspect)]
    entries = [finding for finding in entries if finding.claim.strip(" .").casefold() not in _SAYS_NOTHING]
    supported = [finding for finding in entries if finding.verified]
    cells = [_cell_of(found.path, finding) for finding in supported]
    if not cells:
        return _NO_ENTRY, bool(entries)
    return next((cell for cell in cells if not cell.flags), cells[0]), False


def _is_on(finding: CheckedFinding, number: int, aspect: str) -> bool:
    """Return whether a finding names an aspect: by its name, or by a number alone or with a word before it."""
    said = finding.aspect.strip(" .:[]").casefold()
    if said == aspect.casefold():
        return True
    return said.removeprefix("aspect").removeprefix("#").strip() == str(number)


def _cell_of(path: str, finding: CheckedFinding) -> Cell:
    """Return the cell of an entry, with the first quote that holds all of it; if none does, with the first that was found."""
    told = [(quote, flags(finding.claim, [quote.text])) for quote in finding.quotes if quote.verified]
    quote, doubts = next((each for each in told if not each[1]), told[0])
    if len(told) < len(finding.quotes):
        doubts = [*doubts, QUOTE_NOT_FOUND]
    (evidence,) = evidence_of(path, CheckedFinding(finding.claim, (quote,)))
    value, _ = checked_citations(finding.claim[:MAX_VALUE_CHARS], set())
    return Cell(value=neutralised_line(value), evidence=evidence, flags=doubts)
