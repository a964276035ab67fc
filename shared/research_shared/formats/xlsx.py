"""Excel workbooks: each sheet begins with its name, each row is a line that names its cells."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from research_shared.formats._format import DAMAGED, EMPTY, Format, Pages, Reader, Refused
from research_shared.formats._parts.cells import (
    PLAIN,
    cell_place,
    column_name,
    kind_of_format,
    shown_number,
)
from research_shared.formats._parts.drawing import Drawing, is_on
from research_shared.formats._parts.lines import on_one_line
from research_shared.formats._parts.number_format import BUILT_IN, NumberFormat
from research_shared.formats._parts.package import (
    Attributes,
    ElementHandler,
    Package,
    damage_notes,
    is_package,
    main_part,
    properties,
)
from research_shared.formats._parts.properties import core_metadata
from research_shared.text.sizes import counted

_MARGIN_CODE = re.compile(r'&(?:"[^"]*"|K[0-9A-Fa-f]{6}|\d+|[A-Za-z&])')
_MARGINS = {
    f"{which}{kind}": kind.lower() for which in ("odd", "even", "first") for kind in ("Header", "Footer")
}

_NO_MARGINS = frozenset({"", "Page", "Page of"})
"""What is left of the margins that programs print without being asked."""


_MAX_FORMATTED = 100_000
"""Different numbers of one sheet that are shown as their cells do; only what is stored is read of the others."""

MAX_CELLS = 3_000_000
"""Cells that are read of one sheet, so that the time of a page does not run out over a sheet of which nothing is kept."""


class _Enough(Exception):
    """A sheet has more cells than are read."""


@dataclass(slots=True, kw_only=True)
class _Sheet:
    name: str
    part: str
    hidden: bool


@dataclass(slots=True, kw_only=True)
class _Book:
    """What all sheets of a workbook share."""

    strings: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    from_1904: bool = False
    people: dict[str, str] = field(default_factory=dict)


class _Workbook(ElementHandler):
    def __init__(self) -> None:
        self.sheets: list[tuple[str, str, bool]] = []
        self.from_1904 = False

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "sheet":
            hidden = attributes.get("state", "visible") != "visible"
            self.sheets.append((attributes.get("name", ""), attributes.get("r:id", ""), hidden))
        elif name == "workbookPr":
            self.from_1904 = is_on(attributes.get("date1904"))


class _Strings(ElementHandler):
    """Collects the shared strings. The readings of East Asian words (`rPh`) are no part of them."""

    def __init__(self, found: list[str]) -> None:
        self._found = found
        self._parts: list[str] = []
        self._reading = False
        self._phonetic = False

    def start(self, name: str, attributes: Attributes) -> None:  # noqa: ARG002  (part of the interface)
        if name == "si":
            self._parts = []
        elif name == "rPh":
            self._phonetic = True
        self._reading = name == "t" and not self._phonetic

    def text(self, data: str) -> None:
        if self._reading:
            self._parts.append(data)

    def end(self, name: str) -> None:
        self._reading = False
        if name == "si":
            self._found.append(on_one_line("".join(self._parts)))
        elif name == "rPh":
            self._phonetic = False


class _Formats(ElementHandler):
    """Collects what each style of a cell makes of a number."""

    def __init__(self, book: _Book) -> None:
        self._book = book
        self._codes: dict[int, str] = {}
        self._in_cells = False

    def start(self, name: str, attributes: Attributes) -> None:
        identifier = attributes.get("numFmtId", "")
        if name == "cellXfs":
            self._in_cells = True
        elif identifier.isdigit() and name == "numFmt":
            self._codes[int(identifier)] = attributes.get("formatCode", "")
        elif name == "xf" and self._in_cells:
            known = int(identifier) if identifier.isdigit() else 0
            code = self._codes.get(known, "")
            self._book.kinds.append(kind_of_format(known, code))
            self._book.codes.append(code or BUILT_IN.get(known, ""))

    def end(self, name: str) -> None:
        if name == "cellXfs":
            self._in_cells = False


class _Local(dict[str, str]):
    """Names without their prefix, by the names as they are written."""

    def __missing__(self, written: str) -> str:
        local = self[written] = written.rpartition(":")[2]
        return local


class _Cells(ElementHandler):
    """Reads the rows of a sheet, and what stands beside them. Sheets have millions of cells: this is the hot loop."""

    def __init__(self, book: _Book) -> None:
        self._strings = book.strings
        self._kinds = {str(style): kind for style, kind in enumerate(book.kinds)}
        self._formats = {
            str(style): NumberFormat(code)
            for style, code in enumerate(book.codes)
            if code and code.lower() != "general"
        }
        self._shown: dict[tuple[str, str], str] = {}
        self._from_1904 = book.from_1904
        self._local = _Local()
        self.lines: list[str] = []
        self.hidden_columns: list[str] = []
        self.links: list[tuple[str, str, str]] = []
        self.margins: list[str] = []
        self.row = 0
        self._room = MAX_CELLS
        self._hidden_row = False
        self._cells: list[str] = []
        self._name = self._type = self._style = ""
        self._value: list[str] = []
        self._formula: list[str] = []
        self._target: list[str] | None = None
        self._phonetic = False

    @property
    def cut(self) -> bool:
        """Whether the sheet has more cells than are read."""
        return self._room < 0

    def start(self, name: str, attributes: Attributes) -> None:
        match self._local[name]:
            case "v" | "t":
                self._target = None if self._phonetic else self._value
            case "c":
                self._name = attributes.get("r") or self._next_name()
                self._type = attributes.get("t", "n")
                self._style = attributes.get("s", "0")
                self._value, self._formula = [], []
            case "f":
                self._target = self._formula
            case "row":
                number = attributes.get("r", "")
                self.row = int(number) if number.isdigit() else self.row + 1
                self._name, self._cells = "", []
                self._hidden_row = is_on(attributes.get("hidden"))
            case "rPh":
                self._phonetic = True
            case local:
                self._start_beside(local, attributes)

    def _next_name(self) -> str:
        """Return the name of a cell that does not say it: that of the one after the last one in its row."""
        place = cell_place(self._name)
        return f"{column_name(place[1] + 1 if place else 1)}{self.row}"

    def _start_beside(self, name: str, attributes: Attributes) -> None:
        if name == "col" and is_on(attributes.get("hidden")):
            bounds = [attributes.get(key, "") for key in ("min", "max")]
            if all(each.isdigit() for each in bounds):
                first, last = (column_name(min(int(each), 20_000)) for each in bounds)
                self.hidden_columns.append(first if first == last else f"{first}-{last}")
        elif name == "hyperlink":
            identifier = next((value for key, value in attributes.items() if key.endswith(":id")), "")
            self.links.append((attributes.get("ref", ""), identifier, attributes.get("tooltip", "")))
        elif name in _MARGINS:
            self._value = []
            self._target = self._value

    def text(self, data: str) -> None:
        if self._target is not None:
            self._target.append(data)

    def end(self, name: str) -> None:
        match self._local[name]:
            case "v" | "t" | "f":
                self._target = None
            case "c":
                if self._value or self._formula:
                    self._end_cell()
            case "row":
                if self._cells:
                    self._room -= len(self._cells)
                    line = " | ".join(self._cells)
                    self.lines.append(f"[hidden row] {line}" if self._hidden_row else line)
                    if self._room < 0:
                        raise _Enough
            case "rPh":
                self._phonetic = False
            case local if local in _MARGINS:
                self._target = None
                text = on_one_line(_MARGIN_CODE.sub(" ", "".join(self._value)))
                if text not in _NO_MARGINS:
                    self.margins.append(f"[{_MARGINS[local]}] {text}")

    def _end_cell(self) -> None:
        """Add a cell with its value as people see it, and behind that what is stored where it differs, and the formula."""
        value = "".join(self._value)
        match self._type:
            case "n":
                if value:
                    value = self._number(value)
            case "s":
                strings = self._strings
                value = strings[int(value)] if value.isdigit() and int(value) < len(strings) else ""
            case "b":
                value = "TRUE" if value == "1" else "FALSE"
            case _:
                value = on_one_line(value)
        if self._formula:
            value = f"{value} (={on_one_line(''.join(self._formula))})"
        if value:
            self._cells.append(f"{self._name}: {value}")

    def _number(self, stored: str) -> str:
        """Return a number as its cell shows it, and in brackets what is behind it (dates in ISO 8601)."""
        plain = shown_number(stored, self._kinds.get(self._style, PLAIN), from_1904=self._from_1904)
        number_format = self._formats.get(self._style)
        if number_format is None:
            return plain
        key = (self._style, stored)
        shown = self._shown.get(key)
        if shown is None:
            if len(self._shown) >= _MAX_FORMATTED:
                return plain
            try:
                shown = number_format.shown(float(stored), from_1904=self._from_1904)
            except ValueError:
                shown = ""
            self._shown[key] = shown
        return f"{shown} [{plain}]" if shown and shown != plain else plain


class _CellComments(ElementHandler):
    """Collects the comments on cells: their cell, their author, and their text."""

    def __init__(self, people: dict[str, str]) -> None:
        self._people = people
        self._authors: list[str] = []
        self._ref = self._author = ""
        self._text: list[str] = []
        self._reading = False
        self.found: list[tuple[str, str, str]] = []

    def start(self, name: str, attributes: Attributes) -> None:
        match name:
            case "author":
                self._text = []
                self._reading = True
            case "comment":
                number = attributes.get("authorId", "")
                known = number.isdigit() and int(number) < len(self._authors)
                self._author = self._authors[int(number)] if known else ""
                self._ref, self._text = attributes.get("ref", ""), []
            case "threadedComment":
                self._author = self._people.get(attributes.get("personId", ""), "")
                self._ref, self._text = attributes.get("ref", ""), []
            case "t" | "text":
                self._reading = True

    def text(self, data: str) -> None:
        if self._reading:
            self._text.append(data)

    def end(self, name: str) -> None:
        if name in {"author", "t", "text"}:
            self._reading = False
        if name == "author":
            self._authors.append(on_one_line("".join(self._text)))
        elif name in {"comment", "threadedComment"} and (text := on_one_line("".join(self._text))):
            self.found.append((self._ref, self._author, text))


class _People(ElementHandler):
    def __init__(self, found: dict[str, str]) -> None:
        self._found = found

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "person":
            self._found[attributes.get("id", "")] = on_one_line(attributes.get("displayName", ""))


def open_xlsx(data: bytes, first: int, last: int) -> Pages:
    """Open a workbook. The values of formulas are those that were stored with them."""
    package = Package(data)
    main = main_part(package)
    workbook = _Workbook()
    package.parse(main, workbook)
    links = package.relationships(main)
    sheets = [
        _Sheet(name=on_one_line(name), part=links[identifier].target, hidden=hidden)
        for name, identifier, hidden in workbook.sheets
        if identifier in links
    ]
    if not sheets:
        raise Refused(DAMAGED if package.damaged else EMPTY)
    book = _Book(from_1904=workbook.from_1904)
    for kind, handler in (
        ("sharedStrings", _Strings(book.strings)),
        ("styles", _Formats(book)),
        ("person", _People(book.people)),
    ):
        for part in package.linked(main, kind):
            package.parse(part, handler)
    notes = [
        f"sheet {number} ({sheet.name}) is hidden" for number, sheet in enumerate(sheets, 1) if sheet.hidden
    ]

    def texts() -> Iterator[str | None]:
        for number, sheet in enumerate(sheets[first - 1 : last], start=first):
            yield _sheet_text(package, book, sheet, properties(package) if number == 1 else [], notes)
        notes.extend(damage_notes(package))

    return Pages(total=len(sheets), texts=texts(), notes=notes, metadata=core_metadata(package))


def _sheet_text(package: Package, book: _Book, sheet: _Sheet, before: list[str], notes: list[str]) -> str:
    cells = _Cells(book)
    with contextlib.suppress(_Enough):
        if not package.parse_plainly(sheet.part, cells):
            cells.end("row")  # the one that was being read
    if cells.cut:
        notes.append(f"only the first {counted(cells.row, 'row')} of sheet {sheet.name} were read")
    # In the heading, so that each hit on the sheet says so.
    lines = [f"# {sheet.name}{' [hidden sheet]' if sheet.hidden else ''}", *before]
    if cells.hidden_columns:
        lines.append(f"[hidden columns] {', '.join(cells.hidden_columns)}")
    lines += cells.lines
    lines += _comment_lines(package, book, sheet.part)
    links = package.relationships(sheet.part)
    for ref, identifier, tooltip in cells.links:
        target = links[identifier].target if identifier in links else ""
        if text := on_one_line(f"{target} {tooltip}"):
            lines.append(f"[link] {ref}: {text}")
    for part in package.linked(sheet.part, "drawing"):
        drawing = Drawing(package, part)
        package.parse(part, drawing)
        lines += (line.strip() for line in drawing.lines())
    return "\n".join(lines + cells.margins)


def _comment_lines(package: Package, book: _Book, part: str) -> Iterator[str]:
    """Yield the comments on a sheet. One that is part of a thread is also stored in the old form: it is left out there."""
    threads, plain = _CellComments(book.people), _CellComments(book.people)
    for handler, kind in ((threads, "threadedComment"), (plain, "comments")):
        for linked in package.linked(part, kind):
            package.parse(linked, handler)
    threaded = {ref for ref, _, _ in threads.found}
    for ref, author, text in (*threads.found, *(each for each in plain.found if each[0] not in threaded)):
        yield f"[comment{f' by {author}' if author else ''}] {ref}: {text}"


FORMATS = (
    Format(
        title="an Excel workbook",
        media_types={
            ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            ".xlsm": "application/vnd.ms-excel.sheet.macroenabled.12",
            ".xltx": "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
        },
        readers=(Reader(name="xlsx", open=open_xlsx, revision=2),),
        part="sheet",
        markdown=True,
        recognises=is_package,
    ),
)
