"""Excel workbooks: each sheet begins with its name, each row is a line that names its cells."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from research_shared.formats._cells import (
    PLAIN,
    cell_place,
    column_name,
    kind_of_format,
    row_line,
    shown_number,
)
from research_shared.formats._drawing import Drawing, is_on
from research_shared.formats._format import DAMAGED, EMPTY, Format, Pages, Reader, Refused
from research_shared.formats._package import (
    Attributes,
    Handler,
    Package,
    damage_notes,
    is_package,
    main_part,
    one_line,
    properties,
)

_MARGIN_CODE = re.compile(r'&(?:"[^"]*"|K[0-9A-Fa-f]{6}|\d+|[A-Za-z&])')
_MARGINS = {
    f"{which}{kind}": kind.lower() for which in ("odd", "even", "first") for kind in ("Header", "Footer")
}

_NO_MARGINS = frozenset({"", "Page", "Page of"})
"""What is left of the margins that programs print without being asked."""


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
    from_1904: bool = False
    people: dict[str, str] = field(default_factory=dict)


class _Workbook(Handler):
    def __init__(self) -> None:
        self.sheets: list[tuple[str, str, bool]] = []
        self.from_1904 = False

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "sheet":
            hidden = attributes.get("state", "visible") != "visible"
            self.sheets.append((attributes.get("name", ""), attributes.get("r:id", ""), hidden))
        elif name == "workbookPr":
            self.from_1904 = is_on(attributes.get("date1904"))


class _Strings(Handler):
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
            self._found.append("".join(self._parts))
        elif name == "rPh":
            self._phonetic = False


class _Formats(Handler):
    """Collects what each style of a cell makes of a number."""

    def __init__(self, found: list[str]) -> None:
        self._found = found
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
            self._found.append(kind_of_format(known, self._codes.get(known, "")))

    def end(self, name: str) -> None:
        if name == "cellXfs":
            self._in_cells = False


class _Cells(Handler):
    """Reads the rows of a sheet, and what stands beside them."""

    def __init__(self, book: _Book) -> None:
        self._book = book
        self.lines: list[str] = []
        self.hidden_columns: list[str] = []
        self.links: list[tuple[str, str, str]] = []
        self.margins: list[str] = []
        self._row = 0
        self._column = 0
        self._hidden_row = False
        self._cells: list[tuple[str, str]] = []
        self._name = self._type = self._kind = ""
        self._value: list[str] = []
        self._formula: list[str] = []
        self._target: list[str] | None = None
        self._phonetic = False

    def start(self, name: str, attributes: Attributes) -> None:
        match name:
            case "c":
                self._start_cell(attributes)
            case "v" | "t":
                self._target = None if self._phonetic else self._value
            case "f":
                self._target = self._formula
            case "row":
                number = attributes.get("r", "")
                self._row = int(number) if number.isdigit() else self._row + 1
                self._column, self._cells = 0, []
                self._hidden_row = is_on(attributes.get("hidden"))
            case "rPh":
                self._phonetic = True
            case _:
                self._start_beside(name, attributes)

    def _start_cell(self, attributes: Attributes) -> None:
        self._name = attributes.get("r", "")
        place = cell_place(self._name)
        self._column = place[1] if place else self._column + 1
        if place is None:
            self._name = f"{column_name(self._column)}{self._row}"
        self._type = attributes.get("t", "n")
        style = attributes.get("s", "0")
        kinds = self._book.kinds
        self._kind = kinds[int(style)] if style.isdigit() and int(style) < len(kinds) else PLAIN
        self._value, self._formula = [], []

    def _start_beside(self, name: str, attributes: Attributes) -> None:
        if name == "col" and is_on(attributes.get("hidden")):
            bounds = [attributes.get(key, "") for key in ("min", "max")]
            if all(each.isdigit() for each in bounds):
                first, last = (column_name(min(int(each), 20_000)) for each in bounds)
                self.hidden_columns.append(first if first == last else f"{first}-{last}")
        elif name == "hyperlink":
            self.links.append((
                attributes.get("ref", ""), attributes.get("r:id", ""), attributes.get("tooltip", "")
            ))  # fmt: skip
        elif name in _MARGINS:
            self._value = []
            self._target = self._value

    def text(self, data: str) -> None:
        if self._target is not None:
            self._target.append(data)

    def end(self, name: str) -> None:
        match name:
            case "v" | "t" | "f":
                self._target = None
            case "c":
                self._cells.append((self._name, self._shown()))
            case "row":
                if line := row_line(self._cells):
                    self.lines.append(f"[hidden row] {line}" if self._hidden_row else line)
            case "rPh":
                self._phonetic = False
            case _ if name in _MARGINS:
                self._target = None
                text = one_line(_MARGIN_CODE.sub(" ", "".join(self._value)))
                if text not in _NO_MARGINS:
                    self.margins.append(f"[{_MARGINS[name]}] {text}")

    def _shown(self) -> str:
        """Return a cell's value as people see it, and its formula in parentheses."""
        value = "".join(self._value)
        match self._type:
            case "s":
                strings = self._book.strings
                value = strings[int(value)] if value.isdigit() and int(value) < len(strings) else ""
            case "b":
                value = "TRUE" if value == "1" else "FALSE"
            case "n" if value:
                value = shown_number(value, self._kind, from_1904=self._book.from_1904)
        formula = "".join(self._formula)
        return f"{value} (={formula})" if formula else value


class _Comments(Handler):
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
            self._authors.append(one_line("".join(self._text)))
        elif name in {"comment", "threadedComment"} and (text := one_line("".join(self._text))):
            self.found.append((self._ref, self._author, text))


class _People(Handler):
    def __init__(self, found: dict[str, str]) -> None:
        self._found = found

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "person":
            self._found[attributes.get("id", "")] = one_line(attributes.get("displayName", ""))


def open_xlsx(data: bytes, first: int, last: int) -> Pages:
    """Open a workbook. The values of formulas are those that were stored with them."""
    package = Package(data)
    main = main_part(package)
    workbook = _Workbook()
    package.parse(main, workbook)
    links = package.relationships(main)
    sheets = [
        _Sheet(name=one_line(name), part=links[identifier].target, hidden=hidden)
        for name, identifier, hidden in workbook.sheets
        if identifier in links
    ]
    if not sheets:
        raise Refused(DAMAGED if package.damaged else EMPTY)
    book = _Book(from_1904=workbook.from_1904)
    for kind, handler in (
        ("sharedStrings", _Strings(book.strings)),
        ("styles", _Formats(book.kinds)),
        ("person", _People(book.people)),
    ):
        for part in package.linked(main, kind):
            package.parse(part, handler)
    notes = [
        f"sheet {number} ({sheet.name}) is hidden" for number, sheet in enumerate(sheets, 1) if sheet.hidden
    ]

    def texts() -> Iterator[str | None]:
        for number, sheet in enumerate(sheets[first - 1 : last], start=first):
            yield _sheet_text(package, book, sheet, properties(package) if number == 1 else [])
        notes.extend(damage_notes(package))

    return Pages(total=len(sheets), texts=texts(), notes=notes)


def _sheet_text(package: Package, book: _Book, sheet: _Sheet, before: list[str]) -> str:
    cells = _Cells(book)
    package.parse(sheet.part, cells)
    # In the heading, so that each hit on the sheet says so.
    lines = [f"# {sheet.name}{' [hidden sheet]' if sheet.hidden else ''}", *before]
    if cells.hidden_columns:
        lines.append(f"[hidden columns] {', '.join(cells.hidden_columns)}")
    lines += cells.lines
    lines += _comment_lines(package, book, sheet.part)
    links = package.relationships(sheet.part)
    for ref, identifier, tooltip in cells.links:
        target = links[identifier].target if identifier in links else ""
        if text := one_line(f"{target} {tooltip}"):
            lines.append(f"[link] {ref}: {text}")
    for part in package.linked(sheet.part, "drawing"):
        drawing = Drawing(package, part)
        package.parse(part, drawing)
        lines += (line.strip() for line in drawing.lines())
    return "\n".join(lines + cells.margins)


def _comment_lines(package: Package, book: _Book, part: str) -> Iterator[str]:
    """Yield the comments on a sheet. One that is part of a thread is also stored in the old form: it is left out there."""
    threads, plain = _Comments(book.people), _Comments(book.people)
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
        readers=(Reader(name="xlsx", open=open_xlsx),),
        part="sheet",
        markdown=True,
        recognises=is_package,
    ),
)
