"""CSV and TSV: each record is a line that names its cells, as those of a sheet."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from research_shared.formats._format import EMPTY, Format, Pages, Reader, Refused
from research_shared.formats._parts.cells import column_name
from research_shared.formats._parts.lines import decoded, encoding_notes, on_one_line

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50
_MAX_FIELD_BYTES = 64 * 1024 * 1024


def _delimiter(text: str) -> str:
    """Return the delimiter that parts most lines into the same number of fields, more than one."""
    sample = list(islice(io.StringIO(text[: 256 * 1024], newline=""), _SAMPLE_LINES))

    def agreement(delimiter: str) -> tuple[int, int]:
        try:
            widths = Counter(len(record) for record in csv.reader(sample, delimiter=delimiter) if record)
        except csv.Error:
            return 0, 0
        width, lines = max(widths.items(), key=lambda found: (found[0] > 1, found[1]), default=(0, 0))
        return (lines, width) if width > 1 else (0, 0)

    return max(_DELIMITERS, key=agreement)


def open_table(data: bytes, _first: int, _last: int) -> Pages:
    """Open a file of records."""
    text, encoding = decoded(data)
    if not text.strip():
        raise Refused(EMPTY)
    notes = encoding_notes(encoding)
    csv.field_size_limit(_MAX_FIELD_BYTES)
    names: list[str] = []

    def lines() -> Iterator[str]:
        records = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        try:
            for row, record in enumerate(records, start=1):
                while len(names) < len(record):
                    names.append(column_name(len(names) + 1))
                cells = [
                    f"{name}{row}: {on_one_line(value)}"
                    for name, value in zip(names, record, strict=False)
                    if value and not value.isspace()
                ]
                if cells:
                    yield " | ".join(cells)
        except csv.Error as error:
            notes.append(f"the records after line {records.line_num} cannot be read: {error}")

    return Pages(total=1, texts=iter(("\n".join(lines()),)), notes=notes)


FORMATS = (
    Format(
        title="a table",
        media_types={".csv": "text/csv", ".tsv": "text/tab-separated-values"},
        readers=(Reader(name="csv", open=open_table),),
    ),
)
